"""A patient's NCCID clinical files -> a record. Each field is cleaned on its own, so that one bad value never costs the rest."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from index.case import Event, Outcome, State
from index.cohorts.clean_person import sex_beside_scan
from index.cohorts.cleaned import Cleaned, printed
from index.cohorts.nccid_fields import COLUMNS, clean_record, submitting_centre


@dataclass(frozen=True)
class Record:
    """What a patient's clinical file says."""

    site: str | None = None
    covid_status: str | None = None  # "positive" (has a full record), "negative"
    fields: Mapping[str, Cleaned[Any]] = field(default_factory=dict)  # by the names of nccid_fields.FIELDS

    def value(self, name: str) -> Any:
        cleaned = self.fields.get(name)
        return cleaned.value if cleaned else None

    def beside(self, scan_sex: object) -> "Record":
        """The record as it is for one scan: without its sex where the scan's header says the other."""
        if "sex" not in self.fields:
            return self
        return replace(self, fields={**self.fields, "sex": sex_beside_scan(self.fields["sex"], scan_sex)})

    def clinical(self) -> dict[str, float | str | None]:
        """The catalogue's columns: what was cleaned, and in `clinical_flags` every doubt, as `field:flag`."""
        values = {name: self.value(name) for name in COLUMNS}
        flags = [f"{name}:{flag}" for name, cleaned in self.fields.items() for flag in cleaned.flags]
        stored = {name: value if isinstance(value, float) else printed(value) for name, value in values.items()}
        return (
            {"covid_status": self.covid_status}
            | {name: value for name, value in stored.items() if value != ""}
            | ({"clinical_flags": " ".join(flags)} if flags else {})
        )

    def outcome(self, scan_date: date | None) -> Outcome:
        """The events with their days from the scan."""
        dated = {
            name: (_yes_if_dated(self.value(field), when), when)
            for name, field, when in (
                ("died", "death", self.value("date_of_death")),
                ("itu_admission", "itu_admission", self.value("date_of_itu_admission")),
                ("intubated", "intubation", self.value("date_of_intubation")),
            )
        }
        died, death_date = dated["died"]
        return Outcome(
            {
                name: Event(state, _days(scan_date, when) if state is State.YES else None)
                for name, (state, when) in dated.items()
            },
            _days(scan_date, death_date if died is State.YES else self.value("date_last_known_alive")),
        )


def clinical_record(files: Sequence[Path], *, latest: date, scan_dates: Collection[date] = ()) -> Record:
    """The newest readable `data_DATE.json`, else `status_DATE.json` (a control); an empty record where there is neither.

    No date is later than `latest`; the patient's scans settle some dates whose day and month could be either.

    Who has a `data_` file is positive, though it be damaged: controls never get one.
    """
    full, control = ([path for path in files if path.name.startswith(prefix)] for prefix in ("data_", "status_"))
    status = "positive" if full else "negative"
    for path in [*sorted(full, reverse=True), *sorted(control, reverse=True)]:
        raw = _read(path)
        if raw is not None:
            return Record(
                submitting_centre(raw) or None, status, clean_record(raw, latest=latest, scan_dates=scan_dates)
            )
    return Record(covid_status=status) if full else Record()


def _yes_if_dated(state: State | None, when: date | None) -> State:
    return state or (State.YES if when else State.NOT_RECORDED)


def _read(path: Path) -> dict[str, Any] | None:
    """The record by its raw headers, nested segmentation data over the root's; None where the file is not a JSON object."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    nested = content.get("OtherDataSources")
    segmentation = nested.get("SegmentationData") if isinstance(nested, dict) else None
    return content | segmentation if isinstance(segmentation, dict) else content


def _days(start: date | None, end: date | None) -> int | None:
    return (end - start).days if start and end else None
