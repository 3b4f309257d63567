"""`report.html`: one page about an actor's footage and training. It loads nothing from the network."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path

import numpy as np

from ..contract.actor_folder import ActorFolder, ActorInfo
from ..contract.channels import CHANNEL_GROUPS, ORAL_CHANNELS
from ..media.provenance import describe_consent
from ..tracking.channel_report import MEASURED, WEAK
from ..tracking.detection.landmarks import TRACKER_NAME
from . import overlay
from .advice import Advice, list_advice
from .channel_status import ChannelStatus, channel_statuses
from .curves import ANGLE_NAMES, build_curves, to_script_json
from .figures import figure_rows, stage_rows
from .film import OVERLAY_FILE
from .sources import ChannelAgreement, compare_sources
from .timeline import TimelineSpan, build_timeline, format_time, summarize_timeline
from .tracked import TrackingData

REPORT_FILE = "report.html"
MAX_EMBEDDED_VIDEO_BYTES = 24 << 20  # a larger video is played from the file beside the page
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; media-src blob: 'self' file:; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)
# Seconds that the curves show (0: all), and the button's text.
ZOOM_LEVELS = ((0, "Whole clip"), (30, "30 s"), (10, "10 s"), (3, "3 s"))


def write_report(folder: ActorFolder, first_held_out_frame: int) -> Path:
    """Write `report.html` from the files in the actor folder; call it again when there are more figures.

    Args:
        folder: the actor.
        first_held_out_frame: the first frame that is not used for training.

    Returns:
        The page's path.

    Raises:
        UserError: the tracking is missing or damaged, or the page cannot be written.
    """
    text = build_report(folder, first_held_out_frame)
    with folder.write_atomically(REPORT_FILE) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return folder.file_path(REPORT_FILE)


def build_report(folder: ActorFolder, first_held_out_frame: int) -> str:
    """Return the HTML of the page."""
    info, tracking = folder.info, TrackingData.load(folder)
    mesh_error_pixels = float(np.sqrt((tracking.reconstruction_error() ** 2).mean())) * 512 / info.size
    total, spans = build_timeline(info, first_held_out_frame)
    body = (
        _header_html(info),
        _advice_html(list_advice(info, tracking, mesh_error_pixels)),
        _timeline_html(info, total, spans),
        _player_html(info, folder),
        '<div class="columns">',
        _figures_html(info, mesh_error_pixels),
        _unmeasured_html(info),
        "</div>",
        _sources_html(compare_sources(folder)),
        "<footer>Made by Portrait Actor. This page and the video beside it show a person's face and voice: share them "
        "as carefully as the footage.</footer>",
    )
    curves = to_script_json(build_curves(folder, tracking, first_held_out_frame))
    source_folder = Path(__file__).parent
    style, script = ((source_folder / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en">',
            '<head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info.name)} · report</title>",
            f"<style>{style}</style></head>",
            "<body><main>",
            *body,
            "</main>",
            f'<script type="application/json" id="curves">{curves}</script>',
            *_video_data_html(folder),
            f"<script>{script}</script>",
            "</body></html>",
            "",
        )
    )


def _header_html(info: ActorInfo) -> str:
    camera, source = info.camera, info.source
    size = f"{camera.width} × {camera.height}" if camera else ""
    seconds = info.frame_count / info.fps
    facts = [
        ("Footage", f"{source.get('name', 'unknown')}{f', {size}' if size else ''}"),
        ("Used", f"{seconds:.1f} s, {info.frame_count} frames at {info.fps:g} fps"),
        ("Quality", f"{info.preset}, crops of {info.size} × {info.size}"),
        ("Shown, and agreed", describe_consent(info) or "not stated"),
        ("Face tracked by", str(info.figures.get("tracker", TRACKER_NAME))),
        ("Device", str(info.figures.get("device", "")) or "unknown"),
    ]
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    state = "" if info.complete else " · not finished"
    return (
        f'<header><p class="kicker">Portrait Actor · report{state}</p><h1>{escape(info.name)}</h1>'
        f'<dl class="facts">{rows}</dl></header>'
    )


def _advice_html(advice: list[Advice]) -> str:
    items = "".join(
        f"<li{'' if item.remedy else ' class=note'}><strong>{escape(item.message)}</strong>"
        f"{f'<span>{escape(item.remedy)}</span>' if item.remedy else ''}</li>"
        for item in advice
    )
    content = f'<ul class="advice">{items}</ul>' if items else '<p class="fine">Nothing stands out: good footage.</p>'
    return f"<section><h2>What to know about this footage</h2>{content}</section>"


def _timeline_html(info: ActorInfo, total: int, spans: list[TimelineSpan]) -> str:
    bars = []
    for span in spans:
        count = span.last - span.first + 1
        time = f"{format_time(span.first / info.fps)} – {format_time((span.last + 1) / info.fps)}"
        seek = "" if span.frame_index < 0 else f' data-row="{span.frame_index}" data-frames="{count}"'
        label = escape(f"{time} {span.text}", quote=True)
        bars.append(
            f'<button type="button" class="{span.kind}" style="width:{100 * count / total:.4f}%"{seek} '
            f'title="{label}" aria-label="{label}"></button>'
        )
    rows = "".join(
        f'<li><span class="dot {kind}"></span><b>{time}</b>{escape(text)}</li>'
        for kind, time, text in summarize_timeline(spans, info.fps)
    )
    return (
        f"<section><h2>The whole clip, {format_time(total / info.fps)}</h2>"
        f'<div class="strip">{"".join(bars)}<i></i></div><ul class="parts">{rows}</ul></section>'
    )


def _player_html(info: ActorInfo, folder: ActorFolder) -> str:
    """The overlay video and the curves."""
    source = "" if _is_video_embedded(folder) else f' src="{OVERLAY_FILE}"'
    legend = (
        ("Person's matte", overlay.PERSON_COLOR),
        ("Head's matte", overlay.HEAD_COLOR),
        ("Inside of the mouth", overlay.MOUTH_COLOR),
        ("Hair's matte", overlay.HAIR_COLOR),
        ("Mesh, reconstructed from the curves", overlay.FEATURE_COLOR),
        ("Left (x)", overlay.AXIS_COLORS[0]),
        ("Up (y)", overlay.AXIS_COLORS[1]),
        ("Front (z)", overlay.AXIS_COLORS[2]),
        ("Irises", overlay.IRIS_COLOR),
    )
    key = "".join(
        f'<li><span style="background:rgb{color};box-shadow:0 0 0 1px rgba(128,128,128,.5)"></span>{name}</li>'
        for name, color in legend
    )
    zooms = "".join(
        f'<button type="button" class="plain" data-zoom="{length}" '
        f'aria-pressed="{str(length == 0).lower()}">{text}</button>'
        for length, text in ZOOM_LEVELS
        if length < info.frame_count / info.fps
    )
    return (
        '<section class="bench"><div class="stage">'
        f'<video id="film" playsinline preload="auto"{source}></video>'
        '<div class="transport"><button type="button" class="plain" id="play">Play</button>'
        '<button type="button" class="plain" id="slow" aria-pressed="false">Slow</button>'
        '<output id="clock"></output></div>'
        f'<ul class="key">{key}</ul>'
        "<noscript><p>Curves and film need JavaScript; the film is overlay.mp4 in the actor's folder.</p></noscript>"
        f'</div><div class="lanes"><div class="tools">{zooms}<p>Click or drag to seek · space plays · ← → one frame</p>'
        f"</div>{''.join(_curves_html(info))}"
        '<div id="playhead"></div></div></section>'
    )


def _curves_html(info: ActorInfo) -> Iterable[str]:
    if info.has_audio:
        yield "<h3>Sound</h3>" + _curve_html("data-wave", "Waveform", tall=True)
    angles = "".join(f'<b style="color:var(--{name})">{name}</b>' for name in ANGLE_NAMES)
    yield f'<h3 class="legend">Pose {angles}</h3>'
    yield _curve_html('data-angles="head"', "Head", tall=True) + _curve_html('data-angles="torso"', "Torso", tall=True)
    statuses = channel_statuses(info)
    weak = [name for name, status in statuses.items() if status.state == WEAK]
    for group, names in CHANNEL_GROUPS.items():
        measured = [name for name in names if statuses[name].state == MEASURED]
        if measured:
            part = "Oral" if measured[0] in ORAL_CHANNELS else "Facial"
            yield f"<h3>{part} · {group}</h3>" + "".join(_channel_html(name, statuses[name]) for name in measured)
    if weak:
        yield "<h3>Weak</h3>" + "".join(_channel_html(name, statuses[name]) for name in weak)


def _channel_html(name: str, status: ChannelStatus) -> str:
    title = f"{name}: usually {status.low:.2f} to {status.high:.2f}. {status.reason}".strip()
    return _curve_html(f'data-channel="{name}"', name, title=title, weak=status.state == WEAK)


def _curve_html(attribute: str, name: str, *, title: str = "", tall: bool = False, weak: bool = False) -> str:
    kinds = "lane" + (" tall" if tall else "") + (" weak" if weak else "")
    return (
        f'<div class="{kinds}" {attribute}><span class="name" title="{escape(title or name, quote=True)}">{name}</span>'
        '<canvas></canvas><span class="now"></span></div>'
    )


def _figures_html(info: ActorInfo, mesh_error_pixels: float) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}{f'<br><small>{escape(meaning)}</small>' if meaning else ''}</td>"
        f'<td class="n">{escape(value)}</td></tr>'
        for name, value, meaning in figure_rows(info, mesh_error_pixels)
    )
    stages = "".join(
        f'<tr><td>{escape(name)}</td><td class="n">{escape(seconds)}</td><td class="n">{escape(rate)}</td></tr>'
        for name, seconds, rate in stage_rows(info)
    )
    return (
        f"<section><h2>Figures</h2><table>{rows}</table></section><section><h2>Time</h2><table>"
        f'<tr><th>Stage</th><th class="n">Seconds</th><th class="n">Frames per second</th></tr>'
        f"{stages}</table></section>"
    )


def _unmeasured_html(info: ActorInfo) -> str:
    """The channels that are not measured, by reason."""
    reasons: dict[str, list[str]] = {}
    statuses = channel_statuses(info)
    for name, status in statuses.items():
        if status.reason:
            reasons.setdefault(status.reason, []).append(name)
    rows = "".join(
        f"<tr><td>{reason}<br><small>{', '.join(names)}</small></td></tr>" for reason, names in reasons.items()
    )
    count = sum(status.state == MEASURED for status in statuses.values())
    return f"<section><h2>{count} of {len(statuses)} channels measured; the others</h2><table>{rows}</table></section>"


def _sources_html(agreements: list[ChannelAgreement]) -> str:
    if not agreements:
        return ""
    rows = "".join(
        f'<tr><td>{row.name}</td><td class="n">{"–" if row.correlation is None else f"{row.correlation:.2f}"}</td>'
        f'<td class="n">{row.difference:.3f}</td></tr>'
        for row in agreements
    )
    return (
        "<section><h2>Two sources of the channels</h2><p>The actor's channels are the scores of the face landmarker "
        "that was provided. The table compares them with Portrait Actor's own fit: the correlation of the two curves "
        "(1 is the same course) and their mean absolute difference (0 to 1).</p>"
        '<div class="two"><table><tr><th>Channel</th><th class="n">Correlation</th><th class="n">Difference</th></tr>'
        f"{rows}</table></div></section>"
    )


def _is_video_embedded(folder: ActorFolder) -> bool:
    video = folder.file_path(OVERLAY_FILE)
    return video.exists() and video.stat().st_size <= MAX_EMBEDDED_VIDEO_BYTES


def _video_data_html(folder: ActorFolder) -> list[str]:
    """The video as text in the page, which the script turns into a blob."""
    if not _is_video_embedded(folder):
        return []
    encoded = base64.b64encode(folder.file_path(OVERLAY_FILE).read_bytes()).decode("ascii")
    return [f'<script type="text/plain" id="film-data">{encoded}</script>']
