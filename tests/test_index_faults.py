"""Whatever disturbs a build, the published snapshot stays whole, and the next build ends as an undisturbed one would have.

`LIKEWISE_FAULTS=300` (make test-faults) kills at so many instants, and breaks every call by which a build publishes.
"""

import json
import os
import random
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.archives import table_archive
from tests.faults import KILLED, Content, Ended, Fault, Harness, content_of

INSTANTS = int(os.environ.get("LIKEWISE_FAULTS", "2"))
IS_LONG = "LIKEWISE_FAULTS" in os.environ
SEED = 6
ERRORS = ("EIO", "ENOSPC")

pytestmark = pytest.mark.timeout(3 * 3600 if IS_LONG else 120)


@dataclass(frozen=True)
class Scene:
    """An archive that has changed since its index was built: 16 films of 8, one of them another, one damaged, one missing."""

    harness: Harness
    cohort: Path
    published: Path  # the index as it was; copied, never touched
    before: Content
    expected: Content  # what an undisturbed build publishes
    seconds: float  # that it takes
    calls: int  # of fsync, rename and replace

    def index(self, folder: Path) -> Path:
        return Path(shutil.copytree(self.published, folder / "index"))

    def build(self, index: Path, fault: Fault | None = None) -> Ended:
        return self.harness.build("--cohort", f"table={self.cohort}", "--index", index, fault=fault)

    def recovers(self, index: Path) -> None:
        """What is published is whole, the old or the new; a rerun ends well, and nothing is left to do after it."""
        assert content_of(index) in (self.before, self.expected)
        rerun = self.build(index)
        assert rerun.code == 0, rerun.output
        assert content_of(index) == self.expected
        if not IS_LONG and index.parent.name != "0":  # once is enough for the default suite
            return
        last = self.build(index)
        assert last.code == 0 and outcome(last) == "unchanged", last.output
        assert sorted(path.name for path in (index / "building").iterdir()) == ["LOCK"]


def outcome(ended: Ended) -> str:
    (line,) = (line for line in ended.output.splitlines() if line.startswith("{"))
    return str(json.loads(line)["outcome"])


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("faults")
    cohort = table_archive(folder / "archive", patients=8)
    films = folder / "archive/films"
    later = [shutil.move(films / f"film{number:03}.png", folder) for number in range(8, 16)]
    with Harness() as harness:
        fixed = ("--cohort", f"table={cohort}", "--max-rejected", "1")
        assert harness.build(*fixed, "--index", folder / "published").code == 0
        for path in later:
            shutil.move(path, films)
        shutil.copy(films / "film001.png", films / "film000.png")
        (films / "film014.png").write_bytes(b"no film")
        (films / "film015.png").unlink()
        before = content_of(folder / "published")
        shutil.copytree(folder / "published", folder / "undisturbed")
        ended = harness.build(*fixed, "--index", folder / "undisturbed")
        expected = content_of(folder / "undisturbed")
        assert harness.build(*fixed, "--index", folder / "full").code == 0
        assert content_of(folder / "full") == expected and len(expected.cases) == 14
        yield Scene(harness, cohort, folder / "published", before, expected, ended.seconds, ended.calls)


def test_a_build_killed_at_any_instant_does_no_harm(scene: Scene, tmp_path: Path) -> None:
    instants = random.Random(SEED)
    met: Counter[str] = Counter()
    for number in range(INSTANTS):
        index = scene.index(tmp_path / f"{number}")
        ended = scene.build(index, Fault(kill_after=instants.uniform(0.02, 1.05) * scene.seconds))
        parts = len(list((index / "building/parts").glob("[!.]*"))) if (index / "building/parts").exists() else 0
        is_new = content_of(index) == scene.expected
        met["published" if is_new else f"{parts} parts finished"] += ended.code == KILLED
        met["not killed, it had ended"] += ended.code != KILLED
        scene.recovers(index)
        shutil.rmtree(index)
    print(f"\n{INSTANTS} builds of {scene.seconds:.1f} s, killed at random:", dict(met))


def test_a_build_killed_at_any_flush_or_rename_does_no_harm(scene: Scene, tmp_path: Path) -> None:
    calls = range(1, scene.calls + 1)
    picked = calls if IS_LONG else random.Random(SEED).sample(calls, 1)
    for number in picked:
        index = scene.index(tmp_path / f"{number}")
        assert scene.build(index, Fault(call=number)).code == KILLED
        scene.recovers(index)
        shutil.rmtree(index)
    print(f"\nkilled at {len(picked)} of {scene.calls} calls of fsync, rename and replace")


def test_a_flush_or_rename_that_fails_does_no_harm(scene: Scene, tmp_path: Path) -> None:
    calls = range(1, scene.calls + 1)
    picked = calls if IS_LONG else random.Random(SEED + 1).sample(calls, 1)
    codes: Counter[int] = Counter()
    for number in picked:
        index = scene.index(tmp_path / f"{number}")
        ended = scene.build(index, Fault(call=number, error=ERRORS[number % len(ERRORS)]))
        assert ended.code in (0, 1) and "Traceback" not in ended.output, ended.output
        codes[ended.code] += 1
        scene.recovers(index)
        shutil.rmtree(index)
    print(f"\nfailed at {len(picked)} of {scene.calls} calls of fsync, rename and replace; exit codes:", dict(codes))


def test_files_that_cannot_grow_do_no_harm(scene: Scene, tmp_path: Path) -> None:
    sizes = [2**power for power in range(6, 16)] if IS_LONG else [2**12]
    for size in sizes:
        index = scene.index(tmp_path / f"{size}")
        ended = scene.build(index, Fault(file_bytes=size))
        assert ended.code == 1 and "Error" in ended.output and "Traceback" not in ended.output, (size, ended.output)
        scene.recovers(index)
    print(f"\nno file could grow beyond {', '.join(map(str, sizes))} bytes")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk_does_no_harm(scene: Scene, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        for left in range(0, 400, 25 if IS_LONG else 300):  # KiB
            index = scene.index(disk)
            filler = disk / "filler"
            with filler.open("wb") as stream:
                used = os.statvfs(disk)
                stream.write(bytes(max(0, used.f_bavail * used.f_frsize - left * 1024)))
            ended = scene.build(index, Fault())
            assert ended.code == 0 or ("Error" in ended.output and "Traceback" not in ended.output), (left, ended)
            assert left or ended.code == 1
            filler.unlink()
            scene.recovers(index)
            shutil.rmtree(index)
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_files_that_cannot_be_read_or_change_meanwhile_do_no_harm(scene: Scene, tmp_path: Path) -> None:
    index = scene.index(tmp_path)
    films = scene.cohort.parent / "films"
    unreadable, restless = films / "film009.png", [films / f"film{number:03}.png" for number in (10, 11, 12)]
    contents = {path: path.read_bytes() for path in [unreadable, *restless]}
    ended = threading.Event()

    def rewrite() -> None:
        while not ended.is_set():
            for path in restless:
                path.write_bytes(contents[path][: len(contents[path]) // 2])
                ended.wait(0.005)
                path.write_bytes(contents[path])

    unreadable.unlink()
    unreadable.symlink_to(unreadable)  # opening it fails, for root too
    thread = threading.Thread(target=rewrite)
    thread.start()
    try:
        disturbed = scene.build(index)
    finally:
        ended.set()
        thread.join()
        unreadable.unlink()
        for path, content in contents.items():
            path.write_bytes(content)
    assert disturbed.code == 0, disturbed.output
    assert "film009" in dict(content_of(index).rejected)
    rerun = scene.build(index)
    assert rerun.code == 0 and content_of(index) == scene.expected
