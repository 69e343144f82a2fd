"""A purged patient is gone from every file of the index, at once from running engines, and does not come back."""

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from click.testing import CliRunner, Result

import build_index
from index.__main__ import main as index_main
from index.denied import DenyList, LiveDenyList
from index.lock import IndexLock
from index.purge import purge
from index.snapshot import Snapshot, open_current
from search.answer import Question
from search.engine import SearchEngine
from tests.conftest import run_build
from tests.films import dicom_bytes, phantom

NAMES = ("Covid-alpha-77001", "Covid-beta-77002", "Covid-gamma-77003", "Covid-delta-77004")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Four patients with two films each; of the first also a file that is no film."""
    root = tmp_path / "nccid"
    for number, name in enumerate(NAMES):
        for study in (1, 2):
            uid = f"1.2.3.{number}.{study}.5550001"
            path = root / "xray" / name / f"1.9.{number}.{study}.5550002" / "series" / f"{uid}.dcm"
            path.parent.mkdir(parents=True)
            stated: dict[str, Any] = {"SOPInstanceUID": uid, "StudyInstanceUID": f"1.9.{number}.{study}.5550002"}
            path.write_bytes(dicom_bytes(phantom(seed=10 * number + study), PatientID=name, **stated))
    (root / "xray" / NAMES[0] / "broken.dcm").write_bytes(b"no film")
    return root


def build(archive: Path, index: Path, *more: str) -> Snapshot:
    arguments = ["--cohort", f"nccid={archive}", "--index", str(index), "--encoder", "histogram", "--workers", "1"]
    result = CliRunner().invoke(build_index.main, [*arguments, *more])
    assert result.exit_code == 0, result.output
    return open_current(index)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(index_main, list(arguments))


def grep(folder: Path, *needles: bytes) -> list[str]:
    """The files under a folder in which any of the needles stands, whatever its case."""
    lowered = [needle.lower() for needle in needles]
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [str(path.relative_to(folder)) for path in files if any(n in path.read_bytes().lower() for n in lowered)]


@pytest.mark.parametrize("place", [".", "xray/index"])
def test_an_index_inside_the_archive_is_refused(archive: Path, place: str) -> None:
    files = sorted(archive.rglob("*"))
    result = run_build("--cohort", f"nccid={archive}", "--index", archive / place)
    assert result.exit_code == 2 and f"lies in the archive {archive}" in " ".join(result.output.split())
    assert sorted(archive.rglob("*")) == files


def test_no_byte_of_a_purged_patient_is_left_in_any_snapshot_or_part(archive: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    first = build(archive, index)
    rows = np.asarray(first.signatures("xray"))[:2].copy()
    (archive / "xray" / NAMES[3] / "1.9.3.2.5550002/series/1.2.3.3.2.5550001.dcm").unlink()
    build(archive, index)  # a second snapshot is kept beside the first
    (index / "building/parts/000001-abcd").mkdir(parents=True)
    (index / "building/parts/000001-abcd/readings.parquet").write_text(NAMES[0])
    needles = [NAMES[0].encode(), b"1.2.3.0.1.5550001", b"1.9.0.2.5550002", rows[0].tobytes(), rows[1].tobytes()]
    assert len(grep(index / "snapshots", *needles)) >= 8  # the test can see what it looks for

    listed = tmp_path / "withdrawn.txt"
    listed.write_text(f"{NAMES[0].upper()}  # by letter\n")
    result = run(
        "purge", "--index", str(index), "--patients", str(listed), "--reason", "17", "--out", str(tmp_path / "p.json")
    )
    assert result.exit_code == 0, result.output
    assert grep(index, *needles) == []
    proof = json.loads((tmp_path / "p.json").read_text())
    assert [(one["cases_removed"], one["rejected_removed"]) for one in proof["snapshots"]] == [(2, 1), (2, 1)]
    assert (proof["names"], proof["parts_removed"], proof["occurrences_left"]) == (1, 1, 0)
    assert proof["files_searched"] == len([path for path in index.rglob("*") if path.is_file()])
    assert NAMES[0].lower() not in (tmp_path / "p.json").read_text().lower()
    left = open_current(index)
    assert list(left.catalogue.values("patient_id", "xray")) == [NAMES[1]] * 2 + [NAMES[2]] * 2 + [NAMES[3]]
    assert run("verify", "--index", str(index), "--all").exit_code == 0


def test_the_others_keep_their_case_signature_and_preview(archive: Path, tmp_path: Path) -> None:
    before = build(archive, tmp_path / "index")
    kept = {
        case_id: (before.catalogue.case("xray", row), before.signatures("xray")[row].tobytes(), before.preview(case_id))
        for row, case_id in enumerate(before.catalogue.values("case_id", "xray"))
        if not case_id.startswith("1.2.3.1.")
    }
    purge(tmp_path / "index", frozenset({NAMES[1]}), reason="")
    after = open_current(tmp_path / "index")
    assert list(after.catalogue.values("case_id", "xray")) == list(kept) and len(kept) == 6
    for row, case_id in enumerate(kept):
        found = (after.catalogue.case("xray", row), after.signatures("xray")[row].tobytes(), after.preview(case_id))
        assert found == kept[case_id]


@pytest.mark.parametrize("name", ["1.2.3.2.1.5550001", "1.9.2.1.5550002"])
def test_a_study_or_instance_can_be_purged_alone(archive: Path, tmp_path: Path, name: str) -> None:
    build(archive, tmp_path / "index")
    purge(tmp_path / "index", frozenset({name}), reason="")
    ids = list(open_current(tmp_path / "index").catalogue.values("case_id", "xray"))
    assert len(ids) == 7 and "1.2.3.2.1.5550001" not in ids and "1.2.3.2.2.5550001" in ids


def test_the_very_picture_under_another_name_goes_too(archive: Path, tmp_path: Path) -> None:
    again = archive / "xray" / "Covid-again-77009" / "s" / "t" / "9.9.9.dcm"
    again.parent.mkdir(parents=True)
    pixels = phantom(seed=11)  # the first film of the second patient
    again.write_bytes(dicom_bytes(pixels, PatientID="Covid-again-77009", SOPInstanceUID="9.9.9"))
    index = tmp_path / "index"
    build(archive, index)
    assert purge(index, frozenset({NAMES[1]}), reason="").is_complete
    assert "9.9.9" not in list(open_current(index).catalogue.values("case_id", "xray"))
    assert "9.9.9" not in list(build(archive, index).catalogue.values("case_id", "xray"))


def test_a_running_engine_leaves_the_purged_out_at_once(archive: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    build(archive, index)
    engine = SearchEngine.open(index)
    asked = "1.2.3.0.1.5550001"
    question = Question(k=2)
    assert NAMES[2] in {one.case.patient_id for one in engine.query_case(asked, Question(k=3)).neighbours}
    DenyList.read(index).with_names([NAMES[2]], date(2026, 1, 1)).write(index)
    assert {one.case.patient_id for one in engine.query_case(asked, question).neighbours} == {NAMES[1], NAMES[3]}


def test_a_live_list_is_read_again_only_when_it_changed(tmp_path: Path) -> None:
    live = LiveDenyList(tmp_path)
    assert not live.covers("a") and not live.changed()
    DenyList().with_names(["A "], date(2026, 1, 1)).write(tmp_path)
    assert live.changed() and live.covers("a") and not live.changed()
    assert "a" not in json.loads((tmp_path / "denied.json").read_text())["digests"]


def test_the_purged_do_not_come_back_by_the_next_build_or_a_rollback(archive: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    build(archive, index)
    shutil.copytree(index / "snapshots", tmp_path / "backup")
    purge(index, frozenset({NAMES[0]}), reason="")
    rebuilt = build(archive, index, "--full")
    assert NAMES[0] not in set(rebuilt.catalogue.values("patient_id", "xray")) and rebuilt.manifest.excluded == 3
    shutil.copytree(tmp_path / "backup", index / "snapshots", dirs_exist_ok=True)  # somebody restores a backup
    (restored,) = (path.name for path in (tmp_path / "backup").iterdir())
    result = run("rollback", "--index", str(index), "--to", restored)
    assert result.exit_code == 1 and "before the last purge" in result.output
    assert "before the last purge" in run("status", "--index", str(index)).output
    assert open_current(index).manifest.name == rebuilt.manifest.name


def test_a_rollback_goes_one_back_and_the_next_build_forward(archive: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    first = build(archive, index).manifest.name
    second = build(archive, index, "--full").manifest.name
    assert run("rollback", "--index", str(index)).output == f"published {first}\n"
    assert open_current(index).manifest.name == first
    assert run("rollback", "--index", str(index)).exit_code == 1  # nothing before that
    assert run("rollback", "--index", str(index), "--to", second).exit_code == 0
    damaged = index / "snapshots" / first / "cases.parquet"
    damaged.write_bytes(b"x" + damaged.read_bytes()[1:])
    result = run("rollback", "--index", str(index))
    assert result.exit_code == 1 and "cases.parquet" in result.output
    assert open_current(index).manifest.name == second


def test_old_snapshots_are_pruned_but_never_the_published_one(archive: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    names = [build(archive, index, "--full", "--keep", "9").manifest.name for _ in range(3)]
    run("rollback", "--index", str(index), "--to", names[0])
    result = run("prune", "--index", str(index), "--keep", "1")
    left = sorted(path.name for path in (index / "snapshots").iterdir())
    assert result.exit_code == 0 and len(left) == 2 and names[0] in left


def test_whoever_is_alone_in_an_index_takes_it_with_them(archive: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    for name in NAMES[1:]:
        shutil.rmtree(archive / "xray" / name)
    build(archive, index)
    proof = purge(index, frozenset({NAMES[0]}), reason="")
    assert proof.is_complete and proof.snapshots[0].after is None and not (index / "CURRENT").exists()


def purged(index: Path, listed: Path, names: str, out: str = "proof.json") -> Result:
    listed.write_text(names)
    return run("purge", "--index", str(index), "--patients", str(listed), "--out", str(listed.with_name(out)))


def test_what_was_removed_is_told_in_patients_and_scans_each_counted_once(archive: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    build(archive, index)
    build(archive, index, "--full")
    result = purged(index, tmp_path / "w.txt", f"{NAMES[0]}\n")
    told = "removed 1 patient with 2 scans and 1 rejected file, from 2 of 2 snapshots; 0 traces left"
    assert told in result.output and result.exit_code == 0
    assert "of nobody" not in result.output


def test_names_that_are_of_nobody_are_said_and_denied_all_the_same(archive: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    build(archive, index)
    result = purged(index, tmp_path / "w.txt", f"{NAMES[0]}\nCovid-alhpa-77001\n{NAMES[1]}\n")
    assert "Mind: 1 of 3 names is of nobody in any snapshot; denied all the same" in result.output
    assert "slips of the pen in line 2" in result.output
    assert result.exit_code == 0 and "alhpa" not in result.output
    assert DenyList.read(index).covers("covid-alhpa-77001")
    proof = json.loads((tmp_path / "proof.json").read_text())
    assert proof["digests_of_nobody"] == [DenyList.read(index).digest("Covid-alhpa-77001")]
    again = purged(index, tmp_path / "w.txt", f"{NAMES[0]}\n", out="again.json")
    assert "1 of 1 name is of nobody in any snapshot (1 of all were denied before)" in again.output
    assert "nobody of them was in any of 1 snapshot; 0 traces left" in again.output


def of_format_2(snapshot: Path) -> None:
    """As an earlier version wrote it."""
    manifest = snapshot / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format": 3', '"format": 2'))


@pytest.mark.parametrize("spoil", [of_format_2, lambda snapshot: (snapshot / "previews.bin").write_bytes(b"")])
def test_an_older_snapshot_that_cannot_be_read_goes_whole_and_nothing_false_is_said(
    archive: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    index = tmp_path / "index"
    old = build(archive, index).manifest.name
    for path in (archive / "xray" / NAMES[0]).rglob("*.dcm"):
        path.unlink()
    new = build(archive, index, "--allow-shrink").manifest.name
    spoil(index / "snapshots" / old)
    result = purged(index, tmp_path / "w.txt", f"{NAMES[0]}\n")
    assert result.exit_code == 0 and "1 snapshot could not be read and went whole" in result.output
    assert "whether a name was in it cannot be said" in result.output and "of nobody in any" not in result.output
    assert "nobody of them was in any of 1 snapshot that could be read" in result.output
    assert json.loads((tmp_path / "proof.json").read_text())["digests_of_nobody"] == []
    assert [path.name[:23] for path in (index / "snapshots").iterdir()] == [new]


@pytest.mark.parametrize("spoil", [of_format_2, lambda snapshot: (snapshot / "xray/previews.npy").unlink()])
def test_the_published_snapshot_is_not_lost_where_a_purge_cannot_read_it(
    archive: Path, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    index = tmp_path / "index"
    old = build(archive, index).manifest.name
    spoil(index / "snapshots" / old)
    result = purged(index, tmp_path / "w.txt", f"{NAMES[0]}\n")
    told = " ".join(result.output.split())
    assert (
        result.exit_code == 1 and "It is the published snapshot: build first" in told and "The deny-list holds" in told
    )
    assert (index / "CURRENT").read_text().strip() == old and (index / "snapshots" / old).is_dir()
    build(archive, index)
    assert purged(index, tmp_path / "w.txt", f"{NAMES[0]}\n").exit_code == 0
    assert grep(index, NAMES[0].encode()) == [] and not (index / "snapshots" / old).exists()
    assert run("verify", "--index", str(index), "--all").exit_code == 0


def test_an_upgrade_does_not_bring_back_the_purged_where_the_deny_list_is_lost(archive: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    build(archive, index)
    purge(index, frozenset({NAMES[0]}), reason="")
    (index / "denied.json").unlink()
    of_format_2(next((index / "snapshots").iterdir()))
    result = run_build("--cohort", f"nccid={archive}", "--index", index)
    assert result.exit_code == 1 and "denied.json: is missing or empty" in " ".join(result.output.split())
    again = purged(index, tmp_path / "w.txt", f"{NAMES[1]}\n")
    assert "Mind: denied.json was missing" in again.output


@pytest.mark.parametrize("at", ["make_current", "_remove"])
@pytest.mark.parametrize("kills", [1, 2])
def test_a_purge_that_was_killed_leaves_no_snapshot_twice_when_it_is_run_again(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str, kills: int
) -> None:
    index = tmp_path / "index"
    names = [build(archive, index, "--full").manifest.name for _ in range(2)]
    for _ in range(kills):
        with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
            killed.setattr(f"index.purge.{at}", Mock(side_effect=KeyboardInterrupt))
            purge(index, frozenset({NAMES[0]}), reason="")
    assert len(list((index / "snapshots").iterdir())) == 2 + kills
    report = purge(index, frozenset({NAMES[0]}), reason="")
    assert [one.cases_removed for one in report.snapshots] == [2, 2] and report.is_complete
    left = sorted(path.name for path in (index / "snapshots").iterdir())
    assert [name[:23] for name in left] == names
    assert open_current(index).manifest.name == left[-1]
    assert f"published {left[0]}" in run("rollback", "--index", str(index)).output


def test_an_older_proof_is_never_replaced(archive: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    name = build(archive, index).manifest.name
    (tmp_path / "proof.json").write_text("of last year")
    result = purged(index, tmp_path / "w.txt", f"{NAMES[0]}\n")
    assert result.exit_code == 2 and "is there already" in result.output
    assert (tmp_path / "proof.json").read_text() == "of last year"
    assert open_current(index).manifest.name == name and not (index / "denied.json").exists()


def test_where_a_build_is_running_the_names_are_denied_and_the_message_says_so(archive: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    build(archive, index)
    with IndexLock(index / "building", purpose="build"):
        result = purged(index, tmp_path / "w.txt", f"{NAMES[0]}\n")
    assert result.exit_code == 1 and "The deny-list holds" in result.output and "same purge again" in result.output
    assert DenyList.read(index).covers(NAMES[0]) and not (tmp_path / "proof.json").exists()
    verified = run("verify", "--index", str(index))
    assert verified.exit_code == 1 and "whole, but is from before the last purge" in verified.output
    assert purged(index, tmp_path / "w.txt", f"{NAMES[0]}\n").exit_code == 0
    assert run("verify", "--index", str(index)).exit_code == 0


def test_a_folder_that_is_no_index_is_not_touched_by_a_purge(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    result = purged(tmp_path / "photos", tmp_path / "w.txt", "somebody\n")
    assert result.exit_code == 1 and "no index folder" in result.output
    assert list((tmp_path / "photos").iterdir()) == []


def test_a_deny_list_that_cannot_be_written_denies_nobody_and_says_so(archive: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    name = build(archive, index).manifest.name
    (index / "denied.json.new").mkdir()  # the next write fails, as on a full disk
    result = purged(index, tmp_path / "w.txt", f"{NAMES[0]}\n")
    assert result.exit_code == 1 and "denied.json.new: cannot be written" in result.output
    assert "nobody is denied, nothing was removed" in result.output
    assert open_current(index).manifest.name == name and not (tmp_path / "proof.json").exists()


def test_two_purges_at_once_lose_no_name(tmp_path: Path) -> None:
    names = [f"Covid{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: DenyList.add(tmp_path, [name]), names))
    assert all(DenyList.read(tmp_path).covers(name) for name in names)


def test_a_purge_of_one_study_is_complete_though_its_patient_stays(archive: Path, tmp_path: Path) -> None:
    build(archive, tmp_path / "index")
    proof = purge(tmp_path / "index", frozenset({"1.9.2.1.5550002"}), reason="")
    assert proof.is_complete and (proof.patients_removed, proof.scans_removed) == (1, 1)


def test_whose_name_begins_like_a_purged_one_is_no_trace_of_it(archive: Path, tmp_path: Path) -> None:
    folder = (
        archive / "xray" / f"{NAMES[0]}9" / "1.9.0.1.55500023" / "series"
    )  # the first's name and study, and one more digit
    folder.mkdir(parents=True)
    uid = "1.2.3.0.1.55500017"
    film = dicom_bytes(
        phantom(seed=77), PatientID=f"{NAMES[0]}9", SOPInstanceUID=uid, StudyInstanceUID="1.9.0.1.55500023"
    )
    (folder / f"{uid}.dcm").write_bytes(film)
    build(archive, tmp_path / "index")
    assert purge(tmp_path / "index", frozenset({NAMES[0]}), reason="").is_complete
    assert uid in list(open_current(tmp_path / "index").catalogue.values("case_id", "xray"))


def test_restored_snapshots_without_their_deny_list_are_told_from_older_ones(archive: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    build(archive, index)
    purge(index, frozenset({NAMES[0]}), reason="")
    build(archive, index, "--full")
    (index / "denied.json").unlink()
    for command in ("verify", "rollback", "status"):
        result = run(command, "--index", str(index))
        assert "denied.json is missing: restore it from the backup" in " ".join(result.output.split()), command
        assert result.exit_code == (0 if command == "status" else 1)


def test_restored_snapshots_without_current_are_published_by_a_rollback(archive: Path, tmp_path: Path) -> None:
    name = build(archive, tmp_path / "lost").manifest.name
    shutil.copytree(tmp_path / "lost" / "snapshots", tmp_path / "index" / "snapshots")
    result = run("verify", "--index", str(tmp_path / "index"))
    assert result.exit_code == 1 and "CURRENT is missing" in result.output and f"--to {name}" in result.output
    assert run("rollback", "--index", str(tmp_path / "index"), "--to", name).output == f"published {name}\n"
    assert run("verify", "--index", str(tmp_path / "index")).exit_code == 0


def test_a_refused_rollback_names_those_that_are_possible(archive: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    old = build(archive, index).manifest.name
    shutil.copytree(index / "snapshots" / old, tmp_path / "kept")
    purge(index, frozenset({NAMES[0]}), reason="")
    first = open_current(index).manifest.name
    second = build(archive, index, "--full").manifest.name
    shutil.copytree(tmp_path / "kept", index / "snapshots" / f"{first}-restored")  # between the two
    result = run("rollback", "--index", str(index))
    assert (
        result.exit_code == 1 and "before the last purge" in result.output and f"--to may name {first}" in result.output
    )
    assert open_current(index).manifest.name == second


@pytest.mark.parametrize("content", ["", "# nobody\n", "a, b\n"])
def test_a_list_that_names_nobody_or_could_be_misread_removes_nothing(
    archive: Path, tmp_path: Path, content: str
) -> None:
    index = tmp_path / "index"
    name = build(archive, index).manifest.name
    (tmp_path / "w.txt").write_text(content)
    result = run(
        "purge", "--index", str(index), "--patients", str(tmp_path / "w.txt"), "--out", str(tmp_path / "p.json")
    )
    assert result.exit_code == 2 and open_current(index).manifest.name == name and not (index / "denied.json").exists()


def test_a_purge_without_the_earlier_deny_list_says_who_comes_back(archive: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    build(archive, index)
    assert "was missing" not in purged(index, tmp_path / "w.txt", f"{NAMES[0]}\n").output
    (index / "denied.json").unlink()
    result = purged(index, tmp_path / "w.txt", f"{NAMES[1]}\n", out="second.json")
    assert "denied.json was missing" in result.output and "Purge all who were purged before" in result.output
