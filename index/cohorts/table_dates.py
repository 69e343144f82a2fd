"""Dates in a table's columns: ISO, or in the one order of day and month that its TOML states."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date

from index.cohort import CohortError
from index.cohorts.cells import LONGEST_DAYS
from index.cohorts.clean_dates import SLASHED, Anchor, Order, clean_date
from index.cohorts.cleaned import Cleaned

ORDERS = {"day first": Order.UK, "month first": Order.US}
EARLIEST = date(1900, 1, 1)
MIXED = 0.05


@dataclass(frozen=True)
class Dates:
    """How the table's dates are read.

    Any `contrary` one puts in doubt all that could be either; from `MIXED` on they are not used.
    """

    order: Order | None
    earliest: date
    latest: date
    contrary: float = 0  # share of the dates with one reading that are in the other order

    def read(self, text: str) -> Cleaned[date]:
        """The date of a cell; where no order is stated, only what can be read in one order alone."""
        if not text:
            return Cleaned(None)
        cleaned = clean_date(
            text, latest=self.latest, order=self.order or Order.UK, anchor=Anchor.ANYWHERE, earliest=self.earliest
        )
        doubtful = "ambiguous-order" in cleaned.flags
        if doubtful and (self.order is None or self.contrary >= MIXED):
            return Cleaned(None, cleaned.source, cleaned.flags)
        if self.order is None:
            return _without(cleaned, "other-order")
        return cleaned if self.contrary else _without(cleaned, "ambiguous-order")

    def of_columns(self, columns: Iterable[tuple[str, list[str]]]) -> "Dates":
        """These, knowing what all date columns, (entry of the TOML, cells), hold. Raises `CohortError`.

        Refused are slashed dates without a stated order, and an order that most of them contradict.
        """
        fitting = contrary = 0
        for where, cells in columns:
            slashed = [found for cell in cells if (found := SLASHED.search(cell))]
            if slashed and self.order is None:
                raise CohortError(
                    f'{where} finds dates such as {slashed[0][0]!r}: say date_order = "day first" or "month first"'
                )
            first_is_day = sum(int(found[1]) > 12 >= int(found[3]) for found in slashed)
            first_is_month = sum(int(found[3]) > 12 >= int(found[1]) for found in slashed)
            fitting += first_is_day if self.order is Order.UK else first_is_month
            contrary += first_is_month if self.order is Order.UK else first_is_day
        if contrary > fitting:
            stated, other = ORDERS if self.order is Order.UK else reversed(ORDERS)
            raise CohortError(
                f"date_order is {stated!r}, but {contrary} dates can only be {other}, and {fitting} only {stated}"
            )
        return replace(self, contrary=contrary / max(fitting + contrary, 1))


def days_between(scan: date | None, when: date | None) -> int | None:
    """Days from the scan to `when`; None where either is unknown, or they are further apart than a life is long."""
    if scan is None or when is None:
        return None
    days = (when - scan).days
    return days if abs(days) <= LONGEST_DAYS else None


def _without(cleaned: Cleaned[date], flag: str) -> Cleaned[date]:
    return Cleaned(cleaned.value, cleaned.source, tuple(one for one in cleaned.flags if one != flag))
