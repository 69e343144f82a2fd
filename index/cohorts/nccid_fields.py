"""NCCID's published field list: under which headers each field is found, and how its cells are cleaned."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

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
from index.cohorts.clean_person import clean_age, clean_sex
from index.cohorts.clean_states import clean_state
from index.cohorts.cleaned import Cleaned, cell_text, says_nothing
from index.cohorts.date_habits import DateHabits
from index.cohorts.nccid_tests import CovidTest, pcr_tests, swab_entries


@dataclass(frozen=True)
class Circumstances:
    """What a cell's meaning may depend on beside the cell."""

    latest: date  # no event is later
    scan_dates: Collection[date] = ()
    site: str = ""
    habits: DateHabits = field(default_factory=DateHabits)  # of the centres


Cleaner = Callable[[Any, Circumstances], Cleaned[Any]]


@dataclass(frozen=True)
class Field:
    """A field: its headers, lower case, the right one first, and what becomes of a cell."""

    headers: tuple[str, ...]
    clean: Cleaner
    is_column: bool = False  # of the catalogue; the others are the case's own, outcomes, or tell of one film only


def clean_record(
    *raws: Mapping[str, Any],
    latest: date,
    scan_dates: Collection[date] = (),
    habits: DateHabits | None = None,
) -> dict[str, Cleaned[Any]]:
    """Every field of `FIELDS`, and of the PaO2 cell, from a patient's records under their raw headers, the newest first.

    Of each field the newest record counts whose cell is not blank; a field that is blank in all has no value.
    `latest` is the last day on which anything can have happened.
    """
    records = [_Cells.of(raw, latest, scan_dates, habits or DateHabits()) for raw in raws]
    cleaned = {name: _newest(field, records) for name, field in FIELDS.items()}
    return cleaned | _oxygen(records, cleaned["fio2_percent"], cleaned["o2_saturation_percent"])


def clean_tests(
    *raws: Mapping[str, Any], latest: date, scan_dates: Collection[date] = (), habits: DateHabits | None = None
) -> list[CovidTest]:
    """All COVID tests of a patient's records, the newest first."""
    records = [_Cells.of(raw, latest, scan_dates, habits or DateHabits()) for raw in raws]
    tests = []
    for raw, record in zip(raws, records, strict=True):
        status, day = (_newest(FIELDS[name], [record]) for name in ("swab_status", "swab_date"))
        tests.append(CovidTest(status, day))
        for swab in swab_entries(raw):
            day = _day(order=Order.UK, is_swab=True)(swab.get("swabdate"), record.circumstances)
            tests.append(CovidTest(clean_state(swab.get("swabstatus")), day, is_listed=True))
    own = [{name: _newest(FIELDS[name], [record]) for name in PCR_FIELDS} for record in records]
    return tests + pcr_tests(own)


def submitting_centre(*raws: Mapping[str, Any]) -> str:
    """The trust that sent the record, by the newest that says so; empty where none does."""
    return next((site for raw in raws for site in map(cell_text, _by_header(raw).get("submittingcentre", ()))), "")


def dated_cells(raw: Mapping[str, Any]) -> Iterator[tuple[str, bool, str]]:
    """(centre, whether it is a control's swab date, text) of each cell that should hold a date."""
    centre, cells = submitting_centre(raw), _by_header(raw)
    for header in DATE_HEADERS:
        for value in cells.get(header, ()):
            yield centre, header == SWAB_DATE, cell_text(value)
    for swab in swab_entries(raw):
        yield centre, True, cell_text(swab.get("swabdate"))


@dataclass(frozen=True)
class _Cells:
    """A record's cells by header, and what their meaning depends on."""

    by_header: Mapping[str, list[Any]]
    circumstances: Circumstances

    @classmethod
    def of(cls, raw: Mapping[str, Any], latest: date, scan_dates: Collection[date], habits: DateHabits) -> "_Cells":
        return cls(_by_header(raw), Circumstances(latest, scan_dates, submitting_centre(raw), habits))


def _by_header(raw: Mapping[str, Any]) -> dict[str, list[Any]]:
    """The cells that are not blank by header in lower case with single spaces: "…TYPE II" and "…type II" are one field."""
    cells: dict[str, list[Any]] = {}
    for header, value in raw.items():
        if cell_text(value):
            cells.setdefault(" ".join(header.lower().split()), []).append(value)
    return cells


def _newest(field: Field, records: Sequence[_Cells]) -> Cleaned[Any]:
    """The field by the newest record that has a cell for it, flagged where an older one disagrees."""
    cells = [[cell for header in field.headers for cell in record.by_header.get(header, ())] for record in records]
    # "-" and "?" hide nothing that an older file tells; where none does, they are what cannot be read
    told = [age for age, found in enumerate(cells) if not all(map(says_nothing, found))]
    holding = [(age, records[age]) for age in told or [age for age, found in enumerate(cells) if found]]
    if not holding:
        return Cleaned(None)
    (age, newest), *older = holding
    cleaned = _clean_field(field, newest)
    if age:
        cleaned = cleaned.flagged("from-older-file")
    others = (_clean_field(field, record).value for _, record in older)
    return (
        cleaned.flagged("older-file-differs")
        if any(value not in (None, cleaned.value) for value in others)
        else cleaned
    )


def _clean_field(field: Field, record: _Cells) -> Cleaned[Any]:
    """The field's value under whichever header it stands; nothing where two headers hold different values."""
    found = [
        (header, field.clean(value, record.circumstances))
        for header in field.headers
        for value in record.by_header.get(header, ())
    ]
    header, first = next(((header, cell) for header, cell in found if cell.value is not None), found[0])
    if len({cell.value for _, cell in found if cell.value is not None}) > 1:
        return Cleaned(None, " | ".join(cell.source for _, cell in found), ("headers-disagree",))
    return first if header == field.headers[0] else first.flagged("header-variant")


def _oxygen(records: Sequence[_Cells], fio2: Cleaned[float], saturation: Cleaned[float]) -> dict[str, Cleaned[float]]:
    """The three fields that a PaO2 cell may fill; one that has a field of its own keeps what that says."""

    def read(value: Any, _: Circumstances) -> Cleaned[Any]:
        oxygen = clean_pao2(value, fio2_known=fio2.value is not None)
        parts = (oxygen.pao2_kpa, oxygen.saturation_percent, oxygen.fio2_percent)
        is_told = any(part.value is not None for part in parts)
        return Cleaned(tuple(part.value for part in parts) if is_told else None, cell_text(value))

    chosen = _newest(Field(("pao2", "pa02"), read), records)
    doubts = tuple(flag for flag in chosen.flags if flag != "header-variant")
    oxygen = clean_pao2(
        None if "headers-disagree" in doubts else chosen.source or None, fio2_known=fio2.value is not None
    )
    pao2, told, inspired = (
        part.flagged(*doubts) if part.value is not None or part.flags or (doubts and part is oxygen.pao2_kpa) else part
        for part in (oxygen.pao2_kpa, oxygen.saturation_percent, oxygen.fio2_percent)
    )
    return {
        "pao2_kpa": pao2,
        "o2_saturation_percent": _own_or_told(saturation, told),
        "fio2_percent": _own_or_told(fio2, inspired),
    }


def _own_or_told(own: Cleaned[float], told: Cleaned[float]) -> Cleaned[float]:
    """A field's own value before that of the PaO2 cell, flagged where they differ."""
    if own.value is None:
        return told if told.value is not None or not own.source else own
    return own.flagged("cells-disagree") if told.value not in (None, own.value) else own


def _day(anchor: Anchor = Anchor.NEAR, order: Order = Order.US, *, is_swab: bool = False) -> Cleaner:
    return lambda value, known: clean_date(
        value,
        latest=known.latest,
        order=order,
        scan_dates=known.scan_dates,
        anchor=anchor,
        habit=known.habits.of(known.site, order, is_swab=is_swab),
    )


def _number(low: float, high: float, units: Mapping[str, float] = NO_UNIT) -> Cleaner:
    return lambda value, _: clean_number(value, low=low, high=high, units=units)


def _code(*codes: int, unknown: int | None = None) -> Cleaner:
    return lambda value, _: clean_code(value, codes=codes, unknown=unknown)


def _lab(lab: Lab) -> Cleaner:
    return lambda value, known: clean_laboratory(value, lab, site=known.site)


def _state(value: Any, _: Circumstances) -> Cleaned[Any]:
    return clean_state(value)


def _pressure(place: int) -> Cleaner:
    return lambda value, _: clean_pressure(value, place=place)


SWAB_DATE = "swabdate"
FIELDS: Mapping[str, Field] = {
    "age": Field(("age",), lambda value, _: clean_age(value)),
    "sex": Field(("sex",), lambda value, _: clean_sex(value)),
    "ethnicity": Field(("ethnicity",), lambda value, _: clean_ethnicity(value), is_column=True),
    "swab_status": Field(("swabstatus",), _state),
    "swab_date": Field((SWAB_DATE,), _day(order=Order.UK, is_swab=True)),
    "date_of_positive_covid_swab": Field(("date of positive covid swab",), _day()),
    "date_of_acquisition_of_1st_rt_pcr": Field(("date of acquisition of 1st rt-pcr",), _day()),
    "date_of_acquisition_of_2nd_rt_pcr": Field(("date of acquisition of 2nd rt-pcr",), _day()),
    "date_of_result_of_1st_rt_pcr": Field(("date of result of 1st rt-pcr",), _day()),
    "date_of_result_of_2nd_rt_pcr": Field(("date of result of 2nd rt-pcr",), _day()),
    "date_of_admission": Field(("date of admission",), _day()),
    "date_of_itu_admission": Field(("date of itu admission",), _day()),
    "date_of_intubation": Field(("date of intubation",), _day()),
    "date_of_1st_cxr": Field(("date of 1st cxr",), _day(Anchor.SAME_DAY)),
    "date_of_2nd_cxr": Field(("date of 2nd cxr",), _day(Anchor.SAME_DAY)),
    "date_last_known_alive": Field(("date last known alive",), _day(Anchor.ANYWHERE)),
    "date_of_death": Field(("date of death",), _day(Anchor.AFTER)),
    "smoking_status": Field(("smoking status",), _code(0, 1, 2, unknown=3), is_column=True),
    "pack_years": Field(("pack year history",), _number(0, 300), is_column=True),
    "pmh_hypertension": Field(("pmh hypertension", "pmh h1pertension"), _state, is_column=True),
    "pmh_ckd": Field(("pmh ckd",), _state, is_column=True),
    "ckd_stage": Field(("if ckd, stage",), _code(1, 2, 3, 4, 5), is_column=True),
    "pmh_cvs_disease": Field(("pmh cvs disease",), _code(0, 1, 2, 3, 4), is_column=True),
    "pmh_lung_disease": Field(("pmh lung disease",), _code(0, 1, 2, 3, 4, 5, unknown=6), is_column=True),
    "pmh_diabetes_type_2": Field(("pmh diabetes mellitus type ii",), _state, is_column=True),
    "pmh_diabetes_type_1": Field(("pmh diabetes mellitus type i",), _state, is_column=True),
    "current_acei": Field(("current acei use",), _state, is_column=True),
    "current_arb": Field(
        ("current angiotension receptor blocker use", "current angiotensin receptor blocker use"),
        _state,
        is_column=True,
    ),
    "current_nsaid": Field(("current nsaid used",), _state, is_column=True),
    "symptom_days": Field(("duration of symptoms",), _number(0, 365, DAYS), is_column=True),
    "respiratory_rate": Field(("respiratory rate on admission",), _number(1, 120, BREATHS), is_column=True),
    "heart_rate": Field(("heart rate on admission",), _number(10, 300, HEARTBEATS), is_column=True),
    "fio2_percent": Field(
        ("fio2", "any supplemental oxygen: fio2"), lambda value, _: clean_fio2(value), is_column=True
    ),
    "o2_saturation_percent": Field(("o2 saturation",), lambda value, _: clean_saturation(value), is_column=True),
    "systolic_mmhg": Field(("systolic bp",), _pressure(0), is_column=True),
    "diastolic_mmhg": Field(("diastolic bp",), _pressure(1), is_column=True),
    "temperature_c": Field(("temperature on admission",), _number(25, 45, CELSIUS), is_column=True),
    "news2": Field(("news2 score on arrival",), _number(0, 20), is_column=True),
    "wcc_10_9_per_l": Field(("wcc on admission",), _lab(laboratory.WHITE_CELLS), is_column=True),
    "lymphocytes_10_9_per_l": Field(("lymphocyte count on admission",), _lab(laboratory.LYMPHOCYTES), is_column=True),
    "platelets_10_9_per_l": Field(("platelet count on admission",), _lab(laboratory.PLATELETS), is_column=True),
    "crp_mg_per_l": Field(("crp on admission",), _lab(laboratory.CRP), is_column=True),
    "d_dimer_ug_per_l": Field(("d-dimer on admission",), _lab(laboratory.D_DIMER), is_column=True),
    "fibrinogen_g_per_l": Field(("fibrinogen if d-dimer not performed",), _lab(laboratory.FIBRINOGEN), is_column=True),
    "ferritin_ug_per_l": Field(("ferritin",), _lab(laboratory.FERRITIN), is_column=True),
    "ferritin_2_ug_per_l": Field(("ferritin 2", "ferritin_2"), _lab(laboratory.FERRITIN), is_column=True),
    "urea_mmol_per_l": Field(("urea on admission",), _lab(laboratory.UREA), is_column=True),
    "creatinine_umol_per_l": Field(("creatinine on admission",), _lab(laboratory.CREATININE), is_column=True),
    "troponin_i_ng_per_l": Field(("troponin i",), _lab(laboratory.TROPONIN_I), is_column=True),
    "troponin_t_ng_per_l": Field(("troponin t",), _lab(laboratory.TROPONIN_T), is_column=True),
    "apache": Field(("apache score on itu arrival",), _number(0, 71), is_column=True),
    "rt_pcr_1_positive": Field(("1st rt-pcr result",), _state, is_column=True),
    "rt_pcr_2_positive": Field(("2nd rt-pcr result",), _state, is_column=True),
    "final_covid_positive": Field(("final covid status",), _state, is_column=True),
    "cxr_severity_1": Field(("cxr severity",), _code(1, 2, 3)),
    "cxr_severity_2": Field(("cxr severity 3", "cxr severity 2"), _code(1, 2, 3)),  # the schema's own header is wrong
    "covid_code_1": Field(("covid code",), _code(0, 1, 2, 3)),
    "covid_code_2": Field(("covid code 2",), _code(0, 1, 2, 3)),
    "itu_admission": Field(("itu admission",), _state),
    "intubation": Field(("intubation",), _state),
    "death": Field(("death",), _state),
}
PCR_FIELDS = tuple(name for name in FIELDS if "rt_pcr" in name)
DATE_HEADERS = tuple(h for name, field in FIELDS.items() if "date" in name.split("_") for h in field.headers)
COLUMNS = (*(name for name, field in FIELDS.items() if field.is_column), "pao2_kpa")
