"""When frames are shown: the stored time stamps of a video, its usual rate, and frames laid on a constant rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import av.error
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ..contract.arrays import F64

STANDARD_RATES = (
    Fraction(12), Fraction(15), Fraction(24000, 1001), Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(30),
    Fraction(48), Fraction(50), Fraction(60000, 1001), Fraction(60), Fraction(100), Fraction(120),
)  # fmt: skip


def read_packet_times(container: InputContainer, stream: VideoStream) -> F64:
    """Sorted times in seconds of all frames that will be shown, from the packets alone."""
    times = []
    try:
        for packet in container.demux(stream):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if packet.size and stamp is not None and packet.time_base and not packet.is_discard:
                times.append(float(stamp * packet.time_base))
    except av.error.FFmpegError:
        pass  # a broken tail: what was read so far is what there is
    return np.unique(np.asarray(times, np.float64))


def detect_frame_rate(times: F64, stream: VideoStream) -> Fraction:
    """The rate at which most frames follow each other, as the exact fraction when it is a usual one."""
    said = stream.average_rate or stream.guessed_rate or Fraction(25)
    steps = np.diff(times)
    if len(steps) == 0:
        return said
    middle = float(np.median(steps))
    alike = steps[np.abs(steps - middle) < 0.1 * middle]
    measured = 1 / (float(alike.mean()) if len(alike) else middle)
    if abs(float(said) / measured - 1) < 2e-3:
        measured = float(said)
    nearest = min(STANDARD_RATES, key=lambda rate: abs(float(rate) / measured - 1))
    if abs(float(nearest) / measured - 1) < 5e-4:
        return nearest
    return Fraction(measured).limit_denominator(100_000)


def is_variable_rate(times: F64, fps: float) -> bool:
    """Whether frames stray from the grid of `fps` by more than half a step."""
    grid = np.arange(len(times)) / fps
    return bool(len(times)) and bool(np.abs(times - times[0] - grid).max() > 0.5 / fps)


def count_grid_frames(span: float, fps: float) -> int:
    """How many grid times i/fps lie before `span` + half a step."""
    return max(1, math.ceil(span * fps + 0.5 - 1e-6))


def add_frame_times(frames_in: Iterator[VideoFrame], stream: VideoStream) -> Iterator[tuple[float, VideoFrame]]:
    """Adds seconds since the first frame; a frame without a time stamp follows its predecessor by one usual step."""
    step = 1 / float(stream.average_rate or stream.guessed_rate or 25)
    start: float | None = None
    now = 0.0
    for frame in frames_in:
        if frame.pts is not None and frame.time_base is not None:
            stamp = float(frame.pts * frame.time_base)
        else:
            stamp = 0.0 if start is None else start + now + step
        start = stamp if start is None else start
        now = stamp - start
        yield now, frame


def resample_to_constant_rate(
    timed_frames: Iterator[tuple[float, VideoFrame]], fps: float
) -> Iterator[tuple[int, VideoFrame]]:
    """For each grid time i/fps the frame nearest in time; times that run backwards are ignored."""
    index = 0
    before: tuple[float, VideoFrame] | None = None
    for time, frame in timed_frames:
        if before is not None:
            if time <= before[0]:
                continue
            middle = (before[0] + time) / 2
            while index / fps < middle - 1e-9:
                yield index, before[1]
                index += 1
        before = time, frame
    if before is not None:
        while index < count_grid_frames(before[0], fps):
            yield index, before[1]
            index += 1


def ping_pong_indices(start: int, count: int, total: int) -> list[int]:
    """Return `count` indices below `total` from `start` on, forwards and backwards in turn, so that nothing jumps."""
    if total == 1:
        return [0] * count
    period = 2 * (total - 1)
    positions = (np.arange(count) + start) % period
    return [int(index) for index in np.minimum(positions, period - positions)]
