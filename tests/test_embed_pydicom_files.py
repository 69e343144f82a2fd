"""Every file in pydicom's wheel becomes a scan or a named refusal; the documentation names every reason."""

import re
from importlib.util import find_spec
from pathlib import Path

from benchmarks.pydicom_files import BEGIN, END, Row, data_files, outcome_row, row_of, wheel_files
from embed.sandbox import IsolatedWorkers
from tests.conftest import missing

ROOT = Path(__file__).parents[1]
REASON = re.compile(
    r'(?:Scan|ScanError|Dropped)\(\s*(?:[\w.()]+, )?"([a-z-]+)"|return "([a-z-]+)", f?"|TOO_MUCH_MEMORY = "(.*)"'
)


def test_each_file_of_pydicoms_wheel_is_a_scan_or_a_named_refusal() -> None:
    rows = rows_of(wheel_files())
    assert not [f"{row.name}: {row.fault}" for row in rows if row.fault]
    assert all(row.reason or "×" in row.result for row in rows)
    assert len(rows) > 150 and sum("×" in row.frame for row in rows) > 90  # decoded, of whatever modality
    assert {row.result.partition(" ")[0] for row in rows} >= {"xray", "mri", "refused:"}


def test_each_file_of_the_pydicom_data_wheel_is_a_scan_or_a_named_refusal() -> None:
    if find_spec("data_store") is None:
        missing("the pydicom-data wheel")
    rows = rows_of(data_files())
    assert not [f"{row.name}: {row.fault}" for row in rows if row.fault]
    films = {row.name: row.result for row in rows if "RG1_" in row.name}
    assert len(films) == 4 and len(set(films.values())) == 1  # one film, in four encodings


def test_the_documentation_has_a_line_for_every_reason() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "embed").glob("*.py"))
    reasons = {next(filter(None, found)) for found in REASON.findall(code)}
    text = (ROOT / "docs" / "decoding.md").read_text()
    assert BEGIN in text and END in text
    named = set(re.findall(r"^\| `([a-z-]+)` \|", text, flags=re.MULTILINE))
    assert len(reasons) > 30 and reasons == named


def test_the_documentation_tells_of_every_flag() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "embed").glob("*.py"))
    flags = set(re.findall(r'Flag\(\s*"([a-z-]+)"', code))
    text = "\n".join((ROOT / "docs" / name).read_text() for name in ("decoding.md", "lungs.md"))
    assert len(flags) > 40
    assert {flag for flag in flags if not re.search(rf"(`{flag}`|\| {flag} \|)", text)} == set()


def rows_of(files: list[tuple[str, Path]]) -> list[Row]:
    with IsolatedWorkers(row_of, workers=2, seconds=20) as workers:
        outcomes = workers.map(path for _, path in files)
        return [outcome_row(name, outcome) for (name, _), outcome in zip(files, outcomes, strict=True)]
