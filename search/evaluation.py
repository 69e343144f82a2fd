"""Does similarity carry outcome? Every space, protocol and target of an archive measured, with interval, chance level and lift."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import rankdata

from search.baselines import Space
from search.calibration import OUTCOME_FIGURES, bins_of, chance_of, correlation
from search.evaluated import Evaluated
from search.evaluation_tables import Decile, Difference, Hubness, Reliability, Score
from search.intervals import BOUNDS, REPLICATES, SEED, Codes, Draws, Floats, interval
from search.metrics import chances, hubness, names, scores, tenths
from search.protocols import Protocol
from search.random_order import RandomOrder
from search.ranking import first_of_each_patient, ranked
from search.targets import FEWEST, Role, Scale, Target

MICRO, MACRO, ALL = "micro", "macro", "all queries"
RANK_CORRELATION = "rank correlation"
RANKING = ("AUROC", "AUPRC")  # figures of the order of forecasts alone
Key = tuple[str, str, str]  # space, protocol, target
Shown = tuple[int, Codes, Floats]  # a query, the rows of its neighbours, their similarities


@dataclass(frozen=True, eq=False)
class Measured:
    """What every query of one space, protocol and target gave."""

    space: Space
    protocol: Protocol
    target: Target
    queries: Codes  # (q,)
    values: Floats  # (q, metrics)
    chances: Floats  # (q, metrics)
    told: (
        Floats  # (q,) what the k neighbours say: the forecast of an event, or the mean of their values; NaN of classes
    )
    tenths: Floats  # (q, 10)
    given: (
        Floats  # (q, groupings) what P@k would be, had the neighbours been drawn at random at the sites where they are
    )


@dataclass(frozen=True, eq=False)
class Nearest:
    """The neighbours that a search would show of one space and protocol."""

    queries: Codes
    rows: Codes  # (q, k)
    similarities: Floats


@dataclass(frozen=True, eq=False)
class Sampled:
    """A figure and its replicates, all of them of the same draws of patients."""

    value: float
    chance: float
    replicates: Floats
    chance_replicates: Floats

    @property
    def excess(self) -> float:
        return self.value - self.chance

    @property
    def excess_replicates(self) -> Floats:
        return self.replicates - self.chance_replicates

    @property
    def lift(self) -> float:
        return self.value / self.chance if self.chance > 0 else float("nan")

    @property
    def lift_replicates(self) -> Floats:
        above = self.chance_replicates > 0
        return np.divide(
            self.replicates, self.chance_replicates, out=np.full(len(self.replicates), np.nan), where=above
        )


@dataclass(eq=False)
class Evaluation:
    """All figures of one archive."""

    k: int
    scores: list[Score] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    reliability: list[Reliability] = field(default_factory=list)
    deciles: list[Decile] = field(default_factory=list)
    hubness: list[Hubness] = field(default_factory=list)
    sampled: dict[tuple[Key, str], Sampled] = field(default_factory=dict)  # micro and outcome figures, by metric
    measured: dict[Key, Measured] = field(default_factory=dict)
    nearest: dict[tuple[str, str], Nearest] = field(default_factory=dict)  # by space and protocol

    @property
    def main_metric(self) -> str:
        return f"P@{self.k}"


def evaluate(
    cases: Evaluated, spaces: Sequence[Space], protocols: Sequence[Protocol], targets: Sequence[Target], *, k: int,
    pairs: Sequence[tuple[str, str]] = (), progress: Callable[[int], None] = lambda count: None,
    replicates: int = REPLICATES,
) -> Evaluation:  # fmt: skip
    """Measures everything; `pairs` names the spaces whose figures are compared, the first less the second.

    `progress` is told how many more cases were asked, of all that any protocol asks.
    """
    found = Evaluation(k)
    asked = [protocol.queries for protocol in protocols]
    if not asked:
        return found
    draws = Draws(cases.patients[np.concatenate(asked)], replicates=replicates)
    collected, nearest = _ask(cases, spaces, protocols, targets, k, progress)
    for protocol in protocols:
        for space in spaces:
            shown = _nearest(nearest[space.name, protocol.name], k)
            found.nearest[space.name, protocol.name] = shown
            found.hubness += _hubness(shown, space, protocol, cases, k)
            for target in targets:
                one = collected.get((space.name, protocol.name, target.name))
                if one is not None:
                    _tabulate(found, one.measured(space, protocol, target), cases, draws)
    found.differences = list(_differences(found, pairs))
    return found


# ---- asking ----------------------------------------------------------------------------------------------------------------


class _Collected:
    """The measurements of one space, protocol and target as they come in."""

    def __init__(self) -> None:
        self.given: list[Floats] = []
        self.queries: list[int] = []
        self.values: list[Floats] = []
        self.chances: list[Floats] = []
        self.told: list[float] = []
        self.tenths: list[Floats] = []

    def measured(self, space: Space, protocol: Protocol, target: Target) -> Measured:
        return Measured(
            space, protocol, target, np.array(self.queries, np.int64), np.stack(self.values), np.stack(self.chances),
            np.array(self.told), np.stack(self.tenths), np.stack(self.given),
        )  # fmt: skip


def _ask(
    cases: Evaluated, spaces: Sequence[Space], protocols: Sequence[Protocol], targets: Sequence[Target], k: int,
    progress: Callable[[int], None],
) -> tuple[dict[Key, _Collected], dict[tuple[str, str], list[Shown]]]:  # fmt: skip
    """Every query under every protocol and in every space: (what was measured, what a search would show)."""
    rates = {target.name: event_rate(target, cases) for target in targets if target.scale is Scale.BINARY}
    collected: dict[Key, _Collected] = defaultdict(_Collected)
    shown: dict[tuple[str, str], list[Shown]] = defaultdict(list)
    people = int(cases.patients.max()) + 1
    of_protocol = {protocol.name: set(protocol.queries.tolist()) for protocol in protocols}
    for query in sorted(set().union(*of_protocol.values())):
        orders = [(space, space.similarities(query)) for space in spaces if space.covers[query]]
        every = [
            (space, values, ranked(values, np.flatnonzero(cases.usable & space.covers))) for space, values in orders
        ]
        for protocol in (protocol for protocol in protocols if query in of_protocol[protocol.name]):
            eligible = protocol.eligible(query)
            for space, similarities, everyone in every:
                order = everyone[eligible[everyone]]
                first = first_of_each_patient(order, cases.patients, people)[:k]
                if len(first) == k:
                    shown[space.name, protocol.name].append((query, first, similarities[first]))
                for target in targets:
                    if target.known[query] and target.name not in protocol.fixed:
                        into = collected[space.name, protocol.name, target.name]
                        _measure(into, target, query, order, cases, k, rates.get(target.name, np.nan))
        progress(1)
    return {key: one for key, one in collected.items() if one.queries}, shown


def _measure(into: _Collected, target: Target, query: int, order: Codes, cases: Evaluated, k: int, rate: float) -> None:
    """Adds what one ranking gives, unless fewer than `k` patients whose target is recorded can be ranked."""
    people = int(cases.patients.max()) + 1
    labelled = order[target.known[order]]
    ranking = first_of_each_patient(labelled, cases.patients, people)
    if len(ranking) < k:
        return
    into.queries.append(query)
    _, of_patient, counts = np.unique(cases.patients[labelled], return_inverse=True, return_counts=True)
    order_of_chance = RandomOrder(counts)

    def means(values: Floats) -> Floats:
        """The mean over each patient's cases."""
        return np.bincount(of_patient, weights=values) / counts

    if target.scale is not Scale.NOMINAL:
        numbers = target.events.astype(np.float64) if target.scale is Scale.BINARY else target.values
        by_chance = float(order_of_chance.sum_of_first(means(numbers[labelled]), np.array([k]))[0]) / k
        into.told.append(_told(float(numbers[ranking[:k]].mean()) - by_chance, k, rate))
    else:
        into.told.append(np.nan)
    if target.scale is Scale.NUMBER:
        into.values.append(np.zeros(0))
        into.chances.append(np.zeros(0))
        into.tenths.append(np.full(10, np.nan))
        into.given.append(np.zeros(0))
        return
    graded = target.scale is Scale.GRADED
    relevant = target.codes[ranking] == target.codes[query]
    gains = target.gains(query, ranking) if graded else None
    mean_gains = means(target.gains(query, labelled)) if graded else None
    values = scores(relevant, k, gains=gains)
    same = (target.codes[labelled] == target.codes[query]).astype(np.float64)
    shares = means(same)
    drawn = (order_of_chance.among_first(k) / counts)[of_patient]  # how likely each case is one of k random neighbours
    shown = np.isin(labelled, ranking[:k])
    into.given.append(np.array([_given(codes[labelled], same, drawn, shown) for _, codes in cases.groupings]))
    expected = chances(order_of_chance, shares, int(relevant.sum()), k, gains=gains, mean_gains=mean_gains)
    into.values.append(values)
    into.chances.append(np.where(np.isnan(values), np.nan, expected))
    into.tenths.append(tenths(relevant))


def _given(groups: Codes, same: Floats, drawn: Floats, shown: np.ndarray) -> float:
    """The share of neighbours with the query's value that their groups explain: for each neighbour, how frequent the value is among
    the other cases of its own site, or scanner.
    """
    number = groups - groups.min()
    total, matching = np.bincount(number, weights=drawn), np.bincount(number, weights=drawn * same)
    mine, match = drawn[shown], same[shown]
    rest = total[number[shown]] - mine
    others = np.divide(matching[number[shown]] - mine * match, rest, out=match.copy(), where=rest > 1e-12)
    return float(np.clip(others, 0, 1).mean())


def _told(beyond: float, k: int, rate: float) -> float:
    """A forecast from how far the neighbours' share of events differs from chance: the archive's `rate` moved by k / (k + 1) of that.

    Not the share itself: leaving out the query's own patient leaves one event less for those who had it, so that even random
    neighbours would tell the outcome, backwards. Without a rate, of grades and numbers, the difference as it is.
    """
    if np.isnan(rate):
        return beyond
    least = 0.5 / (k + 1)
    return float(np.clip(rate + beyond * k / (k + 1), least, 1 - least))


def event_rate(target: Target, cases: Evaluated) -> float:
    """The share of scans with a yes, among all that are evaluated: scans are what is asked."""
    return float(target.events[cases.usable & target.known].mean())


def _nearest(rows: Sequence[Shown], k: int) -> Nearest:
    if not rows:
        return Nearest(np.zeros(0, np.int64), np.zeros((0, k), np.int64), np.zeros((0, k)))
    queries, found, similarities = zip(*rows, strict=True)
    return Nearest(np.array(queries, np.int64), np.stack(found), np.stack(similarities))


def _hubness(shown: Nearest, space: Space, protocol: Protocol, cases: Evaluated, k: int) -> list[Hubness]:
    if not len(shown.queries):
        return []
    members = np.flatnonzero(cases.usable & space.covers)
    counts = np.bincount(shown.rows.ravel(), minlength=len(cases.patients))[members]
    skewness, never, most = hubness(counts)
    return [Hubness(space.name, protocol.name, k, len(shown.queries), len(members), skewness, never, most)]


# ---- figures ---------------------------------------------------------------------------------------------------------------


def _tabulate(found: Evaluation, measured: Measured, cases: Evaluated, draws: Draws) -> None:
    """Adds the scores, reliability and deciles of one space, protocol and target."""
    patients = cases.patients[measured.queries]
    if len(np.unique(patients)) < FEWEST:
        return  # an interval over so few would be false precision
    scale, key = measured.target.scale, _key(measured)
    found.measured[key] = measured
    if scale is not Scale.NUMBER:
        own = measured.target.codes[measured.queries]
        groups = [np.ones(len(own), bool)], [own == code for code in np.unique(own)]
        metrics = names(found.k, graded=scale is Scale.GRADED)
        for average, masks in zip((MICRO, MACRO), groups, strict=True):
            for metric, sampled, counted in zip(metrics, *_averaged(measured, masks, patients, draws), strict=True):
                if average == MICRO:
                    found.sampled[key, metric] = sampled
                found.scores.append(_score(measured, metric, average, sampled, counted, patients))
    figures = list(_outcome_figures(measured, cases, found.k, draws)) if scale is Scale.BINARY else []
    if scale in (Scale.GRADED, Scale.NUMBER):
        figures = list(_correlations(measured, patients, draws))
    if scale is not Scale.NUMBER:
        figures += _given_groups(found, measured, cases, patients, draws)
    everyone = np.ones(len(patients), bool)
    for metric, sampled in figures:
        found.sampled[key, metric] = sampled
        found.scores.append(_score(measured, metric, ALL, sampled, everyone, patients))
    if scale is Scale.BINARY:
        found.reliability += _reliability(measured, patients, draws)
    if scale is not Scale.NUMBER and measured.target.role is Role.DISEASE:
        found.deciles += _deciles(measured, patients, draws)


def _averaged(
    measured: Measured, masks: Sequence[np.ndarray], patients: Codes, draws: Draws
) -> tuple[list[Sampled], list[np.ndarray]]:
    """Each metric as the mean over `masks` of the mean over the queries in one; beside it, which queries count."""
    values, expected = measured.values, measured.chances
    counted = ~np.isnan(values)
    kept = [counted & mask[:, None] for mask in masks]
    columns = [part for inside in kept for part in (inside, np.where(inside, values, 0), np.where(inside, expected, 0))]
    shape = (len(masks), 3, values.shape[1])
    sums = draws.sums(np.concatenate(columns, axis=1).astype(np.float64), patients)
    own = np.concatenate(columns, axis=1).sum(axis=0).reshape(shape)
    drawn = sums.reshape(len(sums), *shape)
    (value, chance), (replicates, chance_replicates) = (
        [_mean_of_known(_ratio(found[..., which, :], found[..., 0, :])) for which in (1, 2)] for found in (own, drawn)
    )
    sampled = [
        Sampled(float(value[m]), float(chance[m]), replicates[:, m], chance_replicates[:, m]) for m in range(len(value))
    ]
    return sampled, list(counted.T)


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _given_groups(
    found: Evaluation, measured: Measured, cases: Evaluated, patients: Codes, draws: Draws
) -> Iterator[tuple[str, Sampled]]:
    """P@k beside what the neighbours' own sites, or scanners, alone would give."""
    k = names(found.k, graded=measured.target.scale is Scale.GRADED).index(found.main_metric)
    value = measured.values[:, [k]]
    told = draws.sums(np.ones_like(value), patients)
    for place, (name, codes) in enumerate(cases.groupings):
        if len(np.unique(codes[cases.usable])) < 2 or name == measured.target.name:
            continue
        given = measured.given[:, [place]]
        replicates, chance = (_ratio(draws.sums(one, patients), told)[:, 0] for one in (value, given))
        yield given_metric(found.k, name), Sampled(float(value.mean()), float(given.mean()), replicates, chance)


def given_metric(k: int, grouping: str) -> str:
    """How P@k is called beside the chance that the neighbours' own groups leave."""
    return f"P@{k} given the neighbours' {grouping}s"


def _mean_of_known(parts: Floats) -> Floats:
    """The mean over classes (..., classes, metrics) -> (..., metrics), of those that have a value."""
    known = ~np.isnan(parts)
    return _ratio(np.nan_to_num(parts).sum(axis=-2), known.sum(axis=-2).astype(np.float64))


def _outcome_figures(measured: Measured, cases: Evaluated, k: int, draws: Draws) -> Iterator[tuple[str, Sampled]]:
    """Of the forecast that the neighbours' outcomes make; nothing where all queries had the same outcome."""
    positive = measured.target.events[measured.queries]
    if positive.all() or not positive.any():
        return
    patients, predicted = cases.patients[measured.queries], measured.told
    rate = event_rate(measured.target, cases)
    # k neighbours give k + 1 shares: forecasts of one share differ by what was taken away as chance, which must not decide who ranks higher
    ties = np.random.default_rng(SEED).uniform(-0.5, 0.5, len(cases.patients))[measured.queries] / (k + 1)
    for name, figure in OUTCOME_FIGURES.items():
        told = predicted + ties if name in RANKING else predicted
        replicates = np.concatenate([figure(positive, told, w) for w in draws.iter_weights(patients)])
        chance = chance_of(name, positive, rate)
        yield name, Sampled(float(figure(positive, told, None)), chance, replicates, np.full(len(replicates), chance))  # fmt: skip


def _correlations(measured: Measured, patients: Codes, draws: Draws) -> Iterator[tuple[str, Sampled]]:
    own, theirs = measured.target.values[measured.queries], measured.told
    if len(own) < 3:
        return
    a, b = rankdata(own), rankdata(theirs)
    replicates = np.concatenate([correlation(a, b, weights) for weights in draws.iter_weights(patients)])
    value = float(correlation(a, b, np.ones(len(a))))
    yield RANK_CORRELATION, Sampled(value, 0.0, replicates, np.zeros(len(replicates)))


def _score(
    measured: Measured, metric: str, average: str, sampled: Sampled, counted: np.ndarray, patients: Codes
) -> Score:
    low, high = interval(sampled.replicates)
    has_lift = metric.startswith("P@") or (average != ALL and sampled.chance > 0)
    lift_low, lift_high = interval(sampled.lift_replicates) if has_lift else (np.nan, np.nan)
    return Score(
        *_key(measured), measured.target.title, str(measured.target.role), metric, average, sampled.value, low, high, sampled.chance,
        sampled.lift if has_lift else np.nan, lift_low, lift_high, int(counted.sum()), len(np.unique(patients[counted])),
    )  # fmt: skip


def _reliability(measured: Measured, patients: Codes, draws: Draws) -> Iterator[Reliability]:
    positive = measured.target.events[measured.queries].astype(np.float64)
    for number, rows in enumerate(bins_of(measured.told)):
        told = draws.sums(np.ones((len(rows), 1)), patients[rows])[:, 0]
        events = draws.sums(positive[rows, None], patients[rows])[:, 0]
        low, high = interval(np.divide(events, told, out=np.full(len(told), np.nan), where=told > 0))
        forecast = float(measured.told[rows].mean())
        yield Reliability(*_key(measured), number, forecast, float(positive[rows].mean()), low, high, len(rows))


def _deciles(measured: Measured, patients: Codes, draws: Draws) -> Iterator[Decile]:
    """The share of neighbours with the query's own value by tenths of the gallery, of all queries and of each class of them."""
    own = measured.target.codes[measured.queries]
    known = ~np.isnan(measured.tenths[:, 0])
    for label, mask in [("any", known), *((measured.target.classes[c], known & (own == c)) for c in np.unique(own))]:
        if not mask.any():
            continue
        values = measured.tenths[mask]
        told = draws.sums(np.ones((len(values), 1)), patients[mask])
        sums = draws.sums(values, patients[mask])
        replicates = np.divide(sums, told, out=np.full(sums.shape, np.nan), where=told > 0)
        low, high = np.nanpercentile(replicates, BOUNDS, axis=0)
        for tenth, mean in enumerate(values.mean(axis=0)):
            ends = float(low[tenth]), float(high[tenth])
            yield Decile(*_key(measured), label, tenth + 1, float(mean), *ends, int(mask.sum()))


def _differences(found: Evaluation, pairs: Sequence[tuple[str, str]]) -> Iterator[Difference]:
    """Each figure of the first space of a pair less the second's, where both asked the same queries."""
    for (space, protocol, target), measured in found.measured.items():
        for other in (second for first, second in pairs if first == space):
            against = found.measured.get((other, protocol, target))
            if against is None or not np.array_equal(measured.queries, against.queries):
                continue
            for metric in [name for key, name in found.sampled if key == (space, protocol, target)]:
                one = found.sampled[(space, protocol, target), metric]
                two = found.sampled.get(((other, protocol, target), metric))
                if two is None:
                    continue
                low, high = interval(one.replicates - two.replicates)
                yield Difference(space, other, protocol, target, metric, one.value, two.value, one.value - two.value, low, high,
                                 len(measured.queries))  # fmt: skip


def _key(measured: Measured) -> Key:
    return measured.space.name, measured.protocol.name, measured.target.name
