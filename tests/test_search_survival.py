"""Time to event, worked out by hand, and equal to an independent library."""

import numpy as np
import pytest

from index.case import Event, Outcome, State
from search.survival import HORIZONS, Horizon, Step, kaplan_meier, time_to_event
from tests.conftest import need_module


def outcome(state: State, days: int | None = None, observed: int | None = None) -> Outcome:
    return Outcome({"died": Event(state, days)}, observed)


def died(days: int | None, observed: int | None = None) -> Outcome:
    return outcome(State.YES, days, observed)


def lived(observed: int | None) -> Outcome:
    return outcome(State.NO, None, observed)


SEVEN = [died(0), died(3), lived(3), died(5), lived(5), died(8), died(10)]


def test_the_curve_by_hand() -> None:
    # at risk 7, 6, 4, 2, 1: who is censored on day 3 or 5 is still at risk on it
    steps = time_to_event(SEVEN, "died").steps
    assert [step.days for step in steps] == [0, 3, 5, 8, 10]
    assert [step.survival for step in steps] == pytest.approx([6 / 7, 5 / 7, 15 / 28, 15 / 56, 0])
    # day 3: Greenwood 1/(7·6) + 1/(6·5) = 2/35; half-width 1.96 · √(2/35) / −ln(5/7) = 1.39246 on the scale of log(−log S)
    assert (steps[1].low, steps[1].high) == pytest.approx((0.25815, 0.91980), abs=1e-5)
    assert (steps[4].low, steps[4].high) == (None, None)  # nobody is left to be uncertain about


def test_the_horizons_tell_who_was_still_at_risk() -> None:
    time = time_to_event([died(2), lived(7), lived(7), lived(8), lived(20)], "died")
    assert [horizon.days for horizon in time.horizons] == list(HORIZONS) == [7, 14, 28, 60]
    assert [horizon.at_risk for horizon in time.horizons] == [4, 1, 0, 0]
    assert [horizon.survival for horizon in time.horizons] == [0.8, 0.8, None, None]  # nobody was observed to day 28
    assert time_to_event(SEVEN, "died").horizons[2] == Horizon(28, 0, 0.0, None, None)  # all had died: that stays so


def test_the_days_of_those_who_had_the_event() -> None:
    time = time_to_event(SEVEN, "died")
    assert (time.timed, time.events, time.median_days, time.quartiles_days) == (7, 5, 5, (3, 8))


def test_each_recorded_outcome_counts_in_one_place_and_the_rest_nowhere() -> None:
    apart = [died(-2), died(None), lived(None), lived(-5), lived(None), outcome(State.NOT_RECORDED, None, 60)]
    time = time_to_event([*SEVEN, *apart], "died")
    assert (time.timed, time.before_scan, time.undated, time.unobserved) == (7, 1, 1, 3)
    assert time.steps == time_to_event(SEVEN, "died").steps


def test_not_recorded_is_not_followed_up_as_if_it_were_no() -> None:
    time = time_to_event([died(4), died(6), *[outcome(State.NOT_RECORDED, None, 90)] * 20], "died")
    assert time.timed == 2 and time.steps == ()


def test_too_few_times_draw_no_curve_and_say_why() -> None:
    time = time_to_event([*SEVEN[:4], died(-1), lived(None)], "died")
    assert time.reason == "timed for 4 of 6, at least 5 are needed"
    assert (time.events, time.steps, time.horizons, time.median_days, time.quartiles_days) == (None, (), (), None, None)
    assert time_to_event(SEVEN[:5], "died").reason is None


def test_without_an_event_there_is_no_band_and_no_median() -> None:
    time = time_to_event([lived(30)] * 6, "died")
    assert time.steps == (Step(0, 1.0, None, None),)
    assert (time.events, time.median_days, time.quartiles_days) == (0, None, None)


@pytest.mark.parametrize("seed", range(20))
def test_the_curve_is_that_of_lifelines(seed: int) -> None:
    need_module("lifelines")
    from lifelines import KaplanMeierFitter

    rng = np.random.default_rng(seed)
    days, met = rng.integers(0, 40, 5 + 3 * seed), rng.random(5 + 3 * seed) < 0.5
    met[0] = True
    with np.errstate():  # lifelines changes how the whole process treats division by zero
        fitted = KaplanMeierFitter().fit(days, met)
        steps = kaplan_meier(days, met)
        for step in steps:
            assert step.survival == pytest.approx(float(fitted.predict(step.days)), abs=1e-12)
            if step.low is not None and step.high is not None:
                band = fitted.confidence_interval_.loc[step.days]
                assert (step.low, step.high) == pytest.approx(tuple(band), abs=1e-9)
    assert {step.days for step in steps} == {0, *days[met].tolist()}
