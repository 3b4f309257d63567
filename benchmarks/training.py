"""What training costs: time per step in each phase of preset `draft`, memory, and whether it is the same every time."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from backend.dataset.clip import Clip
from backend.evaluation.evaluate import peak_memory_megabytes
from backend.portrait.initialization import initialize_portrait
from backend.portrait.model import Portrait
from backend.setup.device import choose_device
from backend.synthetic import SampleOptions, make_sample
from backend.training.config import PRESETS, Preset, phase_at_step
from backend.training.trainer import Trainer

from ._preparation import PreparedClip, prepare_clip

SECONDS = 6.0
BRIEF_PRESET = replace(PRESETS["draft"], warm_up_steps=60, cycle_count=2, cycle_steps=90, joint_steps=60)


def run() -> dict[str, float]:
    """`PHASE_ms` is the median of a phase's steps; the sample actor has the size of a draft."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "sample.mp4"
        make_sample(clip, SampleOptions(SECONDS, 512, seed=1, mattes=False))
        made = prepare_clip(clip, Path(folder) / "sample.actor", BRIEF_PRESET.crop_size)
        portrait, losses, taken = train_briefly(made, BRIEF_PRESET)
        again, same, _ = train_briefly(made, BRIEF_PRESET)
    figures = {f"{name}_ms": 1e3 * float(np.median(times)) for name, times in taken.items()}
    equal = [torch.equal(a, b) for a, b in zip(portrait.parameters(), again.parameters(), strict=True)]
    return figures | {
        "gaussians": float(portrait.size.gaussians),
        "draft_s": sum(figures[f"{phase_at_step(PRESETS['draft'], s)}_ms"] for s in range(PRESETS["draft"].total_steps))
        / 1e3,
        "peak_memory_mb": float(peak_memory_megabytes(choose_device("cpu"))),
        "same_result": float(all(equal) and losses == same),
    }


def train_briefly(prepared: PreparedClip, preset: Preset) -> tuple[Portrait, list[float], dict[str, list[float]]]:
    """A portrait after a brief training, the losses, and the seconds of each step by phase."""
    torch.manual_seed(0)
    clip = Clip(prepared.folder, torch.device("cpu"))
    portrait = initialize_portrait(prepared.folder, clip, preset.initial, 0)
    trainer = Trainer(clip, portrait, preset, 0)
    losses: list[float] = []
    taken: dict[str, list[float]] = {}
    for step in range(preset.total_steps):
        began = time.perf_counter()
        losses.append(trainer.step())
        taken.setdefault(phase_at_step(preset, step), []).append(time.perf_counter() - began)
    return portrait, losses, taken
