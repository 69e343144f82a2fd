"""What a cell of a table says; None where it says nothing that we understand."""

from functools import lru_cache

from index.case import State
from index.cohorts.clean_states import clean_state
from index.cohorts.cleaned import Cleaned, cell_text

LONGEST_DAYS = 50_000  # further from the scan than any life is long: no number of days

VIEWS = {"PA": "PA", "AP": "AP", "LATERAL": "LATERAL", "LAT": "LATERAL", "LL": "LATERAL", "RL": "LATERAL"}
SEXES = {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M"}
# beside those of clean_state: databases' short forms, findings, and what European archives write
STATES = {
    "t": State.YES, "present": State.YES, "ja": State.YES, "j": State.YES, "oui": State.YES, "si": State.YES,
    "sí": State.YES, "f": State.NO, "absent": State.NO, "nein": State.NO, "non": State.NO,
}  # fmt: skip


def number(text: str | None) -> float | None:
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None


def clean_days(text: str) -> Cleaned[int]:
    """A whole number of days; nothing, flagged, where the cell holds something else."""
    days = number(text)
    if days is not None and abs(days) <= LONGEST_DAYS:
        return Cleaned(round(days), text)
    return Cleaned(None, text, ("unreadable",) if cell_text(text) else ())


def number_or_text(text: str) -> float | str | None:
    """A number where it is one (laboratories write inf for "above the detection limit"), else the text.

    NaN is how tools write that nothing is there, and would be more than any number in a filter.
    """
    try:
        found = float(text)
    except ValueError:
        return text.strip() or None
    return None if found != found else found


@lru_cache(maxsize=1024)  # a column holds the same few words in all its rows
def yes_or_no(text: str) -> Cleaned[State]:
    """Yes or no in any usual spelling; nothing, flagged, where it is another word."""
    source = cell_text(text)
    state = STATES.get(source.lower())
    return Cleaned(state, source) if state else clean_state(text)
