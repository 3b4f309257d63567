"""The whole source clip as a strip: what was used, what was kept for testing, what was left out and why."""

from __future__ import annotations

from dataclasses import dataclass

from ..actor import ActorInfo

USED, TESTED, EXCLUDED = "used", "tested", "excluded"


@dataclass(frozen=True)
class Part:
    """Source frames first … last (inclusive). `row`: the actor's frame at `first`, −1 where it was left out."""

    first: int
    last: int
    kind: str
    text: str
    row: int = -1


def timeline(info: ActorInfo, held_out: int) -> tuple[int, list[Part]]:
    """How many frames the source has, and its parts in order without gaps.

    Args:
        held_out: the first used frame (counted from 0 in the actor) that training does not see.
    """
    segments = sorted((int(first), int(last)) for first, last in info.segments)
    reasons = [(int(e[0]), int(e[1]), str(e[2])) for e in getattr(info, "excluded", []) if len(e) == 3]
    total = max([int(info.source.get("frames", 0)), *(last + 1 for _, last in segments), 1])
    parts: list[Part] = []
    at = row = 0
    for first, last in [*segments, (total, total)]:
        parts += _left_out(at, min(first, total) - 1, reasons)
        if first >= total:
            break
        border = min(max(first + held_out - row, first), last + 1)
        if border > first:
            parts.append(Part(first, border - 1, USED, "The actor learns from this.", row))
        if border <= last:
            text = "Kept back to test the actor on footage that it has not seen."
            parts.append(Part(border, last, TESTED, text, row + border - first))
        row += last - first + 1
        at = last + 1
    return total, parts


def _left_out(first: int, last: int, reasons: list[tuple[int, int, str]]) -> list[Part]:
    """The parts of a stretch that was not used, each with its reason where one is known."""
    parts = []
    at = first
    for start, stop, reason in sorted(reasons):
        start, stop = max(start, at), min(stop, last)
        if start > stop:
            continue
        if start > at:
            parts.append(Part(at, start - 1, EXCLUDED, "Not needed."))
        parts.append(Part(start, stop, EXCLUDED, f"Left out: {reason}"))
        at = stop + 1
    if at <= last:
        text = "Not needed." if parts else "Left out."
        parts.append(Part(at, last, EXCLUDED, text))
    return parts
