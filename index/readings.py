"""What reading a scan gave, kept so that an unchanged scan need not be read again: facts, signature and preview."""

import json
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from index.case import Case, Rejected
from index.catalogue import Archived

SCHEMA = pa.schema(
    [
        ("case_id", pa.string()),
        ("stamp", pa.string()),  # of the files as they were read
        ("record", pa.string()),  # digest of what the cohort said
        ("kind", pa.string()),  # null: rejected
        ("row", pa.int64()),  # of that kind's signatures
        ("facts", pa.string()),  # JSON
        ("reason", pa.string()),
        ("message", pa.string()),
        ("file", pa.string()),  # where it was; elsewhere now, it need not be read again
    ]
)
LONG = ("facts", "message")
GROUPS_HELD = 4
BLOCK = 1024  # rows made into Python's objects at a time: one by one they would take ten times as long
# these may end otherwise the next time, so they are never taken from the last build
PASSING_REASONS = (
    "unreachable",
    "missing-file",
    "unreadable-file",
    "unreadable-folder",
    "decoder-crashed",
    "decoder-timeout",
    "too-much-memory",
)


@dataclass(frozen=True)
class Facts:
    """What the scan itself states; the cohort's word goes before."""

    kind: str
    file_hash: str
    flags: tuple[str, ...] = ()
    pixel_hash: str | None = None
    perceptual_hash: str | None = None
    modality: str | None = None
    view: str | None = None
    scan_date: date | None = None
    age_years: float | None = None
    sex: str | None = None
    manufacturer: str | None = None
    scanner: str | None = None
    identifiers: tuple[str, ...] = field(default=(), repr=False)  # Patient ID and UIDs of its header

    def to_json(self) -> str:
        return json.dumps(vars(self) | {"scan_date": self.scan_date.isoformat() if self.scan_date else None})

    @classmethod
    def from_json(cls, text: str) -> "Facts":
        said: dict[str, Any] = json.loads(text)
        said["scan_date"] = date.fromisoformat(said["scan_date"]) if said["scan_date"] else None
        return cls(**said | {"flags": tuple(said["flags"]), "identifiers": tuple(said["identifiers"])})

    def archived(self, case: Case) -> Archived:
        """The case as it is indexed: what the cohort did not know is taken from the scan."""
        completed = replace(
            case,
            modality=case.modality or self.modality,
            view=case.view or self.view,
            scan_date=case.scan_date or self.scan_date,
            age_years=case.age_years if case.age_years is not None else self.age_years,
            sex=case.sex or self.sex,
            manufacturer=case.manufacturer or self.manufacturer,
            scanner=case.scanner or self.scanner,
        )
        return Archived(completed, self.kind, self.file_hash, self.flags, self.pixel_hash, self.perceptual_hash)


@dataclass(frozen=True, eq=False)
class Reading:
    """A scan that was read: its facts, its signature (d,) and a small JPEG."""

    facts: Facts
    signature: npt.NDArray[np.float32]
    preview: bytes


@dataclass(frozen=True)
class Seen:
    """A case as it was when it was read, and what came of it."""

    case_id: str
    stamp: str
    record: str
    outcome: Facts | Rejected
    file: str = field(default="", repr=False)  # the first of its files
    facts: str = field(default="", repr=False, compare=False)  # as JSON, where they were read so


def table_of(seen: Iterable[tuple[Seen, int | None]]) -> pa.Table:
    """Rows of `SCHEMA` from (what was seen, its row among the signatures of its kind; None where it was rejected)."""
    return pa.Table.from_pylist([_row(one, row) for one, row in seen], schema=SCHEMA)


def _row(seen: Seen, row: int | None) -> dict[str, Any]:
    told: dict[str, Any] = {"case_id": seen.case_id, "stamp": seen.stamp, "record": seen.record, "row": row}
    told["file"] = seen.file
    if isinstance(seen.outcome, Facts):
        return told | {"kind": seen.outcome.kind, "facts": seen.facts or seen.outcome.to_json()}
    rejected = seen.outcome
    return told | {"reason": rejected.reason, "message": rejected.message, "file": rejected.file}


class ReadingTable:
    """The readings of one snapshot or part by case_id and by the content of their files. What is long stays on disk, but for the
    few row groups that were wanted last: they are asked for nearly in the order in which they were written.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError or an Arrow exception."""
        self._path = path
        with pq.ParquetFile(path) as file:
            groups = (file.metadata.row_group(number).num_rows for number in range(file.num_row_groups))
            self._starts = [0, *accumulate(groups)]
            table = file.read(columns=[name for name in SCHEMA.names if name not in LONG])
        self._columns = {name: table.column(name).combine_chunks() for name in table.schema.names}
        self._places = {case_id: place for place, case_id in enumerate(table.column("case_id").to_pylist())}
        self._held: dict[int, dict[str, list[Any]]] = {}
        self._blocks: dict[str, tuple[int, list[Any]]] = {}  # of each short column the one that was asked last

    def __len__(self) -> int:
        return len(self._places)

    def place(self, case_id: str) -> int | None:
        return self._places.get(case_id)

    def at(self, place: int, name: str) -> Any:
        if name in self._columns:
            block, within = divmod(place, BLOCK)
            number, values = self._blocks.get(name, (-1, []))
            if number != block:
                values = self._columns[name].slice(block * BLOCK, BLOCK).to_pylist()
                self._blocks[name] = block, values
            return values[within]
        group = bisect_right(self._starts, place) - 1
        if group not in self._held:
            while len(self._held) >= GROUPS_HELD:
                del self._held[next(iter(self._held))]
            with pq.ParquetFile(self._path) as file:
                self._held[group] = file.read_row_group(group, columns=list(LONG)).to_pydict()
        return self._held[group][name][place - self._starts[group]]

    def outcome(self, place: int) -> Facts | Rejected:
        facts = self.at(place, "facts")
        if facts:
            return Facts.from_json(facts)
        return Rejected(*(self.at(place, name) for name in ("case_id", "file", "reason", "message")))

    def seen(self, place: int) -> Seen:
        names = ("case_id", "stamp", "record", "file", "facts")
        case_id, stamp, record, file, facts = (self.at(place, name) for name in names)
        return Seen(case_id, stamp, record, self.outcome(place), file or "", facts or "")

    def release(self) -> None:
        """Forget what was held; it is read again when it is wanted."""
        self._held.clear()
        self._blocks.clear()

    def by_content(self) -> dict[str, int]:
        """file_hash -> the place of a scan with that content."""
        found: dict[str, int] = {}
        for place in range(len(self)):
            facts = self.at(place, "facts")
            if facts:
                found[json.loads(facts)["file_hash"]] = place
        return found
