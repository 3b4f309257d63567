"""The timeline of the whole source clip: frames that are used, held out or excluded, and why."""

from __future__ import annotations

from dataclasses import dataclass

from ..contract.actor_folder import ActorInfo

USED, TESTED, EXCLUDED = "used", "tested", "excluded"  # kinds of spans, and CSS classes of the page
USED_TEXT = "The actor learns from this."
TESTED_TEXT = "Kept back to test the actor on footage that it has not seen."
NOT_NEEDED_TEXT = "Not needed."
UNKNOWN_REASON_TEXT = "Left out."

Exclusion = tuple[int, int, str]  # first and last source frame (inclusive), and the reason


@dataclass(frozen=True)
class TimelineSpan:
    """A span of source frames.

    Attributes:
        first: the first frame.
        last: the last frame (inclusive).
        kind: one of USED, TESTED, EXCLUDED.
        text: what the frames are used for, or why not.
        frame_index: the actor's frame at `first`, or −1 if the overlay video does not contain it.
    """

    first: int
    last: int
    kind: str
    text: str
    frame_index: int = -1


def build_timeline(info: ActorInfo, first_held_out_frame: int) -> tuple[int, list[TimelineSpan]]:
    """Return the number of source frames, and their spans in order without gaps.

    Args:
        info: the actor.
        first_held_out_frame: the actor's first frame that is not used for training.
    """
    segments = sorted((int(first), int(last)) for first, last in info.segments)
    exclusions = sorted((int(first), int(last), str(reason)) for first, last, reason in info.excluded)
    total = max([int(info.source.get("frames", 0)), *(last + 1 for _, last in segments), 1])
    spans: list[TimelineSpan] = []
    next_frame = frame_index = 0
    for first, last in [*segments, (total, total)]:
        spans += _list_excluded_spans(next_frame, min(first, total) - 1, exclusions)
        if first >= total:
            break
        first_tested = min(max(first + first_held_out_frame - frame_index, first), last + 1)
        if first_tested > first:
            used = TimelineSpan(first, first_tested - 1, USED, USED_TEXT, frame_index)
            spans += _split_by_exclusions(used, exclusions)
        if first_tested <= last:
            spans.append(TimelineSpan(first_tested, last, TESTED, TESTED_TEXT, frame_index + first_tested - first))
        frame_index += last - first + 1
        next_frame = last + 1
    return total, spans


def _split_by_exclusions(span: TimelineSpan, exclusions: list[Exclusion]) -> list[TimelineSpan]:
    """Split a span at the excluded frames inside it; the parts between them keep its kind and text."""
    spans: list[TimelineSpan] = []
    next_frame = span.first

    def add(first: int, last: int, kind: str, text: str) -> None:
        frame_index = -1 if span.frame_index < 0 else span.frame_index + first - span.first
        spans.append(TimelineSpan(first, last, kind, text, frame_index))

    for start, end, reason in exclusions:
        start, end = max(start, next_frame), min(end, span.last)
        if start > end:
            continue
        if start > next_frame:
            add(next_frame, start - 1, span.kind, span.text)
        add(start, end, EXCLUDED, f"Left out: {reason}.")
        next_frame = end + 1
    if next_frame <= span.last:
        add(next_frame, span.last, span.kind, span.text)
    return spans


def _list_excluded_spans(first: int, last: int, exclusions: list[Exclusion]) -> list[TimelineSpan]:
    """Return the spans of frames outside all segments, each with its reason if one is known."""
    if first > last:
        return []
    spans = _split_by_exclusions(TimelineSpan(first, last, EXCLUDED, NOT_NEEDED_TEXT), exclusions)
    has_reason = any(span.text != NOT_NEEDED_TEXT for span in spans)
    return spans if has_reason else [TimelineSpan(first, last, EXCLUDED, UNKNOWN_REASON_TEXT)]


def summarize_timeline(spans: list[TimelineSpan], fps: float) -> list[tuple[str, str, str]]:
    """Return kind, time and text of the spans, one row for each text."""
    groups: dict[tuple[str, str], list[TimelineSpan]] = {}
    for span in spans:
        groups.setdefault((span.kind, span.text), []).append(span)
    rows = []
    for (kind, text), group in groups.items():
        time = f"{format_time(group[0].first / fps)} – {format_time((group[-1].last + 1) / fps)}"
        if len(group) > 1:
            seconds = sum(span.last - span.first + 1 for span in group) / fps
            time = f"{seconds:.1f} s in {len(group)} parts"
        rows.append((kind, time, text))
    return rows


def format_time(seconds: float) -> str:
    """Return minutes and seconds with one decimal, e.g. ``1:07.4``."""
    minutes, rest = divmod(round(max(0.0, seconds), 1), 60)
    return f"{int(minutes)}:{rest:04.1f}"
