"""The nearest patients of signatures: exact, whatever is filtered, one case a patient."""

import numpy as np
import numpy.typing as npt

from index.store import PADDING, RowNumbers, Rows, Similarities, VectorStore

Codes = npt.NDArray[np.int64]
NOBODY = -1


def nearest_patients(
    store: VectorStore, queries: Rows, *, k: int, patients: Codes, own: Codes, allowed: RowNumbers | None = None
) -> tuple[Similarities, RowNumbers]:
    """(similarities (q, k), rows (q, k)): each query's `k` nearest patients by their nearest case, padded with NaN and -1.

    `patients` (n,) gives each row's patient as a number; `own` (q,) the patient to leave out of each query's answer, or -1.
    More rows are fetched until `k` patients are found or the eligible rows are used up, so that no filter costs recall.
    """
    eligible = store.count if allowed is None else len(allowed)
    similarities = np.full((len(queries), k), np.nan)
    rows = np.full((len(queries), k), PADDING, np.int64)
    pending = np.arange(len(queries))
    fetch = 2 * k + 8
    while len(pending) and eligible:
        fetch = min(fetch, eligible)
        found_similarities, found_rows = store.search(queries[pending], k=fetch, allowed=allowed)
        short = []
        for place, query in enumerate(pending):
            first = _first_of_each_patient(found_rows[place], patients, own[query])[:k]
            rows[query, : len(first)] = found_rows[place, first]
            similarities[query, : len(first)] = found_similarities[place, first]
            if len(first) < k and fetch < eligible:
                short.append(query)
        pending = np.array(short, np.int64)
        fetch *= 4
    return similarities, rows


def _first_of_each_patient(rows: RowNumbers, patients: Codes, own: int) -> RowNumbers:
    """The places in `rows`, best first, at which a patient other than `own` appears for the first time."""
    codes = np.where(rows == PADDING, NOBODY, patients[rows])
    _, first = np.unique(codes, return_index=True)
    kept = [place for place in first if codes[place] not in (NOBODY, own)]
    return np.sort(np.array(kept, np.int64))
