"""`report.html`: one page about an actor's footage and what was made of it. It loads nothing from anywhere."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path

import numpy as np

from ..contract.actor_folder import ActorFolder, ActorInfo
from ..contract.channels import GROUPS, ORAL
from ..media.provenance import consent_of
from ..tracking.channel_report import MEASURED, WEAK
from ..tracking.detection.landmarks import TRACKER
from . import overlay
from .advice import Advice, advise
from .channel_status import Verdict, verdicts
from .curves import as_script, curves
from .figures import figure_rows, stage_rows
from .film import FILM
from .sources import Agreement, compare
from .timeline import Part, summary, time_text, timeline
from .tracked import Tracked

PAGE = "report.html"
EMBEDDED = 24 << 20  # bytes: a larger film is played from the file beside the page
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; media-src blob: 'self' file:; "
    "img-src data:; base-uri 'none'; form-action 'none'"
)
ZOOMS = ((0, "Whole clip"), (30, "30 s"), (10, "10 s"), (3, "3 s"))


def write_page(folder: ActorFolder, held_out: int) -> Path:
    """Writes `report.html` from what lies in the actor folder; called again when there are more figures.

    Args:
        held_out: the first frame that training does not see.

    Returns:
        the page.

    Raises:
        UserError: tracking is missing or damaged, or the page cannot be written.
    """
    text = page(folder, held_out)
    with folder.replacing(PAGE) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
    return folder.file(PAGE)


def page(folder: ActorFolder, held_out: int) -> str:
    """The whole page."""
    info, tracked = folder.info, Tracked.load(folder)
    mesh_px = float(np.sqrt((tracked.rebuilt_error() ** 2).mean())) * 512 / info.size
    total, parts = timeline(info, held_out)
    body = (
        _header(info),
        _advice(advise(info, tracked, mesh_px)),
        _strip(info, total, parts),
        _bench(info, folder),
        '<div class="columns">',
        _figures(info, mesh_px),
        _unmeasured(info),
        "</div>",
        _sources(compare(folder)),
        "<footer>Made by Portrait Actor. This page and the film beside it hold a person's picture and voice: pass them "
        "on as carefully as the footage.</footer>",
    )
    here = Path(__file__).parent
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en">',
            '<head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info.name)} · report</title>",
            f"<style>{style}</style></head>",
            "<body><main>",
            *body,
            "</main>",
            f'<script type="application/json" id="curves">{as_script(curves(folder, tracked, held_out))}</script>',
            *_film_data(folder),
            f"<script>{script}</script>",
            "</body></html>",
            "",
        )
    )


def _header(info: ActorInfo) -> str:
    camera, source = info.camera, info.source
    size = f"{camera.width} × {camera.height}" if camera else ""
    used = info.frame_count / info.fps
    facts = [
        ("Footage", f"{source.get('name', 'unknown')}{f', {size}' if size else ''}"),
        ("Used", f"{used:.1f} s, {info.frame_count} frames at {info.fps:g} fps"),
        ("Quality", f"{info.preset}, crops of {info.size} × {info.size}"),
        ("Shown, and agreed", consent_of(info) or "not stated"),
        ("Face tracked by", str(info.figures.get("tracker", TRACKER))),
        ("Device", str(info.figures.get("device", "")) or "unknown"),
    ]
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    state = "" if info.complete else " · still in the making"
    return (
        f'<header><p class="kicker">Portrait Actor · report{state}</p><h1>{escape(info.name)}</h1>'
        f'<dl class="facts">{rows}</dl></header>'
    )


def _advice(known: list[Advice]) -> str:
    items = "".join(
        f"<li{'' if a.remedy else ' class=note'}><strong>{escape(a.message)}</strong>"
        f"{f'<span>{escape(a.remedy)}</span>' if a.remedy else ''}</li>"
        for a in known
    )
    listed = f'<ul class="advice">{items}</ul>' if items else '<p class="fine">Nothing stands out: good footage.</p>'
    return f"<section><h2>What to know about this footage</h2>{listed}</section>"


def _strip(info: ActorInfo, total: int, parts: list[Part]) -> str:
    bars = []
    for part in parts:
        count = part.last - part.first + 1
        span = f"{time_text(part.first / info.fps)} – {time_text((part.last + 1) / info.fps)}"
        seek = "" if part.row < 0 else f' data-row="{part.row}" data-frames="{count}"'
        label = escape(f"{span} {part.text}", quote=True)
        bars.append(
            f'<button type="button" class="{part.kind}" style="width:{100 * count / total:.4f}%"{seek} '
            f'title="{label}" aria-label="{label}"></button>'
        )
    rows = "".join(
        f'<li><span class="dot {kind}"></span><b>{where}</b>{escape(text)}</li>'
        for kind, where, text in summary(parts, info.fps)
    )
    return (
        f"<section><h2>The whole clip, {time_text(total / info.fps)}</h2>"
        f'<div class="strip">{"".join(bars)}<i></i></div><ul class="parts">{rows}</ul></section>'
    )


def _bench(info: ActorInfo, folder: ActorFolder) -> str:
    """Film and curves beside each other."""
    source = "" if _is_embedded(folder) else f' src="{FILM}"'
    colours = (
        ("Person's matte", overlay.PERSON), ("Head's matte", overlay.HEAD), ("Inside of the mouth", overlay.MOUTH),
        ("Hair's matte", overlay.HAIR),
        ("Mesh, rebuilt from the curves", overlay.FEATURES), ("Left (x)", overlay.AXES[0]), ("Up (y)", overlay.AXES[1]),
        ("Front (z)", overlay.AXES[2]), ("Irises", overlay.IRIS),
    )  # fmt: skip
    key = "".join(
        f'<li><span style="background:rgb{c};box-shadow:0 0 0 1px rgba(128,128,128,.5)"></span>{n}</li>'
        for n, c in colours
    )
    zooms = "".join(
        f'<button type="button" class="plain" data-zoom="{s}" aria-pressed="{str(s == 0).lower()}">{n}</button>'
        for s, n in ZOOMS
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
        f"</div>{''.join(_lanes(info))}"
        '<div id="playhead"></div></div></section>'
    )


def _lanes(info: ActorInfo) -> Iterable[str]:
    if info.has_audio:
        yield "<h3>Sound</h3>" + _lane("data-wave", "Waveform", tall=True)
    turns = "".join(f'<b style="color:var(--{n})">{n}</b>' for n in ("yaw", "pitch", "roll"))
    yield f'<h3 class="legend">Pose {turns}</h3>'
    yield _lane('data-angles="head"', "Head", tall=True) + _lane('data-angles="torso"', "Torso", tall=True)
    known = verdicts(info)
    weak = [name for name, verdict in known.items() if verdict.state == WEAK]
    for group, names in GROUPS.items():
        shown = [name for name in names if known[name].state == MEASURED]
        if shown:
            part = "Oral" if shown[0] in ORAL else "Facial"
            yield f"<h3>{part} · {group}</h3>" + "".join(_channel(name, known[name]) for name in shown)
    if weak:
        yield "<h3>Weak</h3>" + "".join(_channel(name, known[name]) for name in weak)


def _channel(name: str, verdict: Verdict) -> str:
    title = f"{name}: usually {verdict.low:.2f} to {verdict.high:.2f}. {verdict.why}".strip()
    return _lane(f'data-channel="{name}"', name, title=title, weak=verdict.state == WEAK)


def _lane(attribute: str, name: str, *, title: str = "", tall: bool = False, weak: bool = False) -> str:
    kinds = "lane" + (" tall" if tall else "") + (" weak" if weak else "")
    return (
        f'<div class="{kinds}" {attribute}><span class="name" title="{escape(title or name, quote=True)}">{name}</span>'
        '<canvas></canvas><span class="now"></span></div>'
    )


def _figures(info: ActorInfo, mesh_px: float) -> str:
    rows = "".join(
        f"<tr><td>{escape(name)}{f'<br><small>{escape(why)}</small>' if why else ''}</td>"
        f'<td class="n">{escape(value)}</td></tr>'
        for name, value, why in figure_rows(info, mesh_px)
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


def _unmeasured(info: ActorInfo) -> str:
    """The channels that are not trusted, by reason."""
    reasons: dict[str, list[str]] = {}
    for name, verdict in verdicts(info).items():
        if verdict.why:
            reasons.setdefault(verdict.why, []).append(name)
    rows = "".join(f"<tr><td>{why}<br><small>{', '.join(names)}</small></td></tr>" for why, names in reasons.items())
    count = sum(v.state == MEASURED for v in verdicts(info).values())
    return f"<section><h2>{count} of 52 channels measured; the others</h2><table>{rows}</table></section>"


def _sources(agreements: list[Agreement]) -> str:
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


def _is_embedded(folder: ActorFolder) -> bool:
    film = folder.file(FILM)
    return film.exists() and film.stat().st_size <= EMBEDDED


def _film_data(folder: ActorFolder) -> list[str]:
    """The film inside the page, as text that the script turns into a file of the browser's own."""
    if not _is_embedded(folder):
        return []
    text = base64.b64encode(folder.file(FILM).read_bytes()).decode("ascii")
    return [f'<script type="text/plain" id="film-data">{text}</script>']
