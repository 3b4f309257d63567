"""`report.html`: one page about an actor's footage and what was made of it. It loads nothing from anywhere."""

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
from .curves import build_curves, to_script_json
from .figures import figure_rows, stage_rows
from .film import OVERLAY_FILE
from .sources import ChannelAgreement, compare_sources
from .timeline import TimelineSpan, build_timeline, format_time, summarize_timeline
from .tracked import TrackingData

REPORT_FILE = "report.html"
MAX_EMBEDDED_VIDEO_BYTES = 24 << 20  # bytes: a larger film is played from the file beside the page
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; media-src blob: 'self' file:; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)
ZOOM_LEVELS = ((0, "Whole clip"), (30, "30 s"), (10, "10 s"), (3, "3 s"))


def write_report(folder: ActorFolder, first_held_out_frame: int) -> Path:
    """Writes `report.html` from what lies in the actor folder; called again when there are more figures.

    Args:
        held_out: the first frame that training does not see.

    Returns:
        the page.

    Raises:
        UserError: tracking is missing or damaged, or the page cannot be written.
    """
    text = build_report(folder, first_held_out_frame)
    with folder.write_atomically(REPORT_FILE) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return folder.file_path(REPORT_FILE)


def build_report(folder: ActorFolder, first_held_out_frame: int) -> str:
    """The whole page."""
    info, tracked = folder.info, TrackingData.load(folder)
    mesh_px = float(np.sqrt((tracked.reconstruction_error() ** 2).mean())) * 512 / info.size
    total, parts = build_timeline(info, first_held_out_frame)
    body = (
        _header_html(info),
        _advice_html(list_advice(info, tracked, mesh_px)),
        _timeline_html(info, total, parts),
        _player_html(info, folder),
        '<div class="columns">',
        _figures_html(info, mesh_px),
        _unmeasured_html(info),
        "</div>",
        _sources_html(compare_sources(folder)),
        "<footer>Made by Portrait Actor. This page and the film beside it hold a person's picture and voice: pass them "
        "on as carefully as the footage.</footer>",
    )
    curves = to_script_json(build_curves(folder, tracked, first_held_out_frame))
    here = Path(__file__).parent
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
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
    used = info.frame_count / info.fps
    facts = [
        ("Footage", f"{source.get('name', 'unknown')}{f', {size}' if size else ''}"),
        ("Used", f"{used:.1f} s, {info.frame_count} frames at {info.fps:g} fps"),
        ("Quality", f"{info.preset}, crops of {info.size} × {info.size}"),
        ("Shown, and agreed", describe_consent(info) or "not stated"),
        ("Face tracked by", str(info.figures.get("tracker", TRACKER_NAME))),
        ("Device", str(info.figures.get("device", "")) or "unknown"),
    ]
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    state = "" if info.complete else " · still in the making"
    return (
        f'<header><p class="kicker">Portrait Actor · report{state}</p><h1>{escape(info.name)}</h1>'
        f'<dl class="facts">{rows}</dl></header>'
    )


def _advice_html(advice: list[Advice]) -> str:
    items = "".join(
        f"<li{'' if a.remedy else ' class=note'}><strong>{escape(a.message)}</strong>"
        f"{f'<span>{escape(a.remedy)}</span>' if a.remedy else ''}</li>"
        for a in advice
    )
    listed = f'<ul class="advice">{items}</ul>' if items else '<p class="fine">Nothing stands out: good footage.</p>'
    return f"<section><h2>What to know about this footage</h2>{listed}</section>"


def _timeline_html(info: ActorInfo, total: int, spans: list[TimelineSpan]) -> str:
    bars = []
    for part in spans:
        count = part.last - part.first + 1
        span = f"{format_time(part.first / info.fps)} – {format_time((part.last + 1) / info.fps)}"
        seek = "" if part.frame_index < 0 else f' data-row="{part.frame_index}" data-frames="{count}"'
        label = escape(f"{span} {part.text}", quote=True)
        bars.append(
            f'<button type="button" class="{part.kind}" style="width:{100 * count / total:.4f}%"{seek} '
            f'title="{label}" aria-label="{label}"></button>'
        )
    rows = "".join(
        f'<li><span class="dot {kind}"></span><b>{where}</b>{escape(text)}</li>'
        for kind, where, text in summarize_timeline(spans, info.fps)
    )
    return (
        f"<section><h2>The whole clip, {format_time(total / info.fps)}</h2>"
        f'<div class="strip">{"".join(bars)}<i></i></div><ul class="parts">{rows}</ul></section>'
    )


def _player_html(info: ActorInfo, folder: ActorFolder) -> str:
    """Film and curves beside each other."""
    source = "" if _is_video_embedded(folder) else f' src="{OVERLAY_FILE}"'
    colours = (
        ("Person's matte", overlay.PERSON_COLOR),
        ("Head's matte", overlay.HEAD_COLOR),
        ("Inside of the mouth", overlay.MOUTH_COLOR),
        ("Hair's matte", overlay.HAIR_COLOR),
        ("Mesh, rebuilt from the curves", overlay.FEATURE_COLOR),
        ("Left (x)", overlay.AXIS_COLORS[0]),
        ("Up (y)", overlay.AXIS_COLORS[1]),
        ("Front (z)", overlay.AXIS_COLORS[2]),
        ("Irises", overlay.IRIS_COLOR),
    )
    key = "".join(
        f'<li><span style="background:rgb{c};box-shadow:0 0 0 1px rgba(128,128,128,.5)"></span>{n}</li>'
        for n, c in colours
    )
    zooms = "".join(
        f'<button type="button" class="plain" data-zoom="{s}" aria-pressed="{str(s == 0).lower()}">{n}</button>'
        for s, n in ZOOM_LEVELS
        if s < info.frame_count / info.fps
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
    turns = "".join(f'<b style="color:var(--{n})">{n}</b>' for n in ("yaw", "pitch", "roll"))
    yield f'<h3 class="legend">Pose {turns}</h3>'
    yield _curve_html('data-angles="head"', "Head", tall=True) + _curve_html('data-angles="torso"', "Torso", tall=True)
    known = channel_statuses(info)
    weak = [name for name, verdict in known.items() if verdict.state == WEAK]
    for group, names in CHANNEL_GROUPS.items():
        shown = [name for name in names if known[name].state == MEASURED]
        if shown:
            part = "Oral" if shown[0] in ORAL_CHANNELS else "Facial"
            yield f"<h3>{part} · {group}</h3>" + "".join(_channel_html(name, known[name]) for name in shown)
    if weak:
        yield "<h3>Weak</h3>" + "".join(_channel_html(name, known[name]) for name in weak)


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
        f"<tr><td>{escape(name)}{f'<br><small>{escape(why)}</small>' if why else ''}</td>"
        f'<td class="n">{escape(value)}</td></tr>'
        for name, value, why in figure_rows(info, mesh_error_pixels)
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
    """The channels that are not trusted, by reason."""
    reasons: dict[str, list[str]] = {}
    for name, verdict in channel_statuses(info).items():
        if verdict.reason:
            reasons.setdefault(verdict.reason, []).append(name)
    rows = "".join(f"<tr><td>{why}<br><small>{', '.join(names)}</small></td></tr>" for why, names in reasons.items())
    count = sum(v.state == MEASURED for v in channel_statuses(info).values())
    return f"<section><h2>{count} of 52 channels measured; the others</h2><table>{rows}</table></section>"


def _sources_html(agreements: list[ChannelAgreement]) -> str:
    if not agreements:
        return ""
    rows = "".join(
        f'<tr><td>{a.name}</td><td class="n">{"–" if a.correlation is None else f"{a.correlation:.2f}"}</td>'
        f'<td class="n">{a.difference:.3f}</td></tr>'
        for a in agreements
    )
    return (
        "<section><h2>Two sources of the channels</h2><p>The actor's channels are the scores of the face landmarker "
        "that was provided. Beside them, what Portrait Actor's own fit found: how alike the two curves run "
        "(correlation, 1 is the same course) and how far they lie apart on average (0 to 1).</p>"
        '<div class="two"><table><tr><th>Channel</th><th class="n">Correlation</th><th class="n">Difference</th></tr>'
        f"{rows}</table></div></section>"
    )


def _is_video_embedded(folder: ActorFolder) -> bool:
    film = folder.file_path(OVERLAY_FILE)
    return film.exists() and film.stat().st_size <= MAX_EMBEDDED_VIDEO_BYTES


def _video_data_html(folder: ActorFolder) -> list[str]:
    """The film inside the page, as text that the script turns into a file of the browser's own."""
    if not _is_video_embedded(folder):
        return []
    text = base64.b64encode(folder.file_path(OVERLAY_FILE).read_bytes()).decode("ascii")
    return [f'<script type="text/plain" id="film-data">{text}</script>']
