"""The time that is left, on a simulated clock: nothing is told before the pace is known, and warm-up does not count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from backend.cli.commands import STAGE_SHARES
from backend.cli.eta_estimator import EtaEstimator


def simulate(
    stage: str, total: int, seconds: Sequence[float], shares: Mapping[str, float] | None = None, first: int = 0
) -> list[float]:
    """The estimates of a stage from unit `first`, one after every unit that takes the given seconds."""
    now = [1000.0]
    forecast = EtaEstimator(shares or {}, lambda: now[0])
    told = [forecast.estimate_eta(stage, first, total)]
    for done, taken in enumerate(seconds, first + 1):
        now[0] += taken
        told.append(forecast.estimate_eta(stage, done, total))
    return told


def test_compile_time_of_the_first_step_never_enters_an_estimate() -> None:
    """A training whose first step takes a minute: 3000 steps of 60 s would be 50 hours; in truth it takes 300 s."""
    told = simulate("train the actor", 3000, [60.0, *[0.1] * 2999], STAGE_SHARES["create"])
    later = 300 / 9  # learning to speak takes a ninth of the training
    known = [(done, eta) for done, eta in enumerate(told) if eta >= 0]
    assert known[0][0] < 100, "ten seconds of steps are enough"
    for done, eta in known:
        assert eta == pytest.approx(0.1 * (3000 - done) + later)


@pytest.mark.parametrize("slow", [2, 3, 4, 6])
def test_later_step_that_compiles_is_not_extrapolated(slow: int) -> None:
    seconds = [60.0, *[0.1] * 2999]
    seconds[slow - 1] = 30.0
    assert max(simulate("train the actor", 3000, seconds)) <= 300


def test_several_slow_steps_at_the_start_are_forgotten() -> None:
    told = simulate("render", 1000, [20.0] * 5 + [0.5] * 95)
    assert told[40] == pytest.approx(0.5 * 960)


def test_nothing_is_told_before_units_are_done() -> None:
    now = [0.0]
    forecast = EtaEstimator({}, lambda: now[0])
    for _ in range(100):
        now[0] += 10
        assert forecast.estimate_eta("render", 0, 10) < 0


def test_nothing_is_told_after_the_first_unit() -> None:
    assert simulate("render", 10, [30.0]) == [-1.0, -1.0]


def test_nothing_is_told_before_the_pace_was_measured_for_two_seconds() -> None:
    told = simulate("render", 1000, [0.01] * 150)
    assert max(told) < 0


def test_slow_even_units_are_told_from_the_third_on() -> None:
    told = simulate("render", 10, [2.0] * 10)
    assert told[:3] == [-1.0] * 3
    assert told[3:] == pytest.approx([14, 12, 10, 8, 6, 4, 2, 0])


def test_estimate_follows_a_pace_that_changes() -> None:
    """Steps become three times as slow after a tenth; the mean of all steps would say 2.5 s."""
    told = simulate("train", 1000, [1.0] * 100 + [3.0] * 300)
    assert told[400] == pytest.approx(3.0 * 600, rel=0.1)


def test_report_without_a_new_unit_changes_nothing() -> None:
    now = [0.0]
    forecast = EtaEstimator({}, lambda: now[0])
    for done in range(5):
        last = forecast.estimate_eta("render", done, 10)
        now[0] += 2
    assert forecast.estimate_eta("render", 4, 10) == last == pytest.approx(12)


def test_units_of_an_earlier_run_do_not_count() -> None:
    told = simulate("train", 1000, [0.1] * 100, first=800)
    assert told[1] < 0 and told[100] == pytest.approx(10)


def test_later_stages_are_measured_by_the_whole_stage_when_it_is_resumed() -> None:
    """Half of the steps are there already; speaking still takes as long as a quarter of all 1000 steps."""
    told = simulate("train", 1000, [0.1] * 100, {"train": 4, "speak": 1}, first=500)
    assert told[100] == pytest.approx(40 + 25)


def test_later_stages_are_counted() -> None:
    """Half of a stage took 10 s: 10 s of it are to come, and 60 s of those that take three times as long together."""
    shares = {"track": 1.0, "train": 2.0, "check": 1.0}
    assert max(simulate("look", 100, [0.2] * 50, shares)) < 0, "what comes before the known stages tells nothing"
    assert simulate("track", 100, [0.2] * 50, shares)[50] == pytest.approx(70)
    assert simulate("check", 10, [2.0] * 5, shares)[5] == pytest.approx(10)


def test_next_stage_starts_without_an_estimate() -> None:
    now = [0.0]
    forecast = EtaEstimator({}, lambda: now[0])
    for done in range(6):
        forecast.estimate_eta("track", done, 5)
        now[0] += 2
    assert forecast.estimate_eta("check", 0, 5) < 0
