"""Destroying an index: the certificate is there before anything is removed, and only what an index holds is removed."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from index.__main__ import main
from index.destruction import BEGUN, destroy
from index.proof import read_proof
from index.snapshot import SnapshotError
from tests.users import NOBODY, as_root, run_as_nobody


@pytest.fixture
def index(small_index: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small_index, tmp_path / "index"))


def destroyed(index: Path, certificate: Path) -> Result:
    arguments = ["destroy", "--index", str(index), "--certificate", str(certificate), "--yes"]
    return CliRunner().invoke(main, arguments)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_certificate_lists_every_file_and_shows_a_change(index: Path, tmp_path: Path) -> None:
    (index / "denied.json.new").write_text("half")  # of a purge that was killed
    there = files(index) - {"building/LOCK"}
    certificate = tmp_path / "c.json"
    assert destroyed(index, index / "c.json").exit_code == 2 and index.exists()  # it would go with the index
    result = destroyed(index, certificate)
    assert result.exit_code == 0 and not index.exists(), result.output
    said = read_proof(certificate)
    assert said and said["state"] == "destroyed" and set(said["files"]) == there
    assert said["patients"] == 12 and said["index"] == str(index)
    certificate.write_text(certificate.read_text().replace('"patients": 12', '"patients": 13'))
    assert read_proof(certificate) is None


def test_a_file_in_the_certificates_place_stays_and_so_does_the_index(index: Path, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text("of another index")
    result = destroyed(index, tmp_path / "c.json")
    assert result.exit_code == 2 and "is there already" in result.output
    assert (tmp_path / "c.json").read_text() == "of another index" and (index / "CURRENT").exists()


def test_without_room_for_the_certificate_nothing_is_removed(index: Path, tmp_path: Path) -> None:
    there = files(index)
    result = destroyed(index, tmp_path / "no" / "such" / "folder" / "c.json")
    assert result.exit_code == 2 and files(index) == there


def test_a_destruction_that_was_interrupted_says_so_and_goes_on(index: Path, tmp_path: Path) -> None:
    there = files(index) - {"building/LOCK"}
    certificate = tmp_path / "c.json"
    snapshots = index / "snapshots"
    (snapshots / "stuck").mkdir()
    kept = Path(shutil.copytree(snapshots, tmp_path / "kept"))

    class Stuck(Exception):
        pass

    def interrupted(*_: object) -> None:
        raise Stuck

    with (
        pytest.MonkeyPatch.context() as patched,
        pytest.raises(Stuck),
    ):  # as a kill would, after the certificate's first word
        patched.setattr("index.destruction._remove", interrupted)
        destroy(index, certificate)
    begun = read_proof(certificate)
    assert begun and begun["state"] == BEGUN and set(begun["files"]) == there
    shutil.rmtree(snapshots)  # half is gone
    (index / "CURRENT").unlink()
    assert destroyed(index, certificate).exit_code == 0 and not index.exists()
    said = read_proof(certificate)
    assert said and said["state"] == "destroyed" and set(said["files"]) == there and said["patients"] == 12
    assert kept.exists()


def test_only_the_last_word_is_written_where_all_is_gone(index: Path, tmp_path: Path) -> None:
    certificate = tmp_path / "c.json"
    destroy(index, certificate)
    content = json.loads(certificate.read_text())
    assert destroyed(index, certificate).exit_code == 2  # a certificate that is complete is not touched
    assert json.loads(certificate.read_text()) == content
    with pytest.raises(SnapshotError, match="no index folder"):
        destroy(index, tmp_path / "another.json")
    assert not (tmp_path / "another.json").exists()


def test_what_is_no_indexs_is_left_and_told(index: Path, tmp_path: Path) -> None:
    (index / "thesis.docx").write_text("mine")
    result = destroyed(index, tmp_path / "c.json")
    assert result.exit_code == 0 and "that was left: thesis.docx" in result.output
    assert files(index) == {"thesis.docx"} and [path.name for path in index.iterdir()] == ["thesis.docx"]
    said = read_proof(tmp_path / "c.json")
    assert said and said["foreign_left"] == ["thesis.docx"]


def test_a_link_to_the_index_goes_with_it(index: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(index)
    result = destroyed(tmp_path / "link", tmp_path / "c.json")
    assert result.exit_code == 0 and not index.exists() and not (tmp_path / "link").is_symlink()
    said = read_proof(tmp_path / "c.json")
    assert said and said["index"] == str(index)


def test_what_lies_behind_a_link_would_be_left_so_nothing_is_removed(index: Path, tmp_path: Path) -> None:
    (index / "snapshots").rename(tmp_path / "elsewhere")
    (index / "snapshots").symlink_to(tmp_path / "elsewhere")
    result = destroyed(index, tmp_path / "c.json")
    assert result.exit_code == 1 and "is a link to" in result.output and "Nothing was removed" in result.output
    assert (index / "CURRENT").exists() and not (tmp_path / "c.json").exists()


@as_root
def test_an_index_in_somebody_elses_folder_leaves_an_empty_one_behind(small_index: Path) -> None:
    """As in /srv/likewise, and on a volume of its own: who may empty it may not remove it."""
    with tempfile.TemporaryDirectory() as place:
        parent = Path(place, "srv")
        index = Path(shutil.copytree(small_index, parent / "index"))
        (Path(place) / "log").mkdir()
        for path in (index, *index.rglob("*"), Path(place) / "log"):
            os.chown(path, NOBODY, NOBODY)
        for path in (Path(place), parent):
            path.chmod(0o755)
        certificate = Path(place) / "log" / "c.json"
        code, output = run_as_nobody(
            main, ["destroy", "--index", str(index), "--certificate", str(certificate), "--yes"]
        )
        assert code == 0 and f"the empty folder {index} stays" in output and list(index.iterdir()) == []
        said = read_proof(certificate)
        assert said and said["state"] == "destroyed" and said["empty_folder_left"] and said["by"].startswith("nobody@")


def test_no_other_folder_is_removed(tmp_path: Path) -> None:
    (tmp_path / "photos" / "snapshots").mkdir(parents=True)
    (tmp_path / "photos" / "snapshots" / "me.jpg").write_text("at the sea")
    assert destroyed(tmp_path / "photos", tmp_path / "c.json").exit_code == 1
    assert files(tmp_path) == {"photos/snapshots/me.jpg"}
