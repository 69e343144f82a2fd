"""Any table with an image a row, and further tables beside it, described by a small TOML file, read as cases.

examples/hannover.toml is one; docs/archives.md shows two more.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

from index.archive_files import is_remote
from index.case import Case, Event, Outcome
from index.cohort import CohortError
from index.cohorts.cells import SEXES, VIEWS, clean_days
from index.cohorts.clean_person import clean_years
from index.cohorts.cleaned import Cleaned
from index.cohorts.table_dates import Dates, days_between
from index.cohorts.table_description import FLAGS_COLUMN, REQUIRED, read_description
from index.cohorts.table_fields import site_key
from index.cohorts.table_images import Links
from index.cohorts.table_rows import Row, Rows, disputed, joined, read_rows

CODED = {"view": VIEWS, "sex": SEXES}  # columns with fixed values, and the words for them, upper case
UIDS = ("study_uid", "series_uid", "instance_uid")


class TableCohort:
    """The cases of a table, as its TOML maps them. Raises `CohortError` that names the entry to mend."""

    def __init__(self, path: str) -> None:
        if is_remote(path):
            raise CohortError(f"{path}: tables are read from local folders; its images may be URLs")
        self._path = Path(path)
        self._described = read_description(self._path, today=date.today())
        self.name = self._described.name
        self.endpoints = tuple(outcome.endpoint for outcome in self._described.endpoints)
        try:
            self._joining: Counter[str] = Counter()
            self._table = self._read()
            self._check()
            self._dates = self._dates_of_columns()
        except CohortError as error:
            raise CohortError(f"{path}: {error}") from error
        self.source = self._table.source
        self.counts: Mapping[str, int] = dict(self._joining)

    def iter_cases(self) -> Iterator[Case]:
        counts, links = Counter(self._joining), Links()
        for row in self._table.rows:
            case, cells = self._case(row, links)
            counts.update(f"cells of {name} not used" for name, cleaned in cells.items() if _is_lost(cleaned))
            yield case
        self.counts = dict(counts)

    def _case(self, row: Row, links: Links) -> tuple[Case, dict[str, Cleaned[Any]]]:
        """(the case, what was cleaned for it)."""
        described = self._described
        text = {name: self._word(name, row) or None for name in described.columns}
        for name, words in CODED.items():
            text[name] = words.get((text.get(name) or "").upper())
        scan_date = self._dates.read(text.get("scan_date") or "")
        age = clean_years(text.get("age_years"))
        outcome, cells = self._outcome(row, scan_date.value, text)
        fields = {
            field.name: field.read(row, text.get("site"), scan_date.value, self._dates) for field in described.clinical
        }
        cells = {"scan_date": scan_date, "age_years": age, **cells, **self._disputed(row), **fields}
        flags = [f"{name}:{flag}" for name, cleaned in cells.items() for flag in cleaned.flags]
        case = Case(
            case_id=text["case_id"] or "",
            patient_id=text["patient_id"] or "",
            cohort=self.name,
            files=described.images.locations(row, self._path.parent, links),
            outcome=outcome,
            site=text.get("site"),
            modality=text.get("modality"),
            view=text["view"],
            scan_date=scan_date.value,
            age_years=age.value,
            sex=text["sex"],
            manufacturer=text.get("manufacturer"),
            scanner=text.get("scanner"),
            clinical={name: cleaned.value for name, cleaned in fields.items()}
            | ({FLAGS_COLUMN: " ".join(flags)} if flags else {}),
            uids=frozenset(uid for name in UIDS if (uid := text.get(name))),
        )
        return case, cells

    def _outcome(
        self, row: Row, scan_date: date | None, text: Mapping[str, str | None]
    ) -> tuple[Outcome, dict[str, Cleaned[Any]]]:
        """(the events, and how long was observed: to the event that ends it, else as recorded; what was cleaned for it)."""
        events: dict[str, Event] = {}
        cells: dict[str, Cleaned[Any]] = {}
        ends: list[int] = []
        for described in self._described.endpoints:
            event, read = described.read(row, scan_date, self._dates)
            events[described.endpoint.name] = event
            cells |= read
            if described.ends_observation and event.days is not None:
                ends.append(event.days)
        observed = self._observed(scan_date, text)
        recorded = next((days for cleaned in observed.values() if (days := cleaned.value) is not None), None)
        until = observed["observed_until"]
        if until.value is not None and until.value > min(ends, default=until.value):
            observed["observed_until"] = until.flagged("seen-after-death")
        return Outcome(events, min(ends, default=recorded)), cells | observed

    def _observed(self, scan_date: date | None, text: Mapping[str, str | None]) -> dict[str, Cleaned[int]]:
        """The observed days by the field of `[columns]` that tells them."""
        until = self._dates.read(text.get("observed_until") or "")
        days = days_between(scan_date, until.value)
        if days is not None and days < 0:
            days, until = None, until.flagged("implausible-order")
        return {
            "observed_days": clean_days(text.get("observed_days") or ""),
            "observed_until": Cleaned(days, until.source, until.flags),
        }

    def _disputed(self, row: Row) -> dict[str, Cleaned[Any]]:
        """The fields of [columns] about which the row's tables disagree."""
        columns = self._described.columns.items()
        return {name: doubt for name, column in columns if (doubt := disputed(row[column]))}

    def _word(self, name: str, row: Mapping[str, str]) -> str:
        """The cell of one of the TOML's [columns], translated by [values]."""
        text = row[self._described.columns[name]].strip()
        return self._described.values.get(name, {}).get(text, text).strip()

    def _read(self) -> Rows:
        """The table of images with the columns of the tables beside it."""
        described = self._described
        table = read_rows(self._beside(described.csv), "csv", described.separator)
        for join in described.joins:
            other = read_rows(self._beside(join.csv), f"{join.entry} csv", join.separator)
            table = joined(table, join, other, dates=described.dates, counts=self._joining)
        return table

    def _beside(self, name: str) -> Path:
        return Path(Links().followed(str(self._path.parent / name)))

    def _check(self) -> None:
        """That what the TOML names is there, and that the cells which may not be in doubt are not."""
        for where, column in self._described.used_columns():
            self._table.require(column, where)
        self._require_ids()
        for name in CODED:
            self._require_known_words(name)
        self._require_known_sites()

    def _require_ids(self) -> None:
        for place, row in enumerate(self._table.rows, start=2):
            for name in REQUIRED:
                if not self._word(name, row):
                    raise CohortError(
                        f"{self._table.source}, line {place}: the {name} (column {self._described.columns[name]!r}) is blank"
                    )

    def _require_known_words(self, name: str) -> None:
        """A view that no filter knows would match no query, and a sex likewise: better to ask than to guess."""
        if name not in self._described.columns:
            return
        known = CODED[name]
        strangers = sorted(
            {word for row in self._table.rows if (word := self._word(name, row)) and word.upper() not in known}
        )
        if strangers:
            raise CohortError(
                f"[columns] {name} finds {', '.join(map(repr, strangers[:10]))} in {self._table.source}; say in "
                f'[values.{name}] what each means: {", ".join(dict.fromkeys(known.values()))}, or "" for none of these'
            )

    def _require_known_sites(self) -> None:
        """A site that no row has is misspelt, and its numbers would be taken in another unit."""
        for field in self._described.clinical:
            if not field.unit_at:
                continue
            known = {site_key(self._word("site", row)) for row in self._table.rows}
            strangers = sorted(site for site in field.unit_at if site_key(site) not in known)
            if strangers:
                raise CohortError(f"{field.entry} unit_at names the site {strangers[0]!r}, which no row has")

    def _dates_of_columns(self) -> Dates:
        """How dates are read, now that all of them are known."""
        described = self._described
        columns = list(described.date_columns())
        if "scan_date" in described.columns and (columns or described.dates.order):
            columns.append(("[columns] scan_date", described.columns["scan_date"]))
        return described.dates.of_columns(
            (where, [row[column] for row in self._table.rows]) for where, column in columns
        )


def _is_lost(cleaned: Cleaned[Any]) -> bool:
    """Whether the cell said something, and it is not used."""
    return cleaned.value is None and bool(set(cleaned.flags) - {"stated-unknown"})
