"""The whole source clip as a strip: what was used, what was kept for testing, what was left out and why."""

from __future__ import annotations

from dataclasses import dataclass

from ..contract.actor_folder import ActorInfo

USED, TESTED, EXCLUDED = "used", "tested", "excluded"


@dataclass(frozen=True)
class Part:
    """Source frames first … last (inclusive). `row`: the actor's frame at `first`, −1 where the film shows nothing."""

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
            used = Part(first, border - 1, USED, "The actor learns from this.", row)
            parts += _without(used, reasons)
        if border <= last:
            text = "Kept back to test the actor on footage that it has not seen."
            parts.append(Part(border, last, TESTED, text, row + border - first))
        row += last - first + 1
        at = last + 1
    return total, parts


def _without(used: Part, reasons: list[tuple[int, int, str]]) -> list[Part]:
    """A used part with the flawed frames inside it, which the film shows and training leaves out."""
    parts, at = [], used.first
    for start, stop, reason in sorted(reasons):
        start, stop = max(start, at), min(stop, used.last)
        if start > stop:
            continue
        if start > at:
            parts.append(Part(at, start - 1, USED, used.text, used.row + at - used.first))
        parts.append(Part(start, stop, EXCLUDED, _told(reason), used.row + start - used.first))
        at = stop + 1
    if at <= used.last:
        parts.append(Part(at, used.last, USED, used.text, used.row + at - used.first))
    return parts


def summary(parts: list[Part], fps: float) -> list[tuple[str, str, str]]:
    """Kind, where, and text of what the strip shows, one row for each text."""
    alike: dict[tuple[str, str], list[Part]] = {}
    for part in parts:
        alike.setdefault((part.kind, part.text), []).append(part)
    rows = []
    for (kind, text), some in alike.items():
        where = f"{time_text(some[0].first / fps)} – {time_text((some[-1].last + 1) / fps)}"
        if len(some) > 1:
            seconds = sum(part.last - part.first + 1 for part in some) / fps
            where = f"{seconds:.1f} s in {len(some)} parts"
        rows.append((kind, where, text))
    return rows


def time_text(seconds: float) -> str:
    """e.g. ``1:07.4``."""
    minutes, rest = divmod(round(max(0.0, seconds), 1), 60)
    return f"{int(minutes)}:{rest:04.1f}"


def _told(reason: str) -> str:
    return f"Left out: {reason}."


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
        parts.append(Part(start, stop, EXCLUDED, _told(reason)))
        at = stop + 1
    if at <= last:
        text = "Not needed." if parts else "Left out."
        parts.append(Part(at, last, EXCLUDED, text))
    return parts
