"""Metrics of one ranking and of a forecast, worked out by hand and against scikit-learn; chance levels against random orders."""

import numpy as np
import pytest

from search.calibration import (
    auc,
    bins_of,
    brier,
    calibration_intercept,
    calibration_slope,
    chance_of,
)
from search.calibration import (
    average_precision as auprc,
)
from search.intervals import Draws, interval
from search.metrics import average_precision, chances, cutoffs, hubness, names, ndcg, r_precision, scores, tenths
from search.random_order import RandomOrder
from tests.conftest import need_module

RELEVANT = np.array([True, False, True, True, False, False])  # R = 3 of N = 6


def by_name(values: np.ndarray, k: int, *, graded: bool = False) -> dict[str, float]:
    return dict(zip(names(k, graded=graded), values.tolist(), strict=True))


def test_the_metrics_of_a_ranking_by_hand() -> None:
    found = by_name(scores(RELEVANT, 2), 2)
    assert (found["P@1"], found["P@2"], found["P@3"], found["P@5"]) == (1, 1 / 2, 2 / 3, 3 / 5)
    assert found["Hit@1"] == found["Hit@5"] == 1
    assert found["R-precision"] == 2 / 3  # of the first R = 3 two
    assert found["mAP@100"] == pytest.approx((1 / 1 + 2 / 3 + 3 / 4) / 3)
    assert np.isnan(found["P@10"]) and np.isnan(found["Hit@20"])  # only 6 are ranked


def test_average_precision_at_a_depth_divides_by_what_could_be_found() -> None:
    assert average_precision(RELEVANT, 2) == pytest.approx((1 / 1) / 2)  # min(R, depth) = 2
    assert np.isnan(average_precision(np.zeros(4, bool))) and np.isnan(r_precision(np.zeros(4, bool)))


def test_ndcg_is_the_discounted_gain_over_the_best_order_of_the_whole_gallery() -> None:
    gains = np.array([1.0, 0, 3, 0])
    best = 3 / np.log2(2) + 1 / np.log2(3)
    assert ndcg(gains, 2) == pytest.approx((1 / np.log2(2)) / best)
    assert ndcg(gains, 3) == pytest.approx((1 / np.log2(2) + 3 / np.log2(4)) / best)
    assert np.isnan(ndcg(np.zeros(4), 2)) and np.isnan(ndcg(gains, 5))


def test_chance_of_one_case_a_patient_by_hand() -> None:
    """3 of 6 are relevant: P@k 1/2, none among 2 with chance 3/6 · 2/5; AP by its mean over all 20 orders."""
    order = RandomOrder(np.ones(6, np.int64))
    found = by_name(chances(order, RELEVANT.astype(float), 3, 2), 2)
    assert found["P@2"] == found["P@5"] == found["R-precision"] == pytest.approx(1 / 2)
    assert found["Hit@2"] == pytest.approx(1 - 3 / 6 * 2 / 5)
    places = [(a, b, c) for a in range(6) for b in range(a) for c in range(b)]
    orders = [np.isin(np.arange(6), chosen) for chosen in places]
    assert found["mAP@100"] == pytest.approx(np.mean([average_precision(one) for one in orders]))


@pytest.mark.parametrize("graded", [False, True])
def test_chance_is_the_mean_over_random_orders_when_patients_have_many_cases(graded: bool) -> None:
    """Patients with many cases come early in any order: a plain share of the patients would be far off."""
    rng = np.random.default_rng(1)
    cases = np.repeat([1, 2, 12], [20, 12, 10])
    own = np.repeat([0.1, 0.5, 0.9], [20, 12, 10])  # chance that a case is relevant
    owner = np.repeat(np.arange(len(cases)), cases)
    relevant = rng.random(len(owner)) < own[owner]
    gains = np.where(relevant, 3.0, 1.0)
    shares = np.bincount(owner, weights=relevant) / cases
    k, found, ranked = 10, [], []
    for _ in range(700):
        rows = rng.permutation(len(owner))
        first = rows[np.sort(np.unique(owner[rows], return_index=True)[1])]
        found.append(scores(relevant[first], k, gains=gains[first] if graded else None))
        ranked.append(chances(RandomOrder(cases), shares, int(relevant[first].sum()), k, gains=gains[first] if graded else None,
                              mean_gains=np.bincount(owner, weights=gains) / cases))  # fmt: skip
    seen, expected = np.nanmean(found, axis=0), np.nanmean(ranked, axis=0)
    known = [place for place, name in enumerate(names(k, graded=graded)) if name != "Hit@20"]
    np.testing.assert_allclose(seen[known], expected[known], atol=0.025)
    p_at_k = names(k, graded=graded).index("P@10")
    assert abs(seen[p_at_k] - shares.mean()) > 0.1  # what a plain share would have said


def test_tenths_of_a_ranking() -> None:
    relevant = np.r_[np.ones(2, bool), np.zeros(18, bool)]
    assert tenths(relevant).tolist() == [1, *[0] * 9]
    assert np.isnan(tenths(relevant[:9])).all()


def test_hubness_is_the_skewness_of_how_often_a_case_is_found() -> None:
    skewness, never, most = hubness([0, 0, 0, 4])
    # mean 1, deviations −1, −1, −1, 3: third moment 6, standard deviation √3
    assert skewness == pytest.approx(6 / 3**1.5) and (never, most) == (0.75, 4)
    assert hubness([2, 2])[0] == 0


def test_cutoffs_hold_k() -> None:
    assert cutoffs(10) == (1, 3, 5, 10, 20) and cutoffs(4) == (1, 3, 4, 5, 10, 20)


def test_ranking_metrics_agree_with_scikit_learn() -> None:
    need_module("sklearn")
    from sklearn.metrics import average_precision_score, ndcg_score

    rng = np.random.default_rng(0)
    for _ in range(30):
        relevant, gains = rng.random(60) < 0.3, rng.integers(0, 4, 60).astype(float)
        score = -np.arange(60.0)
        assert average_precision(relevant) == pytest.approx(average_precision_score(relevant, score))
        assert ndcg(gains, 10) == pytest.approx(ndcg_score([gains], [score], k=10))


def test_forecast_figures_agree_with_scikit_learn_weights_and_ties_too() -> None:
    need_module("sklearn")
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

    rng = np.random.default_rng(0)
    predicted = np.round(rng.uniform(0.05, 0.95, 200), 1)
    positive = rng.random(200) < predicted**1.3
    weight = rng.integers(0, 4, 200).astype(float)
    assert auc(positive, predicted, weight) == pytest.approx(roc_auc_score(positive, predicted, sample_weight=weight))
    assert auprc(positive, predicted, weight) == pytest.approx(
        average_precision_score(positive, predicted, sample_weight=weight)
    )
    assert brier(positive, predicted, weight) == pytest.approx(
        brier_score_loss(positive, predicted, sample_weight=weight)
    )
    logit = np.log(predicted / (1 - predicted))[:, None]
    theirs = LogisticRegression(C=1e9, tol=1e-10).fit(logit, positive, sample_weight=weight)
    assert calibration_slope(positive, predicted, weight) == pytest.approx(theirs.coef_[0, 0], abs=1e-3)


def test_many_weights_at_once_are_each_by_itself() -> None:
    rng = np.random.default_rng(2)
    predicted, positive = rng.uniform(0.1, 0.9, 40), rng.random(40) < 0.5
    weights = rng.integers(0, 3, (5, 40)).astype(float)
    for figure in (auc, auprc, brier, calibration_slope, calibration_intercept):
        together = figure(positive, predicted, weights)
        np.testing.assert_allclose(together, [figure(positive, predicted, one) for one in weights], atol=1e-6)


def test_calibration_in_the_large_by_hand() -> None:
    """Everybody is forecast 1/2 and 3 of 4 have the outcome: the intercept is logit(3/4) = ln 3, and no slope can be told."""
    positive, predicted = np.array([True, True, True, False]), np.full(4, 0.5)
    assert calibration_intercept(positive, predicted) == pytest.approx(np.log(3))
    assert np.isnan(calibration_slope(positive, predicted))
    assert np.isnan(calibration_intercept(np.ones(4, bool), predicted))


def test_forecasts_that_are_too_extreme_have_a_slope_below_1() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=20000)
    positive = rng.random(20000) < 1 / (1 + np.exp(-truth))
    twice = 1 / (1 + np.exp(-2 * truth))
    assert calibration_slope(positive, twice) == pytest.approx(0.5, abs=0.03)


def test_chance_of_a_forecast_is_that_of_the_rate() -> None:
    positive = np.array([True, False, False, False])
    assert chance_of("AUROC", positive, 0.25) == 0.5 and chance_of("AUPRC", positive, 0.25) == 0.25
    assert chance_of("Brier", positive, 0.25) == pytest.approx((0.75**2 + 3 * 0.25**2) / 4)
    assert np.isnan(chance_of("calibration slope", positive, 0.25))


def test_equal_forecasts_stay_in_one_bin() -> None:
    groups = bins_of(np.array([0.1] * 5 + [0.5] * 2 + [0.9] * 5), most=3)
    assert [len(group) for group in groups] == [5, 2, 5]


def coverage(runs: int, *, patients: int, seed: int) -> float:
    """How often the interval of a mean over queries of patients, who differ and have 1 to 4 each, holds the truth of 0.4."""
    rng = np.random.default_rng(seed)
    held = 0
    for run in range(runs):
        own = np.clip(rng.normal(0.4, 0.15, patients), 0, 1)  # a patient's own chance; the mean stays 0.4 within 0.001
        owner = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
        values = rng.binomial(10, own[owner])[:, None] / 10
        draws = Draws(owner, replicates=400, seed=run)
        low, high = interval((draws.sums(values, owner) / draws.sums(np.ones_like(values), owner))[:, 0])
        held += low <= 0.4 <= high
    return held / runs


def test_a_95_percent_interval_holds_the_truth_in_92_to_98_percent_of_500_runs() -> None:
    assert 0.92 <= coverage(500, patients=100, seed=3) <= 0.98


def test_resampling_queries_instead_of_patients_would_not_cover() -> None:
    """The reason why patients are drawn: ten like queries of one patient are no ten witnesses."""
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(40), 10)
    values = np.repeat(rng.random(40), 10)[:, None]
    of_patients, of_queries = (
        interval(draws.sums(values, who)[:, 0] / len(owner))
        for draws, who in ((Draws(owner), owner), (Draws(np.arange(400)), np.arange(400)))
    )
    assert of_patients[1] - of_patients[0] > 2.5 * (of_queries[1] - of_queries[0])
