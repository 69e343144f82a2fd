"""What becomes of every file that pydicom's wheel and the pydicom-data wheel carry: a scan, or a refusal by name.

Run `python -m benchmarks.pydicom_files`; with `--write docs/decoding.md` the table goes there. Nothing is downloaded. Ends
with an error if a file crashes or hangs a decoder, exhausts its memory, or comes out all zeros.
"""

import argparse
import importlib.util
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom

from embed.dicom import decode_frame, is_dicom, parse, require_pixels
from embed.read import read_scan
from embed.sandbox import IsolatedWorkers
from embed.scan import ScanError

SIDE = 448
SECONDS = 20.0  # for one file; of memory, what `IsolatedWorkers` gives by default
WRECKS = ("decoder-crashed", "decoder-timeout", "too-much-memory")
NOT_DATA = (".py", ".pyc", ".txt", ".md", ".json")
BEGIN, END = "<!-- made by python -m benchmarks.pydicom_files -->", "<!-- end of what was made -->"


@dataclass(frozen=True)
class Row:
    """One file: its encoding, its first frame as decoded whatever its modality, and what `read_scan` made of it."""

    name: str
    syntax: str
    frame: str  # "64×64", a refusal's reason, or "" where there is none
    result: str
    reason: str = ""  # of a refusal
    message: str = ""  # flags of a scan, words of a refusal
    fault: str = ""


def main() -> None:
    from benchmarks.pydicom_files import row_of  # by a name that a worker can import; here it is __main__'s

    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--write", type=Path, metavar="FILE", help="put the table between the markers of FILE")
    given = arguments.parse_args()
    found = [*wheel_files(), *data_files()]
    with IsolatedWorkers(row_of, workers=2, seconds=SECONDS) as workers:
        outcomes = workers.map(path for _, path in found)
        rows = [outcome_row(name, outcome) for (name, _), outcome in zip(found, outcomes, strict=True)]
    table = table_of(rows)
    if given.write:
        before, _, rest = given.write.read_text().partition(BEGIN)
        given.write.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{rest.partition(END)[2]}")
    print(table)
    faults = [f"{row.name}: {row.fault or row.message}" for row in rows if row.fault]
    if faults:
        raise SystemExit("\n".join(faults))


def wheel_files() -> list[tuple[str, Path]]:
    """(name, path) of the data in pydicom's own wheel."""
    root = Path(pydicom.__file__).parent / "data"
    return list(_below(root, "pydicom"))


def data_files() -> list[tuple[str, Path]]:
    """(name, path) of the pydicom-data wheel. Raises ModuleNotFoundError where it is not installed."""
    spec = importlib.util.find_spec("data_store")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("this needs the pydicom-data wheel; run `pip install pydicom-data`")
    return list(_below(Path(spec.origin).parent / "data", "pydicom-data"))


def _below(root: Path, label: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(root.rglob("*")):
        if path.is_file() and path.suffix not in NOT_DATA:
            yield f"{label}: {path.relative_to(root)}", path


def row_of(path: Path) -> Row:
    """What a worker answers."""
    data = path.read_bytes()
    syntax, frame, fault = _first_frame(data)
    try:
        scan = read_scan(path, side=SIDE)
    except ScanError as error:
        message = str(error).replace(str(path), path.name)
        return Row("", syntax, frame, f"refused: {error.reason}", error.reason, message, fault)
    if not np.isfinite(scan.pixels).all() or not scan.pixels.any():
        fault = "the scan's pixels are all zeros or not finite"
    size = "×".join(str(length) for length in scan.pixels.shape[0 if scan.kind != "xray" else 1 :])
    flags = ", ".join(flag.code for flag in scan.provenance.flags)
    return Row("", syntax, frame, f"{scan.kind} {size}", "", flags, fault)


def _first_frame(data: bytes) -> tuple[str, str, str]:
    """(transfer syntax, size of the first frame or why there is none, fault)."""
    if not is_dicom(data):
        return "", "", ""
    syntax = ""
    try:
        ds = parse(data)
        syntax = str(ds.file_meta.TransferSyntaxUID.name)
        require_pixels(ds)
        stored = decode_frame(ds)
    except ScanError as error:
        return syntax, error.reason, ""
    size = f"{stored.shape[0]}×{stored.shape[1]}" + (" colour" if stored.ndim == 3 else "")
    return syntax, size, "" if stored.any() else "the first frame decodes to zeros"


def outcome_row(name: str, outcome: Row | ScanError) -> Row:
    if isinstance(outcome, ScanError):
        wreck = str(outcome) if outcome.reason in WRECKS else ""
        return Row(name, "", "", f"refused: {outcome.reason}", outcome.reason, str(outcome), wreck)
    return Row(
        name, *[getattr(outcome, field) for field in ("syntax", "frame", "result", "reason", "message", "fault")]
    )


def table_of(rows: Sequence[Row]) -> str:
    """Markdown: the count of each outcome, then a line a file."""
    counts = Counter(f"refused: {row.reason}" if row.reason else row.result.partition(" ")[0] for row in rows)
    counted = ", ".join(f"{count} {what}" for what, count in counts.most_common())
    decoded = sum("×" in row.frame for row in rows)
    lines = [f"{len(rows)} files, of {decoded} of which the first frame decodes: {counted}.", ""]
    lines += ["| file | transfer syntax | first frame | result | flags, or why not |", "|---|---|---|---|---|"]
    lines += [
        "| " + " | ".join((_cell(row.name), row.syntax, row.frame, row.result, _cell(row.message))) + " |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("\0", "")


if __name__ == "__main__":
    main()
