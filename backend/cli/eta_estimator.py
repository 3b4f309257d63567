"""How long a job still takes, from the pace of the stage that runs. Standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MIN_PACE_SECONDS = 2.0  # a pace measured over less time is no base for an estimate
MAX_INTERVAL_SHARE = 0.6  # nor is one of which a single interval makes up more: it compiled or loaded something


@dataclass
class _PaceMark:
    """Where a measurement of the pace begins.

    Attributes:
        done: units that were done then.
        time: seconds on the clock.
        longest: seconds, the longest interval between two reports since then.
    """

    done: int
    time: float
    longest_interval: float = 0.0


class EtaEstimator:
    """The seconds a job still needs, from what its last stages usually take.

    The pace is that of the newer half of the units at least. The first unit never counts: it loads the model and
    compiles kernels, and may take a hundred times as long as the others.

    Args:
        shares: how long the last stages usually take beside each other, in the order of running. Before them nothing
            is told. Without any, each stage counts as the whole job.
        clock: gives seconds.
    """

    def __init__(self, stage_shares: Mapping[str, float], clock: Callable[[], float] = time.monotonic) -> None:
        self._stage_shares = dict(stage_shares)
        self._clock = clock
        self._stage = ""
        self._begin_stage(0)

    def estimate_eta(self, stage: str, done: int, total: int) -> float:
        """Seconds to the end of the job, negative when it cannot be told yet."""
        if stage != self._stage:
            # What is done already when a stage is first heard of was kept from an earlier run and cost nothing.
            self._stage = stage
            self._begin_stage(done)
        elif done > self._last_mark.done:
            self._record(done)
        pace = self._estimate_pace()
        if pace is None or (self._stage_shares and stage not in self._stage_shares):
            return -1.0
        return pace * (total - done) + pace * total * self._remaining_share(stage)

    def _begin_stage(self, done: int) -> None:
        """Starts a stage of which `done` units are there already."""
        self._done_at_start = done
        self._last_mark = _PaceMark(done, self._clock())
        self._marks: list[_PaceMark] = []

    def _record(self, done: int) -> None:
        """Takes in that more units are done, and sets a mark whenever their number has doubled since the last mark."""
        now = self._clock()
        for mark in self._marks:
            mark.longest_interval = max(mark.longest_interval, now - self._last_mark.time)
        self._last_mark = _PaceMark(done, now)
        if not self._marks or done - self._done_at_start >= 2 * (self._marks[-1].done - self._done_at_start):
            self._marks = [*self._marks[-1:], _PaceMark(done, now)]

    def _estimate_pace(self) -> float | None:
        """Seconds per unit since the older mark, or None while that is too little to judge by."""
        if len(self._marks) < 2:
            return None
        start = self._marks[0]
        elapsed = self._last_mark.time - start.time
        if elapsed < MIN_PACE_SECONDS or start.longest_interval > MAX_INTERVAL_SHARE * elapsed:
            return None
        return elapsed / (self._last_mark.done - start.done)

    def _remaining_share(self, stage: str) -> float:
        """What the stages after this one take, beside it."""
        names = list(self._stage_shares)
        after = names[names.index(stage) + 1 :] if stage in names else []
        return sum(self._stage_shares[name] for name in after) / self._stage_shares[stage] if after else 0.0
