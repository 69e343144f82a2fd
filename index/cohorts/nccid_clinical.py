"""NCCID's clinical JSON -> clean fields. Each is read on its own, so that one bad value never costs the record."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from index.case import Event, Outcome, State

EXCEL_EPOCH = date(1899, 12, 30)
PLAUSIBLE_DATES = (date(2017, 1, 1), date(2030, 1, 1))


@dataclass(frozen=True)
class Record:
    """What a patient's clinical file says."""

    site: str | None = None
    age_years: float | None = None
    sex: str | None = None
    covid_status: str | None = None  # "positive" (has a full record), "negative"
    died: State = State.NOT_RECORDED
    itu_admission: State = State.NOT_RECORDED
    intubated: State = State.NOT_RECORDED
    death_date: date | None = None
    itu_date: date | None = None
    intubation_date: date | None = None
    last_known_alive: date | None = None

    def outcome(self, scan_date: date | None) -> Outcome:
        """The events with their days from the scan."""
        dated = {
            "died": (self.died, self.death_date),
            "itu_admission": (self.itu_admission, self.itu_date),
            "intubated": (self.intubated, self.intubation_date),
        }
        return Outcome(
            {
                name: Event(state, _days(scan_date, when) if state is State.YES else None)
                for name, (state, when) in dated.items()
            },
            _days(scan_date, self.death_date if self.died is State.YES else self.last_known_alive),
        )


def clinical_record(files: Sequence[Path]) -> Record:
    """The newest readable `data_DATE.json`, else `status_DATE.json` (a control); an empty record where there is neither.

    Who has a `data_` file is positive, though it be damaged: controls never get one.
    """
    full, control = ([path for path in files if path.name.startswith(prefix)] for prefix in ("data_", "status_"))
    status = "positive" if full else "negative"
    for path in [*sorted(full, reverse=True), *sorted(control, reverse=True)]:
        raw = _read(path)
        if raw is not None:
            return _record(raw, status)
    return Record(covid_status=status) if full else Record()


def three_state(value: Any) -> State:
    """0, "0", "no", "negative" -> no; 1, "1", "1es", "yes", "positive" -> yes; anything else, 2 and 3 too, is not recorded."""
    word = str(value).strip().lower().removesuffix(".0")
    if word in ("0", "false", "no", "n", "negative"):
        return State.NO
    return State.YES if word in ("1", "true", "yes", "y", "1es", "positive") else State.NOT_RECORDED


def clinical_date(value: Any) -> date | None:
    """A date nominally MM/DD/YYYY; an ISO date inside text; DD/MM/YYYY where that alone is possible; an Excel serial."""
    text = str(value).strip() if value is not None else ""
    iso = re.search(r"(\d{4})-(\d{2})-(\d{2})", text)
    slashed = re.fullmatch(r"(\d{1,2})/(\d{1,2})/(\d{4})", text)
    if iso:
        return _plausible(int(iso[1]), int(iso[2]), int(iso[3]))
    if slashed:
        first, second, year = (int(part) for part in slashed.groups())
        return _plausible(year, first, second) or _plausible(year, second, first)
    if re.fullmatch(r"4\d{4}(\.0)?", text):
        when = EXCEL_EPOCH + timedelta(days=int(float(text)))
        return when if PLAUSIBLE_DATES[0] <= when < PLAUSIBLE_DATES[1] else None
    return None


def clinical_number(value: Any) -> float | None:
    """A plain number, or the one in brackets of "[67] - 2020-06-06"."""
    text = str(value).strip() if value is not None else ""
    match = re.fullmatch(r"\[?(-?\d+(?:\.\d+)?)\]?(?: - \d{4}-\d{2}-\d{2})?", text)
    return float(match[1]) if match else None


def _record(raw: dict[str, Any], status: str) -> Record:
    age = clinical_number(raw.get("age"))
    death_date = clinical_date(raw.get("date of death"))
    itu_date = clinical_date(raw.get("date of itu admission"))
    intubation_date = clinical_date(raw.get("date of intubation"))
    return Record(
        site=str(raw.get("submittingcentre") or "").encode("utf-8", "replace").decode("utf-8").strip() or None,
        age_years=age if age is not None and 0 <= age <= 110 else None,
        sex={"0": "F", "f": "F", "1": "M", "m": "M"}.get(str(raw.get("sex")).strip().lower().removesuffix(".0")),
        covid_status=status,
        died=_yes_if_dated(three_state(raw.get("death")), death_date),
        itu_admission=_yes_if_dated(three_state(raw.get("itu admission")), itu_date),
        intubated=_yes_if_dated(three_state(raw.get("intubation")), intubation_date),
        death_date=death_date,
        itu_date=itu_date,
        intubation_date=intubation_date,
        last_known_alive=clinical_date(raw.get("date last known alive")),
    )


def _yes_if_dated(state: State, when: date | None) -> State:
    return State.YES if state is State.NOT_RECORDED and when else state


def _read(path: Path) -> dict[str, Any] | None:
    """The record's texts and numbers by lower-case stripped keys, nested segmentation data over the root's.

    None where the file is not a JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    nested = content.get("OtherDataSources")
    segmentation = nested.get("SegmentationData") if isinstance(nested, dict) else None
    merged = content | segmentation if isinstance(segmentation, dict) else content
    return {
        key.strip().lower(): value for key, value in merged.items() if isinstance(value, str | int | float)
    }  # whatever is nested is no answer to any of our questions


def _plausible(year: int, month: int, day: int) -> date | None:
    try:
        when = date(year, month, day)
    except ValueError:
        return None
    return when if PLAUSIBLE_DATES[0] <= when < PLAUSIBLE_DATES[1] else None


def _days(start: date | None, end: date | None) -> int | None:
    return (end - start).days if start and end else None
