"""Whether the neighbours come from one site or scanner more than the archive explains: then it may be the source that is alike."""

from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

from index.store import RowNumbers

NOT_RECORDED = -1
MOSTLY = 0.5  # of the neighbours, before a group is called most of them
RARELY = 0.05  # by chance, after Bonferroni


@dataclass(frozen=True, eq=False)
class Groups:
    """The site (or the scanner) of each row of an archive, by number."""

    names: tuple[str, ...]
    codes: npt.NDArray[np.int64]  # (n,), −1 where it is not recorded

    @classmethod
    def of(cls, texts: npt.NDArray[Any]) -> "Groups":
        """The groups of a column of texts, None where there is none."""
        names = sorted({text for text in texts if text})
        number = {name: place for place, name in enumerate(names)}
        return cls(tuple(names), np.array([number.get(text, NOT_RECORDED) for text in texts], np.int64))


@dataclass(frozen=True)
class Concentration:
    """The largest group among the neighbours beside its part of the eligible archive; patients whose group is recorded."""

    attribute: str  # "site", "scanner"
    group: str
    neighbours: int  # of this group
    neighbours_known: int
    archive: int  # eligible patients of this group, one case each
    archive_known: int
    chance: (
        float  # of so many or more in one group, were neighbours drawn at random; Bonferroni over the archive's groups
    )

    @property
    def suspicious(self) -> bool:
        return self.neighbours >= MOSTLY * self.neighbours_known and self.chance < RARELY


def concentration(attribute: str, groups: Groups, neighbours: RowNumbers, eligible: RowNumbers) -> Concentration | None:
    """The largest group among `neighbours`, rows that are also in `eligible` (one row for each patient who could have
    been a neighbour); of groups equally large the rarest in the archive. None where no neighbour's group is recorded.
    """
    count = len(groups.names)
    found = np.bincount(groups.codes[neighbours] + 1, minlength=count + 1)[1:]
    archive = np.bincount(groups.codes[eligible] + 1, minlength=count + 1)[1:]
    if not found.any():
        return None
    largest = int(np.lexsort((archive, -found))[0])
    inside, drawn, members, total = (int(n) for n in (found[largest], found.sum(), archive[largest], archive.sum()))
    tested = int((archive > 0).sum())
    chance = min(1.0, tested * at_least(inside, drawn=drawn, members=members, total=total))
    return Concentration(attribute, groups.names[largest], inside, drawn, members, total, chance)


def at_least(inside: int, *, drawn: int, members: int, total: int) -> float:
    """The chance that of `drawn` patients, taken at random from `total` of whom `members` are of a group, `inside` or more
    are of it: the hypergeometric distribution's upper tail, in whole numbers and so exact.

    scipy.stats.hypergeom.sf says the same, but takes a second to import.
    """
    least, most = max(inside, drawn - (total - members)), min(drawn, members)
    if least > most:
        return 0.0
    ways = comb(members, least) * comb(total - members, drawn - least)
    tail = ways
    for number in range(least, most):  # the next term from the last: C(M, i + 1) C(N − M, d − i − 1)
        ways = ways * (members - number) * (drawn - number) // ((number + 1) * (total - members - drawn + number + 1))
        tail += ways
    return tail / comb(total, drawn)
