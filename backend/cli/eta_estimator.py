"""Estimates the remaining time of a job from the pace of the current stage. Standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MIN_PACE_SECONDS = 2.0  # least time that a pace is measured over; shorter gives wild first estimates; not tuned
MAX_INTERVAL_SHARE = 0.6  # largest share of one interval in that time; above it, that step compiled or loaded something


@dataclass
class _PaceMark:
    """The start of a measurement of the pace.

    Attributes:
        done: finished units at that time.
        time: seconds on the clock.
        longest_interval: seconds of the longest interval between two reports since then.
    """

    done: int
    time: float
    longest_interval: float = 0.0


class EtaEstimator:
    """Estimates the seconds that a job still needs.

    The pace is measured over at least the newer half of the finished units. The first unit never counts: it loads the
    model and compiles kernels, and may take a hundred times as long as the others.

    Args:
        stage_shares: durations of the last stages relative to each other, in their order. Earlier stages give no
            estimate. If empty, each stage counts as the whole job.
        clock: returns seconds.
    """

    def __init__(self, stage_shares: Mapping[str, float], clock: Callable[[], float] = time.monotonic) -> None:
        self._stage_shares = dict(stage_shares)
        self._clock = clock
        self._stage = ""
        self._begin_stage(0)

    def estimate_eta(self, stage: str, done: int, total: int) -> float:
        """Return the seconds until the job ends, negative when unknown."""
        if stage != self._stage:
            # Units that are done when a stage starts were kept from an earlier run and took no time.
            self._stage = stage
            self._begin_stage(done)
        elif done > self._last_mark.done:
            self._record(done)
        pace = self._estimate_pace()
        if pace is None or (self._stage_shares and stage not in self._stage_shares):
            return -1.0
        return pace * (total - done) + pace * total * self._remaining_share(stage)

    def _begin_stage(self, done: int) -> None:
        """Start a stage of which `done` units are finished already."""
        self._done_at_start = done
        self._last_mark = _PaceMark(done, self._clock())
        self._marks: list[_PaceMark] = []

    def _record(self, done: int) -> None:
        """Record that more units are done; set a mark whenever their number has doubled since the last mark."""
        now = self._clock()
        for mark in self._marks:
            mark.longest_interval = max(mark.longest_interval, now - self._last_mark.time)
        self._last_mark = _PaceMark(done, now)
        if not self._marks or done - self._done_at_start >= 2 * (self._marks[-1].done - self._done_at_start):
            self._marks = [*self._marks[-1:], _PaceMark(done, now)]

    def _estimate_pace(self) -> float | None:
        """Return the seconds per unit since the older mark, or None while the measurement is too short."""
        if len(self._marks) < 2:
            return None
        start = self._marks[0]
        elapsed = self._last_mark.time - start.time
        if elapsed < MIN_PACE_SECONDS or start.longest_interval > MAX_INTERVAL_SHARE * elapsed:
            return None
        return elapsed / (self._last_mark.done - start.done)

    def _remaining_share(self, stage: str) -> float:
        """Return the duration of all later stages relative to this one."""
        names = list(self._stage_shares)
        later = names[names.index(stage) + 1 :] if stage in names else []
        return sum(self._stage_shares[name] for name in later) / self._stage_shares[stage] if later else 0.0
