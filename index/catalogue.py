"""The cases of a snapshot as a table: one row a case, filtered with a condition in SQL."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from index.case import Case, Endpoint, Event, Outcome, State

RowNumbers = npt.NDArray[np.int64]
ROWS_AT_ONCE = 1000

# every case has these columns; a cohort's endpoints and clinical fields follow
FIELDS = pa.schema(
    [
        ("case_id", pa.string()),
        ("patient_id", pa.string()),
        ("cohort", pa.string()),
        ("kind", pa.string()),  # which store
        ("row", pa.int64()),  # and which row of it
        ("site", pa.string()),
        ("modality", pa.string()),
        ("view", pa.string()),
        ("scan_date", pa.date32()),
        ("age_years", pa.float64()),
        ("sex", pa.string()),
        ("manufacturer", pa.string()),
        ("scanner", pa.string()),
        ("observed_days", pa.int64()),
        ("files", pa.list_(pa.string())),
        ("file_hash", pa.string()),
        ("pixel_hash", pa.string()),  # of the decoded values: the same film under other UIDs has the same
        ("perceptual_hash", pa.string()),
        (
            "flags",
            pa.list_(pa.string()),
        ),  # codes of what reading the pixels flagged: "list_contains(flags, 'no-window')"
    ]
)


class FilterError(Exception):
    """A `--where` that is not a condition over the catalogue's columns."""


@dataclass(frozen=True)
class Archived:
    """A case as it is indexed: the cohort's record, with what reading the scan added."""

    case: Case
    kind: str
    file_hash: str
    flags: tuple[str, ...]
    pixel_hash: str | None = None
    perceptual_hash: str | None = None


class Catalogue:
    """The table of cases; `row` numbers are those of the vector store of the same kind."""

    def __init__(self, table: pa.Table, endpoints: Sequence[Endpoint]) -> None:
        self._table = table
        self.endpoints = tuple(endpoints)
        self._starts = self._first_rows()
        self._rows: dict[str, dict[str, int]] = {}  # kind -> case_id -> row, once somebody asked

    @classmethod
    def build(cls, archived: Iterable[Archived], endpoints: Sequence[Endpoint]) -> "Catalogue":
        """The catalogue of cases in any order; see `CatalogueBuilder`."""
        builder = CatalogueBuilder(endpoints)
        for entry in archived:
            builder.add(entry)
        return builder.finish()[0]

    def write(self, path: Path) -> None:
        """Raises OSError."""
        pq.write_table(self._table, path, row_group_size=ROWS_AT_ONCE)  # a group is held in memory as it is encoded

    @classmethod
    def read(cls, stream: BinaryIO, endpoints: Sequence[Endpoint]) -> "Catalogue":
        """The catalogue that `write` wrote. Raises ValueError, OSError or an Arrow exception."""
        table = pq.ParquetFile(stream).read()  # read_table would import all of pandas
        names = table.schema.names
        _require_distinct(names)
        missing = [name for name in [*FIELDS.names, *endpoint_columns(endpoints)] if name not in names]
        if missing:
            raise ValueError(f"the catalogue lacks the columns {', '.join(missing)}")
        return cls(table, endpoints)

    def columns(self) -> list[str]:
        return list(self._table.schema.names)

    def kinds(self) -> list[tuple[str, int, int]]:
        """(kind, its first row in the whole table, how many it has) of each kind."""
        return [(kind, start, count) for kind, (start, count) in self._starts.items()]

    def count(self, kind: str) -> int:
        return self._starts[kind][1] if kind in self._starts else 0

    def values(self, column: str, kind: str) -> npt.NDArray[Any]:
        """A column of one kind in the order of its rows; texts and missing values as objects."""
        start, count = self._starts[kind]
        picked = self._table.column(column).slice(start, count)
        if pa.types.is_string(picked.type):  # Arrow's own way would import all of pandas where that is installed
            return np.array(picked.to_pylist(), object)
        numbers: npt.NDArray[Any] = picked.to_numpy(zero_copy_only=False)
        return numbers

    def people(self, kind: str) -> npt.NDArray[np.int64]:
        """A number for each person of a kind (n,), from 0 without gaps, in the order of its rows.

        Two pseudonyms with the very same picture are one person.
        """
        names = np.char.add(
            np.char.add(self.values("cohort", kind).astype(str), "\n"), self.values("patient_id", kind).astype(str)
        )
        pseudonyms = np.unique(names, return_inverse=True)[1].astype(np.int64)
        return _same_person(pseudonyms, self.values("pixel_hash", kind))

    def case(self, kind: str, row: int) -> Case:
        start, _ = self._starts[kind]
        return _case(self._table.slice(start + row, 1).to_pylist()[0], self.endpoints)

    def row_of(self, case_id: str, kind: str) -> int | None:
        """Where a case of that kind is, None where there is none."""
        if kind not in self._rows:
            self._rows[kind] = {name: row for row, name in enumerate(self.values("case_id", kind).tolist())}
        return self._rows[kind].get(case_id)

    def where(self, condition: str, kind: str) -> RowNumbers:
        """The rows of `kind` for which an SQL condition over the columns holds, rising.

        DuckDB evaluates it on a copy in memory without access to files, network or extensions. Raises `FilterError`.
        """
        import duckdb

        try:
            condition.encode()
        except UnicodeEncodeError as error:
            raise FilterError("--where holds bytes that are no text in UTF-8") from error
        with duckdb.connect(":memory:") as connection:
            connection.register("archive", self._table)
            connection.execute("CREATE TABLE cases AS SELECT * EXCLUDE (files) FROM archive")
            connection.unregister("archive")
            connection.execute("SET enable_external_access = false; SET lock_configuration = true")
            try:
                statements = connection.extract_statements(
                    f"SELECT row FROM (SELECT row, CAST((\n{condition}\n) AS BOOLEAN) AS kept FROM cases WHERE kind = $kind)"
                    " WHERE kept"  # inside the CAST, what is not one expression is a syntax error
                )
                if len(statements) != 1:
                    raise FilterError(
                        f"--where takes one condition, such as \"age_years >= 60 and view = 'AP'\"; got {condition!r}"
                    )
                found = connection.execute(statements[0], {"kind": kind}).fetchnumpy()["row"]
            except duckdb.Error as error:
                raise FilterError(
                    f"--where {condition!r} is not a condition over the catalogue ({_first_line(error)}); columns: "
                    + ", ".join(name for name in self.columns() if name != "files")
                ) from error
        rows: RowNumbers = np.sort(np.asarray(found, np.int64))
        return rows

    def _first_rows(self) -> dict[str, tuple[int, int]]:
        """kind -> (where it starts in the table, how many)."""
        kinds = self._table.column("kind").to_pylist()
        starts: dict[str, tuple[int, int]] = {}
        for place, kind in enumerate(kinds):
            start, count = starts.get(kind, (place, 0))
            starts[kind] = (start, count + 1)
        return starts


class CatalogueBuilder:
    """Takes cases one by one, in any order, and keeps them small: a table of a thousand at a time."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self._endpoints = tuple(endpoints)
        self._rows: list[dict[str, Any]] = []
        self._parts: list[pa.Table] = []
        self._fixed = FIELDS
        for endpoint in endpoints:
            for name, type_ in ((endpoint.name, pa.string()), (days_column(endpoint), pa.int64())):
                self._fixed = self._fixed.append(pa.field(name, type_))

    def add(self, entry: Archived) -> None:
        self._rows.append(_row(entry, -1, self._endpoints))
        if len(self._rows) >= ROWS_AT_ONCE:
            self._flush()

    def finish(self) -> tuple[Catalogue, RowNumbers]:
        """(the catalogue, sorted by kind and case_id; which of the cases, as they were added, each of its rows is).

        Raises ValueError where an endpoint or clinical field has the name of another column.
        """
        import pyarrow.compute as pc  # only whoever builds needs it

        self._flush()
        names = sorted({name for part in self._parts for name in part.schema.names} - set(self._fixed.names))
        require_distinct_columns(self._endpoints, names)
        schema = self._fixed
        for name in names:  # a column of numbers where every cell is one
            types = {part.schema.field(name).type for part in self._parts if name in part.schema.names}
            schema = schema.append(pa.field(name, pa.float64() if types == {pa.float64()} else pa.string()))
        table = pa.concat_tables([_as(part, schema) for part in self._parts]) if self._parts else schema.empty_table()
        order = pc.sort_indices(table, sort_keys=[("kind", "ascending"), ("case_id", "ascending")])
        table = table.take(order)
        self._parts.clear()  # it was copied
        kinds = table.column("kind").to_pylist()
        first: dict[str, int] = {}
        rows = [place - first.setdefault(kind, place) for place, kind in enumerate(kinds)]
        table = table.set_column(FIELDS.get_field_index("row"), FIELDS.field("row"), pa.array(rows, pa.int64()))
        return Catalogue(table, self._endpoints), np.asarray(order, np.int64)

    def _flush(self) -> None:
        if not self._rows:
            return
        schema = self._fixed
        for name in sorted({name for row in self._rows for name in row} - set(self._fixed.names)):
            values = [row.get(name) for row in self._rows]
            is_number = all(value is None or isinstance(value, float) for value in values)
            schema = schema.append(pa.field(name, pa.float64() if is_number else pa.string()))
            if not is_number:
                for row in self._rows:
                    row[name] = None if row.get(name) is None else str(row[name])
        self._parts.append(pa.Table.from_pylist(self._rows, schema=schema))
        self._rows.clear()


def _as(part: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with all columns of the schema, in its order; numbers become text as Python writes them."""
    columns = []
    for field in schema:
        if field.name not in part.schema.names:
            columns.append(pa.nulls(part.num_rows, field.type))
        elif part.schema.field(field.name).type == field.type:
            columns.append(part.column(field.name))
        else:
            texts = [None if value is None else str(value) for value in part.column(field.name).to_pylist()]
            columns.append(pa.array(texts, field.type))
    return pa.table(columns, schema=schema)


def days_column(endpoint: Endpoint) -> str:
    return f"{endpoint.name}_days"


def endpoint_columns(endpoints: Iterable[Endpoint]) -> list[str]:
    return [name for endpoint in endpoints for name in (endpoint.name, days_column(endpoint))]


def require_distinct_columns(endpoints: Sequence[Endpoint], clinical: Iterable[str]) -> None:
    """Raises ValueError that names a column which a catalogue of these endpoints and clinical fields would have twice."""
    _require_distinct([*FIELDS.names, *endpoint_columns(endpoints), *clinical])


def _require_distinct(names: Iterable[str]) -> None:
    repeated = [name for name, count in Counter(name.lower() for name in names).items() if count > 1]
    if repeated:  # DuckDB's names know no case
        raise ValueError(f"the catalogue would have two columns {', '.join(repeated)}; call one of them something else")


def _row(entry: Archived, row: int, endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    case = entry.case
    fields: dict[str, Any] = {
        name: getattr(case, name)
        for name in (
            "case_id",
            "patient_id",
            "cohort",
            "site",
            "modality",
            "view",
            "scan_date",
            "age_years",
            "sex",
            "manufacturer",
            "scanner",
        )
    }
    fields |= {
        "kind": entry.kind,
        "row": row,
        "observed_days": case.outcome.observed_days,
        "files": list(case.files),
    }
    fields |= {"file_hash": entry.file_hash, "flags": list(entry.flags)}
    fields |= {"pixel_hash": entry.pixel_hash, "perceptual_hash": entry.perceptual_hash}
    for endpoint in endpoints:
        event = case.outcome.events.get(endpoint.name, Event(State.NOT_RECORDED))
        fields |= {endpoint.name: str(event.state), days_column(endpoint): event.days}
    return fields | dict(case.clinical)


def _case(row: Mapping[str, Any], endpoints: Sequence[Endpoint]) -> Case:
    known = {*FIELDS.names, *endpoint_columns(endpoints)}
    events = {e.name: Event(State(row[e.name]), row[days_column(e)]) for e in endpoints}
    return Case(
        case_id=row["case_id"],
        patient_id=row["patient_id"],
        cohort=row["cohort"],
        files=tuple(row["files"]),
        outcome=Outcome(events, row["observed_days"]),
        site=row["site"],
        modality=row["modality"],
        view=row["view"],
        scan_date=row["scan_date"],
        age_years=row["age_years"],
        sex=row["sex"],
        manufacturer=row["manufacturer"],
        scanner=row["scanner"],
        clinical={name: value for name, value in row.items() if name not in known},
    )


def _same_person(patients: npt.NDArray[np.int64], pixel_hashes: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """`patients` (n,) renumbered so that patients who share a picture have the same number, from 0 without gaps."""
    first_owner: dict[str, int] = {}
    merged = np.arange(patients.max() + 1)
    for patient, pixels in zip(patients, pixel_hashes, strict=True):
        if pixels is None:
            continue
        one, other = merged[first_owner.setdefault(pixels, int(patient))], merged[patient]
        if one != other:
            merged[merged == other] = one
    return np.unique(merged[patients], return_inverse=True)[1].astype(np.int64)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
