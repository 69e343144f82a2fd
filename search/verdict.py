"""Is it disease or the scanner? What an evaluation comes to for each disease target, in words."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from search.baselines import ENCODER, LUNGS_ALONE, LUNGS_BLANKED, METADATA
from search.evaluation import Evaluation, Sampled, given_metric
from search.evaluation_tables import VerdictRow
from search.intervals import interval
from search.protocols import ONE_VIEW, OTHER_PATIENTS, OTHER_SITES
from search.targets import Role, Scale, Target

HALF = 0.5  # of what is above chance must be more than the neighbours' own sites or scanners explain
LEFT = 0.8  # of the lift must be left across sites: below, the archive's sites are what is alike


class Result(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    UNSURE = "cannot be told"
    UNTESTED = "not tested"


class Verdict(StrEnum):
    CARRIED = "carried by the pictures"
    SHORTCUT = "shortcut"
    NOT_SHOWN = "not shown to be disease"
    NOTHING = "nothing above chance"


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, and what came of it."""

    name: str
    result: Result
    words: str


@dataclass(frozen=True)
class Finding:
    """The verdict on one target."""

    target: Target
    verdict: Verdict
    checks: tuple[Check, ...]

    @property
    def words(self) -> str:
        """One sentence that names what failed."""
        failed = [check.name for check in self.checks if check.result is Result.FAILED]
        unsure = [check.name for check in self.checks if check.result is Result.UNSURE]
        untested = [
            check.name for check in self.checks if check.result is Result.UNTESTED and check.name != LUNGS_BLANKED
        ]
        title = self.target.title
        match self.verdict:
            case Verdict.NOTHING:
                return (
                    f"{title}: neighbours share it no more often than chance would have it, as far as so few can tell."
                )
            case Verdict.SHORTCUT:
                return f"{title}: a shortcut. Neighbours share it, but not because of the disease: it failed “{'”, “'.join(failed)}”."
            case Verdict.NOT_SHOWN:
                parts = []
                if unsure:
                    parts.append(f"too little to tell: “{'”, “'.join(unsure)}”")
                if untested:
                    parts.append(f"could not be tested here: “{'”, “'.join(untested)}”")
                return f"{title}: neighbours share it, but that this is the disease is not shown ({'; '.join(parts)})."
        return f"{title}: neighbours share it more than metadata explain, across sites and within one view: it is in the pictures."


def findings(evaluation: Evaluation, targets: Sequence[Target], *, views: int) -> list[Finding]:
    """A verdict for each disease target that was evaluated. `views`: how many the archive has; of one, no view can mislead."""
    found = []
    for target in targets:
        if target.role is Role.DISEASE and target.scale is not Scale.NUMBER:
            signal = _sampled(evaluation, ENCODER, OTHER_PATIENTS, target)
            if signal is not None:
                found.append(_finding(evaluation, target, signal, views))
    return found


def rows_of(found: Sequence[Finding]) -> list[VerdictRow]:
    return [
        VerdictRow(finding.target.name, finding.target.title, str(finding.verdict), check.name, str(check.result), check.words)
        for finding in found
        for check in finding.checks
    ]  # fmt: skip


def _finding(evaluation: Evaluation, target: Target, signal: Sampled, views: int) -> Finding:
    metric = evaluation.main_metric
    low, high = interval(signal.excess_replicates)
    above = Result.PASSED if low > 0 else Result.UNSURE
    first = Check(
        "above chance", above, f"{metric} {_amount(signal.excess, low, high)} above chance; lift {_lift(signal)}"
    )
    if above is Result.UNSURE:
        return Finding(target, Verdict.NOTHING, (first,))
    checks = (
        first,
        _beats_metadata(evaluation, target, signal),
        *_left(evaluation, target, signal, views),
        *_given(evaluation, target, signal),
        *_lungs(evaluation, target),
    )
    results = {check.result for check in checks}
    needed = {check.result for check in checks if check.name != LUNGS_BLANKED}
    if Result.FAILED in results:
        return Finding(target, Verdict.SHORTCUT, checks)
    carried = needed == {Result.PASSED} and Result.UNSURE not in results
    return Finding(target, Verdict.CARRIED if carried else Verdict.NOT_SHOWN, checks)


def _beats_metadata(evaluation: Evaluation, target: Target, signal: Sampled) -> Check:
    name = "better than metadata alone"
    other = _sampled(evaluation, METADATA, OTHER_PATIENTS, target)
    if other is None:
        return Check(name, Result.UNTESTED, "there is no metadata-only baseline")
    difference = signal.value - other.value
    low, high = interval(signal.replicates - other.replicates)
    result = Result.PASSED if low > 0 else Result.FAILED if difference <= 0 else Result.UNSURE
    words = (
        f"{evaluation.main_metric} {signal.value:.3f} against {other.value:.3f} of neighbours by age, sex, view and site; "
        f"difference {_amount(difference, low, high)}"
    )
    return Check(name, result, words)


def _left(evaluation: Evaluation, target: Target, signal: Sampled, views: int) -> Iterator[Check]:
    """What is left across sites, and within one view."""
    for name, protocol in (("left across sites", OTHER_SITES), ("left within one view", ONE_VIEW)):
        other = _sampled(evaluation, ENCODER, protocol, target)
        if protocol == ONE_VIEW and views < 2:
            yield Check(name, Result.PASSED, "no two views are recorded")
            continue
        if other is None:
            yield Check(name, Result.UNTESTED, f"the archive does not allow the protocol “{protocol}” for it")
            continue
        low, high = interval(other.excess_replicates)
        lost_low, _ = interval(signal.excess_replicates - other.excess_replicates)
        enough = other.lift >= LEFT * signal.lift
        fell = other.excess <= 0 or (not enough and lost_low > 0)
        result = Result.FAILED if fell else Result.PASSED if low > 0 and enough else Result.UNSURE
        words = (
            f"{evaluation.main_metric} is {_amount(other.excess, low, high)} above chance, where it was {signal.excess:+.3f} among all "
            f"other patients; lift {_lift(other)}, {other.lift / signal.lift:.0%} of {signal.lift:.2f}"
        )
        yield Check(name, result, words)


def _given(evaluation: Evaluation, target: Target, signal: Sampled) -> Iterator[Check]:
    """Whether a neighbour has the query's value more often than others of that neighbour's own site, and scanner.

    Leaving out the query's site is not enough: where all of one site die, survivors of every other site still avoid that site's films.
    """
    for grouping in ("site", "scanner"):
        found = evaluation.sampled.get(((ENCODER, OTHER_PATIENTS, target.name), given_metric(evaluation.k, grouping)))
        if found is None:
            continue
        low, high = interval(found.excess_replicates)
        explained, _ = interval(signal.excess_replicates - found.excess_replicates)
        part = found.excess / signal.excess
        fell = part < HALF and explained > 0
        result = Result.FAILED if fell else Result.PASSED if low > 0 and part >= HALF else Result.UNSURE
        words = (
            f"a neighbour shares it {_amount(found.excess, low, high)} more often than others of the neighbour's own {grouping}; {grouping}s "
            f"explain {1 - part:.0%} of what is above chance"
        )
        yield Check(f"more than the neighbours' {grouping}s explain", result, words)


def _lungs(evaluation: Evaluation, target: Target) -> Iterator[Check]:
    """Whether the likeness lives in the lungs: failed, where a picture without them does as well."""
    blanked = _sampled(evaluation, LUNGS_BLANKED, OTHER_PATIENTS, target)
    whole = _sampled(evaluation, twin_name(LUNGS_BLANKED), OTHER_PATIENTS, target)
    whole = whole or _sampled(evaluation, ENCODER, OTHER_PATIENTS, target)  # no twin where all films were signed again
    if blanked is None or whole is None:
        yield Check(LUNGS_BLANKED, Result.UNTESTED, "pictures were not read again; --pixels does")
        return
    low, high = interval(blanked.excess_replicates)
    lost_low, lost_high = interval(whole.excess_replicates - blanked.excess_replicates)
    lost = whole.excess - blanked.excess
    result = Result.PASSED if lost_low > 0 else Result.UNSURE
    if low > 0 and lost <= (1 - LEFT) * whole.excess:
        result = Result.FAILED
    words = f"without the lungs {_amount(blanked.excess, low, high)} above chance, {_amount(lost, lost_low, lost_high)} less than with them"
    alone = _sampled(evaluation, LUNGS_ALONE, OTHER_PATIENTS, target)
    if alone is not None:
        words += f"; with the lungs alone {_amount(alone.excess, *interval(alone.excess_replicates))}"
    yield Check(LUNGS_BLANKED, result, words)


def twin_name(space: str) -> str:
    """How the encoder is called on the cases that another space covers."""
    return f"{ENCODER} on the cases of “{space}”"


def _sampled(evaluation: Evaluation, space: str, protocol: str, target: Target) -> Sampled | None:
    return evaluation.sampled.get(((space, protocol, target.name), evaluation.main_metric))


def _amount(value: float, low: float, high: float) -> str:
    return f"{value:+.3f} ({low:+.3f} to {high:+.3f})"


def _lift(sampled: Sampled) -> str:
    low, high = interval(sampled.lift_replicates)
    return f"{sampled.lift:.2f} ({low:.2f} to {high:.2f})"
