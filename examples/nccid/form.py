"""A patient's record under NCCID's raw headers: which cells are filled in, under which spelling, in which file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta

from examples.nccid.centres import Centre
from examples.nccid.hand import BLANK, Cell, Entry, Form, Hand, Near, lied
from examples.nccid.measurements import fill_in_history, fill_in_numbers, fill_in_oxygen
from examples.nccid.patient import ETHNICITY, Course, Patient

DATES = {
    "date_of_positive_covid_swab": "Date of Positive Covid Swab",
    "date_of_admission": "Date of admission",
    "date_of_itu_admission": "Date of ITU admission",
    "date_of_intubation": "Date of intubation",
    "date_of_death": "Date of death",
    "date_last_known_alive": "Date last known alive",
}
SEGMENTED = ("CXR severity", "CXR severity 3", "COVID CODE", "COVID CODE 2")


@dataclass(frozen=True)
class Sheet:
    """A filled-in form: what becomes a file, and what it tells."""

    centre: Centre
    entries: Mapping[str, Entry]  # by field
    extra: Mapping[str, object]  # raw headers that tell nothing of ours

    def raw(self) -> dict[str, object]:
        return {entry.header: entry.cell.raw for entry in self.entries.values()} | dict(self.extra)


def status_sheet(patient: Patient, hand: Hand) -> Sheet:
    """The short record of a control."""
    entries = _who(patient, hand, patient.centre)
    extra: dict[str, object] = {}
    swabs = []
    for swab in patient.swabs:
        state = (
            Cell(hand.pick(("", "pending", None))) if swab.positive is None else hand.state(swab.positive, is_test=True)
        )
        swabs.append((hand.day(swab.day, form=Form.STATUS), state))
    listed = len(swabs) > 1 or hand.rng.random() < 0.1
    for number, (day, state) in enumerate(swabs):
        entries[f"swab_date_{number}"] = Entry("SwabDate", day)
        entries[f"swab_status_{number}"] = Entry("SwabStatus", state)
    if listed:
        extra["SwabDates"] = [{"SwabDate": day.raw, "SwabStatus": state.raw} for day, state in swabs]
        return Sheet(patient.centre, _unwritten(entries), _stray(hand, extra))
    return Sheet(patient.centre, entries, _stray(hand, extra))


def _unwritten(entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """The entries of swabs that stand in a list, so that they are told but not written twice."""
    return {name: Entry("", entry.cell) if name.startswith("swab_") else entry for name, entry in entries.items()}


def data_sheet(patient: Patient, course: Course, hand: Hand, centre: Centre, *, lies: bool) -> Sheet:
    """The full record; with `lies` one date may break the order of events, or lie a day off its film."""
    entries = _who(patient, hand, centre)
    _tests(entries, course, hand)
    fill_in_history(entries, course, hand)
    fill_in_numbers(entries, course, hand, centre)
    fill_in_oxygen(entries, course, hand)
    _films(entries, course, hand, patient, lies=lies)
    _outcomes(entries, course, hand)
    if lies:
        _break_the_order(entries, course, hand)
    return Sheet(centre, entries, _stray(hand, {}))


def written(sheet: Sheet, hand: Hand) -> dict[str, object]:
    """The file's content; some uploaders nest what a segmentation tool said, over what stands at the root."""
    raw = {header: value for header, value in sheet.raw().items() if header}
    told = [header for header in SEGMENTED if raw.get(header) not in (None, "")]
    if told and hand.is_dirty(0.3):
        nested: dict[str, object] = {}
        for header in told:
            luck = hand.rng.random()
            if luck < 0.2:  # the tool said nothing of it: the root's word stands
                nested[header] = hand.pick(("", None))
                continue
            nested[header] = raw.pop(header)
            if luck < 0.6:
                raw[header] = hand.pick((1, 2, "3"))
        raw["OtherDataSources"] = {"SegmentationData": nested}
    return raw


def _who(patient: Patient, hand: Hand, centre: Centre) -> dict[str, Entry]:
    entries: dict[str, Entry] = {
        "pseudonym": Entry("Pseudonym", Cell(patient.pseudonym)),
        "site": Entry("SubmittingCentre", Cell(centre.trust + (" " if hand.is_dirty(0.05) else ""), centre.trust)),
    }
    if hand.rng.random() < 0.7:
        entries["hospital"] = Entry("Hospital", Cell(hand.pick(centre.hospitals)))
    if hand.rng.random() < 0.97:
        entries["age"] = Entry("Age", _age(patient.age_years, hand))
    if hand.rng.random() < 0.97:
        entries["sex"] = Entry("Sex", _sex(patient.sex, hand, inverted=centre.inverts_sex))
    if hand.rng.random() < 0.85:
        entries["ethnicity"] = Entry("Ethnicity", _ethnicity(patient.ethnicity, hand))
    return entries


def _age(years: int, hand: Hand) -> Cell:
    if hand.is_dirty(0.05):
        return Cell(hand.pick(("t", "199", "-4", "[Text]", "60-70")), years, legible=False)
    if not hand.is_dirty():
        return Cell(hand.pick((years, str(years))), years)
    return Cell(
        hand.pick(
            (years + 0.5, f"{years}.889", f"{years:03}Y", f"[{years}] - 2020-06-06", f"{years} ", f"{years} years")
        ),
        years,
    )


def _sex(sex: str, hand: Hand, *, inverted: bool) -> Cell:
    male = sex == "M"
    if hand.is_dirty(0.08):
        return Cell(hand.pick((2, 3, "2", "3", "t", "Unknown")), sex, legible=False)
    if inverted:
        return Cell(hand.bit(not male), sex, legible=False)
    words = (sex, sex.lower(), "Male" if male else "Female") if hand.is_dirty() else (hand.bit(male),)
    return Cell(hand.pick(words), sex)


def _ethnicity(letter: str, hand: Hand) -> Cell:
    group = ETHNICITY[letter]
    if hand.rng.random() < 0.08:
        return Cell(hand.pick(("Z", "99", 99, "not recorded", "Unknown", "Not stated")))
    if hand.is_dirty(0.03):
        return Cell(hand.pick(("t", "7", "[Text]", "XQ")), group, legible=False)
    words = {
        "White": ("White - British", "White Irish", "white"), "Multiple": ("Mixed - White and Asian", "Multiple ethnic groups"),
        "Asian": ("Asian - Indian", "Pakistani", "Chinese"), "Black": ("Caribbean", "Black African"), "Other": ("Other",),
    }  # fmt: skip
    return Cell(hand.pick((*words[group], f"{letter} ", letter.lower())) if hand.is_dirty() else letter, group)


def _tests(entries: dict[str, Entry], course: Course, hand: Hand) -> None:
    _date(entries, "date_of_positive_covid_swab", course.positive_swab, hand, filled=0.85)
    for number, test in enumerate(course.tests, start=1):
        ordinal = ("1st", "2nd")[number - 1]
        if hand.rng.random() < 0.85:
            entries[f"rt_pcr_{number}_positive"] = Entry(
                f"{ordinal} RT-PCR result", hand.state(test.positive, is_test=True)
            )
        for what, day, filled in (("acquisition", test.acquired, 0.7), ("result", test.resulted, 0.6)):
            if hand.rng.random() < filled:
                header = f"Date of {what} of {ordinal} RT-PCR"
                entries[f"date_of_{what}_of_{ordinal}_rt_pcr"] = Entry(header, hand.day(day))
    if hand.rng.random() < 0.8:
        entries["final_covid_positive"] = Entry("Final COVID Status", hand.state(course.final_positive, is_test=True))


def _films(entries: dict[str, Entry], course: Course, hand: Hand, patient: Patient, *, lies: bool) -> None:
    """Severity and code of the first two films; the header of the second severity is a typing error in the source."""
    films = {study.day for study in patient.studies if study.tree == "xray"}
    headers = ("Date of 1st CXR", "CXR severity", "COVID CODE"), ("Date of 2nd CXR", "CXR severity 3", "COVID CODE 2")
    for number, (film, (when, severity, code)) in enumerate(zip(course.films, headers, strict=False), start=1):
        cell = hand.day(film.day, near=Near.FILM)
        off = film.day + timedelta(days=1 if hand.rng.random() < 0.5 else -1)
        if lies and hand.is_dirty(0.08) and off not in films and off != course.films[number % len(course.films)].day:
            cell = lied(hand.clear_day(off), film.day)
        if hand.rng.random() < 0.93:
            entries[f"date_of_film_{number}"] = Entry(when, cell)
        if hand.rng.random() < 0.9:
            entries[f"cxr_severity_{number}"] = Entry(severity, hand.code(film.severity))
        if hand.rng.random() < 0.9:
            entries[f"covid_code_{number}"] = Entry(code, hand.code(film.code, words="CVCX"))


def _outcomes(entries: dict[str, Entry], course: Course, hand: Hand) -> None:
    """What is not recorded leaves neither the answer nor the date; some leave one of the two, or deny what they date."""
    _date(entries, "date_of_admission", course.admitted, hand, filled=0.95)
    for name, header, when, dated in (
        ("itu_admission", "ITU admission ", course.itu, "date_of_itu_admission"),
        ("intubation", "Intubation", course.intubated, "date_of_intubation"),
        ("death", "Death", course.died, "date_of_death"),
    ):
        if hand.rng.random() < 0.08:
            continue
        if when is None:
            entries[name] = Entry(hand.pick((header, header.strip())), hand.state(False))
            continue
        near = Near.END if name == "death" else Near.STAY
        _date(entries, dated, when, hand, filled=0.92, near=near)
        if hand.rng.random() < 0.92 or dated not in entries:
            entries[name] = Entry(hand.pick((header, header.strip())), hand.state(True))
        if dated in entries and name != "intubation" and hand.is_dirty(0.04):
            entries[name] = Entry(header, Cell(hand.bit(False), False))
    if course.died is None:
        _date(entries, "date_last_known_alive", course.last_alive, hand, filled=0.85, near=Near.NOWHERE)
    elif hand.rng.random() < 0.1:
        _date(entries, "date_last_known_alive", course.died, hand, filled=1, near=Near.NOWHERE)


def _break_the_order(entries: dict[str, Entry], course: Course, hand: Hand) -> None:
    """One date typed wrongly, so that it comes before what must come first; all in forms that have no order of day and month."""
    known = {"date_of_admission": course.admitted, "date_of_itu_admission": course.itu, "date_of_death": course.died}
    if not hand.is_dirty(0.08) or "date_of_admission" not in entries:
        return
    wrong = [name for name in ("date_of_itu_admission", "date_of_death") if name in entries]
    if not wrong:
        return
    chosen = hand.pick(wrong)
    truth = known[chosen]
    assert truth is not None, "a date that is written is known"
    lie = course.admitted - timedelta(days=int(hand.rng.integers(2, 25)))
    for name in (*known, "date_of_intubation"):
        if name in entries:
            day = course.intubated if name == "date_of_intubation" else known[name]
            assert day is not None, "a date that is written is known"
            entries[name] = replace(entries[name], cell=hand.clear_day(day))
    entries[chosen] = replace(entries[chosen], cell=lied(hand.clear_day(lie), truth))


def _date(
    entries: dict[str, Entry], name: str, when: date | None, hand: Hand, *, filled: float, near: Near = Near.STAY
) -> None:
    if when is not None and hand.rng.random() < filled:
        entries[name] = Entry(DATES[name], hand.day(when, near=near))


def _stray(hand: Hand, extra: Mapping[str, object]) -> dict[str, object]:
    """Keys that a reader must pass over: the Scottish uploader's, another kind of diabetes, empty ones."""
    stray = dict(extra)
    if hand.is_dirty(0.1):
        stray["SpecialFormatTimestamp"] = hand.pick(("19761231-", "19800203-19800316"))
    if hand.is_dirty(0.1):
        stray["PMH diabetes mellitus TYPE I"] = hand.pick(("Yes", 0, "1"))
    if hand.is_dirty(0.1):
        stray["Date of discharge"] = hand.pick(("", None, "[Text]"))
    return stray


def blanked(sheet: Sheet, hand: Hand, share: float) -> Sheet:
    """A sparser form: a `share` of the fields is blank, in whatever way."""
    always = {"site", "pseudonym"} | (
        {"pmh_hypertension", "other_hypertension"} if "other_hypertension" in sheet.entries else set()
    )
    kept = {
        name: entry if name in always or hand.rng.random() > share else Entry(entry.header, BLANK)
        for name, entry in sheet.entries.items()
    }
    return replace(
        sheet, entries={name: replace(e, cell=hand.blank()) if e.cell is BLANK else e for name, e in kept.items()}
    )
