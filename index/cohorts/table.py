"""Any CSV with an image a row, described by a small TOML file, read as cases. examples/hannover.toml is one."""

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

from index.case import Case, Outcome
from index.cohort import CohortError
from index.cohorts.cells import SEXES, VIEWS, iso_date, number, number_or_text, whole_days
from index.cohorts.table_description import REQUIRED, read_description

CODED = {"view": VIEWS, "sex": SEXES}  # columns with fixed values, and the words for them, upper case


class TableCohort:
    """The cases of a CSV, as its TOML maps them. Raises `CohortError` that names the entry to mend."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._described = read_description(path)
        self.name = self._described.name
        self.endpoints = tuple(outcome.endpoint for outcome in self._described.endpoints)
        csv_path = _followed(path.parent / self._described.csv)
        self.source = str(csv_path)
        self._rows = _read_csv(path, csv_path)
        self._require_columns()
        self._require_ids()
        for name in CODED:
            self._require_known_words(name)

    def iter_cases(self) -> Iterator[Case]:
        for row in self._rows:
            yield self._case(row)

    def _case(self, row: Mapping[str, str]) -> Case:
        described = self._described
        text = {name: self._word(name, row) or None for name in described.columns}
        for name, words in CODED.items():
            text[name] = words.get((text.get(name) or "").upper())
        return Case(
            case_id=text["case_id"] or "",
            patient_id=text["patient_id"] or "",
            cohort=self.name,
            files=(_followed(self._path.parent / described.image(row)),),
            outcome=Outcome(
                {outcome.endpoint.name: outcome.read(row) for outcome in described.endpoints},
                whole_days(text.get("observed_days")),
            ),
            site=text.get("site"),
            modality=text.get("modality"),
            view=text["view"],
            scan_date=iso_date(text.get("scan_date")),
            age_years=number(text.get("age_years")),
            sex=text["sex"],
            manufacturer=text.get("manufacturer"),
            scanner=text.get("scanner"),
            clinical={name: number_or_text(row[column]) for name, column in described.clinical.items()},
        )

    def _word(self, name: str, row: Mapping[str, str]) -> str:
        """The cell of one of the TOML's [columns], translated by [values]."""
        text = row[self._described.columns[name]].strip()
        return self._described.values.get(name, {}).get(text, text).strip()

    def _require_columns(self) -> None:
        have = set(self._rows[0])
        for where, column in self._described.used_columns():
            if column not in have:
                raise CohortError(
                    f"{self._path}: {where} names the column {column!r}, which {self.source} lacks; it has: {', '.join(sorted(have))}"
                )

    def _require_ids(self) -> None:
        for place, row in enumerate(self._rows, start=2):
            for name in REQUIRED:
                if not self._word(name, row):
                    raise CohortError(
                        f"{self.source}, line {place}: the {name} (column {self._described.columns[name]!r}) is blank"
                    )

    def _require_known_words(self, name: str) -> None:
        """A view that no filter knows would match no query, and a sex likewise: better to ask than to guess."""
        if name not in self._described.columns:
            return
        known = CODED[name]
        strangers = sorted(
            {word for row in self._rows if (word := self._word(name, row)) and word.upper() not in known}
        )
        if strangers:
            raise CohortError(
                f"{self._path}: [columns] {name} finds {', '.join(map(repr, strangers[:10]))} in {self.source}; say in "
                f'[values.{name}] what each means: {", ".join(dict.fromkeys(known.values()))}, or "" for none of these'
            )


def _read_csv(path: Path, csv_path: Path) -> list[dict[str, str]]:
    try:
        with csv_path.open(newline="", encoding="utf-8-sig") as lines:
            rows = [
                {key: value or "" for key, value in row.items() if key is not None} for row in csv.DictReader(lines)
            ]
    except (OSError, ValueError, csv.Error) as error:
        raise CohortError(f"{path}: csv = {str(csv_path)!r} cannot be read ({error})") from error
    if not rows:
        raise CohortError(f"{csv_path}: the table has no rows")
    return rows


def _followed(path: Path) -> Path:
    """`path` with links followed; as it is where that cannot be done (a NUL, links in a circle): its use will tell."""
    try:
        return path.resolve()
    except (OSError, ValueError, RuntimeError):
        return path
