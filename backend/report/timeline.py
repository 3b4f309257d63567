"""The whole source clip as a strip: what was used, what was kept for testing, what was left out and why."""

from __future__ import annotations

from dataclasses import dataclass

from ..contract.actor_folder import ActorInfo

USED, TESTED, EXCLUDED = "used", "tested", "excluded"


@dataclass(frozen=True)
class TimelineSpan:
    """Source frames first … last (inclusive). `row`: the actor's frame at `first`, −1 where the film shows nothing."""

    first: int
    last: int
    kind: str
    text: str
    frame_index: int = -1


def build_timeline(info: ActorInfo, first_held_out_frame: int) -> tuple[int, list[TimelineSpan]]:
    """How many frames the source has, and its parts in order without gaps.

    Args:
        held_out: the first used frame (counted from 0 in the actor) that training does not see.
    """
    segments = sorted((int(first), int(last)) for first, last in info.segments)
    reasons = [(int(e[0]), int(e[1]), str(e[2])) for e in getattr(info, "excluded", []) if len(e) == 3]
    total = max([int(info.source.get("frames", 0)), *(last + 1 for _, last in segments), 1])
    parts: list[TimelineSpan] = []
    at = row = 0
    for first, last in [*segments, (total, total)]:
        parts += _list_excluded_spans(at, min(first, total) - 1, reasons)
        if first >= total:
            break
        border = min(max(first + first_held_out_frame - row, first), last + 1)
        if border > first:
            used = TimelineSpan(first, border - 1, USED, "The actor learns from this.", row)
            parts += _split_excluded(used, reasons)
        if border <= last:
            text = "Kept back to test the actor on footage that it has not seen."
            parts.append(TimelineSpan(border, last, TESTED, text, row + border - first))
        row += last - first + 1
        at = last + 1
    return total, parts


def _split_excluded(span: TimelineSpan, reasons: list[tuple[int, int, str]]) -> list[TimelineSpan]:
    """A used part with the flawed frames inside it, which the film shows and training leaves out."""
    parts, at = [], span.first
    for start, stop, reason in sorted(reasons):
        start, stop = max(start, at), min(stop, span.last)
        if start > stop:
            continue
        if start > at:
            parts.append(TimelineSpan(at, start - 1, USED, span.text, span.frame_index + at - span.first))
        parts.append(
            TimelineSpan(start, stop, EXCLUDED, _exclusion_text(reason), span.frame_index + start - span.first)
        )
        at = stop + 1
    if at <= span.last:
        parts.append(TimelineSpan(at, span.last, USED, span.text, span.frame_index + at - span.first))
    return parts


def summarize_timeline(spans: list[TimelineSpan], fps: float) -> list[tuple[str, str, str]]:
    """Kind, where, and text of what the strip shows, one row for each text."""
    alike: dict[tuple[str, str], list[TimelineSpan]] = {}
    for part in spans:
        alike.setdefault((part.kind, part.text), []).append(part)
    rows = []
    for (kind, text), some in alike.items():
        where = f"{format_time(some[0].first / fps)} – {format_time((some[-1].last + 1) / fps)}"
        if len(some) > 1:
            seconds = sum(part.last - part.first + 1 for part in some) / fps
            where = f"{seconds:.1f} s in {len(some)} parts"
        rows.append((kind, where, text))
    return rows


def format_time(seconds: float) -> str:
    """e.g. ``1:07.4``."""
    minutes, rest = divmod(round(max(0.0, seconds), 1), 60)
    return f"{int(minutes)}:{rest:04.1f}"


def _exclusion_text(reason: str) -> str:
    return f"Left out: {reason}."


def _list_excluded_spans(first: int, last: int, reasons: list[tuple[int, int, str]]) -> list[TimelineSpan]:
    """The parts of a stretch that was not used, each with its reason where one is known."""
    parts = []
    at = first
    for start, stop, reason in sorted(reasons):
        start, stop = max(start, at), min(stop, last)
        if start > stop:
            continue
        if start > at:
            parts.append(TimelineSpan(at, start - 1, EXCLUDED, "Not needed."))
        parts.append(TimelineSpan(start, stop, EXCLUDED, _exclusion_text(reason)))
        at = stop + 1
    if at <= last:
        text = "Not needed." if parts else "Left out."
        parts.append(TimelineSpan(at, last, EXCLUDED, text))
    return parts
