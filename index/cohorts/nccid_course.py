"""What a cleaned record comes to: the days that can be believed, the patient's COVID status, and what happened."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import combinations
from typing import Any

from index.case import State
from index.cohorts.cleaned import Cleaned
from index.cohorts.nccid_tests import CovidTest

Fields = Mapping[str, Cleaned[Any]]

ADMISSION, ITU, INTUBATION = "date_of_admission", "date_of_itu_admission", "date_of_intubation"
DEATH, LAST_ALIVE = "date_of_death", "date_last_known_alive"
# (first, second, by how many days the first may be later all the same)
ORDERS = (
    (ADMISSION, ITU, 0),
    (ADMISSION, INTUBATION, 0),
    (ITU, INTUBATION, 1),  # intubated in the emergency department, before there was a bed
    (ADMISSION, DEATH, 0),
    (ITU, DEATH, 0),
    (INTUBATION, DEATH, 0),
    (LAST_ALIVE, DEATH, 1),
)
DAY_BEFORE = 1  # a death may be written a day before the swab's or the scan's date
FIRST_TEST = date(2020, 1, 1)  # before it nobody could be tested
LATE_TEST = 14  # days after a death on which a test may still be dated


@dataclass(frozen=True)
class Course:
    """What happened to a patient. Values are None where nothing says."""

    covid_status: Cleaned[str]
    index_date: Cleaned[date]  # of the first positive test
    admitted: date | None
    itu_date: date | None
    intubation_date: date | None
    death_date: date | None
    last_alive: Cleaned[
        date
    ]  # the last day on which the patient is known to have lived; of the dead, only before death
    died: Cleaned[State]
    itu_admission: Cleaned[State]
    intubated: Cleaned[State]

    def died_within(self, days: int) -> State | None:
        """Whether death came within so many days of the first positive test; None where follow-up is too short to say."""
        start = self.index_date.value
        if start is None:
            return None
        if self.death_date:
            survived = (self.death_date - start).days
            return None if survived < -DAY_BEFORE else State.YES if survived <= days else State.NO
        alive = self.last_alive.value
        return State.NO if alive and (alive - start).days >= days else None

    @property
    def worst_outcome(self) -> Cleaned[float]:
        """3 died, 2 intubated, 1 ITU, 0 none of them recorded; None where all three are unknown."""
        states = (self.itu_admission.value, self.intubated.value, self.died.value)
        if not any(states):
            return Cleaned(None)
        worst = max((place for place, state in enumerate(states, start=1) if state is State.YES), default=0)
        return Cleaned(float(worst), "", ("incomplete",) if worst < 3 and None in states else ())


def mended(fields: Fields, scan_dates: Collection[date] = ()) -> dict[str, Cleaned[Any]]:
    """The fields without the dates that contradict each other in order, or a death before a scan: the fewest whose removal
    mends it.

    Where several choices are equally few, nothing tells which date is wrong, and all of them go.
    """
    dates = {name: fields[name].value for name in dict.fromkeys(name for a, b, _ in ORDERS for name in (a, b))}
    death, last_scan = dates[DEATH], max(scan_dates, default=None)
    died_too_early = bool(death and last_scan and (last_scan - death).days > DAY_BEFORE)
    if died_too_early:
        dates[DEATH] = None
    known = [name for name, when in dates.items() if when]
    for count in range(len(known) + 1):
        choices = [set(gone) for gone in combinations(known, count) if _in_order(dates, gone)]
        if choices:
            gone = set().union(*choices, {DEATH} if died_too_early else ())
            return {
                name: Cleaned(None, cell.source, (*cell.flags, "implausible-order")) if name in gone else cell
                for name, cell in fields.items()
            }
    raise AssertionError("without dates there is no order to break")


def course_of(fields: Fields, tests: Sequence[CovidTest], *, is_full: bool, scan_dates: Collection[date]) -> Course:
    """The course by a record's mended fields; `is_full` where it is a positive patient's, not a control's."""
    death = fields[DEATH].value
    died = _happened(fields["death"].value, fields[DEATH])
    intubated = _happened(fields["intubation"].value, fields[INTUBATION])
    itu = _happened(fields["itu_admission"].value, fields[ITU])
    is_implied = intubated.value is State.YES or bool(
        fields["apache"].value
    )  # a score of 0 is what an empty form holds
    if itu.value is None and is_implied:
        itu = Cleaned(State.YES, "", ("implied",))
    elif itu.value is State.NO and intubated.value is State.YES:
        itu = itu.flagged("denied-but-implied")
    status = _covid_status(fields, tests, is_full=is_full)
    return Course(
        status,
        _index_date(fields, tests, death) if is_full or status.value == "positive_swab" else Cleaned(None),
        fields[ADMISSION].value,
        fields[ITU].value,
        fields[INTUBATION].value,
        death,
        _last_alive(fields[LAST_ALIVE], scan_dates if is_full else (), before=death),
        died,
        itu,
        intubated,
    )


def _in_order(dates: Mapping[str, date | None], gone: Collection[str]) -> bool:
    for first, second, leeway in ORDERS:
        a, b = dates[first], dates[second]
        if a and b and not {first, second} & set(gone) and (a - b).days > leeway:
            return False
    return True


def _happened(state: State | None, when: Cleaned[date]) -> Cleaned[State]:
    """What is dated has happened, whatever else is ticked; a date that cannot be used still speaks against a no."""
    has_date = when.value is not None or any(character.isdigit() for character in when.source)
    if not has_date:
        return Cleaned(state)
    flags = ("denied-but-dated",) if state is State.NO else ()
    if when.value is None:
        return Cleaned(None if state is State.NO else state, "", flags)
    return Cleaned(State.YES, "", flags)


def _covid_status(fields: Fields, tests: Sequence[CovidTest], *, is_full: bool) -> Cleaned[str]:
    if is_full:
        negative = fields["final_covid_positive"].value is State.NO
        return Cleaned("conflict" if negative else "positive", "", ("final-status-negative",) if negative else ())
    results = {test.result.value for test in tests if test.is_told}
    if State.YES in results or fields["final_covid_positive"].value is State.YES:
        return Cleaned("positive_swab")
    return Cleaned("negative") if results == {State.NO} else Cleaned("negative_unconfirmed", "", ("no-result",))


def _index_date(fields: Fields, tests: Sequence[CovidTest], death: date | None) -> Cleaned[date]:
    """The first day of a positive test: when it was taken, else when its result came, else admission, flagged."""
    positive = [test for test in tests if test.result.value is State.YES]
    doubts: list[str] = []
    taken, results = [fields["date_of_positive_covid_swab"].value], []
    for test in positive:
        if test.taken.value and test.resulted.value and test.resulted.value < test.taken.value:
            doubts.append("implausible-order")  # a result before its test: nobody knows which day is wrong
            continue
        taken.append(test.taken.value)
        results.append(test.resulted.value)
    for days, flags in ((taken, ()), (results, ("from-result",)), ([fields[ADMISSION].value], ("from-admission",))):
        known = [day for day in days if day]
        possible = [day for day in known if day >= FIRST_TEST and (not death or (day - death).days <= LATE_TEST)]
        if len(possible) < len(known) and "impossible-test" not in doubts:
            doubts.append("impossible-test")
        if possible:
            return Cleaned(min(possible), "", (*flags, *doubts))
    return Cleaned(None, "", tuple(doubts))


def _last_alive(told: Cleaned[date], scan_dates: Collection[date], *, before: date | None) -> Cleaned[date]:
    """The later of what the record tells and the last scan: only the living are imaged."""
    scans = [day for day in scan_dates if before is None or day <= before + timedelta(days=DAY_BEFORE)]
    last = max(scans, default=None)
    if last and (told.value is None or last > told.value):
        return Cleaned(last, "", ("follow-up-by-scan",))
    return Cleaned(told.value)
