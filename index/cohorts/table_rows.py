"""CSV or Parquet files -> a row an image: the table of images, and what other tables say of the same key."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from index.cohort import CohortError
from index.cohorts import toml_entries as toml
from index.cohorts.cells import number
from index.cohorts.cleaned import Cleaned, cell_text, says_nothing
from index.cohorts.table_dates import Dates

ENTRIES = ("csv", "key", "from", "separator", "where", "newest", "oldest")
Row = Mapping[str, str]


class Disputed(str):
    """A cell that rows of the same date fill differently: blank, and flagged wherever it is read."""

    told: str  # what they say

    def __new__(cls, told: str) -> "Disputed":
        cell = super().__new__(cls, "")
        cell.told = told
        return cell


def disputed(cell: str) -> Cleaned[Any] | None:
    """What a disputed cell comes to; None of any other."""
    return Cleaned(None, cell.told, ("equal-dates",)) if isinstance(cell, Disputed) else None


@dataclass(frozen=True)
class Join:
    """A further table: its column `key` holds what the images' column `of` holds. Its columns are called NAME.COLUMN."""

    name: str
    csv: str  # a path, from the TOML
    separator: str
    key: str
    of: str
    where: Mapping[str, str]  # column -> what its cell must hold for the row to count
    by_date: str | None  # of several rows of a key, the newest cell that says something counts by this column
    oldest: bool  # the oldest instead

    @property
    def entry(self) -> str:
        return f"[tables.{self.name}]"


@dataclass(frozen=True)
class Rows:
    """What a file holds. Cells are text, blank where there is nothing."""

    source: str
    columns: tuple[str, ...]
    rows: Sequence[Row]

    def require(self, column: str, where: str) -> None:
        """Raises `CohortError` where the file lacks the column, or has it twice."""
        if column not in self.columns:
            raise CohortError(
                f"{where} names the column {column!r}, which {self.source} lacks; it has: {', '.join(sorted(self.columns))}"
            )
        if self.columns.count(column) > 1:
            raise CohortError(
                f"{where} names the column {column!r}, which {self.source} has {self.columns.count(column)} times"
            )


def read_join(name: str, value: Any) -> Join:
    """The entry `[tables.NAME]`. Raises `CohortError`."""
    where = f"[tables.{name}]"
    entry = toml.known_entries(value, where, ENTRIES)
    for needed in ("csv", "key"):
        if needed not in entry:
            raise CohortError(f"{where} needs {needed!r}: {'its file' if needed == 'csv' else 'its column to join by'}")
    if "newest" in entry and "oldest" in entry:
        raise CohortError(f"{where} may hold newest or oldest, not both")
    key = toml.text(entry["key"], f"{where} key")
    return Join(
        name,
        toml.text(entry["csv"], f"{where} csv"),
        separator(entry, where),
        key,
        toml.optional_text(entry, "from", where) or key,
        toml.texts(entry.get("where", {}), f"{where} where", blank=True),
        toml.optional_text(entry, "newest", where) or toml.optional_text(entry, "oldest", where),
        "oldest" in entry,
    )


def separator(entry: dict[str, Any], where: str) -> str:
    found = toml.text(entry.get("separator", ","), f"{where} separator".strip())
    if len(found) != 1 or found in '"\r\n':
        raise CohortError(f"{where} separator is {found!r}; expected one character".strip())
    return found


def read_rows(path: Path, entry: str, separator: str) -> Rows:
    """The rows of a CSV (UTF-8, with a header line) or a Parquet file. Raises `CohortError`."""
    try:
        names, cells = _read_parquet(path) if path.suffix.lower() == ".parquet" else _read_csv(path, separator)
    except (OSError, ValueError, csv.Error) as error:
        raise CohortError(f"{entry} = {str(path)!r} cannot be read ({error})") from error
    if not cells:
        raise CohortError(f"{path}: the table has no rows")
    return Rows(str(path), names, [dict(zip(names, row, strict=False)) for row in cells])


def joined(images: Rows, join: Join, other: Rows, *, dates: Dates, counts: Counter[str]) -> Rows:
    """`images` with the columns of `other`, blank where it has no row of that key, which is counted.

    Raises `CohortError` where several rows have one key and nothing says which counts, and where no key is that of an image.
    """
    images.require(join.of, f"{join.entry} from")
    for column in [join.key, *join.where, *([join.by_date] if join.by_date else [])]:
        other.require(column, join.entry)
    names = {column: f"{join.name}.{column}" for column in other.columns}
    taken = sorted(set(names.values()) & set(images.columns))
    if taken:
        raise CohortError(
            f"{join.entry}: {images.source} has a column {taken[0]!r} itself; give the table another name"
        )
    by_key = _by_key(join, other, dates)
    nothing = dict.fromkeys(names, "")
    rows, used = [], set()
    for row in images.rows:
        key = row[join.of].strip()
        found = by_key.get(key)
        if found is None:
            counts[f"images without a row in {join.name}"] += 1
        else:
            used.add(key)
        rows.append({**row, **{names[column]: cell for column, cell in (found or nothing).items()}})
    unused = len(by_key) - len(used)
    if unused:
        counts[f"keys of {join.name} without an image"] += unused
    if by_key and not used and not join.where:
        raise CohortError(
            f"{join.entry}: no {join.key} of {other.source} is the {join.of} of any image; do key and from name the "
            "columns that hold the same?"
        )
    return Rows(images.source, (*images.columns, *(names[column] for column in other.columns)), rows)


def _by_key(join: Join, other: Rows, dates: Dates) -> dict[str, Row]:
    """key -> the one row, or that made of its several rows; a row without a key is passed over."""
    several: dict[str, list[tuple[int, Row]]] = {}
    for line, row in enumerate(other.rows, start=2):
        key = row[join.key].strip()
        if key and all(row[column].strip().lower() == word.strip().lower() for column, word in join.where.items()):
            several.setdefault(key, []).append((line, row))
    return {key: _one_row(join, other, lines, dates) for key, lines in several.items()}


def _one_row(join: Join, other: Rows, lines: list[tuple[int, Row]], dates: Dates) -> Row:
    if len(lines) == 1:
        return lines[0][1]
    if join.by_date is None:
        raise CohortError(
            f"{join.entry}: lines {lines[0][0]} and {lines[1][0]} of {other.source} have the same {join.key}; say with "
            "newest or oldest = a column of dates which row counts, or with where = {column = word} which rows to read"
        )
    dated: dict[date, list[Row]] = {}
    for line, row in lines:
        when = dates.read(row[join.by_date]).value
        if when is None:
            raise CohortError(
                f"{join.entry}: line {line} of {other.source} has no {join.by_date} that can be read, and its "
                f"{join.key} has several rows"
            )
        dated.setdefault(when, []).append(row)
    days = [dated[when] for when in sorted(dated, reverse=not join.oldest)]
    once = {join.key, join.by_date}  # the same in all rows of a day, however they are written
    return {
        name: _first_told([[row[name] for row in (day[:1] if name in once else day)] for day in days])
        for name in dict.fromkeys(other.columns)
    }


def _first_told(days: list[list[str]]) -> str:
    """The cell of the first day on which one says something; if none does, the first that is not blank."""
    for cells in days:
        told = {_meaning(cell): cell for cell in reversed(cells) if not says_nothing(cell)}
        if len(told) > 1:
            return Disputed(" | ".join(cell for cell in cells if not says_nothing(cell)))
        if told:
            return next(iter(told.values()))
    return next((cell for cells in days for cell in cells if cell_text(cell)), "")


def _meaning(cell: str) -> float | str:
    """What is equal in cells that say the same: "5" and "5.0", "Yes" and "yes"."""
    found = number(cell)
    return cell_text(cell).casefold() if found is None else found


def _read_csv(path: Path, separator: str) -> tuple[tuple[str, ...], list[list[str]]]:
    with path.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.reader(lines, delimiter=separator)
        header, *rows = [(reader.line_num, row) for row in reader if row] or [(1, [])]
    columns = header[1]
    for line, row in rows:
        if len(row) > len(columns):
            raise CohortError(
                f"{path}, line {line}: {len(row)} cells, but the header has {len(columns)}; is a cell with "
                f"{separator!r} in it not quoted?"
            )
    return tuple(columns), [row + [""] * (len(columns) - len(row)) for _, row in rows]


def _read_parquet(path: Path) -> tuple[tuple[str, ...], list[list[str]]]:
    """The cells as text: dates in ISO, whole numbers without a point, truth as true and false, NaN as nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.ParquetFile(path).read()
    columns: dict[str, list[str]] = {}
    for name, column in zip(table.schema.names, table.columns, strict=True):
        try:
            values = column.cast(pa.string()).to_pylist()
        except pa.ArrowNotImplementedError:  # lists and the like say nothing that we could read
            continue
        columns[name] = ["" if value is None or value == "nan" else value for value in values]
    return tuple(columns), [list(row) for row in zip(*columns.values(), strict=True)]
