"""The whole job on real clips, trained as an artist would and measured on the frames that were held out.

The clips are those of the folder `train` where PORTRAIT_ACTOR_CLIPS points (by default `../shared/data` beside the
project). The preset is `standard`, or `final` on a GPU; PORTRAIT_ACTOR_PRESET names another one, PORTRAIT_ACTOR_KEEP a
folder in which the actors are kept (those that are there are gone on with).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

from backend.contract.progress import Reporter
from backend.evaluation.evaluate import evaluate_actor
from backend.pipeline.create import CreateOptions, create_actor
from backend.setup.device import choose_device

CLIPS_FOLDER = Path(os.environ.get("PORTRAIT_ACTOR_CLIPS", Path(__file__).resolve().parents[2] / "shared" / "data"))

Figures = dict[str, float]


def run() -> Figures:
    """`quality.CLIP.DRIVE.REGION_psnr` and the like."""
    device = choose_device("auto")
    preset = os.environ.get("PORTRAIT_ACTOR_PRESET", "final" if device.type == "cuda" else "standard")
    figures: Figures = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(os.environ.get("PORTRAIT_ACTOR_KEEP", folder))
        for clip in sorted((CLIPS_FOLDER / "train").glob("*.mp4")):
            actor = create_actor(clip, place / f"{clip.stem}.actor", CreateOptions(preset=preset), Reporter())
            measured = evaluate_actor(actor, device, Reporter())
            figures |= {f"{clip.stem}.{name}": value for name, value in flatten_figures(measured).items()}
            figures[f"{clip.stem}.model_mb"] = actor.file_path("model.safetensors").stat().st_size / 1e6
            gap = measured["refined"]["portrait"]["psnr"] - measured["tracked"]["portrait"]["psnr"]
            figures[f"{clip.stem}.tracked_below_refined_db"] = gap
    return figures


def flatten_figures(figures: dict[str, Any], prefix: str = "") -> Figures:
    """Nested figures under dotted names; the measure is joined to its region by an underscore (`face_psnr`)."""
    result: Figures = {}
    for name, value in figures.items():
        if isinstance(value, dict):
            joint = "_" if prefix.count(".") == 1 else "."
            result |= flatten_figures(value, f"{prefix}{name}{joint}")
        elif isinstance(value, int | float):
            result[f"{prefix}{name}"] = float(value)
    return result
