"""Whole evaluations of archives whose truth is planted: figures by hand, protocols, leaks, shortcuts and true signals."""

from dataclasses import replace

import numpy as np
import pytest

from index.numpy_store import NumpyStore
from search.baselines import METADATA, MetadataSpace, VectorSpace, principal_components, site_centred
from search.evaluated import first_of_each_picture, sampled
from search.evaluation import evaluate, event_rate
from search.nearest import nearest_patients
from search.protocols import ONE_VIEW, OTHER_SITES, protocols_of
from search.ranking import first_of_each_patient, ranked
from search.targets import Role, Scale, target_of
from search.verdict import Result, Verdict
from tests.evaluations import Planted, value, yes_no

ANGLES = np.deg2rad([0.0, 10, 30, 60, 100, 150])
# six patients on an arc, a case each; nearest two of each, by angle: 0: 1 2, 1: 0 2, 2: 1 0 (20, 30, and 30 to row 3: tie by row), …
ARC = Planted(
    np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1),
    yes_no(np.array([True, True, False, False, False, True])),
    np.arange(6),
)


def test_a_tiny_archive_by_hand() -> None:
    found = ARC.evaluate(k=2)
    # neighbours: 0: 1y 2n → ½; 1: 0y 2n → ½; 2(n): 1y, then 0y (30°, row 0 before row 3) → 0; 3(n): 2n 4n → 1; 4(n): 3n 5y → ½;
    # 5(y): 4n 3n → 0
    assert value(found, "P@2") == pytest.approx((1 / 2 + 1 / 2 + 0 + 1 + 1 / 2 + 0) / 6)
    assert value(found, "P@2", average="macro") == pytest.approx(((1 / 2 + 1 / 2 + 0) / 3 + (0 + 1 + 1 / 2) / 3) / 2)
    assert value(found, "Hit@2") == pytest.approx(4 / 6)
    assert value(found, "P@1") == pytest.approx((1 + 1 + 0 + 1 + 1 + 0) / 6)
    # chance: of five others two have the query's outcome
    (score,) = [s for s in found.scores if (s.space, s.metric, s.average) == ("encoder", "P@2", "micro")]
    assert score.chance == pytest.approx(2 / 5) and score.lift == pytest.approx((2.5 / 6) / (2 / 5))
    assert (score.queries, score.patients) == (6, 6)


def test_forecasts_are_the_rate_moved_by_what_neighbours_say_beyond_chance() -> None:
    found = ARC.evaluate(k=2)
    told = found.measured["encoder", "other patients", "died"].told
    # of row 0's neighbours 1/2 died, of its five others 2/5; the archive's rate is 1/2: 1/2 + (1/2 − 2/5) · 2/3
    assert told[0] == pytest.approx(0.5 + 0.1 * 2 / 3)
    # row 3, of no deaths among two and 3/5 among its others: 1/2 − 3/5 · 2/3 = 0.1, but nobody is forecast less than ½/3
    assert told[3] == pytest.approx(0.5 / 3)
    assert event_rate(ARC.target, ARC.cases) == 0.5


def test_the_ranking_is_the_stores() -> None:
    rng = np.random.default_rng(4)
    planted = Planted(rng.normal(size=(60, 8)), yes_no(rng.random(60) < 0.5), rng.integers(0, 25, 60))
    space, patients = planted.encoder, np.unique(planted.patients, return_inverse=True)[1]
    asked = np.arange(60)
    similarities, rows = nearest_patients(
        NumpyStore.build(space.rows), space.rows, k=7, patients=patients, own=patients[asked]
    )
    for query in asked.tolist():
        others = np.flatnonzero(patients != patients[query])
        order = ranked(space.similarities(query), others)
        first = first_of_each_patient(order, patients, patients.max() + 1)[:7]
        assert first.tolist() == rows[query].tolist()
        np.testing.assert_array_equal(space.similarities(query)[first], similarities[query])


def test_protocols_leave_out_what_they_say() -> None:
    planted = Planted(
        np.eye(12), yes_no(np.arange(12) % 2 == 0), np.arange(12) // 2,
        sites=np.repeat([0, 1, -1], 4), views=np.array(["AP", "PA", None] * 4, object),
        days=np.arange(12.0), phases=np.array(["acute"] * 8 + [None] * 4, object),
    )  # fmt: skip
    protocols, left = protocols_of(planted.cases, np.arange(12), k=1)
    rules = {protocol.name: protocol for protocol in protocols}
    assert not left

    def answers(name: str, query: int) -> list[int]:
        return np.flatnonzero(rules[name].eligible(query)).tolist()

    assert answers("other patients", 0) == list(range(2, 12))
    assert answers("same view", 0) == [3, 6, 9]
    assert answers("other sites", 0) == [4, 5, 6, 7]  # neither the own site nor an unknown one
    assert answers("other sites, same view", 0) == [6]
    assert answers("acute only", 0) == [2, 3, 4, 5, 6, 7]
    assert answers("earlier scans", 5) == [0, 1, 2, 3]
    assert 8 not in rules["other sites"].queries and 2 not in rules["same view"].queries
    assert 0 not in rules["earlier scans"].queries  # nobody was filmed before


def test_protocols_say_why_they_cannot_be() -> None:
    _, left = protocols_of(ARC.cases, np.arange(6), k=2)
    assert {one.what: one.why for one in left} == {
        "same view": "all scans whose view is recorded have the same one",
        "other sites": "fewer than two sites are recorded",
        "other sites, same view": "fewer than two sites are recorded",
        "acute only": "no scan is known to be of the acute phase",
        "earlier scans": "no scan has a date",
    }


def archive(rng: np.random.Generator, *, shortcut: bool) -> Planted:
    """120 patients of four sites. A shortcut: all of site 0 die and their films bear a mark; nobody else's does. A true
    signal: a third dies at every site, and their films show a lesion.
    """
    sites = np.repeat(np.arange(4), 30)
    died = sites == 0 if shortcut else rng.random(120) < 1 / 3
    vectors = rng.normal(size=(120, 16))
    vectors[:, 0] += 6 * died
    views = np.where(rng.random(120) < 0.5, "AP", "PA").astype(object)
    return Planted(vectors, yes_no(died), np.arange(120), sites=sites, views=views)


@pytest.mark.parametrize("seed", range(2))
def test_a_planted_shortcut_is_named(seed: int) -> None:
    finding = archive(np.random.default_rng(seed), shortcut=True).finding()
    results = {check.name: check.result for check in finding.checks}
    assert finding.verdict is Verdict.SHORTCUT
    assert results["above chance"] is Result.PASSED
    assert results["more than the neighbours' sites explain"] is Result.FAILED
    assert "a shortcut" in finding.words and "sites explain" in finding.words


@pytest.mark.parametrize("seed", range(2))
def test_a_planted_true_signal_is_not_called_a_shortcut(seed: int) -> None:
    finding = archive(np.random.default_rng(seed), shortcut=False).finding()
    assert finding.verdict is Verdict.CARRIED, finding
    assert "in the pictures" in finding.words


def test_a_shortcut_through_the_view_is_named() -> None:
    """The sick are filmed lying, and only the view is on the films."""
    rng = np.random.default_rng(0)
    died = rng.random(200) < 0.4
    views = np.where(rng.random(200) < np.where(died, 0.9, 0.1), "AP", "PA").astype(object)
    vectors = rng.normal(size=(200, 8))
    vectors[:, 0] += 6 * (views == "AP")
    finding = Planted(vectors, yes_no(died), np.arange(200), sites=rng.integers(0, 4, 200), views=views).finding(k=10)
    results = {check.name: check.result for check in finding.checks}
    assert finding.verdict is Verdict.SHORTCUT and results["left within one view"] is Result.FAILED


def test_noise_is_neither_signal_nor_shortcut() -> None:
    rng = np.random.default_rng(1)
    planted = Planted(rng.normal(size=(90, 8)), yes_no(rng.random(90) < 0.4), np.arange(90))
    assert planted.finding().verdict is Verdict.NOTHING


def test_what_cannot_be_tested_is_not_passed() -> None:
    """A true signal in an archive that records neither sites nor views."""
    rng = np.random.default_rng(0)
    died = rng.random(90) < 0.4
    vectors = rng.normal(size=(90, 8))
    vectors[:, 0] += 6 * died
    finding = Planted(vectors, yes_no(died), np.arange(90)).finding()
    assert finding.verdict is Verdict.NOT_SHOWN and "could not be tested here: “left across sites”" in finding.words


def test_what_the_neighbours_sites_explain_by_hand() -> None:
    """Row 0 (yes) has neighbours 1 (yes, site 0) and 2 (no, site 1). Of site 0's others, 5, all are yes; of site 1's, 3 and 4, none."""
    planted = Planted(ARC.vectors, ARC.outcome, ARC.patients, sites=np.array([0, 0, 1, 1, 1, 0]))
    measured = planted.evaluate(k=2, spaces=[planted.encoder]).measured["encoder", "other patients", "died"]
    assert measured.given[0, 0] == pytest.approx((1 + 0) / 2)
    # row 2 (no): neighbours 1 and 0, both of site 0, whose others (of 0, 1 and 5) are all yes
    assert measured.given[2, 0] == 0


def test_random_neighbours_tell_nothing_even_where_the_sick_have_many_films() -> None:
    """40 patients; those with the outcome have nine films each, the others one: the raw share would tell it backwards."""
    rng = np.random.default_rng(0)
    died = np.arange(40) % 2 == 0
    patients = np.repeat(np.arange(40), np.where(died, 9, 1))
    planted = Planted(rng.normal(size=(len(patients), 4)), yes_no(died[patients]), patients)
    spaces = [VectorSpace(f"noise {n}", "", np.random.default_rng(n).normal(size=(len(patients), 300)).astype(np.float32), np.ones(len(patients), bool)) for n in range(6)]  # fmt: skip
    found = planted.evaluate(k=5, spaces=[*spaces])
    excess = [s.value - s.chance for s in found.scores if (s.metric, s.average) == ("P@5", "macro")]
    assert len(excess) == 6 and abs(np.mean(excess)) < 0.03
    assert np.mean([s.value for s in found.scores if s.metric == "AUROC"]) == pytest.approx(0.5, abs=0.06)


def test_a_leak_raises_no_metric() -> None:
    """The same film under two pseudonyms is asked once and found once: every figure is what it was without the copy."""
    rng = np.random.default_rng(0)
    died = rng.random(40) < 0.4
    vectors = rng.normal(size=(40, 6))
    pixels = np.array([f"picture{row}" for row in range(40)] + ["picture3"], object)
    leaky = Planted(np.vstack([vectors, vectors[3]]), yes_no(np.r_[died, died[3]]), np.r_[np.arange(40), 3])
    leaky.usable = first_of_each_picture(pixels, np.ones(41, bool))
    with_leak = leaky.evaluate(k=5, spaces=[leaky.encoder])
    clean = Planted(vectors, yes_no(died), np.arange(40))
    without = clean.evaluate(k=5, spaces=[clean.encoder])
    assert [(s.metric, s.average) for s in with_leak.scores] == [(s.metric, s.average) for s in without.scores]
    for one, other in zip(with_leak.scores, without.scores, strict=True):
        np.testing.assert_allclose([one.value, one.low, one.high, one.chance], [other.value, other.low, other.high, other.chance])  # fmt: skip


def test_near_copies_under_another_name_do_not_answer() -> None:
    rng = np.random.default_rng(0)
    bits = np.where(rng.random((6, 256)) < 0.5, -1, 1).astype(np.float32)
    bits[5] = bits[0]
    bits[5, :20] *= -1  # 20 of 256 bits apart: recompressed
    cases = ARC.cases
    cases = replace(cases, hashes=bits)
    assert cases.near_copies(0).tolist() == [5] and cases.near_copies(1).tolist() == []
    protocols, _ = protocols_of(cases, np.arange(6), k=2)
    assert np.flatnonzero(protocols[0].eligible(0)).tolist() == [1, 2, 3, 4]


def test_a_sample_of_the_queries_takes_whole_patients() -> None:
    planted = Planted(np.ones((300, 2)), yes_no(np.ones(300, bool)), np.repeat(np.arange(100), 3))
    rows = sampled(planted.cases, 50)
    assert 45 <= len(rows) <= 50 and set(np.bincount(planted.patients[rows])) == {0, 3}
    assert len(sampled(planted.cases, 1000)) == 300


def test_grades_are_more_relevant_the_nearer_they_are() -> None:
    severity = target_of("severity", Role.DISEASE, np.array([1.0, 2, 3, np.nan, 3]))
    assert severity.scale is Scale.GRADED and severity.classes == ("1", "2", "3")
    assert severity.gains(2, np.array([0, 1, 4])).tolist() == [0, 1, 3]  # 2^0 − 1, 2^1 − 1, 2^2 − 1


def test_the_kinds_of_target() -> None:
    assert target_of("crp", Role.DISEASE, np.array([1.5, np.inf, 20, np.nan])).known.tolist() == [
        True,
        False,
        True,
        False,
    ]
    assert target_of("died", Role.DISEASE, np.array(["yes", "no", None], object)).scale is Scale.BINARY
    assert target_of("status", Role.DISEASE, np.array(["yes", "unknown", "no", "maybe"], object)).known.tolist() == [
        True,
        False,
        True,
        True,
    ]
    assert target_of("covid_code", Role.DISEASE, np.array([1.0, 2, 0])).scale is Scale.NOMINAL


def test_metadata_neighbours_share_what_is_recorded_by_hand() -> None:
    planted = Planted(np.eye(4), yes_no(np.ones(4, bool)), np.arange(4), sites=np.array([0, 0, 1, -1]))
    cases = planted.cases
    sexes = np.array(["F", "F", "M", None], object)
    cases = replace(cases, ages_years=np.array([40.0, 60, 50, np.nan]), sexes=sexes)
    found = MetadataSpace(cases).similarities(0)
    # of age, sex, view and site: itself 3/4; (1 − 20/20 + 1 + 0 + 1)/4; (1 − 10/20)/4; nothing
    np.testing.assert_allclose(found, [0.75, 0.5, 0.125, 0], atol=1e-5)


def test_metadata_beats_an_encoder_that_sees_only_the_site_less_than_itself() -> None:
    planted = archive(np.random.default_rng(0), shortcut=True)
    found = planted.evaluate(k=5)
    (difference,) = [
        d for d in found.differences if (d.other, d.protocol, d.metric) == (METADATA, "other patients", "P@5")
    ]
    assert difference.difference == pytest.approx(value(found, "P@5") - value(found, "P@5", space=METADATA))
    assert difference.low <= difference.difference <= difference.high


def test_centring_by_site_takes_a_site_mark_away() -> None:
    planted = archive(np.random.default_rng(0), shortcut=True)
    cases = planted.cases
    found = evaluate(cases, [site_centred(planted.encoder.rows, cases)], protocols_of(cases, np.arange(120), k=5)[0], [planted.target], k=5, replicates=20)  # fmt: skip
    score = next(s for s in found.scores if s.metric == "P@5" and s.average == "micro")
    assert abs(score.value - score.chance) < 0.06


def test_principal_components_tell_two_kinds_of_picture_apart() -> None:
    rng = np.random.default_rng(0)
    dark_left, dark_top = np.tile([0.0, 1.0], 50), np.repeat([0.0, 1.0], 50)
    pictures = np.stack([kind + 0.05 * rng.normal(size=100) for kind in (dark_left, dark_top) for _ in range(5)])
    rows = principal_components(pictures.astype(np.float32))
    products = rows @ rows.T
    assert products[:5, :5].min() > 0.8 and products[:5, 5:].max() < 0


def test_a_protocol_does_not_evaluate_what_it_fixes() -> None:
    planted = archive(np.random.default_rng(0), shortcut=False)
    planted.nuisance = [
        target_of("site", Role.NUISANCE, np.array([f"site {code}" for code in planted.cases.sites], object)),
        target_of("view", Role.NUISANCE, planted.cases.views),
    ]
    found = {(score.protocol, score.target) for score in planted.evaluate(k=5).scores}
    assert ("other patients", "site") in found and (OTHER_SITES, "site") not in found
    assert (OTHER_SITES, "view") in found and (ONE_VIEW, "view") not in found
