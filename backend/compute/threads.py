"""Work on several frames at a time in their order, and a limit on the threads that OpenCV starts itself."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import cv2

S = TypeVar("S")
T = TypeVar("T")

# Threads that work on frames: more hold more frames in memory. Not tuned.
MAX_WORKERS = min(4, os.cpu_count() or 1)
# Items of `map_in_order` in flight per worker: enough that none waits, few enough that memory stays small.
ITEMS_PER_WORKER = 2


@contextmanager
def single_opencv_thread() -> Iterator[None]:
    """Keep OpenCV to one thread inside the block. Use it where each frame already has a thread of its own."""
    previous = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(previous)


def map_in_order(pool: ThreadPoolExecutor, function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    """Yield `function(item)` of each item in order, while the pool works on the next few."""
    pending: deque[Future[T]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > ITEMS_PER_WORKER * MAX_WORKERS:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
