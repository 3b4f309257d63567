"""How a long job reports its progress and learns that it is cancelled. Stages use only `Reporter`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from .errors import Cancelled

T = TypeVar("T")


class Reporter:
    """A reporter without output; the base of those that draw a progress bar or write JSON lines."""

    is_cancelled = False

    def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
        """Report that `stage` has finished `done` of `total` units. Called often, so it must be cheap.

        Raises:
            Cancelled: the user asked to stop.
        """
        if self.is_cancelled:
            raise Cancelled

    def note(self, message: str) -> None:
        """Show a statement to the user."""

    def preview(self, path: str) -> None:
        """Announce an image file that shows the present state."""

    def report_items(self, items: Iterable[T], stage: str, total: int) -> Iterator[T]:
        """Yield `items` and report each as one unit of `stage`."""
        self.progress(stage, 0, total)
        for done, item in enumerate(items, 1):
            yield item
            self.progress(stage, done, total)
