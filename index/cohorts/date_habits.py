"""In which order each centre writes day and month, learnt from the dates that can be read in one order only."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from index.cohorts.clean_dates import SLASHED, Habit, Order

FEWEST = 10  # dates that tell, before a habit is believed
SURE = 0.95  # share of them in one order


@dataclass(frozen=True)
class DateHabits:
    """Counts of dates that can only be US, or only UK, by (centre, whether they are swab dates of controls)."""

    counts: Mapping[tuple[str, bool], Counter[Order]] = field(default_factory=dict)

    @classmethod
    def learnt(cls, cells: Iterable[tuple[str, bool, str]]) -> Self:
        """From (centre, is it a control's swab date, the cell's text)."""
        counts: dict[tuple[str, bool], Counter[Order]] = {}
        for centre, is_swab, text in cells:
            for first, _, second, _ in SLASHED.findall(text):
                a, b = int(first), int(second)
                if a != b and (a > 12) != (b > 12):
                    counts.setdefault((centre.casefold(), is_swab), Counter())[Order.UK if a > 12 else Order.US] += 1
        return cls(counts)

    def of(self, centre: str, nominal: Order, *, is_swab: bool) -> Habit:
        """How the centre writes dates of a field whose order should be `nominal`."""
        counted = self.counts.get((centre.casefold(), is_swab), Counter())
        total = counted.total()
        if total < FEWEST:
            return Habit.UNKNOWN
        share = counted[nominal] / total
        return Habit.NOMINAL if share >= SURE else Habit.OTHER if share <= 1 - SURE else Habit.MIXED
