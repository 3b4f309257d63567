"""How a long job tells how far it is, and learns that it should stop. Stages see only `Reporter`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from .errors import Cancelled

T = TypeVar("T")


class Reporter:
    """The quiet reporter, base of the ones that print a progress bar or JSON lines."""

    is_cancelled = False

    def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
        """`stage` has finished `done` of `total` units. Called often; it must be cheap.

        Raises:
            Cancelled: the person asked to stop.
        """
        if self.is_cancelled:
            raise Cancelled

    def note(self, message: str) -> None:
        """A plain statement for the person."""

    def preview(self, path: str) -> None:
        """A picture at `path` shows the present state."""

    def report_items(self, items: Iterable[T], stage: str, total: int) -> Iterator[T]:
        """Yields `items` while it reports each as one unit of `stage`."""
        self.progress(stage, 0, total)
        for done, item in enumerate(items, 1):
            yield item
            self.progress(stage, done, total)
