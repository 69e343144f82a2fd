"""What an operator is told of an index folder that is none, not his, or not readable; by `python -m index` and by a build."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from index.__main__ import main
from index.owners import not_let_in
from index.snapshot import SnapshotError
from index.snapshot_writer import prepare_index_folder
from tests.users import NOBODY, as_root, run_as_nobody


@pytest.fixture
def public(small_index: Path) -> Iterator[Path]:
    """A copy of an index, in a folder that every user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(shutil.copytree(small_index, Path(folder) / "index"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@click.command()
@click.argument("index", type=click.Path(path_type=Path))
def prepare(index: Path) -> None:
    """The first step of a build."""
    try:
        prepare_index_folder(index)
    except SnapshotError as error:
        raise click.ClickException(str(error)) from error


@pytest.mark.parametrize("place", ["snapshots", "building", "nowhere"])
@pytest.mark.parametrize("command", ["status", "prune", "rollback"])
def test_a_folder_that_is_no_index_is_an_error(small_index: Path, place: str, command: str) -> None:
    result = run(command, "--index", str(small_index / place))
    assert result.exit_code == 1 and " folder" in result.output and "Nothing is published" not in result.output


@as_root
def test_whoever_may_not_look_is_told_whose_it_is(public: Path) -> None:
    public.chmod(0o700)
    code, output = run_as_nobody(main, ["status", "--index", str(public)])
    assert code == 1 and f"{public} belongs to root (mode 0700), you are nobody" in output
    assert "backup" not in output and "rebuild" not in output


@as_root
def test_a_deny_list_of_another_user_is_not_said_to_be_damaged(public: Path) -> None:
    (public / "denied.json").write_text("{}")
    (public / "denied.json").chmod(0o600)
    code, output = run_as_nobody(main, ["status", "--index", str(public)])
    assert code == 1 and "denied.json belongs to root (mode 0600), you are nobody" in output
    assert "restore" not in output


@as_root
def test_parts_that_cannot_be_read_are_said_in_words(public: Path) -> None:
    (snapshot,) = (public / "snapshots").iterdir()
    for path in (public / "CURRENT", public / "building", snapshot / "manifest.json"):
        path.chmod(0o600)
    code, output = run_as_nobody(main, ["status", "--index", str(public)])
    told = " ".join(output.split())
    assert code == 0 and "CURRENT cannot be read: permission denied" in told and "Nothing is published" not in told
    assert "parts cannot be read" in told and "manifest.json belongs to root" in told
    code, output = run_as_nobody(main, ["verify", "--index", str(public)])
    assert code == 1 and "CURRENT cannot be read" in output.replace("CURRENT: ", "CURRENT ")
    (public / "snapshots").chmod(0o700)
    code, output = run_as_nobody(main, ["status", "--index", str(public)])
    assert code == 1 and "snapshots belongs to root" in output


@as_root
@pytest.mark.parametrize("place", [".", "building"])
def test_who_may_not_write_is_told_whose_the_folder_is(public: Path, place: str) -> None:
    if place == ".":
        shutil.rmtree(public / "building")
    else:
        os.chown(public, NOBODY, NOBODY)  # root built once by hand
    code, output = run_as_nobody(prepare, [str(public)])
    folder = public / place if place != "." else public
    assert code == 1 and "cannot be written to: permission denied" in output and f"{folder} belongs to root" in output


@pytest.mark.parametrize("said", ["[1]", "nonsense", ""])
def test_a_lock_that_says_nothing_of_its_holder_is_told_as_held(public: Path, said: str) -> None:
    with (public / "building" / "LOCK").open("w") as lock:
        lock.write(said)
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = run("status", "--index", str(public))
    assert result.exit_code == 0 and "something else works on this index" in result.output.replace("\n", " ")


@as_root
def test_a_lock_that_root_left_is_told_to_be_roots(public: Path) -> None:
    (public / "building" / "LOCK").write_text("")
    for path in (public, *public.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    os.chown(public / "building" / "LOCK", 0, 0)
    code, output = run_as_nobody(main, ["rollback", "--index", str(public)])
    assert code == 1 and f"{public / 'building' / 'LOCK'} belongs to root" in output


@as_root
def test_root_does_not_write_what_the_builds_user_could_not_replace(public: Path, tmp_path: Path) -> None:
    os.chown(public, NOBODY, NOBODY)
    (tmp_path / "w.txt").write_text("p03\n")
    purge = ["purge", "--patients", str(tmp_path / "w.txt"), "--out", str(tmp_path / "p.json")]
    for command in (purge, ["rollback"]):
        result = run(*command, "--index", str(public))
        assert result.exit_code == 2 and "belongs to nobody" in result.output and "run this as nobody" in result.output
    assert not (public / "denied.json").exists()


def test_ones_own_file_of_a_wrong_mode_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch(mode=0o000)
    assert "is yours" in not_let_in(tmp_path / "file") and "mode 0000; chmod it" in not_let_in(tmp_path / "file")


@pytest.mark.parametrize(
    ("names", "is_refused"),
    [
        ((), False),
        (("lost+found", ".snapshot"), False),  # of a volume of its own
        (("denied.json", "CURRENT", "snapshots"), False),  # restored
        (("holiday.jpg",), True),
        (("xray", "ct"), True),  # the archive itself
        (("snapshots", "holiday.jpg"), True),
        (("snapshots", "building", "notes.txt"), False),  # it is one, whatever else lies there
    ],
)
def test_no_index_is_begun_among_other_files(tmp_path: Path, names: Sequence[str], is_refused: bool) -> None:
    folder = tmp_path / "index"
    for name in names:
        (folder / name).mkdir(parents=True)
    if is_refused:
        with pytest.raises(SnapshotError, match="is no index and not empty"):
            prepare_index_folder(folder)
        assert {path.name for path in folder.iterdir()} == set(names)
    else:
        prepare_index_folder(folder)
        assert (folder / "building").is_dir()


def test_a_prune_that_removes_nothing_says_which_number_would(small_index: Path, tmp_path: Path) -> None:
    index = Path(shutil.copytree(small_index, tmp_path / "index"))
    (snapshot,) = (index / "snapshots").iterdir()
    shutil.copytree(snapshot, index / "snapshots" / "20010101T000000Z-000000")
    assert run("prune", "--index", str(index)).output == "removed nothing; 2 left; --keep 1 would remove one more\n"
    result = run("prune", "--index", str(index), "--keep", "1")
    assert result.output == "removed 20010101T000000Z-000000; 1 left\n"
