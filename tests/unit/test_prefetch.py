"""Preparing ahead on a thread: order, errors, early ends, and no thread left behind; large footage shrunk early."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from backend.contract.errors import Cancelled
from backend.contract.progress import Reporter
from backend.media.decode import read_frames
from backend.media.encode import VideoWriter
from backend.media.prefetch import prefetch


def working() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "ahead"]


def test_everything_comes_in_its_order_even_exceptions_that_are_items() -> None:
    items = [*range(50), ValueError("an item"), None]
    assert list(prefetch(iter(items))) == items
    assert list(prefetch(iter([]))) == [] and not working()


def test_only_a_few_are_prepared_ahead() -> None:
    made: list[int] = []

    def count() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    pictures = prefetch(count(), depth=3)
    assert next(pictures) == 0
    time.sleep(0.3)
    assert len(made) <= 1 + 3 + 1 + 1
    pictures.close()
    assert not working() and len(made) < 10


def test_an_error_comes_after_what_was_before_it() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise OSError("broken tail")

    pictures = prefetch(broken())
    assert next(pictures) == 1
    with pytest.raises(OSError, match="broken tail"):
        next(pictures)
    assert not working()


def test_cancelling_ends_the_thread() -> None:
    class Stops(Reporter):
        def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
            if done == 5:
                raise Cancelled

    pictures = prefetch(iter(range(1000)))
    with pytest.raises(Cancelled):
        for _ in Stops().report_items(pictures, "look", 1000):
            pass
    pictures.close()
    assert not working()


def test_large_footage_is_shrunk_while_it_is_decoded(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    ramp = np.linspace(0, 255, 192, dtype=np.uint8)
    picture = np.broadcast_to(ramp[None, :, None], (96, 192, 3))
    with VideoWriter(clip, 192, 96, 25) as writer:
        for _ in range(5):
            writer.write_frame(np.ascontiguousarray(picture))
    full, small = (np.stack([f for _, _, f in read_frames(clip, max_side=side)]) for side in (None, 64))
    assert full.shape == (5, 96, 192, 3) and small.shape == (5, 32, 64, 3)
    averaged = full[0].astype(float).reshape(32, 3, 64, 3, 3).mean((1, 3))
    assert np.abs(averaged - small[0]).mean() < 2.5
    assert np.stack([f for _, _, f in read_frames(clip, max_side=500)]).shape == full.shape
