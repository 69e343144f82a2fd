"""A study's tables: neighbours in long form, and what became of each query; as Arrow, Parquet, and a CSV no spreadsheet runs."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from index.case import Case, Endpoint
from index.catalogue import days_column
from index.snapshot import Snapshot
from index.store import PADDING, RowNumbers, Similarities
from search.answer import Answer
from search.archive import Archive
from search.study_queries import Unasked

ASKED = "asked"
CSV_ROWS = 8192  # written at a time
STATED = pa.schema(
    [
        ("patient_id", pa.string()),
        ("view", pa.string()),
        ("site", pa.string()),
        ("scan_date", pa.date32()),
        ("age_years", pa.float64()),
        ("sex", pa.string()),
        ("scanner", pa.string()),
        ("observed_days", pa.int64()),
    ]
)
RUNS_AS_FORMULA = r"^[\s]*[=+\-@＝＋－＠]|^[\t\r\n]"  # what a spreadsheet takes for one (OWASP, CSV injection)


def neighbours_schema(endpoints: Sequence[Endpoint]) -> pa.Schema:
    """Long form: a line for each query and neighbour, with what the archive says of the neighbour."""
    head = [("query", pa.string()), ("rank", pa.int32()), ("similarity", pa.float64()), ("case_id", pa.string())]
    return pa.schema([*(pa.field(*one) for one in head), *STATED, *_outcome_fields(endpoints)])


def queries_schema(endpoints: Sequence[Endpoint]) -> pa.Schema:
    """A line for each query, asked or not."""
    head = [
        ("query", pa.string()),
        ("status", pa.string()),  # "asked", or why not
        ("message", pa.string()),
        ("neighbours", pa.int32()),
        ("file_hash", pa.string()),
    ]
    return pa.schema([*(pa.field(*one) for one in head), *STATED, *_outcome_fields(endpoints)])


class ArchiveTable:
    """What the tables tell of the archived cases of a kind, taken from the catalogue once."""

    def __init__(self, snapshot: Snapshot, kind: str) -> None:
        self._snapshot, self._kind = snapshot, kind
        self.endpoints = snapshot.manifest.endpoints

    @cached_property
    def columns(self) -> pa.Table:
        fields = [pa.field("case_id", pa.string()), pa.field("file_hash", pa.string()), *STATED]
        fields += _outcome_fields(self.endpoints)
        values = (self._snapshot.catalogue.values(field.name, self._kind) for field in fields)
        arrays = [pa.array(one, field.type, from_pandas=True) for one, field in zip(values, fields, strict=True)]
        return pa.table(arrays, schema=pa.schema(fields))

    def neighbours(self, names: Sequence[str], rows: RowNumbers, similarities: Similarities) -> pa.Table:
        """The long table of queries (q,) with their neighbours (q, k), best first."""
        query, rank = np.nonzero(rows != PADDING)
        told = self.columns.take(pa.array(rows[query, rank]))
        known = {
            "query": pa.array(names, pa.string()).take(pa.array(query)),
            "rank": pa.array(rank + 1, pa.int32()),
            "similarity": pa.array(similarities[query, rank], pa.float64()),
        }
        schema = neighbours_schema(self.endpoints)
        return pa.table([known[name] if name in known else told.column(name) for name in schema.names], schema=schema)

    def archived_queries(self, rows: RowNumbers, found: npt.NDArray[np.int64]) -> pa.Table:
        """The lines of archived cases that were asked; `found` (q,): how many neighbours each has."""
        told = self.columns.take(pa.array(rows))
        known = {
            "query": told.column("case_id"),
            "status": pa.array([ASKED] * len(rows), pa.string()),
            "message": pa.nulls(len(rows), pa.string()),
            "neighbours": pa.array(found, pa.int32()),
        }
        schema = queries_schema(self.endpoints)
        return pa.table([known[name] if name in known else told.column(name) for name in schema.names], schema=schema)

    def scan_queries(self, cases: Sequence[Case], hashes: Sequence[str], found: npt.NDArray[np.int64]) -> pa.Table:
        """The lines of scans that were asked."""
        lines = [
            _said(case, self.endpoints) | {"status": ASKED, "neighbours": int(count), "file_hash": digest}
            for case, digest, count in zip(cases, hashes, found, strict=True)
        ]
        return pa.Table.from_pylist(lines, schema=queries_schema(self.endpoints))

    def unasked(self, unasked: Sequence[Unasked]) -> pa.Table:
        lines = [{"query": one.query, "status": one.reason, "message": one.message, "neighbours": 0} for one in unasked]
        return pa.Table.from_pylist(lines, schema=queries_schema(self.endpoints))


def answer_table(snapshot: Snapshot, archive: Archive, answer: Answer, *, name: str = "query") -> pa.Table:
    """A `SearchEngine`'s answer in the columns of a study's neighbours."""
    places = [archive.row_of(neighbour.case.case_id) for neighbour in answer.neighbours]
    rows = np.array([[PADDING if place is None else place for place in places]], np.int64)
    similarities = np.array([[neighbour.similarity for neighbour in answer.neighbours]], np.float64)
    return ArchiveTable(snapshot, answer.kind).neighbours([name], rows, similarities)


def formula_safe(table: pa.Table) -> pa.Table:
    """The same with an apostrophe before each text that a spreadsheet would run as a formula; Parquet keeps the text itself."""
    for place, field in enumerate(table.schema):
        if pa.types.is_string(field.type):
            column = table.column(place)
            risky = pc.fill_null(pc.match_substring_regex(column, RUNS_AS_FORMULA), False)
            if pc.any(risky).as_py():
                marked = pc.binary_join_element_wise("'", column, "")
                table = table.set_column(place, field, pc.if_else(risky, marked, column))
    return table


class SafeCsv:
    """A CSV written table by table. Use it in `with`. Raises OSError."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        from pyarrow import csv  # only whoever writes one needs it

        self._writer = csv.CSVWriter(str(path), schema, write_options=csv.WriteOptions(batch_size=CSV_ROWS))

    def write(self, table: pa.Table) -> None:
        self._writer.write_table(formula_safe(table))

    def __enter__(self) -> "SafeCsv":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()


def _said(case: Case, endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    said: dict[str, Any] = {"query": case.case_id, "observed_days": case.outcome.observed_days}
    said |= {name: getattr(case, name) for name in STATED.names if name != "observed_days"}
    for endpoint in endpoints:
        event = case.outcome.events.get(endpoint.name)
        if event is not None:
            said |= {endpoint.name: str(event.state), days_column(endpoint): event.days}
    return said | {"patient_id": case.patient_id or None}


def _outcome_fields(endpoints: Sequence[Endpoint]) -> list[pa.Field]:
    pairs = [((endpoint.name, pa.string()), (days_column(endpoint), pa.int64())) for endpoint in endpoints]
    return [pa.field(*one) for pair in pairs for one in pair]
