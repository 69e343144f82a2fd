"""How alike is alike: a similarity against those that the archive's own cases have to their nearest of another patient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from index.manifest import IndexManifest

UNLIKE_BELOW = 1  # percentile: 1 in 100 archived cases would be called unlike the archive too
FEWEST_FOR_STRANGERS = 1000  # cases: of n + 1 strangers one is nearer than all others, by chance alone


@dataclass(frozen=True)
class Likeness:
    """The 0th, 1st, 2nd … 100th percentile of the archived cases' similarity to their nearest case of another patient."""

    points: Sequence[float]

    def percentile(self, similarity: float) -> float:
        """Where a similarity lies among them, 0 to 100, interpolated between the points."""
        place = int(np.searchsorted(self.points, similarity, side="right"))
        if place == 0:
            return 0.0
        last = len(self.points) - 1
        if place > last:
            return 100.0
        below, above = self.points[place - 1], self.points[place]
        return 100 * (place - 1 + (similarity - below) / (above - below)) / last

    @property
    def unlike(self) -> float:
        """The similarity below which a query's nearest case is less alike than those of 99 in 100 archived cases."""
        return float(np.interp(UNLIKE_BELOW, np.linspace(0, 100, len(self.points)), self.points))

    @property
    def highest(self) -> float:
        """The highest of all: one new stranger in as many as were measured (1,000 of a large archive) exceeds it by chance."""
        return self.points[-1]


def likeness_of(manifest: IndexManifest, kind: str) -> Likeness | None:
    """What the manifest keeps for `kind`; None of an index that was built without it."""
    points: Sequence[float] = manifest.likeness.get(kind, ())
    return Likeness(points) if len(points) > 1 else None
