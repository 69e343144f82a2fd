"""How scans and patients are spread: over time, ages, views, modalities, scanners, outcomes, and years by centre."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from index.case import Event, State
from index.reporting.material import ReportedScan

BAND_YEARS = 5


@dataclass(frozen=True)
class Month:
    cohort: str
    modality: str | None
    year: int | None  # None: the scan has no date
    month: int | None
    scans: int


@dataclass(frozen=True)
class AgeBand:
    """Patients by their age at their first scan that tells it."""

    cohort: str
    sex: str | None
    age_from: int | None  # years; None: not recorded
    age_below: int | None
    patients: int


@dataclass(frozen=True)
class Spread:
    """Scans and patients that share one value of one property: `view` = PA."""

    cohort: str
    centre: str | None
    modality: str | None
    property: str
    value: str | None
    scans: int
    patients: int


@dataclass(frozen=True)
class CentreYear:
    cohort: str
    centre: str | None
    year: int | None
    scans: int
    patients: int


@dataclass(frozen=True)
class EndpointCount:
    """How often an endpoint is known, by patient: of a patient's scans the first that knows it tells."""

    cohort: str
    centre: str | None
    endpoint: str
    patients: int
    yes: int
    no: int
    not_recorded: int
    yes_dated: int  # of `yes`: with the day known


def months(cohort: str, scans: Iterable[ReportedScan]) -> list[Month]:
    counts: Counter[tuple[str | None, int | None, int | None]] = Counter()
    for scan in scans:
        day = scan.case.scan_date
        counts[scan.case.modality, day.year if day else None, day.month if day else None] += 1
    ordered = sorted(counts.items(), key=lambda item: _order(item[0]))
    return [Month(cohort, *key, count) for key, count in ordered]


def ages(cohort: str, scans: Iterable[ReportedScan]) -> list[AgeBand]:
    first: dict[tuple[str, str], tuple[float | None, str | None]] = {}
    for scan in sorted(scans, key=lambda scan: (scan.case.age_years is None, scan.case.age_years or 0)):
        age, sex = first.get(scan.patient, (None, None))
        known = age if age is not None else scan.case.age_years
        first[scan.patient] = (known, sex or scan.case.sex)
    counts = Counter((sex, None if age is None else int(age // BAND_YEARS) * BAND_YEARS) for age, sex in first.values())
    ordered = sorted(counts.items(), key=lambda item: _order(item[0]))
    return [AgeBand(cohort, sex, low, None if low is None else low + BAND_YEARS, n) for (sex, low), n in ordered]


PROPERTIES: dict[str, Callable[[ReportedScan], str | None]] = {
    "modality": lambda scan: scan.case.modality,
    "view": lambda scan: str(scan.case.view) if scan.case.view else None,
    "scanner": lambda scan: " ".join(filter(None, (scan.case.manufacturer, scan.case.scanner))) or None,
    "sex": lambda scan: scan.case.sex,
}


def spreads(cohort: str, scans: Sequence[ReportedScan]) -> list[Spread]:
    rows = []
    for name, read in PROPERTIES.items():
        count: Counter[tuple[str | None, str | None, str | None]] = Counter()
        patients: dict[tuple[str | None, str | None, str | None], set[tuple[str, str]]] = {}
        for scan in scans:
            key = (scan.case.site, scan.case.modality, read(scan))
            count[key] += 1
            patients.setdefault(key, set()).add(scan.patient)
        ordered = sorted(count.items(), key=lambda item: _order(item[0]))
        rows += [Spread(cohort, key[0], key[1], name, key[2], n, len(patients[key])) for key, n in ordered]
    return rows


def years(cohort: str, scans: Iterable[ReportedScan]) -> list[CentreYear]:
    count: Counter[tuple[str | None, int | None]] = Counter()
    patients: dict[tuple[str | None, int | None], set[tuple[str, str]]] = {}
    for scan in scans:
        key = (scan.case.site, scan.case.scan_date.year if scan.case.scan_date else None)
        count[key] += 1
        patients.setdefault(key, set()).add(scan.patient)
    ordered = sorted(count.items(), key=lambda item: _order(item[0]))
    return [CentreYear(cohort, *key, n, len(patients[key])) for key, n in ordered]


def endpoint_counts(cohort: str, scans: Sequence[ReportedScan], endpoints: Iterable[str]) -> list[EndpointCount]:
    rows = []
    for name in endpoints:
        if not any(name in scan.case.outcome.events for scan in scans):
            continue
        known: dict[tuple[str | None, tuple[str, str]], Event] = {}
        for scan in scans:
            event = scan.case.outcome.events.get(name, Event(State.NOT_RECORDED))
            key = (scan.case.site, scan.patient)
            if key not in known or _tells_more(event, known[key]):
                known[key] = event
        by_site: dict[str | None, list[Event]] = {}
        for (site, _), event in known.items():
            by_site.setdefault(site, []).append(event)
        for site, events in sorted(by_site.items(), key=lambda item: (item[0] is None, item[0])):
            states = Counter(event.state for event in events)
            dated = sum(event.days is not None for event in events if event.state is State.YES)
            rows.append(
                EndpointCount(
                    cohort, site, name, len(events),
                    states[State.YES], states[State.NO], states[State.NOT_RECORDED], dated,
                )
            )  # fmt: skip
    return rows


def _tells_more(event: Event, known: Event) -> bool:
    """*Yes* over *no* over *not recorded*, and a day over none."""
    rank = {State.NOT_RECORDED: 0, State.NO: 1, State.YES: 2}
    return (rank[event.state], event.days is not None) > (rank[known.state], known.days is not None)


def _order(key: Iterable[object]) -> tuple[tuple[bool, object], ...]:
    """Sorts keys that hold None: it comes last."""
    return tuple((part is None, part if part is not None else 0) for part in key)
