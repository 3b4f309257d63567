"""The remaining time, on a simulated clock: no estimate before the pace is known, and warm-up does not count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from backend.cli.actor_commands import CREATE_SHARES
from backend.cli.eta_estimator import EtaEstimator


def simulate(
    stage: str, total: int, seconds: Sequence[float], shares: Mapping[str, float] | None = None, first: int = 0
) -> list[float]:
    """Return the estimates of a stage that starts at unit `first`, one after each unit that takes the given seconds."""
    now = [1000.0]
    estimator = EtaEstimator(shares or {}, lambda: now[0])
    estimates = [estimator.estimate_eta(stage, first, total)]
    for done, duration in enumerate(seconds, first + 1):
        now[0] += duration
        estimates.append(estimator.estimate_eta(stage, done, total))
    return estimates


def test_first_step_does_not_affect_the_estimate() -> None:
    """The first training step takes a minute; 3000 such steps would be 50 hours, but the others take 0.1 s."""
    estimates = simulate("train the actor", 3000, [60.0, *[0.1] * 2999], CREATE_SHARES)
    speech_seconds = 300 / 9  # learning to speak takes a ninth of the training
    known = [(done, eta) for done, eta in enumerate(estimates) if eta >= 0]
    assert known[0][0] < 100, "ten seconds of steps must suffice"
    for done, eta in known:
        assert eta == pytest.approx(0.1 * (3000 - done) + speech_seconds)


@pytest.mark.parametrize("slow", [2, 3, 4, 6])
def test_later_step_that_compiles_is_not_extrapolated(slow: int) -> None:
    seconds = [60.0, *[0.1] * 2999]
    seconds[slow - 1] = 30.0
    assert max(simulate("train the actor", 3000, seconds)) <= 300


def test_slow_steps_at_the_start_are_forgotten() -> None:
    estimates = simulate("render", 1000, [20.0] * 5 + [0.5] * 95)
    assert estimates[40] == pytest.approx(0.5 * 960)


def test_no_estimate_before_a_unit_is_done() -> None:
    now = [0.0]
    estimator = EtaEstimator({}, lambda: now[0])
    for _ in range(100):
        now[0] += 10
        assert estimator.estimate_eta("render", 0, 10) < 0


def test_no_estimate_after_the_first_unit() -> None:
    assert simulate("render", 10, [30.0]) == [-1.0, -1.0]


def test_no_estimate_before_the_pace_was_measured_for_two_seconds() -> None:
    estimates = simulate("render", 1000, [0.01] * 150)
    assert max(estimates) < 0


def test_slow_even_units_have_an_estimate_from_the_third_on() -> None:
    estimates = simulate("render", 10, [2.0] * 10)
    assert estimates[:3] == [-1.0] * 3
    assert estimates[3:] == pytest.approx([14, 12, 10, 8, 6, 4, 2, 0])


def test_estimate_follows_a_pace_that_changes() -> None:
    """Steps become three times as slow after a tenth; their mean would be 2.5 s."""
    estimates = simulate("train", 1000, [1.0] * 100 + [3.0] * 300)
    assert estimates[400] == pytest.approx(3.0 * 600, rel=0.1)


def test_report_without_a_new_unit_changes_nothing() -> None:
    now = [0.0]
    estimator = EtaEstimator({}, lambda: now[0])
    for done in range(5):
        last = estimator.estimate_eta("render", done, 10)
        now[0] += 2
    assert estimator.estimate_eta("render", 4, 10) == last == pytest.approx(12)


def test_units_of_an_earlier_run_do_not_affect_the_pace() -> None:
    estimates = simulate("train", 1000, [0.1] * 100, first=800)
    assert estimates[1] < 0 and estimates[100] == pytest.approx(10)


def test_later_stages_scale_with_the_whole_stage_when_it_is_resumed() -> None:
    """Half of the steps are done already; speaking still takes as long as a quarter of all 1000 steps."""
    estimates = simulate("train", 1000, [0.1] * 100, {"train": 4, "speak": 1}, first=500)
    assert estimates[100] == pytest.approx(40 + 25)


def test_estimate_includes_later_stages() -> None:
    """Half of a stage took 10 s: 10 s of it remain, and 60 s of the later ones, together three times as long."""
    shares = {"track": 1.0, "train": 2.0, "check": 1.0}
    assert max(simulate("look", 100, [0.2] * 50, shares)) < 0, "stages before the known ones have no estimate"
    assert simulate("track", 100, [0.2] * 50, shares)[50] == pytest.approx(70)
    assert simulate("check", 10, [2.0] * 5, shares)[5] == pytest.approx(10)


def test_next_stage_starts_without_an_estimate() -> None:
    now = [0.0]
    estimator = EtaEstimator({}, lambda: now[0])
    for done in range(6):
        estimator.estimate_eta("track", done, 5)
        now[0] += 2
    assert estimator.estimate_eta("check", 0, 5) < 0
