"""The whole archive in order of likeness to one case: every other patient once."""

import numpy as np

from search.intervals import Codes, Floats


def ranked(similarities: Floats, eligible: Codes) -> Codes:
    """The eligible rows, rising, by similarity falling and then row, as every store orders them."""
    return eligible[np.argsort(-similarities[eligible], kind="stable")]


def first_of_each_patient(rows: Codes, patients: Codes, count: int) -> Codes:
    """Of ranked rows those at which a patient appears for the first time; `count`: of all patients."""
    first = np.full(count, -1)
    codes = patients[rows]
    first[codes[::-1]] = np.arange(len(rows))[::-1]
    return rows[first[codes] == np.arange(len(rows))]
