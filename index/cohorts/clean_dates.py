"""Clinical dates: ISO within text, either order of day and month, names of months, Excel's count of days."""

import re
from collections.abc import Callable, Collection
from datetime import date, timedelta
from enum import Enum

from index.cohorts.cleaned import Cleaned, cell_text

EARLIEST = date(2017, 1, 1)  # imaging is collected from three years before the first COVID film
EXCEL_EPOCH = date(1899, 12, 30)  # so that Excel's leap day of 1900, which never was, is counted
NEAR_DAYS = 14  # clinical dates lie mostly within a stay, day and month swapped mostly months away

ISO = re.compile(r"(?<!\d)(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)", re.ASCII)
SLASHED = re.compile(r"(?<![\d/.-])(\d{1,2})([/.-])(\d{1,2})\2(\d{4}|\d{2})(?![\d/-])", re.ASCII)
DAY_MONTH = re.compile(
    r"(?<!\d)(\d{1,2})(?:st|nd|rd|th)?[ /.-]?(?:of )?([a-z]{3,9})\.?,?[ /-]?(\d{4}|\d{2})(?!\d)", re.ASCII
)
MONTH_DAY = re.compile(r"([a-z]{3,9})\.?[ /-]?(\d{1,2})(?:st|nd|rd|th)?,?[ /-]?(\d{4})(?!\d)", re.ASCII)
FORMS = (ISO, SLASHED, DAY_MONTH, MONTH_DAY)
# before a date: that it is another day than this one
OTHER_DAY = re.compile(
    r"\b(?:not|never)\b.*|(?:\b(?:before|after|prior to|earlier than|later than|pre|post)\b[ :-]*(?:the )?|[<>≤≥]=?\s*)"
)
OR_OTHER_DAY = re.compile(r"\s*\(?or (?:before|after|earlier|later)\b")
TIME = re.compile(r"(?<=\d)[t ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:z|[+-]\d{2}:?\d{2})?", re.ASCII)
MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip


class Order(Enum):
    """Which of 03/04/2020 a field should mean: NCCID's positives are told to write US, its swab dates UK."""

    US = "month first"
    UK = "day first"


class Habit(Enum):
    """How a centre is seen to write its dates, by those that can be read in one order only."""

    UNKNOWN = "too few dates to tell"
    NOMINAL = "in the order that the field should have"
    OTHER = "in the other order"
    MIXED = "now so, now so"


class Anchor(Enum):
    """Where an event lies beside the patient's scans, which tells day from month where either could be."""

    NEAR = "within 14 days of a scan: what a stay in hospital begins with"
    SAME_DAY = "on the day of a scan, or the next to it: the recorded films"
    AFTER = "after every scan: death"
    ANYWHERE = "scans tell nothing"


def clean_date(
    value: object,
    *,
    latest: date,
    order: Order = Order.US,
    scan_dates: Collection[date] = (),
    anchor: Anchor = Anchor.NEAR,
    earliest: date = EARLIEST,
    habit: Habit = Habit.UNKNOWN,
) -> Cleaned[date]:
    """A date from `earliest` to `latest`. Where day and month could be either, the scans and the centre's habit tell, flagged.

    Where they contradict each other, or the centre writes now so, now so, nothing is recorded.
    """
    source = cell_text(value)
    if not source:
        return Cleaned(None)
    text = TIME.sub("", source.lower())
    counted = _counted(text)
    if counted:
        return _within(counted, (earliest, latest), source, ("excel-serial",) if len(text.split(".")[0]) == 5 else ())
    written = {(int(y), int(m), int(d)) for y, m, d in ISO.findall(text)} or _named(text)
    slashed = {(int(a), int(b), _year(y)) for a, _, b, y in SLASHED.findall(text)} if not written else set()
    if len(written) + len(slashed) != 1 or _is_another_day(text):
        return Cleaned(None, source, ("several-values" if len(written) + len(slashed) > 1 else "unreadable",))
    around = () if _is_whole(text) else ("text-around",)
    if written:
        found = _calendar(*written.pop())
        return _within(found, (earliest, latest), source, around) if found else Cleaned(None, source, ("unreadable",))
    first, second, year = slashed.pop()
    us, uk = _calendar(year, first, second), _calendar(year, second, first)
    readings = (us, uk) if order is Order.US else (uk, us)
    return _ordered(readings, (earliest, latest), _settled(scan_dates, anchor, habit), source, around)


def _ordered(
    readings: tuple[date | None, date | None],
    limits: tuple[date, date],
    settle: Callable[[date, date], tuple[date | None, str]],
    source: str,
    around: tuple[str, ...],
) -> Cleaned[date]:
    """One of the readings, (in the field's order, in the other)."""
    nominal, other = (when if when and limits[0] <= when <= limits[1] else None for when in readings)
    if nominal and other and nominal != other:
        when, why = settle(nominal, other)
        return Cleaned(when, source, (*around, why))
    if nominal or other:
        return Cleaned(nominal or other, source, around if nominal else (*around, "other-order"))
    return Cleaned(None, source, ("out-of-range" if any(readings) else "unreadable",))


def _settled(
    scan_dates: Collection[date], anchor: Anchor, habit: Habit
) -> Callable[[date, date], tuple[date | None, str]]:
    """Chooses of two possible readings, (in the field's order, in the other), and says why; None where nothing tells."""
    fits = _fits(scan_dates, anchor)
    by_habit = {Habit.NOMINAL: 0, Habit.OTHER: 1}.get(habit)

    def settle(nominal: date, other: date) -> tuple[date | None, str]:
        readings = (nominal, other)
        fitting = [place for place, when in enumerate(readings) if fits(when)]
        if len(fitting) == 1 and (by_habit in (None, fitting[0]) or anchor is Anchor.AFTER):
            return readings[fitting[0]], "order-by-scan"
        if len(fitting) == 1 or habit is Habit.MIXED:
            return None, "ambiguous-order"
        return (other, "order-by-centre") if habit is Habit.OTHER else (nominal, "ambiguous-order")

    return settle


def _fits(scan_dates: Collection[date], anchor: Anchor) -> Callable[[date], bool]:
    """Whether a date lies where `anchor` says; where there is no scan, none does."""
    if anchor is Anchor.AFTER:  # a day before is allowed: clocks and time zones
        return lambda when: bool(scan_dates) and (max(scan_dates) - when).days <= 1
    days = {Anchor.NEAR: NEAR_DAYS, Anchor.SAME_DAY: 1, Anchor.ANYWHERE: -1}[anchor]
    return lambda when: any(abs((when - scan).days) <= days for scan in scan_dates)


def _within(when: date, limits: tuple[date, date], source: str, flags: tuple[str, ...]) -> Cleaned[date]:
    return Cleaned(when, source, flags) if limits[0] <= when <= limits[1] else Cleaned(None, source, ("out-of-range",))


def _counted(text: str) -> date | None:
    """The date of 43909 (Excel) or 20200319."""
    if re.fullmatch(r"\d{5}(\.\d+)?", text, re.ASCII):
        return EXCEL_EPOCH + timedelta(days=int(text.split(".")[0]))
    if re.fullmatch(r"\d{8}(\.0)?", text, re.ASCII):
        return _calendar(int(text[:4]), int(text[4:6]), int(text[6:8]))
    return None


def _named(text: str) -> set[tuple[int, int, int]]:
    spelt = [(y, name, d) for d, name, y in DAY_MONTH.findall(text)]
    spelt += [(y, name, d) for name, d, y in MONTH_DAY.findall(text)]
    return {(_year(y), month, int(d)) for y, name, d in spelt if (month := _month(name))}


def _month(name: str) -> int | None:
    """1 to 12 for a month's name, or its beginning of three letters or more."""
    return next((number for number, full in enumerate(MONTHS, start=1) if full.startswith(name)), None)


def _is_whole(text: str) -> bool:
    return any(pattern.fullmatch(text) for pattern in FORMS)


def _is_another_day(text: str) -> bool:
    """Whether the date in `text` is named to say that it was not then: "not 2020-03-20", "before 2020-03-20"."""
    found = [match for pattern in FORMS for match in pattern.finditer(text)]
    return any(_ends_in(OTHER_DAY, text[: date.start()]) or OR_OTHER_DAY.match(text, date.end()) for date in found)


def _ends_in(pattern: re.Pattern[str], text: str) -> bool:
    return any(match.end() == len(text) for match in pattern.finditer(text))


def _year(digits: str) -> int:
    return int(digits) + (2000 if len(digits) == 2 else 0)


def _calendar(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None
