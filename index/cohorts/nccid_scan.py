"""A course as it stands for one scan: days to what happened, COVID's phase, and what the record says of this very film."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from index.case import Event, Outcome, State
from index.cohorts.cleaned import Cleaned
from index.cohorts.nccid_course import Course, Fields

ACUTE_FROM, ACUTE_TO = -14, 28  # days from the first positive test
FILM_DAYS = 1  # by which a recorded film's date may miss the scan's
FILMS = (("date_of_1st_cxr", "1"), ("date_of_2nd_cxr", "2"))
WINDOWS = (28, 60)  # days within which deaths are counted


@dataclass(frozen=True)
class AtScan:
    """What the course says of one scan."""

    outcome: Outcome
    values: dict[str, float | str | None]  # columns of the catalogue
    flags: tuple[str, ...]  # field:flag


def at_scan(course: Course, fields: Fields, taken: date | None, *, film_dates: Sequence[date] | None) -> AtScan:
    """`taken` is the scan's date, None where it has none. `film_dates` are those of all films of the patient, one each, None
    where the scan is none: severity and code are told of films only.
    """
    phase = _phase(course.index_date.value, taken)
    film = {
        name: Cleaned(None) if film_dates is None else _of_film(fields, name, taken, film_dates)
        for name in ("cxr_severity", "covid_code")
    }
    worst = course.worst_outcome
    values: dict[str, float | str | None] = {
        "covid_status": course.covid_status.value,
        "covid_status_at_scan": _status_at_scan(course.covid_status.value, phase),
        "scan_phase": phase,
        "days_from_index": _days(course.index_date.value, taken),
        "days_from_admission": _days(course.admitted, taken),
        "worst_outcome": worst.value,
        "los_to_death": _days(course.admitted, course.death_date),
        "observed_from_admission": _days(course.admitted, course.last_alive.value if not course.death_date else None),
        **{f"died_{days}": course.died_within(days) for days in WINDOWS},
        **{name: cell.value for name, cell in film.items()},
    }
    derived: dict[str, Cleaned[object]] = {
        "covid_status": course.covid_status,
        "covid_status_at_scan": course.covid_status,
        "index_date": course.index_date,
        "died": course.died,
        "itu_admission": course.itu_admission,
        "intubated": course.intubated,
        "worst_outcome": worst,
        "observed_days": course.last_alive,
        **film,
    }
    flags = tuple(f"{name}:{flag}" for name, cell in derived.items() for flag in cell.flags)
    return AtScan(_outcome(course, taken), values, flags)


def _outcome(course: Course, taken: date | None) -> Outcome:
    dated = {
        "died": (course.died.value, course.death_date),
        "itu_admission": (course.itu_admission.value, course.itu_date),
        "intubated": (course.intubated.value, course.intubation_date),
    }
    events = {
        name: Event(state or State.NOT_RECORDED, _whole_days(taken, when) if state is State.YES else None)
        for name, (state, when) in dated.items()
    }
    has_died = course.died.value is State.YES
    return Outcome(events, _whole_days(taken, course.death_date if has_died else course.last_alive.value))


def _phase(index_date: date | None, taken: date | None) -> str | None:
    days = _days(index_date, taken)
    if days is None:
        return None
    return "pre" if days < ACUTE_FROM else "acute" if days <= ACUTE_TO else "post"


def _status_at_scan(status: str | None, phase: str | None) -> str | None:
    """What may be said of the disease on this scan: a positive patient's film of last year is no film of COVID."""
    if status not in ("positive", "positive_swab", "conflict"):
        return "unknown" if status == "negative_unconfirmed" else status
    if phase == "pre":
        return "pre_covid"
    if phase is None:
        return "unknown"
    if status == "conflict":
        return "conflict"
    return "positive" if phase == "acute" else "post_covid"


def _of_film(fields: Fields, name: str, taken: date | None, film_dates: Sequence[date]) -> Cleaned[float]:
    """Severity or code of the recorded film of this day, else of a day beside it on which no film lies.

    The record names the day only: where several films are of that day all are told the same, flagged.
    """
    told = [(fields[dated].value, fields[f"{name}_{number}"].value) for dated, number in FILMS]
    for leeway in range(FILM_DAYS + 1) if taken else ():
        near = [
            value
            for when, value in told
            if when and taken and abs((when - taken).days) == leeway and (not leeway or when not in film_dates)
        ]
        if len(near) == 2 and near[0] != near[1]:
            return Cleaned(None, "", ("two-films-that-day",))
        if near:
            is_off = leeway > 0 and near[0] is not None
            flags = ("a-day-off",) if is_off else ()
            several = near[0] is not None and film_dates.count(taken) > 1
            return Cleaned(near[0], "", (*flags, "several-films-that-day") if several else flags)
    return Cleaned(None)


def _days(start: date | None, end: date | None) -> float | None:
    days = _whole_days(start, end)
    return None if days is None else float(days)


def _whole_days(start: date | None, end: date | None) -> int | None:
    return (end - start).days if start and end else None
