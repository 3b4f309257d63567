"""An actor's figures and stage durations as rows of a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..contract.actor_folder import ActorInfo

# Known figures by their path in `ActorInfo.figures`: name, number format, meaning.
KNOWN_FIGURES: dict[str, tuple[str, str, str]] = {
    "reprojection_px_512": ("Rigid points of the face", "{:.2f} px", "median distance from the landmarks, at 512²"),
    "sound_offset_ms": ("Sound after picture", "{:+.0f} ms", "measured from mouth and voice"),
    "edge_by_plate": ("Matte's edge found by the background", "{:.0%}", "the rest by the person mask alone"),
    "speech.held_out.opening_r": ("Speech: opening of the lips", "r = {:.2f}", "against tracking, on unseen footage"),
    "speech.held_out.jawOpen_r": ("Speech: jaw", "r = {:.2f}", ""),
    "tracked.face.psnr": ("Face, driven by tracking", "{:.1f} dB", "PSNR on footage kept back"),
    "tracked.whole.psnr": ("Whole picture, driven by tracking", "{:.1f} dB", ""),
    "audio.face.psnr": ("Face, driven by sound", "{:.1f} dB", ""),
    "train_psnr": ("Training picture", "{:.1f} dB", "PSNR at the end of training"),
    "landmarker.missing": ("Frames without a face for the landmarker", "{:.0f}", "filled from their neighbours"),
}  # fmt: skip
STAGE_LABELS = {
    "scan": "Look at the footage",
    "crops": "Cut out the person",
    "track": "Track the face",
    "report": "Draw the report",
    "train": "Train the actor",
    "speech": "Learn to speak",
}
# Figures that the page shows elsewhere, or of which only the known ones matter.
HIDDEN_FIGURES = ("seconds", "train_seconds", "device", "tracker", "speech", "landmarker")


def figure_rows(info: ActorInfo, mesh_error_pixels: float) -> Iterator[tuple[str, str, str]]:
    """Yield name, value and meaning of each figure: the known ones, then those of later versions.

    Args:
        info: the actor.
        mesh_error_pixels: RMS distance between the reconstructed mesh and the landmarks, pixels at 512².
    """
    yield (
        "Mesh rebuilt from pose and channels",
        f"{mesh_error_pixels:.2f} px",
        "RMS distance from the landmarks, at 512²",
    )
    flat = dict(_flatten_figures(info.figures, ""))
    for path, (name, number_format, meaning) in KNOWN_FIGURES.items():
        if path in flat:
            yield name, number_format.format(flat[path]), meaning
    for path, value in flat.items():
        if path not in KNOWN_FIGURES and path.split(".")[0] not in HIDDEN_FIGURES:
            yield path.replace("_", " ").replace(".", ": "), f"{value:g}", ""


def stage_rows(info: ActorInfo) -> Iterator[tuple[str, str, str]]:
    """Yield name, seconds and frames per second of each stage that has run, then the total."""
    seconds = {stage: float(value) for stage, value in info.figures.get("seconds", {}).items()}
    for stage in [*STAGE_LABELS, *(stage for stage in seconds if stage not in STAGE_LABELS)]:
        if stage not in seconds:
            continue
        frames = int(info.source.get("frames", info.frame_count)) if stage == "scan" else info.frame_count
        per_frame = stage not in ("train", "speech") and seconds[stage] > 0
        rate = f"{frames / seconds[stage]:.1f}" if per_frame else ""
        yield STAGE_LABELS.get(stage, stage.capitalize()), f"{seconds[stage]:.1f}", rate
    if seconds:
        yield "Together", f"{sum(seconds.values()):.1f}", ""


def _flatten_figures(figures: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, float]]:
    """Yield every number in nested tables with its dotted path."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flatten_figures(value, f"{prefix}{name}.")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            yield f"{prefix}{name}", float(value)
