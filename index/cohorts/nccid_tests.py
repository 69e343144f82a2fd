"""The COVID tests of a patient: each result with the days of its own file, since a later result must not take an earlier one's day."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from index.case import State
from index.cohorts.cleaned import Cleaned, cell_text

SWAB_LIST = "swabdates"
PCRS = ("1st", "2nd")


@dataclass(frozen=True)
class CovidTest:
    """One test. What is not recorded has no value."""

    result: Cleaned[State]
    taken: Cleaned[date]
    resulted: Cleaned[date] = field(default_factory=lambda: Cleaned(None))
    is_listed: bool = False  # in a `SwabDates` list, whose doubts no field of its own tells

    @property
    def is_told(self) -> bool:
        """Whether anything stands in its cells, readable or not."""
        return bool(self.result.source or self.taken.source)


def swab_entries(raw: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The entries of a record's `SwabDates`, keys in lower case; a lone entry, or the list as text, is taken too."""
    for header, value in raw.items():
        if header.lower().strip() != SWAB_LIST:
            continue
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError):
                continue
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, dict):
                yield {str(key).lower().strip(): inner for key, inner in entry.items()}


def pcr_tests(records: Sequence[Mapping[str, Cleaned[Any]]]) -> list[CovidTest]:
    """The two RT-PCRs by the fields of each file on its own, the newest first.

    The newest result counts, with the days of its own file, else of an older file that does not call the test negative.
    """
    found = []
    for number, name in enumerate(PCRS, start=1):
        result = f"rt_pcr_{number}_positive"
        holding = [place for place, fields in enumerate(records) if cell_text(fields[result].source)]
        newest = holding[0] if holding else 0
        sources = [
            fields for place, fields in enumerate(records) if place == newest or fields[result].value is not State.NO
        ]
        taken, resulted = (
            next((fields[day] for fields in sources if fields[day].source), Cleaned(None))
            for day in (f"date_of_acquisition_of_{name}_rt_pcr", f"date_of_result_of_{name}_rt_pcr")
        )
        if records:
            found.append(CovidTest(records[newest][result], taken, resulted))
    return found
