"""What each part of the method is worth: the same training without it, measured on the frames that were held out."""

from __future__ import annotations

import time
from dataclasses import fields, replace
from typing import Any

import torch

from ..contract.actor_folder import ActorFolder
from ..contract.progress import Reporter
from ..dataset.clip import Clip
from ..portrait.initialization import initialize_portrait
from ..training.config import MethodSwitches, Preset
from ..training.trainer import Trainer
from .evaluate import measure_drive
from .metrics import detect_landmarks
from .refine import fit_held_out_poses

ABLATION_VARIANTS = {"full": MethodSwitches()} | {
    f"no_{f.name}": replace(MethodSwitches(), **{f.name: False}) for f in fields(MethodSwitches)
}


def ablate_method(
    folder: ActorFolder, device: torch.device, preset: Preset, seed: int, reporter: Reporter
) -> dict[str, Any]:
    """Train the actor without each part of the method in turn, and measure every variant. The actor does not change.

    Returns:
        {variant: {"tracked", "refined", "gaussians", "seconds"}} for "full", "no_alternation", "no_consistency",
        "no_refinement" and "no_prior"; "tracked" and "refined" are the figures of `evaluate.measure_drive`, "seconds"
        is the duration of the training.
    """
    clip = Clip(folder, device)
    rows = list(range(clip.train_frame_count, clip.frame_count))
    footage = detect_landmarks([clip.store.read_frame(row) for row in rows])
    figures: dict[str, Any] = {}
    for name, method in ABLATION_VARIANTS.items():
        torch.manual_seed(seed)
        portrait = initialize_portrait(folder, clip, replace(preset, method=method).initial, seed)
        trainer = Trainer(clip, portrait, replace(preset, method=method), seed)
        started = time.perf_counter()
        for _ in reporter.report_items(range(preset.total_steps), f"train {name}", preset.total_steps):
            trainer.step()
        seconds = time.perf_counter() - started
        drives = {"tracked": clip.poses, "refined": fit_held_out_poses(clip, portrait, rows, reporter)}
        figures[name] = {
            drive: measure_drive(clip, portrait, poses, rows, footage, reporter, f"{name}, {drive}")
            for drive, poses in drives.items()
        }
        figures[name] |= {"gaussians": portrait.size.gaussians, "seconds": round(seconds, 1)}
    return figures
