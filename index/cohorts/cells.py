"""What a cell of a table says; None where it says nothing that we understand."""

from datetime import date

LONGEST_DAYS = 50_000  # further from the scan than any life is long: no number of days

VIEWS = {"PA": "PA", "AP": "AP", "LATERAL": "LATERAL", "LAT": "LATERAL", "LL": "LATERAL", "RL": "LATERAL"}
SEXES = {"F": "F", "FEMALE": "F", "M": "M", "MALE": "M"}


def number(text: str | None) -> float | None:
    try:
        found = float(text or "")
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None


def whole_days(text: str | None) -> int | None:
    days = number(text)
    return None if days is None or abs(days) > LONGEST_DAYS else round(days)


def number_or_text(text: str) -> float | str | None:
    """A number where it is one (laboratories write inf for "above the detection limit"), else the text.

    NaN is how tools write that nothing is there, and would be more than any number in a filter.
    """
    try:
        found = float(text)
    except ValueError:
        return text.strip() or None
    return None if found != found else found


def iso_date(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        return None
