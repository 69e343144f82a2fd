"""Whatever a cell holds, cleaning does not raise, means what it prints, and never dates anything in the future."""

from collections.abc import Callable
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.cohorts import clean_laboratory as laboratory
from index.cohorts.clean_dates import EARLIEST, Anchor, Order, clean_date
from index.cohorts.clean_ethnicity import clean_ethnicity
from index.cohorts.clean_laboratory import clean_laboratory
from index.cohorts.clean_numbers import DAYS, clean_code, clean_number, clean_pressure
from index.cohorts.clean_oxygen import clean_fio2, clean_pao2, clean_saturation
from index.cohorts.clean_person import clean_age, clean_sex, clean_years, sex_beside_scan
from index.cohorts.clean_states import clean_state
from index.cohorts.cleaned import FLAGS, Cleaned, cell_text, printed
from index.cohorts.nccid_fields import FIELDS, clean_record

LATEST = date(2021, 6, 15)
LABS = {name: lab for name, lab in vars(laboratory).items() if isinstance(lab, laboratory.Lab)}
Cleaner = Callable[[Any], Cleaned[Any]]
CLEANERS: dict[str, Cleaner] = {
    "state": clean_state,
    "us date": lambda value: clean_date(value, latest=LATEST),
    "uk date": lambda value: clean_date(value, latest=LATEST, order=Order.UK, scan_dates=[date(2020, 4, 1)]),
    "number": lambda value: clean_number(value, low=-1e6, high=1e6),
    "days": lambda value: clean_number(value, low=0, high=365, units=DAYS),
    "years": clean_years,
    "systolic": lambda value: clean_pressure(value, place=0),
    "diastolic": lambda value: clean_pressure(value, place=1),
    "code": lambda value: clean_code(value, codes=range(6), unknown=6),
    "age": clean_age,
    "sex": clean_sex,
    "ethnicity": clean_ethnicity,
    "fio2": clean_fio2,
    "saturation": clean_saturation,
}

WORDS = st.sampled_from(
    "[ ] - 2020-03-20 31/03/2020 5/6/20 43909 < > , . / % L kPa mg/L 0 1 2 15 99 1,234 0.28 ( ) white and asian Mar 1es "
    "CVCX Y no FiO2 e5 ٣ ² 10^9/l mmHg T12:30 1e999 \ud800 \0 not before weeks m RA SpO2 detected positive : 20.95 45 mg/mmol".split(
        " "
    )
) | st.just(" ")
DIRT = st.lists(WORDS, max_size=6).map("".join)
NUMBERS = st.integers() | st.floats() | st.floats(0, 200) | st.integers(0, 1000)
DATES = st.dates(date(1800, 1, 1), date(2200, 1, 1)).flatmap(
    lambda day: st.sampled_from(["%m/%d/%Y", "%d/%m/%Y", "%d.%m.%y", "%Y-%m-%d", "%d %B %Y", "%Y%m%d"]).map(
        day.strftime
    )
)
CELLS = (
    DIRT | NUMBERS | DATES | st.text(max_size=20) | st.booleans() | st.none()
    | st.recursive(st.none() | st.text(max_size=3), lambda inner: st.lists(inner, max_size=2))
    | st.builds(lambda digits: 10**digits, st.integers(0, 5000))
)  # fmt: skip


@pytest.mark.parametrize("name", CLEANERS)
@given(cell=CELLS)
def test_a_cell_is_cleaned_without_raising_and_means_what_it_prints(name: str, cell: Any) -> None:
    clean = CLEANERS[name]
    once = clean(cell)
    assert set(once.flags) <= set(FLAGS)
    assert once.value is not None or once.flags or not once.source
    assert once.source.encode("utf-8") is not None
    assert clean(printed(once.value)).value == once.value


@pytest.mark.parametrize("lab", LABS)
@given(cell=CELLS, site=st.sampled_from(["", laboratory.IMPERIAL, laboratory.CAMBRIDGE, laboratory.SHEFFIELD]))
def test_a_laboratory_value_means_what_it_prints_with_its_unit(lab: str, cell: Any, site: str) -> None:
    once = clean_laboratory(cell, LABS[lab], site=site)
    assert set(once.flags) <= set(FLAGS)
    if once.value is not None:
        again = clean_laboratory(f"{once.value} {LABS[lab].unit}", LABS[lab], site=site)
        assert again.value == once.value


@given(cell=CELLS, fio2_known=st.booleans())
def test_a_pao2_cell_means_what_it_prints_with_its_unit(cell: Any, fio2_known: bool) -> None:
    oxygen = clean_pao2(cell, fio2_known=fio2_known)
    found = [oxygen.pao2_kpa.value, oxygen.saturation_percent.value, oxygen.fio2_percent.value]
    assert sum(value is not None for value in found) <= 1
    for written, value in zip(("{} kPa", "{} %", "FiO2 {} %"), found, strict=True):
        if value is not None:
            again = clean_pao2(written.format(value), fio2_known=fio2_known)
            values = [again.pao2_kpa.value, again.saturation_percent.value, again.fio2_percent.value]
            assert values == found


@given(
    cell=CELLS,
    latest=st.dates(date(2017, 1, 1), date(2030, 1, 1)),
    order=st.sampled_from(Order),
    scan_dates=st.lists(st.dates(), max_size=3),
    anchor=st.sampled_from(Anchor),
)
def test_a_date_is_never_in_the_future_or_before_1900(
    cell: Any, latest: date, order: Order, scan_dates: list[date], anchor: Anchor
) -> None:
    when = clean_date(cell, latest=latest, order=order, scan_dates=scan_dates, anchor=anchor).value
    assert when is None or date(1900, 1, 1) < EARLIEST <= when <= latest


@given(
    day=st.dates(EARLIEST, LATEST),
    form=st.sampled_from(["%m/%d/%Y", "%d/%m/%Y", "%Y-%m-%d", "%d %b %Y", "[Text] - %Y-%m-%d"]),
)
def test_a_real_date_is_found_or_its_order_flagged(day: date, form: str) -> None:
    cleaned = clean_date(day.strftime(form), latest=LATEST)
    assert cleaned.value == day or cleaned.flags == ("ambiguous-order",)


@given(day=st.dates(EARLIEST, LATEST))
def test_an_excel_serial_counts_from_the_end_of_1899(day: date) -> None:
    serial = (day - date(1899, 12, 31)).days + 1  # 1 is 1 January 1900, and Excel counts a 29 February 1900
    assert clean_date(serial, latest=LATEST).value == date(1899, 12, 30) + timedelta(days=serial) == day


@given(recorded=CELLS, stated=CELLS)
def test_a_sex_beside_a_scan_is_the_recorded_one_or_nothing(recorded: Any, stated: Any) -> None:
    cleaned = clean_sex(recorded)
    assert sex_beside_scan(cleaned, stated).value in (cleaned.value, None)


HEADERS = st.sampled_from(
    [*(header for field in FIELDS.values() for header in field.headers), "PaO2", "SubmittingCentre"]
)


@given(
    raw=st.dictionaries(HEADERS | st.text(max_size=5), CELLS, max_size=8), scan_dates=st.lists(st.dates(), max_size=2)
)
def test_any_record_is_cleaned_without_raising(raw: dict[str, Any], scan_dates: list[date]) -> None:
    record = clean_record(raw, latest=LATEST, scan_dates=scan_dates)
    assert set(record) == {*FIELDS, "pao2_kpa"}
    if not any(cell_text(value) for value in raw.values()):
        assert all(cleaned == Cleaned(None) for cleaned in record.values())
