"""NCCID's dirty cells -> values with their flags, field by field."""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from index.case import State
from index.cohorts import clean_laboratory as laboratory
from index.cohorts.clean_dates import Anchor, Order, clean_date
from index.cohorts.clean_ethnicity import clean_ethnicity
from index.cohorts.clean_laboratory import Lab, clean_laboratory
from index.cohorts.clean_numbers import (
    BREATHS,
    CELSIUS,
    DAYS,
    HEARTBEATS,
    NO_UNIT,
    clean_code,
    clean_number,
    clean_pressure,
)
from index.cohorts.clean_oxygen import clean_fio2, clean_pao2, clean_saturation
from index.cohorts.clean_person import clean_age, clean_sex, sex_beside_scan
from index.cohorts.clean_states import clean_state
from index.cohorts.cleaned import FLAGS, Cleaned, says_nothing
from index.cohorts.nccid_fields import clean_record

LATEST = date(2021, 12, 31)
ROOT = Path(__file__).parents[1]


def outcome(cleaned: Cleaned[Any]) -> tuple[Any, str]:
    return cleaned.value, " ".join(cleaned.flags)


@pytest.mark.parametrize(
    ("value", "state", "flags"),
    [
        (0, State.NO, ""),
        (False, State.NO, ""),
        ("0.0", State.NO, ""),
        ("Not detected", State.NO, ""),
        ("1es", State.YES, ""),
        (1.0, State.YES, ""),
        ("[1] - 2020-05-05", State.YES, ""),
        ("RNA DETECTED (SARS-CoV-2)", State.YES, "text-around"),
        ("RNA NOT DETECTED (SARS-CoV-2)", State.NO, "text-around"),
        ("1 - ramipril", State.YES, "text-around"),
        ("no, stopped", State.NO, "text-around"),
        (2, None, "stated-unknown"),
        ("2 - ?", None, "stated-unknown text-around"),
        ("Unknown", None, "stated-unknown"),
        (3, None, "unreadable"),
        ("no information", None, "unreadable"),
        ("0 - 1", None, "unreadable"),
        ("NEGATIVE - POSITIVE on repeat", None, "several-values"),
        ("no, later yes", None, "several-values"),
        ("yes, now no", None, "several-values"),
        ("RNA detected (previously not detected)", None, "several-values"),
        ("positive - confirmed positive", State.YES, "text-around"),
        ("negative - virus not detected", State.NO, "text-around"),
        ("yes - no details", State.YES, "text-around"),
        ("Detected: no", State.NO, "text-around"),
        ("Detected: yes", State.YES, "text-around"),
        ("SARS-CoV-2: not detected", State.NO, "text-around"),
        ("Result: positive", State.YES, "text-around"),
        ("Negative: no", None, "several-values"),
        ("Positive: unknown", None, "stated-unknown text-around"),
        ("no: ramipril", State.NO, "text-around"),
        ("SARS-CoV-2 RNA DETECTED", State.YES, "text-around"),
        ("SARS-CoV-2 RNA NOT DETECTED", State.NO, "text-around"),
        ("COVID-19 positive", State.YES, "text-around"),
        ("1.", State.YES, ""),
        ("01", State.YES, ""),
        ("00", State.NO, ""),
        ("02", None, "stated-unknown"),
        ("10", None, "unreadable"),
        (" ", None, ""),
        (None, None, ""),
        ([1], None, ""),
    ],
)
def test_three_states(value: Any, state: State | None, flags: str) -> None:
    assert outcome(clean_state(value)) == (state, flags)


@pytest.mark.parametrize(
    ("value", "expected", "flags"),
    [
        ("03/04/2020", date(2020, 3, 4), "ambiguous-order"),
        ("05/05/2020", date(2020, 5, 5), ""),
        ("3/31/20", date(2020, 3, 31), ""),
        ("31/03/2020", date(2020, 3, 31), "other-order"),
        ("31.03.2020 14:30", date(2020, 3, 31), "other-order"),
        ("12/10/2021", date(2021, 12, 10), "ambiguous-order"),
        ("01/12/2022", None, "out-of-range"),
        ("2020-03-20T00:00:00", date(2020, 3, 20), ""),
        ("2020/3/2", date(2020, 3, 2), ""),
        ("20200320", date(2020, 3, 20), ""),
        ("[x] - 2020-03-20", date(2020, 3, 20), "text-around"),
        ("about 31/03/2020", date(2020, 3, 31), "text-around other-order"),
        ("not 2020-03-20", None, "unreadable"),
        ("not done on 31/03/2020", None, "unreadable"),
        ("before 2020-03-20", None, "unreadable"),
        ("sometime after 31/03/2020", None, "unreadable"),
        ("before the 20th of March 2020", None, "unreadable"),
        ("< 2020-03-20", None, "unreadable"),
        ("2020-03-20 or earlier", None, "unreadable"),
        ("2020-03-20 (after a fall)", date(2020, 3, 20), "text-around"),
        ("05/Mar/2020", date(2020, 3, 5), ""),
        ("05.Mar.20", date(2020, 3, 5), ""),
        ("Mar/05/2020", date(2020, 3, 5), ""),
        ("20-Mar-20", date(2020, 3, 20), ""),
        ("March 20th, 2020", date(2020, 3, 20), ""),
        ("20 Mox 2020", None, "unreadable"),
        (43909, date(2020, 3, 19), "excel-serial"),
        ("43909.0", date(2020, 3, 19), "excel-serial"),
        (99999, None, "out-of-range"),
        ("2020-03-20 or 2020-03-21", None, "several-values"),
        ("31/31/2020", None, "unreadable"),
        ("31/04/2020", None, "unreadable"),
        ("1/1/1901", None, "out-of-range"),
        ("unknown", None, "unreadable"),
        ("1234", None, "unreadable"),
        (None, None, ""),
    ],
)
def test_dates_of_a_us_field(value: Any, expected: date | None, flags: str) -> None:
    assert outcome(clean_date(value, latest=LATEST)) == (expected, flags)


def test_swab_dates_are_read_day_first() -> None:
    uk = [clean_date(text, latest=LATEST, order=Order.UK) for text in ("06/05/2020", "05/16/2020")]
    assert [outcome(cleaned) for cleaned in uk] == [
        (date(2020, 5, 6), "ambiguous-order"),
        (date(2020, 5, 16), "other-order"),
    ]


@pytest.mark.parametrize(
    ("scans", "expected", "flags"),
    [
        ([date(2020, 4, 1)], date(2020, 4, 5), "order-by-scan"),  # 5 April is 4 days on
        ([date(2018, 1, 1), date(2020, 5, 18)], date(2020, 5, 4), "order-by-scan"),  # 4 May is 14 days before
        ([date(2020, 5, 19)], date(2020, 5, 4), "ambiguous-order"),  # 15 days: near neither
        ([date(2020, 4, 19)], date(2020, 4, 5), "order-by-scan"),  # 14 days after 5 April, 15 before 4 May
        ([date(2020, 4, 1), date(2020, 5, 1)], date(2020, 5, 4), "ambiguous-order"),  # near both
    ],
)
def test_a_scan_near_one_reading_settles_the_order(scans: list[date], expected: date, flags: str) -> None:
    assert outcome(clean_date("05/04/2020", latest=LATEST, scan_dates=scans)) == (expected, flags)


@pytest.mark.parametrize(
    ("anchor", "scan", "expected", "flags"),
    [
        (Anchor.SAME_DAY, date(2020, 4, 6), date(2020, 4, 5), "order-by-scan"),
        (Anchor.SAME_DAY, date(2020, 4, 7), date(2020, 5, 4), "ambiguous-order"),
        (Anchor.AFTER, date(2020, 4, 7), date(2020, 5, 4), "order-by-scan"),  # nobody is scanned two days after death
        (Anchor.AFTER, date(2020, 4, 6), date(2020, 5, 4), "ambiguous-order"),
        (Anchor.ANYWHERE, date(2020, 4, 5), date(2020, 5, 4), "ambiguous-order"),
    ],
)
def test_what_a_scan_tells_depends_on_the_event(anchor: Anchor, scan: date, expected: date, flags: str) -> None:
    cleaned = clean_date("05/04/2020", latest=LATEST, scan_dates=[scan], anchor=anchor)
    assert outcome(cleaned) == (expected, flags)


def test_a_death_without_scans_is_ambiguous_in_its_order() -> None:
    cleaned = clean_date("05/04/2020", latest=LATEST, anchor=Anchor.AFTER)
    assert outcome(cleaned) == (date(2020, 5, 4), "ambiguous-order")


def test_each_field_is_anchored_as_its_event_is() -> None:
    fields = ("Date of death", "Date last known alive", "Date of 1st CXR", "Date of admission")
    record = clean_record(dict.fromkeys(fields, "05/04/2020"), latest=LATEST, scan_dates=[date(2020, 4, 10)])
    found = {name: outcome(cleaned) for name, cleaned in record.items() if cleaned.source}
    assert found == {
        "date_of_death": (date(2020, 5, 4), "order-by-scan"),
        "date_last_known_alive": (date(2020, 5, 4), "ambiguous-order"),
        "date_of_1st_cxr": (date(2020, 5, 4), "ambiguous-order"),
        "date_of_admission": (date(2020, 4, 5), "order-by-scan"),
    }


def test_a_reading_in_the_future_leaves_the_other() -> None:
    assert outcome(clean_date("06/05/2020", latest=date(2020, 5, 20))) == (date(2020, 5, 6), "other-order")


@pytest.mark.parametrize(
    ("value", "expected", "flags"),
    [
        ("[6] - 2020-05-19", 6, ""),
        ("7 ", 7, ""),
        (36.6, 36.6, ""),
        ("1,234", 1234, "thousand-separator"),
        ("1,234,567.5", None, "thousand-separator out-of-range"),
        ("37,4", 37.4, "decimal-comma"),
        ("1,2345", None, "unreadable"),
        ("<4", 4, "censored-below"),
        ("> 1000", 1000, "censored-above"),
        ("12 mg/L", None, "other-unit"),
        ("0.8 x10^9/L", None, "other-unit"),
        ("12 U/mL", None, "other-unit"),
        ("37.4 (36 hours post admission)", 37.4, "text-around"),
        ("12 cannot say", 12, "text-around"),
        ("12-14", None, "several-values"),
        ("2020-03-20", None, "date-in-number"),
        ("20/03/2020", None, "date-in-number"),
        ("about 6", None, "unreadable"),
        ("-1", None, "out-of-range"),
        ("1e999", None, "out-of-range"),
        (float("inf"), None, "unreadable"),
        (float("nan"), None, ""),
        pytest.param(10**5000, None, "", id="more digits than Python prints"),
    ],
)
def test_numbers(value: Any, expected: float | None, flags: str) -> None:
    assert outcome(clean_number(value, low=0, high=10_000, units=NO_UNIT)) == (expected, flags)


@pytest.mark.parametrize(
    ("value", "units", "expected", "flags"),
    [
        ("80 bpm", HEARTBEATS, 80, ""),
        ("80 beats / min", HEARTBEATS, 80, ""),
        ("80 kPa", HEARTBEATS, None, "other-unit"),
        ("80 mg/mmol", HEARTBEATS, None, "other-unit"),
        ("80 (kPa)", HEARTBEATS, 80, "text-around"),
        ("20/min", BREATHS, 20, ""),
        ("20 breaths", BREATHS, 20, ""),
        ("20%", BREATHS, None, "other-unit"),
        ("37.4 °C", CELSIUS, 37.4, ""),
        ("37.4c", CELSIUS, 37.4, ""),
        ("98.6 F", CELSIUS, None, "other-unit"),
        ("7 days", DAYS, 7, ""),
        ("7d", DAYS, 7, ""),
        ("2 weeks", DAYS, 14, "unit-converted"),
        ("1.5 wks", DAYS, 10.5, "unit-converted"),
        ("24 hours", DAYS, None, "other-unit"),
        ("2 weeks 3 days", DAYS, None, "several-values"),
        ("5 years", NO_UNIT, None, "other-unit"),
    ],
)
def test_a_unit_counts_only_where_the_field_knows_it(
    value: str, units: Mapping[str, float], expected: float | None, flags: str
) -> None:
    assert outcome(clean_number(value, low=0, high=365, units=units)) == (expected, flags)


@pytest.mark.parametrize("value", ["80 kPa", "20%", "2 weeks", "12 mg/L", "20 years"])
def test_a_field_that_states_no_units_takes_those_of_the_bedside_alone(value: str) -> None:
    assert outcome(clean_number(value, low=0, high=365)) == (None, "other-unit")
    assert [clean_number(text, low=0, high=365).value for text in ("20 /min", "37 C", "7 days")] == [20, 37, 7]


@pytest.mark.parametrize(
    ("value", "systolic", "diastolic"),
    [
        ("[137/91] - 2020-06-02", 137, 91),
        ("126/75 mmHg", 126, 75),
        ("126", 126, 126),
        ("126 mmHg", 126, 126),
        ("126 bpm", None, None),
        ("75/126", None, None),
    ],
)
def test_pressures(value: str, systolic: float | None, diastolic: float | None) -> None:
    assert (clean_pressure(value, place=0).value, clean_pressure(value, place=1).value) == (systolic, diastolic)


@pytest.mark.parametrize(
    ("value", "expected", "flags"),
    [
        ("5 - Lung Ca", 5, "text-around"),
        ("CVCX2", 2, ""),
        (1.0, 1, ""),
        (6, None, "stated-unknown"),
        (7, None, "out-of-range"),
        ("1.5", None, "unreadable"),
        ("1 and 4", None, "unreadable"),
        ("o", None, "unreadable"),
    ],
)
def test_codes(value: Any, expected: float | None, flags: str) -> None:
    assert outcome(clean_code(value, codes=range(6), unknown=6)) == (expected, flags)


@pytest.mark.parametrize(
    ("value", "expected", "flags"),
    [
        (65.889, 65, ""),
        ("[67] - 2020-06-06", 67, ""),
        ("067Y", 67, ""),
        ("018M", 1, "unusual-age"),
        ("67 years", 67, ""),
        ("67 y/o", 67, "text-around"),
        ("20 days", 0, "unit-converted unusual-age"),
        ("20d", 0, "unit-converted unusual-age"),
        ("6 weeks", 0, "unit-converted unusual-age"),
        ("18 months", 1, "unit-converted unusual-age"),
        ("240 months", 20, "unit-converted"),
        ("1,234", None, "thousand-separator out-of-range"),
        ("67 kg", None, "other-unit"),
        ("67M", None, "other-unit"),
        ("67F", None, "other-unit"),
        (0, 0, "unusual-age"),
        (103.9, 103, ""),
        (120, 120, "unusual-age"),
        (121, None, "out-of-range"),
        ("160Y", None, "out-of-range"),
        (-1, None, "out-of-range"),
    ],
)
def test_ages(value: Any, expected: float | None, flags: str) -> None:
    assert outcome(clean_age(value)) == (expected, flags)


@pytest.mark.parametrize(
    ("value", "expected", "flags"),
    [
        (0, "F", ""),
        ("1", "M", ""),
        ("1.0", "M", ""),
        ("f", "F", ""),
        (2, None, "unreadable"),
        ("Unknown", None, "stated-unknown"),
    ],
)
def test_sexes(value: Any, expected: str | None, flags: str) -> None:
    assert outcome(clean_sex(value)) == (expected, flags)


def test_a_sex_is_dropped_only_where_the_scan_says_the_other() -> None:
    recorded = clean_sex(1)
    assert [outcome(sex_beside_scan(recorded, stated)) for stated in ("M", "O", None, "F")] == [
        ("M", ""), ("M", ""), ("M", ""), (None, "sex-not-of-scan"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "expected", "flags"),
    [
        ("A", "White", ""),
        ("g", "Multiple", ""),
        ("R", "Asian", ""),
        ("P", "Black", ""),
        ("S", "Other", ""),
        ("C2", "White", ""),
        ("LA", "Asian", ""),
        ("AB", None, "unreadable"),
        ("I", None, "unreadable"),
        ("0", None, "unreadable"),
        ("Z", None, "stated-unknown"),
        (99, None, "stated-unknown"),
        ("White - British", "White", "from-text"),
        ("Asian or Asian British - Indian", "Asian", "from-text"),
        ("Black British", "Black", "from-text"),
        ("Mixed - White and Asian", "Multiple", "from-text"),
        ("White and Black African", "Multiple", "from-text"),
        ("Caucasian", "White", "from-text"),
        ("Any other ethnic group", "Other", "from-text"),
        ("Any other white background", "White", "from-text"),
        ("white african", None, "several-values"),
        ("Not white", None, "unreadable"),
        ("Non-white", None, "unreadable"),
        ("not of White origin", None, "unreadable"),
        ("other than Asian", None, "unreadable"),
        ("White - not further specified", "White", "from-text"),
        ("White/Black Caribbean", "Multiple", "from-text"),
        ("Asian/Asian British", "Asian", "from-text"),
    ],
)
def test_ethnicities(value: Any, expected: str | None, flags: str) -> None:
    assert outcome(clean_ethnicity(value)) == (expected, flags)


@pytest.mark.parametrize(
    ("value", "expected", "flags"),
    [
        ("28%", 28, ""),
        (28.0, 28, ""),
        ("0.28", 28, ""),
        ("FiO2 0.4", 40, ""),
        ("FiO2: 40 %", 40, ""),
        ("[35] - 2020-04-04", 35, ""),
        ("2", 29, "from-flow"),
        ("10L", 60, "from-flow"),
        ("15 L/min", 100, "from-flow"),
        ("2 litres", 29, "from-flow"),
        ("15L non-rebreathe", 100, "text-around from-flow"),
        ("2.5L", None, "out-of-range"),
        ("20L", None, "out-of-range"),
        (1, 25, "from-flow ambiguous-unit"),
        ("1L", 25, "from-flow"),
        ("White", 28, "from-mask"),
        ("green venturi", 60, "from-mask"),
        ("white venturi 28%", 28, "text-around"),
        ("white venturi 35%", None, "several-values"),
        ("via NC 2L/min", 29, "text-around from-flow"),
        ("blue or white", None, "several-values"),
        ("room air", 21, "room-air"),
        ("room-air", 21, "room-air"),
        ("Room air.", 21, "room-air"),
        ("nil", 21, "room-air"),
        ("20.9", 21, "room-air"),
        ("20.95%", 21, "room-air"),
        ("0.209", 21, "room-air"),
        ("20.5", None, "out-of-range"),
        ("94% on RA", 21, "room-air text-around"),
        ("92 on air", 21, "room-air text-around"),
        ("92% air", 21, "room-air text-around"),
        ("0.94 room air", 21, "room-air text-around"),
        ("21% (room air)", 21, "room-air text-around"),
        ("28% on air", None, "several-values"),
        ("SpO2 94% on room air", 21, "room-air text-around"),
        ("SpO2 94%", None, "unreadable"),
        ("sats 94", None, "unreadable"),
        ("94% (sats)", None, "unreadable"),
        ("SpO2 94% on 2L", None, "several-values"),
        ("not on air 60%", None, "several-values"),
        ("high flow air 60%", 60, "text-around"),
        ("28 days", None, "other-unit"),
        ("24 hours", None, "other-unit"),
        ("40 kPa", None, "other-unit"),
        ("0L", 21, "room-air"),
        (0, None, "out-of-range"),
        (".", None, "unreadable"),
        ("18", None, "out-of-range"),
        ("24-28%", None, "several-values"),
        ("101", None, "out-of-range"),
    ],
)
def test_fio2(value: Any, expected: float | None, flags: str) -> None:
    assert outcome(clean_fio2(value)) == (expected, flags)


def test_each_flow_and_each_mask_gives_the_published_fio2() -> None:
    flows = [clean_fio2(f"{litres} L").value for litres in range(1, 16)]
    assert flows == [25, 29, 33, 37, 41, 45, 41, 47, 53, 60, 80, 85, 90, 95, 100]
    masks = [clean_fio2(colour).value for colour in ("blue", "white", "orange", "yellow", "red", "green")]
    assert masks == [24, 28, 31, 35, 40, 60]


@pytest.mark.parametrize(
    ("value", "kpa", "saturation", "fio2"),
    [
        ("9.8", 9.8, None, None),
        ("9.8 kPa", 9.8, None, None),
        ("30 kPa", 30, None, None),
        ("75 mmHg", 10, None, None),
        (96, None, 96, None),
        ("0.96", None, 96, None),
        ("96 %", None, 96, None),
        (21, None, None, 21),
        ("0.4", None, None, 40),
        ("FiO2 28%", None, None, 28),
        ("28%", None, None, 28),
        (101, None, None, None),
        ("0", None, None, None),
    ],
)
def test_a_pao2_cell_is_a_pressure_a_saturation_or_an_fio2(
    value: Any, kpa: float | None, saturation: float | None, fio2: float | None
) -> None:
    oxygen = clean_pao2(value, fio2_known=False)
    found = (oxygen.pao2_kpa.value, oxygen.saturation_percent.value, oxygen.fio2_percent.value)
    assert found == (kpa, saturation, fio2)


def test_what_looks_like_an_fio2_is_doubtful_beside_a_recorded_one() -> None:
    oxygen = clean_pao2(28, fio2_known=True)
    assert outcome(oxygen.pao2_kpa) == (None, "out-of-range") and oxygen.fio2_percent == Cleaned(None)


def test_a_saturation_is_a_percentage_or_a_fraction() -> None:
    assert [clean_saturation(value).value for value in ("97%", 0.97, 40)] == [97, 97, None]
    assert outcome(clean_saturation("97 mmHg")) == (None, "other-unit")


def test_a_pao2_cell_in_the_unit_of_something_else_is_not_used() -> None:
    oxygen = clean_pao2("96 bpm", fio2_known=False)
    assert outcome(oxygen.pao2_kpa) == (None, "other-unit") and oxygen.saturation_percent == Cleaned(None)


@pytest.mark.parametrize(
    ("value", "lab", "site", "expected", "flags"),
    [
        (0.5, laboratory.D_DIMER, "Imperial College Healthcare NHS Trust", 500, ""),
        (500, laboratory.D_DIMER, "West Suffolk NHS Foundation Trust", 500, ""),
        (0.5, laboratory.D_DIMER, "West Suffolk NHS Foundation Trust", 500, "unit-doubtful"),
        (450, laboratory.D_DIMER, "Imperial College Healthcare NHS Trust", 450, "unit-doubtful"),
        (40, laboratory.D_DIMER, "Imperial College Healthcare NHS Trust", 40_000, ""),
        (40, laboratory.D_DIMER, "West Suffolk NHS Foundation Trust", 40, ""),
        ("450 mg/L", laboratory.D_DIMER, "Imperial College Healthcare NHS Trust", 450_000, ""),
        ("0.5 mg/L", laboratory.D_DIMER, "West Suffolk NHS Foundation Trust", 500, ""),
        (0.5, laboratory.D_DIMER, "Anytown", 500, "unit-by-magnitude"),
        (500, laboratory.D_DIMER, "Anytown", 500, "unit-by-magnitude"),
        (45, laboratory.D_DIMER, "Anytown", 45, "unit-assumed"),
        (0.02, laboratory.TROPONIN_I, "Sheffield Children's NHS Foundation Trust", 20, ""),
        (20, laboratory.TROPONIN_I, "Anytown", 20, "unit-assumed"),
        (5.5, laboratory.UREA, "Imperial College Healthcare NHS Trust", 5.5, "unit-doubtful"),
        (300_300, laboratory.UREA, "Imperial College Healthcare NHS Trust", 5, ""),
        (5.5, laboratory.UREA, "Anytown", 5.5, ""),
        (1, laboratory.CREATININE, "Anytown", 88.42, "unit-by-magnitude"),
        (80, laboratory.CREATININE, "Anytown", 80, ""),
        ("<0.6 mg/dL", laboratory.CREATININE, "", 53.052, "censored-below"),
        (345, laboratory.FERRITIN, "", 345, ""),
        ("345 ng/mL", laboratory.FERRITIN, "", 345, ""),
        ("5 mmol/L", laboratory.FERRITIN, "", None, "other-unit"),
        ("5 mg/mmol", laboratory.CREATININE, "", None, "other-unit"),
        ("14 pg/mL", laboratory.TROPONIN_T, "", 14, ""),
        (43909, laboratory.FERRITIN, "", None, "date-in-number"),
        ("43909.0", laboratory.TROPONIN_I, "Anytown", None, "date-in-number"),
        (43909, laboratory.D_DIMER, "Anytown", None, "date-in-number"),
        ("43909 ug/L", laboratory.FERRITIN, "", 43909, ""),
        ("43,909", laboratory.FERRITIN, "", 43909, "thousand-separator"),
        (">43909", laboratory.FERRITIN, "", 43909, "censored-above"),
        (43465, laboratory.FERRITIN, "", 43465, ""),
        (43466, laboratory.FERRITIN, "", None, "date-in-number"),
        (45291, laboratory.FERRITIN, "", None, "date-in-number"),
        (45292, laboratory.FERRITIN, "", 45292, ""),
        ("210 x 10^9 / L", laboratory.PLATELETS, "", 210, ""),
    ],
)
def test_laboratory_values_come_in_one_unit(
    value: Any, lab: Lab, site: str, expected: float | None, flags: str
) -> None:
    assert outcome(clean_laboratory(value, lab, site=site)) == (expected, flags)


def test_misspelt_and_former_headers_are_found() -> None:
    record = clean_record(
        {"PMH h1pertension": "1es", "PMH diabetes mellitus TYPE II": 1, "CXR severity 3": 2, "ITU admission ": 0}
        | {"Fibrinogen  if d-dimer not performed": 4, "Pa02": 11, "Pack year History": 20, "If CKD, stage": 3},
        latest=LATEST,
    )
    assert outcome(record["pmh_hypertension"]) == (State.YES, "header-variant")
    found = [
        record[name].value for name in ("cxr_severity_2", "fibrinogen_g_per_l", "pao2_kpa", "pack_years", "ckd_stage")
    ]
    assert found == [2, 4, 11, 20, 3]
    assert (record["pmh_diabetes_type_2"].value, record["itu_admission"].value) == (State.YES, State.NO)


def test_a_record_gives_its_cells_their_order_their_site_and_their_limits() -> None:
    record = clean_record(
        {"submittingcentre ": "Imperial College Healthcare NHS Trust", "SwabDate": "06/05/2020", "Death": "2"}
        | {"D-dimer on admission": 40, "Urea on admission": 300_300, "Date of admission": "06/05/2022"}
        | {
            "Systolic BP": "[137/91] - 2020-06-02",
            "Diastolic BP": "[137/91] - 2020-06-02",
            "Temperature on admission": 96,
        },
        latest=LATEST,
    )
    found = {name: outcome(cleaned) for name, cleaned in record.items() if cleaned.source}
    assert found == {
        "swab_date": (date(2020, 5, 6), "ambiguous-order"),
        "death": (None, "stated-unknown"),
        "d_dimer_ug_per_l": (40_000, ""),
        "urea_mmol_per_l": (5, ""),
        "date_of_admission": (None, "out-of-range"),
        "systolic_mmhg": (137, ""),
        "diastolic_mmhg": (91, ""),
        "temperature_c": (None, "out-of-range"),
    }


def test_two_headers_that_disagree_say_nothing_and_a_blank_one_does_not_count() -> None:
    record = clean_record({"PMH hypertension": 0, "PMH h1pertension": 1}, latest=LATEST)
    assert record["pmh_hypertension"] == Cleaned(None, "0 | 1", ("headers-disagree",))
    record = clean_record({"PMH hypertension": "2", "PMH h1pertension": 1}, latest=LATEST)
    assert outcome(record["pmh_hypertension"]) == (State.YES, "header-variant")
    record = clean_record({"PMH diabetes mellitus TYPE II": "", "PMH diabetes mellitus type II": 0}, latest=LATEST)
    assert outcome(record["pmh_diabetes_type_2"]) == (State.NO, "")


def test_a_pao2_cell_fills_only_what_has_no_value_of_its_own() -> None:
    record = clean_record({"PaO2": 28}, latest=LATEST)
    assert record["fio2_percent"] == Cleaned(28, "28", ("unit-by-magnitude", "from-pao2"))
    record = clean_record({"PaO2": 96, "O2 saturation": 94, "FiO2": 28}, latest=LATEST)
    assert [record[name].value for name in ("o2_saturation_percent", "fio2_percent", "pao2_kpa")] == [94, 28, None]


def test_every_value_keeps_the_cell_that_it_came_from() -> None:
    record = clean_record({"FiO2": " 10L ", "Date of death": "31/03/2020", "Age": "[67] - 2020-06-06"}, latest=LATEST)
    sources = {name: cleaned.source for name, cleaned in record.items() if cleaned.source}
    assert sources == {"fio2_percent": "10L", "date_of_death": "31/03/2020", "age": "[67] - 2020-06-06"}


@pytest.mark.parametrize(
    ("value", "is_blank"),
    [
        *((nothing, True) for nothing in ("-", "--", "?", " . ", "–", "", None, "n/a")),
        *((something, False) for something in ("unknown", "0", "-1", "[Text]", 0)),
    ],
)
def test_a_cell_of_dashes_dots_or_question_marks_says_nothing(value: Any, is_blank: bool) -> None:
    assert says_nothing(value) is is_blank


def test_the_docs_list_every_flag() -> None:
    rows = [line.split(" | ") for line in (ROOT / "docs" / "archives.md").read_text().splitlines()]
    listed = {row[0].strip("| `"): row[1].strip(" |") for row in rows if len(row) == 2 and row[0].startswith("| `")}
    assert FLAGS.items() <= listed.items()
