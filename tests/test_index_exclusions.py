"""Withdrawn patients, studies and instances do not come into an index, by whichever of their names they are listed."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import build_index
from index.exclusions import ExclusionError, Exclusions
from index.snapshot import Snapshot, open_current
from tests.archives import table_archive
from tests.films import dicom_bytes, phantom


@pytest.fixture
def warehouse(tmp_path: Path) -> Path:
    """Three patients with a film of two studies each."""
    root = tmp_path / "nccid"
    for patient in (1, 2, 3):
        for study in (1, 2):
            uid = f"1.{patient}.{study}"
            path = root / "xray" / f"Covid{patient}" / f"study{patient}{study}" / "series" / f"{uid}.dcm"
            path.parent.mkdir(parents=True)
            stated: dict[str, Any] = {"SOPInstanceUID": uid, "StudyInstanceUID": f"7.{patient}.{study}"}
            path.write_bytes(dicom_bytes(phantom(seed=10 * patient + study), PatientID=f"Covid{patient}", **stated))
    return root


def build(cohort: str, index: Path, listed: Path | None = None) -> Snapshot:
    arguments = ["--cohort", cohort, "--index", str(index), "--encoder", "histogram", "--workers", "1"]
    result = CliRunner().invoke(build_index.main, arguments + (["--exclude", str(listed)] if listed else []))
    assert result.exit_code == 0, result.output
    return open_current(index)


def indexed(snapshot: Snapshot) -> list[str]:
    return list(snapshot.catalogue.values("case_id", "xray"))


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("covid2", ["1.1.1", "1.1.2", "1.3.1", "1.3.2"]),  # a pseudonym, in any case
        ("study21  # withdrawn on paper", ["1.1.1", "1.1.2", "1.2.2", "1.3.1", "1.3.2"]),
        ("1.2.2", ["1.1.1", "1.1.2", "1.2.1", "1.3.1", "1.3.2"]),
        ("7.2.1", ["1.1.1", "1.1.2", "1.2.2", "1.3.1", "1.3.2"]),  # which only the file's header tells
        ("# nobody", ["1.1.1", "1.1.2", "1.2.1", "1.2.2", "1.3.1", "1.3.2"]),
    ],
)
def test_a_listed_name_is_left_out(tmp_path: Path, warehouse: Path, line: str, left: list[str]) -> None:
    listed = tmp_path / "withdrawn.txt"
    listed.write_text(f"# since May\n\n{line}\n")
    snapshot = build(f"nccid={warehouse}", tmp_path / "index", listed)
    assert indexed(snapshot) == left
    manifest = snapshot.manifest
    assert (manifest.exclusions, manifest.excluded) == (sha256(listed.read_bytes()).hexdigest(), 6 - len(left))
    rejected = pq.read_table(snapshot.path / "rejected.parquet")
    assert rejected.num_rows == 0  # the withdrawn are not listed by name anywhere


def test_a_ct_study_is_left_out_for_one_of_its_slices(tmp_path: Path, warehouse: Path) -> None:
    folder = warehouse / "ct" / "Covid3" / "study" / "series"
    folder.mkdir(parents=True)
    for number in range(3):
        (folder / f"9.{number}.dcm").write_bytes(dicom_bytes(phantom(16, 16), Modality="CT"))
    listed = tmp_path / "withdrawn.txt"
    listed.write_text("9.2\n")
    assert build(f"nccid={warehouse}", tmp_path / "index", listed).manifest.excluded == 1


def test_a_table_is_filtered_too(tmp_path: Path) -> None:
    listed = tmp_path / "withdrawn.txt"
    listed.write_text("\ufeffp01\nfilm004\n", encoding="utf-8")
    left = indexed(build(f"table={table_archive(tmp_path / 'a', patients=3)}", tmp_path / "index", listed))
    assert left == ["film000", "film001", "film005"]


def test_who_is_gone_from_the_source_is_gone_from_the_next_snapshot(tmp_path: Path, warehouse: Path) -> None:
    assert len(indexed(build(f"nccid={warehouse}", tmp_path / "index"))) == 6
    (warehouse / "xray/Covid1/study11/series/1.1.1.dcm").unlink()
    for path in (warehouse / "xray/Covid2").rglob("*.dcm"):
        path.unlink()
    assert indexed(build(f"nccid={warehouse}", tmp_path / "index")) == ["1.1.2", "1.3.1", "1.3.2"]


def test_without_a_list_nobody_is_left_out(tmp_path: Path, warehouse: Path) -> None:
    manifest = build(f"nccid={warehouse}", tmp_path / "index").manifest
    assert (manifest.exclusions, manifest.excluded) == ("", 0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"Covid3\nCovid1, Covid2\n", r"1 lines hold more than one word \(line 2\)"),
        ("“Covid1”\n".encode(), r"1 lines hold quotes \(line 1\)"),
        (b'"Covid1\n', r"1 lines hold quotes \(line 1\)"),
        ("# a\nCovid\u200b1\n".encode(), r"1 lines hold invisible characters \(line 2\)"),
        (b"\xff\xfe", "not UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_a_list_that_could_be_misread_is_refused(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "withdrawn.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ExclusionError, match=message):
        Exclusions.read(path)
    arguments = ["--cohort", f"nccid={tmp_path}", "--index", str(tmp_path / "i"), "--exclude", str(path)]
    assert CliRunner().invoke(build_index.main, [*arguments, "--encoder", "histogram"]).exit_code == 2


@pytest.mark.parametrize("content", [b"Covid1\r\nCovid2\r\n", b"Covid1\rCovid2", b'"Covid1"\n \'Covid2\' # "x"\n'])
def test_a_name_is_what_another_system_or_a_spreadsheet_wrote(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "withdrawn.txt"
    path.write_bytes(content)
    listed = Exclusions.read(path)
    assert listed.names == {"covid1", "covid2"} and listed.idle_lines() == [1, 2]
    assert listed.cover_any(["COVID2 "]) and not listed.cover_any(["Covid12", None, ""])
    assert listed.idle_lines() == [1]


def test_who_is_left_out_is_told_in_numbers(tmp_path: Path, warehouse: Path) -> None:
    listed = tmp_path / "withdrawn.txt"
    listed.write_text("Covid1\n")
    arguments = ["--cohort", f"nccid={warehouse}", "--index", str(tmp_path / "i"), "--encoder", "histogram"]
    result = CliRunner().invoke(build_index.main, [*arguments, "--exclude", str(listed), "--json"])
    summary = json.loads(result.stdout)
    assert (summary["excluded"], summary["cases"], summary["patients"]) == (2, {"xray": 4}, 2)
    assert summary["counts"]["patients with images but no clinical file"] == 3  # of the archive as it is
    assert "Covid1" not in result.output
