"""Snapshots: published whole or not at all, checked before they are opened."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from index.case import Case, Endpoint, Event, Outcome, Rejected, State
from index.catalogue import Archived, Catalogue, FilterError
from index.lock import IndexLock, LockedError
from index.readings import Facts, Reading, Seen
from index.snapshot import Snapshot, SnapshotError, current_folder, open_current
from index.snapshot_writer import Build, SnapshotWriter, name_after, prepare_index_folder, sweep
from index.transform import Centring

ENDPOINTS = (Endpoint("died", "death"),)


def case(number: int) -> Case:
    return Case(
        case_id=f"c{number:03}",
        patient_id=f"p{number // 2}",
        cohort="made",
        files=(f"/films/{number}.dcm",),
        outcome=Outcome({"died": Event(State.YES, number) if number % 3 == 0 else Event(State.NO)}, 30),
        view="PA" if number % 2 else None,
        age_years=50.0 + number,
        clinical={"crp_mg_l": float(number), "note": "x" if number else None},
    )


def written(index: Path, rows: npt.NDArray[np.float32]) -> SnapshotWriter:
    """A writer that was given a case for each row, backwards."""
    prepare_index_folder(index)
    writer = SnapshotWriter(index, ENDPOINTS)
    for number in reversed(range(len(rows))):
        facts = Facts("xray", f"hash{number}", ("a flag",))
        seen = Seen(f"c{number:03}", f"stamp{number}", "record", facts)
        writer.add(case(number), seen, Reading(facts, rows[number], b"jpeg"))
    writer.reject(Rejected("bad", "/films/bad.dcm", "no-pixels", "no pixels"))
    return writer


def publish(index: Path, count: int = 30, *, store: str = "faiss", seed: int = 0) -> str:
    rows = np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    build = Build("histogram", "histogram:1", {"made": "/films"}, ENDPOINTS, "0", store, seen=count + 1)
    return written(index, rows).publish(build).name


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    publish(tmp_path)
    return open_current(tmp_path)


def test_a_snapshot_returns_what_was_put_in(snapshot: Snapshot) -> None:
    found = snapshot.catalogue.case("xray", 3)
    assert found == case(3)
    assert snapshot.preview("c003") == b"jpeg" and snapshot.preview("none") is None
    manifest = snapshot.manifest
    assert (manifest.cases, manifest.patients, manifest.seen, manifest.rejected) == (
        {"xray": 30},
        15,
        31,
        {"no-pixels": 1},
    )


def test_rows_follow_the_case_ids_whatever_order_they_came_in(snapshot: Snapshot) -> None:
    assert list(snapshot.catalogue.values("case_id", "xray")) == [f"c{number:03}" for number in range(30)]
    rows = np.random.default_rng(0).normal(size=(30, 8)).astype(np.float32)
    np.testing.assert_allclose(
        snapshot.signatures("xray"), rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=1e-6
    )


def test_two_builds_of_the_same_input_give_the_same_files(tmp_path: Path) -> None:
    publish(tmp_path / "a")
    publish(tmp_path / "b")
    first, second = open_current(tmp_path / "a").manifest, open_current(tmp_path / "b").manifest
    assert first.files == second.files


def test_a_snapshot_in_anothers_place_sorts_as_the_other_did() -> None:
    old, later = "20261127T003956Z-100000", "20261127T003956Z-794926"
    for name in (name_after(old), name_after(name_after(old))):
        assert old < name < later and name.count("-") == 2


def test_publishing_again_switches_and_keeps_the_old_one(tmp_path: Path) -> None:
    first, second = publish(tmp_path), publish(tmp_path, seed=1)
    assert current_folder(tmp_path).name == second
    assert (tmp_path / "snapshots" / first / "manifest.json").exists()
    assert not any((tmp_path / "building").iterdir())


@pytest.mark.parametrize("name", ["xray/index.faiss", "cases.parquet", "xray/transform.npz"])
def test_a_changed_file_is_refused_by_name_before_it_is_parsed(tmp_path: Path, name: str) -> None:
    publish(tmp_path)
    path = current_folder(tmp_path) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(SnapshotError, match=f"{Path(name).name}: was changed since it was built"):
        open_current(tmp_path)


@pytest.mark.parametrize("name", ["xray/index.faiss", "cases.parquet", "manifest.json"])
def test_a_missing_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    publish(tmp_path)
    (current_folder(tmp_path) / name).unlink()
    with pytest.raises(SnapshotError, match=Path(name).name):
        open_current(tmp_path)


@pytest.mark.parametrize("name", ["xray/signatures.npy", "previews.bin", "xray/previews.npy"])
@pytest.mark.parametrize("damage", ["changed", "emptied", "missing"])
def test_signatures_and_previews_are_checked_at_their_first_use(snapshot: Snapshot, name: str, damage: str) -> None:
    path = snapshot.path / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if damage == "changed" else b"")
    with pytest.raises(SnapshotError, match=path.name):
        snapshot.signatures("xray") if path.name == "signatures.npy" else snapshot.preview("c003")


@pytest.mark.parametrize("name", ["a#b", "a?b", "100%25", "ünï"])
def test_previews_are_found_whatever_the_folder_is_called(tmp_path: Path, name: str) -> None:
    publish(tmp_path / name)
    assert open_current(tmp_path / name).preview("c003") == b"jpeg"
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_current_that_is_no_text_is_refused(tmp_path: Path) -> None:
    publish(tmp_path)
    (tmp_path / "CURRENT").write_bytes(b"\xff\xfe\0")
    with pytest.raises(SnapshotError, match="CURRENT: holds no snapshot's name"):
        open_current(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"encoder": 5}, {"dim": "8"}, {"cases": [1]}, {"cases": {"xray": "30"}}, {"files": {"a": 1}}, {"cohorts": None},
        {"endpoints": [{"name": "relapse", "title": "relapse"}]}, {"endpoints": [{"name": 5, "title": "x"}]},
        {"endpoints": [5]}, {"endpoints": 5}, {"other": 1},
    ],
)  # fmt: skip
def test_a_manifest_of_other_content_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    publish(tmp_path)
    path = current_folder(tmp_path) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(SnapshotError, match="rebuild the index"):
        open_current(tmp_path)


@pytest.mark.parametrize("name", ["SITE", "site", "died_days"])
def test_a_catalogue_whose_columns_repeat_is_refused(tmp_path: Path, name: str) -> None:
    catalogue = Catalogue.build([Archived(case(0), "xray", "hash", ())], ENDPOINTS)
    doubled = Catalogue(catalogue._table.append_column(name, pa.array([1])), ENDPOINTS)
    doubled.write(tmp_path / "cases.parquet")
    with (tmp_path / "cases.parquet").open("rb") as stream, pytest.raises(ValueError, match=f"columns {name.lower()}"):
        Catalogue.read(stream, ENDPOINTS)


HOLDER = """
import os, pathlib, sys, time
from index.lock import IndexLock
from index.snapshot_writer import SnapshotWriter
index = pathlib.Path(sys.argv[1])
with IndexLock(index / "building", purpose="build"):
    SnapshotWriter(index, ())
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_build_is_told_who_holds_the_lock_and_a_killed_ones_is_taken_over(tmp_path: Path) -> None:
    prepare_index_folder(tmp_path)
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"a build works on this index since .* process {holder.pid} on "):
            IndexLock(tmp_path / "building", purpose="build").__enter__()
        holder.kill()
    assert len(list((tmp_path / "building").iterdir())) == 2  # the lock, and what was being written
    with IndexLock(tmp_path / "building", purpose="build") as lock:
        assert lock.took_over and f"process {holder.pid}" in lock.took_over
        sweep(tmp_path)
    assert [path.name for path in (tmp_path / "building").iterdir()] == ["LOCK"]
    with IndexLock(tmp_path / "building", purpose="build") as lock:
        assert lock.took_over is None  # the last one ended well


def test_a_manifest_of_another_format_is_refused(tmp_path: Path) -> None:
    publish(tmp_path)
    path = current_folder(tmp_path) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(SnapshotError, match="format 99"):
        open_current(tmp_path)


def test_an_index_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match="no such index folder"):
        open_current(tmp_path / "none")
    with pytest.raises(SnapshotError, match="no published index"):
        open_current(tmp_path)
    (tmp_path / "CURRENT").write_text("../elsewhere\n")
    with pytest.raises(SnapshotError, match="not there"):
        open_current(tmp_path)


def test_a_build_that_fails_to_verify_leaves_the_current_snapshot(tmp_path: Path) -> None:
    first = publish(tmp_path)
    build = Build("histogram", "histogram:1", {}, ENDPOINTS, "0", "faiss")
    writer = written(tmp_path, np.full((30, 8), np.nan, np.float32))
    with pytest.raises(SnapshotError, match="unit rows"):
        writer.publish(build)
    writer.discard()
    assert current_folder(tmp_path).name == first
    assert not any((tmp_path / "building").iterdir())


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SnapshotError, match="cannot be written to"):
        prepare_index_folder(tmp_path / "file" / "index")


def test_a_moved_index_still_opens(tmp_path: Path) -> None:
    publish(tmp_path / "a")
    shutil.move(tmp_path / "a", tmp_path / "b")
    assert open_current(tmp_path / "b").manifest.cases == {"xray": 30}


# --- the catalogue's filter


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("age_years >= 78", [28, 29]),
        ("died = 'yes' and age_years < 55", [0, 3]),
        ("view is null and crp_mg_l in (2, 4)", [2, 4]),
        ("died_days > 20 -- late", [21, 24, 27]),
        ("patient_id = 'p0' or true", list(range(30))),
        ("false", []),
    ],
)
def test_a_condition_picks_rows(snapshot: Snapshot, condition: str, expected: list[int]) -> None:
    assert snapshot.catalogue.where(condition, "xray").tolist() == expected


@pytest.mark.parametrize(
    "condition",
    [
        "weight > 3",
        "drop table cases",
        "true); delete from cases; select (true",
        "true; delete from cases",
        "true) union all (select 3",
        "true union all select 3",
        "case_id",
        "\udcff = 1",
        "row in (select row from read_parquet('/etc/passwd'))",
        "exists(select * from read_text('/etc/hostname'))",
        "age_years >",
        "",
    ],
)
def test_what_is_not_a_condition_is_refused(snapshot: Snapshot, condition: str) -> None:
    with pytest.raises(FilterError, match="--where"):
        snapshot.catalogue.where(condition, "xray")


def test_an_unknown_column_is_answered_with_those_there_are(snapshot: Snapshot) -> None:
    with pytest.raises(FilterError, match="columns: case_id, patient_id"):
        snapshot.catalogue.where("weight > 3", "xray")


# --- centring


def test_centring_subtracts_the_mean_and_restores_length() -> None:
    rows = np.tile(np.array([[1, 0], [0, 1]], np.float32), (15, 1))
    centring = Centring.fit(rows)
    np.testing.assert_allclose(centring.mean, [0.5, 0.5])
    half = np.sqrt(0.5)
    np.testing.assert_allclose(centring.apply(rows[:2]), [[half, -half], [-half, half]], atol=1e-6)


@pytest.mark.parametrize(
    "rows",
    [
        np.eye(5, dtype=np.float32),
        np.tile([[1.0, 0.0]], (30, 1)).astype(np.float32),
        np.array([[1.0, 0.0]] * 30_000 + [[0.0, 1.0]], np.float32),
    ],
)
def test_few_or_nearly_equal_rows_are_not_centred(rows: npt.NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(Centring.fit(rows).mean, 0)
