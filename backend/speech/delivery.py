"""How a line is spoken: strengths, smoothing, and the parts of the footage whose style is used."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..contract.arrays import Mask
from ..contract.errors import UserError

MAX_STRENGTH = 3.0  # of lips, brows, head and blinks; larger values only clip channels at 1. Not tuned
MAX_SMOOTHING_SECONDS = 0.3  # a longer average erases syllables, of which people speak 2 to 8 a second
MIN_STYLE_SECONDS = 1.0  # shorter parts hold too few frames for a mean and a deviation. Not tuned

Segments = Sequence[tuple[int, int]]  # first and one-past-last frame index of parts of the footage


@dataclass(frozen=True)
class Delivery:
    """How a line is spoken.

    Attributes:
        seed: the same seed gives the same take; another seed gives another take of head, brows and blinks.
        lips: strength of the mouth's motion; 1 is the actor's own, 0 is still.
        brows: strength of the brows' motion.
        head: strength of the motion of head and torso.
        blink: strength of the blinks.
        style: parts of the footage (start and end in seconds) whose style is used; all of it when empty.
        features: the line's external features, for an actor that was trained with such features.
        smoothing: seconds, standard deviation of the Gaussian that averages the mouth's motion; lips close all the
            same.
    """

    seed: int = 0
    lips: float = 1.0
    brows: float = 1.0
    head: float = 1.0
    blink: float = 1.0
    style: tuple[tuple[float, float], ...] = ()
    features: Path | None = None
    smoothing: float = 0.0

    def check(self) -> None:
        """Check the strengths and the smoothing.

        Raises:
            UserError: ``bad_strength`` or ``bad_smoothing``.
        """
        for strength in (self.lips, self.brows, self.head, self.blink):
            if not 0 <= strength <= MAX_STRENGTH:
                raise UserError(
                    "bad_strength",
                    f"Strengths must be between 0 and {MAX_STRENGTH:g}, not {strength:g}.",
                    "Choose 1 for the actor's own strength.",
                )
        if not 0 <= self.smoothing <= MAX_SMOOTHING_SECONDS:
            raise UserError(
                "bad_smoothing",
                f"Smoothing must be between 0 and {MAX_SMOOTHING_SECONDS:g} s, not {self.smoothing:g} s.",
                "Choose 0 for no smoothing.",
            )


def style_segments(style: Sequence[tuple[float, float]], fps: float, frame_count: int) -> Segments:
    """Return the frames of parts of the footage, joined where the parts overlap or touch.

    Args:
        style: start and end in seconds of each part.
        fps: frames per second of the footage.
        frame_count: frames that the actor was trained on; later ones are held out.

    Returns:
        Increasing segments; empty when `style` is.

    Raises:
        UserError: ``bad_style``: a part is too short, or lies outside the trained frames.
    """
    is_inside = np.zeros(frame_count + 1, bool)
    for start, end in style:
        first, last = (int(np.clip(np.nan_to_num(edge * fps), 0, frame_count)) for edge in (start, end))
        if last - first < MIN_STYLE_SECONDS * fps:
            raise UserError(
                "bad_style",
                f"The actor learned from less than {MIN_STYLE_SECONDS:g} s between {start:g} and {end:g} s.",
                f"Choose longer parts of the footage, between 0 and {frame_count / fps:.1f} s.",
            )
        is_inside[first:last] = True
    edges = np.flatnonzero(np.diff(is_inside.astype(np.int8), prepend=0))
    return [(int(first), int(end)) for first, end in zip(edges[::2], edges[1::2], strict=True)]


def segments_mask(segments: Segments, frame_count: int) -> Mask:
    """(frame_count,) True inside the segments."""
    is_inside = np.zeros(frame_count, bool)
    for first, end in segments:
        is_inside[first:end] = True
    return is_inside
