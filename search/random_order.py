"""What a random order of an archive's cases gives, when each patient is listed once, by the case that comes first.

A patient with many cases tends to come early, in any order: who lay in intensive care was filmed every day. So chance is no plain share
of the patients.
"""

import numpy as np

from search.intervals import Codes, Floats

GRID = 300  # times at which the sampling is followed


class RandomOrder:
    """A gallery in random order.

    Each case comes at an exponential time; so by time t a patient with n cases has come with probability 1 − exp(−n t), and as many
    patients as are expected by t are taken as having come (B. Rosén, 1972). Where all have equally many cases this is exact.
    """

    def __init__(self, cases: Codes) -> None:
        """`cases` (N,): how many cases each patient has."""
        self.count = len(cases)
        self._sizes, self._group = np.unique(cases, return_inverse=True)
        if len(self._sizes) == 1:
            return  # a plain share of the patients is exact
        # dense where many come early; the last patient comes at an infinite time
        times = np.concatenate([[0.0], np.geomspace(1e-4 / cases.sum(), 40.0 / self._sizes[0], GRID)])
        self._come = 1 - np.exp(-self._sizes[None, :] * times[:, None])  # (times, sizes)
        self._taken = self._come @ np.bincount(self._group)

    def sum_of_first(self, values: Floats, counts: Codes) -> Floats:
        """The expected sum of the patients' `values` (N,) over the first 'c' of them, for each c of `counts`."""
        if len(self._sizes) == 1:
            return values.sum() * counts / self.count
        sums = self._come @ np.bincount(self._group, weights=values)
        found: Floats = np.interp(counts, self._taken, sums)
        return np.where(counts >= self.count, values.sum(), found)

    def among_first(self, count: int) -> Floats:
        """The probability that each patient is among the first `count` (N,)."""
        if len(self._sizes) == 1 or count >= self.count:
            return np.full(self.count, min(1.0, count / self.count))
        come = np.array([np.interp(count, self._taken, column) for column in self._come.T])
        return come[self._group]
