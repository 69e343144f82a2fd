"""What an operator finds in the morning after a night that went wrong: nothing came back, nothing vanished, nothing was kept silent."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import build_index
import index.parts
from embed.encoders.histogram import HistogramEncoder
from index.denied import DenyList
from index.lock import IndexLock
from index.morning import write_page
from index.parts import flush_path
from index.purge import purge
from index.snapshot import open_current
from tests.archives import change_cells, table_archive
from tests.conftest import run_build
from tests.faults import content_of
from tests.films import dicom_bytes, phantom
from tests.test_index_incremental import FILMS, Night, Reading, later

WELL = "# All is well"


class Told(Night):
    """A night with all that is told of it."""

    def build(self, *more: object, index: Path | None = None, code: int = 0) -> dict[str, Any]:
        paths = (("events", self.events), ("metrics", self.metrics), ("morning", self.morning))
        options = [word for name, path in paths for word in (f"--{name}", path)]
        return super().build(*options, *more, index=index, code=code)

    @property
    def events(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def metrics(self) -> Path:
        return self.folder / "likewise.prom"

    @property
    def morning(self) -> Path:
        return self.folder / "morning.md"

    @property
    def page(self) -> str:
        return self.morning.read_text()

    def last_event(self) -> dict[str, Any]:
        return dict(json.loads(self.events.read_text().splitlines()[-1]))

    def metric(self, name: str) -> float:
        (found,) = re.findall(rf"^{name} (\S+)$", self.metrics.read_text(), re.MULTILINE)
        return float(found)

    @property
    def snapshots(self) -> list[str]:
        return sorted(path.name for path in (self.index / "snapshots").iterdir())


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    reading = Reading()
    monkeypatch.setattr(build_index, "IsolatedWorkers", reading)
    monkeypatch.setattr(index.parts, "PART_SCANS", 2)
    monkeypatch.setattr(build_index, "BATCH", 2)
    return Told(tmp_path, reading)


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def touch_a_record(night: Night, *, age: int) -> None:
    """So that the next build has something to publish."""
    change_cells(night.toml, age={0: str(age)})


# --- who was purged


def test_a_build_without_its_deny_list_publishes_nothing(night: Told) -> None:
    night.build()
    purge(night.index, frozenset({"p01"}), reason="request 1")
    assert night.build()["cases"] == {"xray": FILMS - 2}
    denied = (night.index / "denied.json").read_bytes()
    before = (night.index / "CURRENT").read_text()
    for content in (None, b'{"key": "k", "digests": {}}'):
        (night.index / "denied.json").unlink(missing_ok=True)
        if content:
            (night.index / "denied.json").write_bytes(content)
        told = night.build(code=1)
        assert "denied.json: is missing or empty" in told["output"] and "from the backup" in told["output"]
        assert "purge the same patients again" in night.page and night.page.startswith("# The build failed")
        assert (night.index / "CURRENT").read_text() == before
    night.build("--dry-run", code=1)
    (night.index / "denied.json").write_bytes(denied)
    assert night.build()["cases"] == {"xray": FILMS - 2} and night.page.startswith(WELL)


def test_a_kept_snapshot_tells_of_the_purge_where_the_published_one_cannot(night: Told) -> None:
    night.build()
    purge(night.index, frozenset({"p01"}), reason="request 1")
    touch_a_record(night, age=77)
    night.build()
    (open_current(night.index).path / "manifest.json").write_text("{}")
    (night.index / "denied.json").unlink()
    assert "denied.json: is missing" in night.build(code=1)["output"]


def test_an_older_deny_list_is_told_of(night: Told) -> None:
    night.build()
    purge(night.index, frozenset({"p01"}), reason="request 1")
    older = (night.index / "denied.json").read_bytes()
    purge(night.index, frozenset({"p02"}), reason="request 2")
    (night.index / "denied.json").write_bytes(older)
    (warning,) = night.build()["warnings"]
    assert "another deny-list" in warning and "older denied.json" in warning
    assert night.page.startswith("# Look at this: 1 warning")


# --- damage is told, and switches no check off


def test_lost_outcomes_are_refused_with_what_is_missing(tmp_path: Path) -> None:
    """11 patients of 2 films have an outcome on record, 3 of 12 of ITU admission at all (6 films: too few to refuse)."""
    toml = table_archive(tmp_path / "archive")
    morning = tmp_path / "morning.md"
    fixed = ("--cohort", f"table={toml}", "--index", tmp_path / "index", "--morning", morning)
    assert run_build(*fixed).exit_code == 0
    published = (tmp_path / "index/CURRENT").read_text()
    change_cells(toml, **{column: dict.fromkeys(range(24), "") for column in ("died", "died_days", "itu_days")})
    refused = run_build(*fixed)
    assert refused.exit_code == 1 and "death is on record for 0 of the 22 scans" in refused.stderr
    assert "--allow-lost-records" in morning.read_text() and (tmp_path / "index/CURRENT").read_text() == published
    allowed = run_build(*fixed, "--allow-lost-records", "--json")
    assert [text.split(" is")[0] for text in json.loads(allowed.stdout)["warnings"]] == ["death", "ITU admission"]
    assert morning.read_text().startswith("# Look at this: 2 warnings")


def test_a_damaged_snapshot_does_not_switch_the_checks_off(night: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.checks.FEWEST", 3)
    first = night.build()["snapshot"]
    touch_a_record(night, age=77)
    second = night.build()["snapshot"]
    table = night.toml.with_name("cases.csv")
    table.write_text("".join(table.read_text().splitlines(keepends=True)[: 1 + FILMS // 2]))
    spoil(night.index / "snapshots" / second / "previews.bin")  # what is compared is whole still
    told = night.build(code=1)
    assert f"shrunk from {FILMS} to {FILMS // 2}" in told["output"]
    assert f"the new snapshot is compared with {second}" in night.page and "previews.bin" in night.page
    spoil(night.index / "snapshots" / second / "cases.parquet")
    night.build(code=1)
    assert f"the new snapshot is compared with {first}" in night.page
    shutil.rmtree(night.index / "snapshots" / first)
    night.build("--allow-shrink")
    assert "cannot be compared with an earlier one" in night.page


def test_a_lost_current_is_told_and_costs_nothing(night: Told) -> None:
    snapshot = night.build()["snapshot"]
    (night.index / "CURRENT").unlink()
    night.reading.is_forbidden = True
    told = night.build()
    (warning,) = told["warnings"]
    assert "CURRENT names no snapshot, though 1 lie in snapshots/" in warning and snapshot in warning
    assert (told["outcome"], told["unchanged"], told["new"]) == ("published", FILMS, 0)
    assert night.page.startswith("# Look at this: 1 warning") and night.metric("likewise_build_warnings") == 1
    assert night.build()["outcome"] == "unchanged" and night.page.startswith(WELL)


def test_damage_to_the_published_snapshot_is_a_warning_and_the_one_before_is_read(night: Told) -> None:
    first = night.build()["snapshot"]
    touch_a_record(night, age=77)
    second = night.build()["snapshot"]
    spoil(night.index / "snapshots" / second / "readings.parquet")
    night.reading.is_forbidden = True
    (warning,) = night.build()["warnings"]
    assert "the published snapshot cannot be used" in warning and f"readings are taken from {first}" in warning
    night.reading.is_forbidden = False
    assert night.equals_a_full_build()


def test_a_damaged_snapshot_is_no_reason_to_remove_a_whole_one(night: Told) -> None:
    """Of four, the second is damaged: with two whole ones to keep, the first stays until there is another."""
    names = []
    for age in (71, 72, 73):
        touch_a_record(night, age=age)
        names.append(night.build("--keep", "2")["snapshot"])
        if age == 72:
            spoil(night.index / "snapshots" / names[1] / "answers.json")
    assert night.snapshots == names  # the third publication keeps itself and the first, and the damaged one between
    assert f"the snapshot {names[1]} is damaged" in night.page
    touch_a_record(night, age=74)
    names.append(night.build("--keep", "2")["snapshot"])
    assert night.snapshots == names[2:]


def test_a_switch_that_was_not_flushed_is_told_as_it_is(night: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    first = night.build()["snapshot"]
    touch_a_record(night, age=77)
    flush = flush_path

    def fail_on_the_index(path: Path) -> None:
        if path == night.index:
            raise OSError(errno.EIO, "Input/output error")
        flush(path)

    with monkeypatch.context() as patched:
        patched.setattr("index.snapshot_writer.flush_path", fail_on_the_index)
        told = night.build(code=1)
    second = (night.index / "CURRENT").read_text().strip()
    assert second != first and f"{second} is published" in told["output"] and "as it was" not in told["output"]
    assert f"This build published `{second}`, which is searched." in night.page
    assert night.build()["outcome"] == "unchanged"


def test_a_switch_that_failed_leaves_the_index_and_says_so(night: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    night.build()
    touch_a_record(night, age=77)
    (night.index / "CURRENT.new").mkdir()  # which cannot be written over
    told = night.build(code=1)
    assert "CURRENT: cannot be written" in told["output"] and "the published index is as it was" in told["output"]


def test_known_scans_that_cannot_be_read_any_more_stay_and_are_told(
    night: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.build()
    allowed = os.access
    refused = str(night.film(3))  # not by its mode: root may read whatever it is
    monkeypatch.setattr(os, "access", lambda path, mode: path != refused and allowed(path, mode))
    told = night.build()
    assert (told["outcome"], told["cases"]) == ("unchanged", {"xray": FILMS})
    assert told["warnings"][0].startswith("1 scans that are in the index can no longer be read")
    assert night.page.startswith("# Look at this: 1 warning")


# --- the exclusion list


def test_lines_that_match_nobody_are_told_by_number_and_a_warning_once(night: Told) -> None:
    listed = night.folder / "withdrawn.txt"
    listed.write_text("# since May\np01\nCovid9999\n  film005\n")
    told = night.build("--exclude", listed)
    assert told["warnings"] == [
        "1 of 3 lines of the exclusion list matches nobody who is offered (line 3): is it misspelt?"
    ]
    assert told["idle_exclusion_lines"] == [3] and told["excluded"] == 3
    assert "| offered by the cohorts | 8 |" in night.page and "| excluded | 3 |" in night.page
    again = night.build("--exclude", listed)
    assert again["warnings"] == [] and night.page.startswith(WELL)
    assert "\n1 of 3 lines of the exclusion list matches nobody who is offered (line 3).\n" in night.page
    assert "Covid9999" not in night.page


def test_a_line_that_only_a_header_matches_is_not_idle(night: Told) -> None:
    for number in range(FILMS):
        content = dicom_bytes(phantom(seed=number), PatientID=f"secret{number}")
        (night.films / f"film{number:03}.dcm").write_bytes(content)
    night.toml.write_text(night.toml.read_text().replace(".png", ".dcm"))
    listed = night.folder / "withdrawn.txt"
    listed.write_text("SECRET1\np02\nfilm004\nsecret99\n")  # film004 is of p02: each of the two lines matches
    told = night.build("--exclude", listed, "--dry-run")
    assert told["warnings"] == [] and told["idle_exclusion_lines"] == [1, 4]
    for _ in range(2):
        assert night.build("--exclude", listed)["idle_exclusion_lines"] == [4]


# --- every failure is told where it is looked for


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--cohort", "table=/gone/cohort.toml"), "/gone/cohort.toml: no such file"),
        (("--exclude", "/gone/withdrawn.txt"), "/gone/withdrawn.txt: the exclusion list cannot be read"),
        (("--encoder", "nonsense"), "nonsense"),
        (("--events", "/gone/events.jsonl"), "--events /gone/events.jsonl: cannot be written"),
    ],
)
def test_a_build_that_cannot_begin_says_so_where_one_looks(night: Told, words: Sequence[str], message: str) -> None:
    night.build()
    assert message in night.build(*words, code=2)["output"]
    assert night.page.startswith("# The build failed") and message in night.page
    assert night.metric("likewise_build_success") == 0
    if "--events" not in words:
        assert night.last_event()["event"] == "failed" and night.last_event()["exit_code"] == 2


def test_a_toml_that_is_wrong_is_told(night: Told) -> None:
    night.toml.write_text("name = \n")
    night.build(code=2)
    assert night.page.startswith("# The build failed") and "cohort.toml" in night.page
    assert night.last_event()["error"] == "CohortError"


def test_a_fault_of_the_program_is_told_and_shown(night: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(HistogramEncoder):
        def encode(self, scans: Any) -> Any:
            raise ZeroDivisionError("of p01")

    monkeypatch.setattr(build_index, "load_encoder", lambda name: Broken())
    with pytest.raises(ZeroDivisionError):
        night.build()
    assert "a fault of the program (ZeroDivisionError)" in night.page and "p01" not in night.page
    assert night.metric("likewise_build_success") == 0 and night.last_event()["event"] == "failed"


def test_a_build_that_finds_another_leaves_its_page_and_metrics_alone(night: Told) -> None:
    night.build()
    page, metrics = night.page, night.metrics.read_text()
    with IndexLock(night.index / "building", purpose="purge"):
        assert "a purge works on this index since" in night.build(code=75)["output"]
    assert (night.page, night.metrics.read_text()) == (page, metrics)
    assert (night.last_event()["event"], night.last_event()["exit_code"]) == ("locked", 75)


KILLED = """
import os, pathlib, signal, sys
from index.lock import IndexLock
with IndexLock(pathlib.Path(sys.argv[1]) / "building", purpose=sys.argv[2]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(index: Path, purpose: str) -> None:
    command = [sys.executable, "-c", KILLED, str(index), purpose]
    assert subprocess.run(command, cwd=Path(__file__).parents[1]).returncode == -signal.SIGKILL


def test_after_a_kill_it_is_said_what_was_killed_and_what_is_left(night: Told) -> None:
    night.reading.fails_at = 6
    night.build(code=130)
    killed(night.index, "build")
    night.reading.fails_at = 0
    result = run_build("--cohort", f"table={night.toml}", "--index", night.index)
    said = r"the build started at \S+ by process \d+ on \S+ was killed; going on from [23] finished parts"
    assert re.search(said, result.stderr), result.stderr
    assert "Mind" not in result.stderr


def test_a_purge_that_was_killed_is_a_warning(night: Told) -> None:
    night.build()
    killed(night.index, "purge")
    (warning,) = night.build()["warnings"]
    assert "the purge started at" in warning and "run it again" in warning


def test_a_stopped_build_says_by_what_and_what_is_kept(night: Told) -> None:
    night.reading.fails_at = 6
    told = night.build(code=130)
    assert "stopped by Ctrl-C; nothing is published yet; what was read is kept" in told["output"]
    assert night.page.startswith("# The build was stopped") and "There is no published index." in night.page


# --- full disks


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing new can be flushed."""

    def fsync(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


def test_a_page_that_cannot_be_written_does_not_leave_yesterdays(tmp_path: Path, full_disk: None) -> None:
    page = tmp_path / "morning.md"
    page.write_text(f"{WELL}\n" + "as ever\n" * 100)
    with pytest.raises(
        OSError, match=r"morning.md: cannot be written \(No space left on device\); the page says so itself"
    ):
        write_page(page, f"{WELL}\n")
    left = page.read_text()
    assert left.startswith("# Look at this: this page could not be written\n") and "as ever" not in left
    assert 'It would have begun: "All is well".' in left
    with pytest.raises(OSError, match=r"other.md: cannot be written .* there is none"):
        write_page(tmp_path / "other.md", f"{WELL}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["morning.md"]


def test_a_page_is_replaced_whole_with_the_rights_it_had(tmp_path: Path) -> None:
    page = tmp_path / "morning.md"
    page.write_text("old")
    page.chmod(0o604)
    with page.open() as reader:
        write_page(page, "new\n")
        assert reader.read() == "old"
    assert (page.read_text(), page.stat().st_mode & 0o777) == ("new\n", 0o604)
    assert [path.name for path in tmp_path.iterdir()] == ["morning.md"]


def test_metrics_that_cannot_be_written_are_named_and_the_page_is_written(night: Told) -> None:
    lost = night.folder / "gone/likewise.prom"
    fixed = ("--cohort", f"table={night.toml}", "--index", night.index, "--morning", night.morning)
    result = run_build(*fixed, "--metrics", lost)
    assert result.exit_code == 0 and night.page.startswith(WELL)
    assert f"{lost}: cannot be written (No such file or directory)" in result.stderr.replace("\n", "")
    night.toml.unlink()
    assert run_build(*fixed, "--metrics", lost).exit_code == 2 and night.page.startswith("# The build failed")


def test_events_that_are_lost_are_a_warning_that_names_the_file(night: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("index.events._Appender.write", no_room)
    (warning,) = night.build()["warnings"]
    assert re.fullmatch(rf"\d+ events could not be written to {night.events} \(No space left on device\)", warning)
    assert night.page.startswith("# Look at this")


def no_room(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# --- a dry run writes nothing


def test_a_dry_run_makes_no_index(night: Told) -> None:
    told = night.build("--dry-run")
    assert (told["outcome"], told["new"]) == ("dry-run", FILMS)
    assert not night.index.exists() and not night.morning.exists() and not night.metrics.exists()


def test_a_dry_run_keeps_what_a_killed_build_left(night: Told) -> None:
    night.reading.fails_at = 6
    night.build(code=130)
    page = night.page
    left = {path for path in (night.index / "building").rglob("*") if path.name != "LOCK"}
    half = night.index / "building/20260101T000000Z"
    half.mkdir()
    night.reading.is_forbidden = True
    night.build("--dry-run", "--full")
    night.build("--dry-run", "--exclude", "/gone", code=2)
    assert {path for path in (night.index / "building").rglob("*") if path.name != "LOCK"} == left | {half}
    assert night.page == page


def test_a_touched_film_is_no_reason_to_look(night: Told) -> None:
    night.build()
    later(night.film(2))
    assert night.build()["warnings"] == [] and content_of(night.index).cases
    assert DenyList.read(night.index).digests == {}
