"""A patient's NCCID clinical files -> a record. Each field is cleaned on its own, so that one bad value never costs the rest."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any

from index.cohorts.clean_person import clean_age, sex_beside_scan
from index.cohorts.cleaned import Cleaned, cell_text, printed, says_nothing
from index.cohorts.date_habits import DateHabits
from index.cohorts.nccid_course import Course, course_of, mended
from index.cohorts.nccid_fields import COLUMNS, clean_record, clean_tests, dated_cells, submitting_centre
from index.cohorts.nccid_scan import AtScan, at_scan
from index.cohorts.nccid_tests import CovidTest

Raw = Mapping[str, Any]
FULL, CONTROL = "data_", "status_"  # how the files of positives and of controls begin
AGES_APART = 5  # years by which a record and a scan of the same patient may differ: imaging goes back three years


@dataclass(frozen=True)
class ClinicalFile:
    """One dated JSON file of a patient."""

    name: str
    raw: Raw | None  # None where it is no JSON object

    def is_of(self, kind: str) -> bool:
        return self.name.lower().startswith(kind)

    @classmethod
    def parsed(cls, name: str, content: bytes | OSError) -> "ClinicalFile":
        """Nested segmentation data lie over the root's."""
        try:
            found = None if isinstance(content, OSError) else json.loads(_text(content))
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            return cls(name, None)
        nested = found.get("OtherDataSources")
        segmentation = nested.get("SegmentationData") if isinstance(nested, dict) else None
        return cls(name, _overlaid(found, segmentation) if isinstance(segmentation, dict) else found)


def _text(content: bytes) -> str:
    """JSON is UTF-8; a byte of another encoding costs one character, not the record."""
    return content.decode(json.detect_encoding(content), errors="replace").removeprefix("\ufeff")


def _overlaid(root: dict[str, Any], nested: dict[str, Any]) -> dict[str, Any]:
    """The root's cells with the nested ones over them, whatever their case; a blank one hides nothing."""
    told = {key: value for key, value in nested.items() if not says_nothing(value) or isinstance(value, list | dict)}
    hidden = {key.strip().casefold() for key in told}
    return {key: value for key, value in root.items() if key.strip().casefold() not in hidden} | told


@dataclass(frozen=True)
class ClinicalFiles:
    """All that a patient has: `data_DATE.json` of a positive, whose status files are ignored, or `status_DATE.json` of a control."""

    files: Sequence[ClinicalFile] = ()

    @property
    def is_full(self) -> bool:
        """Who has a `data_` file is positive, though it be damaged: controls never get one."""
        return any(file.is_of(FULL) for file in self.files)

    @cached_property
    def used(self) -> list[tuple[str, Raw]]:
        """(name, content) of those that count, the newest first. A name's date is that of the upload."""
        kind = FULL if self.is_full else CONTROL
        readable = [(file.name, file.raw) for file in self.files if file.is_of(kind) and file.raw is not None]
        if not readable and self.is_full:  # who was tested, when and where may still be told
            readable = [(file.name, file.raw) for file in self.files if file.raw is not None]
        return sorted(readable, key=lambda file: file[0], reverse=True)

    def dated_cells(self) -> Iterator[tuple[str, bool, str]]:
        """See `nccid_fields.dated_cells`."""
        for _, raw in self.used:
            yield from dated_cells(raw)


@dataclass(frozen=True)
class Record:
    """What a patient's clinical files say."""

    site: str | None = None
    names: tuple[str, ...] = ()  # of the files, the newest first
    fields: Mapping[str, Cleaned[Any]] = field(default_factory=dict)  # by the names of nccid_fields.FIELDS
    tests: tuple[CovidTest, ...] = ()
    pseudonyms: frozenset[str] = field(
        default=frozenset(), repr=False
    )  # by which the files themselves call the patient
    course: Course | None = None  # None where there is no clinical file

    def age(self, scan_age: object) -> Cleaned[float]:
        """The age at the scan by its header, else the record's, which is of some other day."""
        own = self.fields["age"] if self.fields else Cleaned(None)
        at_scan = clean_age(scan_age)
        if at_scan.value is None:
            return own
        if own.value is not None and abs(own.value - at_scan.value) > AGES_APART:
            return Cleaned(at_scan.value, own.source, (*own.flags, "age-not-of-scan"))
        return Cleaned(at_scan.value, own.source, own.flags)

    def sex(self, scan_sex: object) -> Cleaned[str]:
        """The record's, unless the scan's header says the other."""
        return sex_beside_scan(self.fields["sex"], scan_sex) if self.fields else Cleaned(None)

    def at_scan(self, taken: date | None, *, film_dates: Sequence[date] | None) -> AtScan | None:
        """See `nccid_scan.at_scan`."""
        return at_scan(self.course, self.fields, taken, film_dates=film_dates) if self.course else None

    def columns(
        self, at: AtScan | None, *, scan_sex: object, scan_age: object, doubts: Sequence[str] = ()
    ) -> dict[str, float | str | None]:
        """The catalogue's columns for one scan: what was cleaned and derived, and in `clinical_flags` every doubt."""
        if not self.course or not at:
            return {}
        cells = {**self.fields, "sex": self.sex(scan_sex), "age": self.age(scan_age)}
        flags = [f"{name}:{flag}" for name, cell in cells.items() for flag in cell.flags]
        listed = [test for test in self.tests if test.is_listed]
        flags += [f"swab_dates:{flag}" for test in listed for cell in (test.result, test.taken) for flag in cell.flags]
        flags = list(dict.fromkeys([*flags, *at.flags, *doubts]))
        values = {name: cells[name].value for name in COLUMNS} | at.values
        stored = {name: value if isinstance(value, float) else printed(value) for name, value in values.items()}
        stored |= {"clinical_files": " ".join(self.names), "clinical_flags": " ".join(flags)}
        return {name: value for name, value in stored.items() if value != ""}


def clinical_record(
    files: ClinicalFiles, *, latest: date, scan_dates: Collection[date] = (), habits: DateHabits | None = None
) -> Record:
    """A patient's record; an empty one where there is no clinical file.

    No date is later than `latest`; the patient's scans and the centres' habits settle dates whose day and month could be either.
    """
    if not files.files:
        return Record()
    raws = [raw for _, raw in files.used]
    cleaned = clean_record(*raws, latest=latest, scan_dates=scan_dates, habits=habits)
    fields = mended(cleaned, scan_dates)
    tests = clean_tests(*raws, latest=latest, scan_dates=scan_dates, habits=habits)
    course = course_of(fields, tests, is_full=files.is_full, scan_dates=scan_dates)
    own = frozenset(name for raw in raws if (name := cell_text(raw.get("Pseudonym"))))
    return Record(
        submitting_centre(*raws) or None, tuple(name for name, _ in files.used), fields, tuple(tests), own, course
    )
