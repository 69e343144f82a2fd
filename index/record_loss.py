"""Outcomes and clinical values that were on record with the snapshot before, of the scans that are in both."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from index.case import State
from index.catalogue import FIELDS, Catalogue, endpoint_columns

DOUBTS = "clinical_flags"  # tells of a record's faults, not of the patient
Mask = npt.NDArray[np.bool_]
RowNumbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RecordCount:
    """How many entries were on record, and how many of these are so still."""

    of: str  # an endpoint's title or a clinical column; empty: clinical values of all columns
    is_column: bool
    before: int
    still: int

    def __str__(self) -> str:
        if not self.of:
            return f"of {self.before:,} clinical values that were on record with the last snapshot {self.still:,} are so still"
        return f"{self.of} is on record for {self.still:,} of the {self.before:,} scans for which it was with the last snapshot"


def record_counts(new: Catalogue, before: Catalogue) -> list[RecordCount]:
    """Of every endpoint and clinical column that the catalogue before had, and of all clinical values."""
    kinds = [(kind, *_common(new, before, kind)) for kind, _, _ in before.kinds() if new.count(kind)]

    def counted(of: str, name: str, *, is_column: bool) -> RecordCount:
        was_there = still = 0
        for kind, rows, rows_before in kinds:
            was = _recorded(before, name, kind)[rows_before]
            was_there += int(was.sum())
            still += int((was & _recorded(new, name, kind)[rows]).sum())
        return RecordCount(of, is_column, was_there, still)

    endpoints = [counted(endpoint.title, endpoint.name, is_column=False) for endpoint in before.endpoints]
    columns = [counted(name, name, is_column=True) for name in _clinical(before)]
    values = RecordCount("", False, sum(one.before for one in columns), sum(one.still for one in columns))
    return [*endpoints, *columns, values]


def _common(new: Catalogue, before: Catalogue, kind: str) -> tuple[RowNumbers, RowNumbers]:
    """(rows of the new, rows of the one before) of the same cases."""
    places = {case_id: row for row, case_id in enumerate(new.values("case_id", kind))}
    pairs = [(places[name], row) for row, name in enumerate(before.values("case_id", kind)) if name in places]
    found = np.array(pairs, np.int64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _clinical(catalogue: Catalogue) -> Iterator[str]:
    known = {*FIELDS.names, *endpoint_columns(catalogue.endpoints), DOUBTS}
    return (name for name in catalogue.columns() if name not in known)


def _recorded(catalogue: Catalogue, name: str, kind: str) -> Mask:
    if name not in catalogue.columns():
        return np.zeros(catalogue.count(kind), bool)
    values: npt.NDArray[Any] = catalogue.values(name, kind)
    if values.dtype == object:
        return np.array([value is not None and value != State.NOT_RECORDED for value in values], bool)
    return ~np.isnan(values.astype(np.float64))
