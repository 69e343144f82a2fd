"""How much of each field is on record, by centre: of the scans for what tells of images, of the patients for the rest."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Generic, TypeVar

from index.case import Case, State
from index.reporting.clinical_flags import UNKNOWN, flags_by_field, is_doubt_column
from index.reporting.material import ReportedScan


class Found(IntEnum):
    """What became of a field. Of a patient's scans the highest counts."""

    BLANK = 0
    STATED_UNKNOWN = 1  # the record says that it is not known
    NOT_USED = 2  # something is on record, which could not be understood or cannot be
    RECORDED = 3


@dataclass(frozen=True)
class Completeness:
    """One field in one centre, or in all of a cohort. The four last numbers add up to `total`."""

    cohort: str
    all_centres: bool
    centre: str | None  # None, where not all centres: scans without a centre
    field: str
    counted: str  # "scans" or "patients"
    total: int
    recorded: int
    stated_unknown: int
    not_used: int
    blank: int


Read = Callable[[Case], object]

IMAGE_FIELDS: Mapping[str, Read] = {
    "scan_date": lambda case: case.scan_date,
    "modality": lambda case: case.modality,
    "view": lambda case: case.view,
    "manufacturer": lambda case: case.manufacturer,
    "scanner": lambda case: case.scanner,
}
# fields whose flags stand under the record's own name
RECORDED_AS = {"age_years": "age", "died": "death", "intubated": "intubation"}
XRAY_ONLY = ("view",)  # no view is missed on a CT
XRAY = ("CR", "DX", "RG", None)
PERSON_FIELDS: Mapping[str, Read] = {
    "site": lambda case: case.site,
    "age_years": lambda case: case.age_years,
    "sex": lambda case: case.sex,
    "observed_days": lambda case: case.outcome.observed_days,
}


def completeness(cohort: str, scans: Sequence[ReportedScan], endpoints: Iterable[str]) -> list[Completeness]:
    """A row for each field and centre, and for each field in all centres; a field that no scan has has no clinical row."""
    flags = [flags_by_field(scan.case) for scan in scans]
    rows = []
    for field, read in IMAGE_FIELDS.items():
        found = [
            (scan.case.site, _found(scan.case, field, read, doubts))
            for scan, doubts in zip(scans, flags, strict=True)
            if field not in XRAY_ONLY or scan.case.modality in XRAY
        ]
        rows += _rows(cohort, field, "scans", found, [state for _, state in found])
    people = _Numbered(scan.patient for scan in scans)
    visits = _Numbered((scan.case.site, scan.patient) for scan in scans)
    for field, read in {**PERSON_FIELDS, **_record_fields(scans, endpoints)}.items():
        states = [_found(scan.case, field, read, doubts) for scan, doubts in zip(scans, flags, strict=True)]
        in_centres = zip((site for site, _ in visits.keys), visits.best(states), strict=True)
        rows += _rows(cohort, field, "patients", list(in_centres), people.best(states))
    return rows


K = TypeVar("K")


class _Numbered(Generic[K]):
    """Whose each scan is, as a number: dozens of fields are counted by it."""

    def __init__(self, owners: Iterable[K]) -> None:
        numbers: dict[K, int] = {}
        self._owner = [numbers.setdefault(owner, len(numbers)) for owner in owners]
        self.keys = list(numbers)

    def best(self, states: Sequence[Found]) -> list[Found]:
        """The highest state among each owner's scans, in the order of `keys`."""
        best = [Found.BLANK] * len(self.keys)
        for owner, state in zip(self._owner, states, strict=True):
            if state > best[owner]:
                best[owner] = state
        return best


def _record_fields(scans: Sequence[ReportedScan], endpoints: Iterable[str]) -> dict[str, Read]:
    """The endpoints and the clinical columns, each with how to read it from a case."""
    fields: dict[str, Read] = {}
    for name in endpoints:
        if any(name in scan.case.outcome.events for scan in scans):
            fields[name] = partial(_known, name)
    for name in sorted({name for scan in scans for name in scan.case.clinical}):
        if not is_doubt_column(name):
            fields[name] = partial(_clinical, name)
    return fields


def _clinical(name: str, case: Case) -> object:
    return case.clinical.get(name)


def _known(endpoint: str, case: Case) -> State | None:
    event = case.outcome.events.get(endpoint)
    return event.state if event and event.state is not State.NOT_RECORDED else None


def _found(case: Case, field: str, read: Read, flags: Mapping[str, Sequence[str]]) -> Found:
    if read(case) not in (None, ""):
        return Found.RECORDED
    if not flags:
        return Found.BLANK
    doubts = [*flags.get(field, ()), *flags.get(RECORDED_AS.get(field, ""), ())]
    if UNKNOWN in doubts:
        return Found.STATED_UNKNOWN
    return Found.NOT_USED if doubts else Found.BLANK


def _rows(
    cohort: str,
    field: str,
    counted: str,
    found: Sequence[tuple[str | None, Found]],
    anywhere: Iterable[Found],
) -> list[Completeness]:
    """All centres first, from `anywhere`: who was in two centres counts in each, but once among all."""
    by_centre: dict[str | None, Counter[Found]] = {}
    for (site, state), count in Counter(found).items():
        by_centre.setdefault(site, Counter())[state] = count
    every = Counter(anywhere)
    places: list[tuple[bool, str | None, Counter[Found]]] = [(True, None, every)]
    places += [(False, site, by_centre[site]) for site in sorted(by_centre, key=lambda site: (site is None, site))]
    return [
        Completeness(
            cohort,
            every_centre,
            site,
            field,
            counted,
            counts.total(),
            counts[Found.RECORDED],
            counts[Found.STATED_UNKNOWN],
            counts[Found.NOT_USED],
            counts[Found.BLANK],
        )
        for every_centre, site, counts in places
    ]
