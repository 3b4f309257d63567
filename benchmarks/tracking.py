"""Poses and channels against the sample actor's truth and on real clips, what they are worth, and preparation's speed.

The sample: three seeds at 512² with noise, compressed: 8 s of talk, 4 s with a still head, and the motion "parts". The
clips are those of the folders `train` and `extra` where PORTRAIT_ACTOR_CLIPS points (by default `../shared/data` beside
the project), their first 15 s. On `train`, PORTRAIT_ACTOR_GAIN=0 leaves out the two trainings that show what steadied
poses are worth.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from backend.dataset.frame_store import FrameStore
from backend.evaluation.evaluate import peak_memory_megabytes
from backend.setup.device import choose_device
from backend.synthetic import GroundTruth, SampleOptions, ground_truth_path, make_sample

from ._ground_truth_errors import channel_errors, count_blinks, crosstalk, rotation_errors, rotation_jitter
from ._pose_agreement import landmark_errors, photometric_gains
from ._pose_gain import measure_pose_gain
from ._preparation import PreparedClip, prepare_clip

PREFIXES = ("tracking", "channels")
CLIPS_FOLDER = Path(os.environ.get("PORTRAIT_ACTOR_CLIPS", Path(__file__).resolve().parents[2] / "shared" / "data"))
SIZE, NOISE, SEEDS = 512, 0.01, (1, 2, 3)
SECONDS = {"talk": 8.0, "still_head": 4.0, "parts": 11.6}
MAX_FRAMES = 375  # frames of a clip that are used

Figures = dict[str, float]


def run() -> Figures:
    """Figures under `tracking.*` and `channels.*`."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        figures = sample_figures(place)
        learned: list[PreparedClip] = []
        for group in ("train", "extra"):
            for clip in sorted((CLIPS_FOLDER / group).glob("*.mp4")):
                made = prepare_clip(clip, place / f"{clip.stem}.actor", SIZE, MAX_FRAMES)
                figures |= prefix_figures(made, clip_figures(made))
                learned += [made] if group == "train" else []
        figures["tracking.peak_memory_mb"] = float(
            peak_memory_megabytes(choose_device("cpu"))
        )  # before anything is trained
        if os.environ.get("PORTRAIT_ACTOR_GAIN", "1") != "0":
            for made in learned:
                figures |= prefix_figures(made, measure_pose_gain(made, place / f"{made.folder.info.name}.small.actor"))
    lengths = [v for k, v in figures.items() if k.endswith(".clip_lengths")]
    return figures | {"tracking.clip_lengths_max": max(lengths)}


def prefix_figures(prepared: PreparedClip, figures: Figures) -> Figures:
    """Figures of a real clip under their full names."""
    return {f"tracking.{prepared.folder.info.name}.{k}": v for k, v in figures.items()}


def sample_figures(parent: Path) -> Figures:
    """Means over the seeds; worst cases and counts over all of them."""
    rows: list[Figures] = []
    for seed in SEEDS:
        still = still_figures(parent, seed)  # comes first: what is compiled on the way counts in no speed
        rows.append(still | talk_figures(parent, seed) | parts_figures(parent, seed))
    worst = {name for name in rows[0] if name.endswith(("_max", "_worst"))}
    figures = {n: float(max(r[n] for r in rows) if n in worst else np.mean([r[n] for r in rows])) for n in rows[0]}
    blinks, found, false = (
        sum(r[f"channels.sample.{n}"] for r in rows) for n in ("blinks", "blinks_found", "false_blinks")
    )
    return figures | {
        "channels.sample.blinks": blinks, "channels.sample.blinks_found": found,
        "channels.sample.false_blinks": false, "channels.sample.blink_recall": found / blinks,
    }  # fmt: skip


def prepare_sample(parent: Path, motion: str, seed: int) -> tuple[PreparedClip, GroundTruth]:
    """A sample clip, prepared, and the truth of the frames that were used."""
    clip = parent / f"{motion}{seed}.mp4"
    options = SampleOptions(SECONDS[motion], SIZE, seed=seed, noise=NOISE, motion=motion, mattes=False)
    make_sample(clip, options)
    return prepare_clip(clip, parent / f"{motion}{seed}.actor", SIZE), GroundTruth.load(
        ground_truth_path(clip), should_load_images=False
    )


def talk_figures(parent: Path, seed: int) -> Figures:
    """Poses, channels and blinks of a head that moves and speaks, and the speed."""
    made, truth = prepare_sample(parent, "talk", seed)
    track, true = made.track, truth.performance
    used = slice(made.first_frame, made.first_frame + len(track.channels))
    head = rotation_errors(track.head_rotation, true.head_rotation[used])
    torso = rotation_errors(track.torso_rotation, true.torso_rotation[used])
    unaligned = rotation_errors(track.head_rotation, true.head_rotation[used], should_align=False)
    figures = {
        "head_rotation_deg_mean": float(head.mean()), "head_rotation_deg_max": float(head.max()),
        "head_rotation_unaligned_deg_mean": float(unaligned.mean()),
        "torso_rotation_deg_mean": float(torso.mean()), "torso_rotation_deg_max": float(torso.max()),
    }  # fmt: skip
    result = {f"tracking.sample.{k}": v for k, v in (figures | made.speed_figures()).items()}
    channels = channel_errors(track.channels, true.channels[used])
    blinks, found, false = count_blinks(track.channels, true.channels[used])
    channels |= {"blinks": blinks, "blinks_found": found, "false_blinks": false}
    return result | {f"channels.sample.{k}": v for k, v in channels.items()}


def still_figures(parent: Path, seed: int) -> Figures:
    """What a still head trembles."""
    made, _ = prepare_sample(parent, "still_head", seed)
    return {"tracking.sample.still_jitter_deg": rotation_jitter(made.track.head_rotation)}


def parts_figures(parent: Path, seed: int) -> Figures:
    """What leaks from the mouth into the rest of the face and back."""
    made, truth = prepare_sample(parent, "parts", seed)
    used = slice(made.first_frame, made.first_frame + len(made.track.channels))
    leaked = crosstalk(made.track.channels, truth.performance.channels[used])
    return {f"channels.sample.{k}": v for k, v in leaked.items()}


def clip_figures(prepared: PreparedClip) -> Figures:
    """Figures of a real clip, which has no truth."""
    figures = landmark_errors(prepared.track, prepared.landmarks, prepared.size)
    figures |= photometric_gains(prepared.track, prepared.landmarks, FrameStore(prepared.folder).read_frame)
    return figures | prepared.speed_figures() | {"size": float(prepared.size)}
