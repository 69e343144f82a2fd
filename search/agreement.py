"""How well blocks of neighbours, as a study finds them, agree with the queries: one figure a target."""

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from index.store import PADDING
from search.calibration import auc, correlation
from search.intervals import Codes, Figure, Floats
from search.study import Block


def outcome_auc(blocks: list[Block], states: npt.NDArray[np.object_], patients: Codes) -> Figure:
    """How well the share of neighbours that met an endpoint ranks the queries' own outcome. Not recorded counts nowhere."""
    score, query = _per_query(blocks, np.array([{"yes": 1.0, "no": 0.0}.get(state, np.nan) for state in states]))
    known = np.isin(states[query].astype(str), ("yes", "no")) & ~np.isnan(score)
    score, query = score[known], query[known]
    positive = states[query] == "yes"
    if positive.all() or not positive.any():
        raise ValueError(
            f"all of the {len(positive)} queries with a recorded outcome have the same one; an AUC needs both"
        )
    return Figure("AUC", lambda weight: float(auc(positive, score, weight)), query, patients[query], 0.5)


def precision(blocks: list[Block], labels: npt.NDArray[np.object_], patients: Codes) -> Figure:
    """P@k: the mean share of a query's neighbours with its own label; chance is that label's share of the other patients."""
    codes = np.unique([str(label) for label in labels], return_inverse=True)[1]
    known = np.array([isinstance(label, str) for label in labels], bool)
    shares, chances, queries = [], [], []
    for block in blocks:
        gallery = block.allowed[known[block.allowed]]
        per_patient = _label_shares(codes[gallery], patients[gallery], (int(patients.max()) + 1, int(codes.max()) + 1))
        total = per_patient.sum(axis=0)
        for query, rows in zip(block.queries, block.rows, strict=True):
            rows = rows[(rows != PADDING)]
            rows = rows[known[rows]]
            if not known[query] or not len(rows):
                continue
            shares.append(np.mean(codes[rows] == codes[query]))
            others = total - per_patient[patients[query]]
            chances.append(others[codes[query]] / others.sum())
            queries.append(query)
    if not queries:
        raise ValueError("no query has a label and neighbours with one")
    share = np.array(shares)
    asked = np.array(queries, np.int64)
    name = f"P@{blocks[0].rows.shape[1]}"
    return Figure(name, lambda weight: _mean(share, weight), asked, patients[asked], float(np.mean(chances)))


def rank_correlation(blocks: list[Block], values: Floats, patients: Codes) -> Figure:
    """Spearman's correlation between a query's value and the mean of its neighbours' values; chance is 0."""
    mean, query = _per_query(blocks, values)
    known = ~np.isnan(mean) & ~np.isnan(values[query])
    mean, query = mean[known], query[known]
    own = rankdata(values[query])
    theirs = rankdata(mean)
    name = "rank correlation"
    return Figure(name, lambda weight: float(correlation(own, theirs, weight)), query, patients[query], 0.0)


def _per_query(blocks: list[Block], values: Floats) -> tuple[Floats, Codes]:
    """(the mean of the known values of each query's neighbours, the queries)."""
    queries = np.concatenate([block.queries for block in blocks])
    found = np.concatenate([np.where(block.rows == PADDING, np.nan, values[block.rows]) for block in blocks])
    counted = (~np.isnan(found)).sum(axis=1)
    total = np.nansum(found, axis=1)
    return np.divide(total, counted, out=np.full(len(total), np.nan), where=counted > 0), queries


def _label_shares(codes: Codes, patients: Codes, shape: tuple[int, int]) -> Floats:
    """(patients, labels): which share of each patient's cases has each label, since a neighbour is one case a patient."""
    shares = np.zeros(shape)
    np.add.at(shares, (patients, codes), 1)
    cases = shares.sum(axis=1, keepdims=True)
    return np.divide(shares, cases, out=shares, where=cases > 0)


def _mean(values: Floats, weight: Floats) -> float:
    return float((values * weight).sum() / weight.sum()) if weight.sum() else float("nan")
