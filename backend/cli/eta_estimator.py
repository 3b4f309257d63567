"""How long a job still takes, from the pace of the stage that runs. Standard library only."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

MIN_SECONDS = 2.0  # a pace measured over less time is no base for an estimate
MAX_INTERVAL_SHARE = 0.6  # nor is one of which a single interval makes up more: it compiled or loaded something


@dataclass
class _Mark:
    """Where a measurement of the pace begins.

    Attributes:
        done: units that were done then.
        time: seconds on the clock.
        longest: seconds, the longest interval between two reports since then.
    """

    done: int
    time: float
    longest: float = 0.0


class Forecast:
    """The seconds a job still needs, from what its last stages usually take.

    The pace is that of the newer half of the units at least. The first unit never counts: it loads the model and
    compiles kernels, and may take a hundred times as long as the others.

    Args:
        shares: how long the last stages usually take beside each other, in the order of running. Before them nothing
            is told. Without any, each stage counts as the whole job.
        clock: gives seconds.
    """

    def __init__(self, shares: Mapping[str, float], clock: Callable[[], float] = time.monotonic) -> None:
        self._shares = dict(shares)
        self._clock = clock
        self._stage = ""
        self._begin(0)

    def eta(self, stage: str, done: int, total: int) -> float:
        """Seconds to the end of the job, negative when it cannot be told yet."""
        if stage != self._stage:
            # What is done already when a stage is first heard of was kept from an earlier run and cost nothing.
            self._stage = stage
            self._begin(done)
        elif done > self._last.done:
            self._record(done)
        pace = self._pace()
        if pace is None or (self._shares and stage not in self._shares):
            return -1.0
        return pace * (total - done) + pace * total * self._later(stage)

    def _begin(self, done: int) -> None:
        """Starts a stage of which `done` units are there already."""
        self._first = done
        self._last = _Mark(done, self._clock())
        self._marks: list[_Mark] = []

    def _record(self, done: int) -> None:
        """Takes in that more units are done, and sets a mark whenever their number has doubled since the last mark."""
        now = self._clock()
        for mark in self._marks:
            mark.longest = max(mark.longest, now - self._last.time)
        self._last = _Mark(done, now)
        if not self._marks or done - self._first >= 2 * (self._marks[-1].done - self._first):
            self._marks = [*self._marks[-1:], _Mark(done, now)]

    def _pace(self) -> float | None:
        """Seconds per unit since the older mark, or None while that is too little to judge by."""
        if len(self._marks) < 2:
            return None
        start = self._marks[0]
        elapsed = self._last.time - start.time
        if elapsed < MIN_SECONDS or start.longest > MAX_INTERVAL_SHARE * elapsed:
            return None
        return elapsed / (self._last.done - start.done)

    def _later(self, stage: str) -> float:
        """What the stages after this one take, beside it."""
        names = list(self._shares)
        after = names[names.index(stage) + 1 :] if stage in names else []
        return sum(self._shares[name] for name in after) / self._shares[stage] if after else 0.0
