"""Decoding on a thread of its own, a few items ahead of who uses them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.1  # seconds after which the thread looks whether anybody still listens


def prefetch(items: Iterator[T], depth: int = 4) -> Generator[T, None, None]:
    """Yields `items` in their order while a thread prepares up to `depth` of the next ones.

    An error of `items` is raised here, after what came before it. The thread ends when this generator is closed.
    """
    ready: queue.Queue[tuple[bool, T | BaseException | None]] = queue.Queue(depth)
    closed = threading.Event()

    def put(more: bool, value: T | BaseException | None) -> bool:
        while not closed.is_set():
            try:
                ready.put((more, value), timeout=POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(True, item):
                    return
            put(False, None)
        except BaseException as error:  # handed to the one who listens
            put(False, error)

    thread = threading.Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while True:
            more, value = ready.get()
            if isinstance(value, BaseException) and not more:
                raise value
            if not more:
                return
            yield value  # type: ignore[misc]
    finally:
        closed.set()
        thread.join()
