"""Whether a name stands in an index's files: found in packed tables too, and never taken for a longer one."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from index.__main__ import main
from index.snapshot import SnapshotError
from index.traces import Traces


def table(path: Path, **columns: list[str] | list[list[str]]) -> None:
    pq.write_table(pa.table({name: values * 50 for name, values in columns.items()}), path, compression="zstd")


def test_a_name_in_a_packed_table_is_found_that_grep_does_not_see(tmp_path: Path) -> None:
    table(tmp_path / "readings.parquet", message=["the film of Covid-alpha-77001 is dark" * 3, "x"])
    found = Traces(["COVID-ALPHA-77001", "Covid-beta-77002"]).search(tmp_path)
    assert found.names == {"covid-alpha-77001"} and found.where == {"readings.parquet": 1} and found.files == 1


@pytest.mark.parametrize(
    ("name", "text", "is_found"),
    [
        ("Covid12", "/data/Covid12/a.dcm", True),
        ("Covid12", "/data/Covid123/a.dcm", False),
        ("Covid12", "/data/xCovid12/a.dcm", False),
        ("Covid12", "Covid12_pa.png", True),
        ("1.2.840.5", "/data/1.2.840.5.dcm", True),
        ("1.2.840.5", "/data/1.2.840.57.dcm", False),
        ("1.2.840.5", "/data/1.2.840.5.7.dcm", False),
        ("1.2.840.5", "/data/9.1.2.840.5.dcm", False),
        ("Müller-77", '{"identifiers": ["M\\u00fcller-77"]}', True),
    ],
)
def test_a_name_counts_as_a_whole_only(tmp_path: Path, name: str, text: str, is_found: bool) -> None:
    table(tmp_path / "cases.parquet", anything=[text])
    (tmp_path / "manifest.json").write_text(f"before\n{text}\nafter")
    assert Traces([name]).search(tmp_path).where == (
        dict.fromkeys(("cases.parquet", "manifest.json"), 1) if is_found else {}
    )


@pytest.mark.parametrize(
    ("column", "value", "is_found"),
    [
        ("patient_id", "7", True),
        ("case_id", "7", True),
        ("case_id", "17", False),
        ("files", ["/data/7/film.png"], True),
        ("file", "/data/p/7.png", True),
        ("facts", json.dumps({"age_years": 7, "identifiers": ["p", "7"]}), True),
        ("facts", json.dumps({"age_years": 7, "identifiers": ["p"]}), False),
        ("message", "7 slices", False),
    ],
)
def test_a_short_name_counts_only_where_it_says_whose_a_row_is(
    tmp_path: Path, column: str, value: str | list[str], is_found: bool
) -> None:
    table(tmp_path / "t.parquet", **{column: [value]})  # type: ignore[arg-type]
    assert bool(Traces(["7"]).search(tmp_path).where) is is_found


def test_signatures_are_found_in_any_file(tmp_path: Path) -> None:
    (tmp_path / "previews.bin").write_bytes(b"SIGNATURE")
    (tmp_path / "signatures.npy").write_bytes(b"x" * (2**22 - 3) + b"SIGNATURE" + b"y" * 9)  # across two blocks
    found = Traces([], [b"SIGNATURE"]).search(tmp_path)
    assert found.where == {"previews.bin": 1, "signatures.npy": 1} and found.occurrences == 2


def test_a_table_that_cannot_be_searched_is_no_proof(tmp_path: Path) -> None:
    (tmp_path / "cases.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(SnapshotError, match=r"cases\.parquet: cannot be searched"):
        Traces(["anybody"]).search(tmp_path)


def test_an_operator_can_ask_whether_names_stand_in_an_index(small_index: Path, tmp_path: Path) -> None:
    listed = tmp_path / "names.txt"
    arguments = ["verify", "--index", str(small_index), "--absent", str(listed)]
    listed.write_text("P03  # in the index\np99\n")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 1 and "1 of 2 names stand in the index" in result.output
    assert "cases.parquet: 1 of the names" in result.output and "p03" not in result.output.lower()
    listed.write_text("p99\n")
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0 and "none of 1 names stands in any of" in result.output
    assert CliRunner().invoke(main, [*arguments, "--all"]).exit_code == 2
