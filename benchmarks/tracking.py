"""Accuracy of poses and channels on the sample actor and on real clips, and the speed of preparation.

The sample: three seeds at 512² with noise, compressed: 8 s of talk, 4 s with a still head, and the motion "parts". The
real clips are those in the folders `train` and `extra` under PORTRAIT_ACTOR_CLIPS (by default `../shared/data` beside
the project), their first 15 s. On `train`, two trainings show how much refined poses are worth; PORTRAIT_ACTOR_GAIN=0
leaves them out.
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
SIZE = 512  # pixels of the crops
NOISE = 0.01  # deviation of the sample's noise, of the full range
SEEDS = (1, 2, 3)
SECONDS = {"talk": 8.0, "still_head": 4.0, "parts": 11.6}  # of each motion of the sample
MAX_FRAMES = 375  # frames of a real clip that are used

Figures = dict[str, float]


def run() -> Figures:
    """Measure the figures under `tracking.*` and `channels.*`."""
    with tempfile.TemporaryDirectory() as folder:
        parent = Path(folder)
        figures = sample_figures(parent)
        train_clips: list[PreparedClip] = []
        for group in ("train", "extra"):
            for clip in sorted((CLIPS_FOLDER / group).glob("*.mp4")):
                prepared = prepare_clip(clip, parent / f"{clip.stem}.actor", SIZE, MAX_FRAMES)
                figures |= prefix_figures(prepared, clip_figures(prepared))
                train_clips += [prepared] if group == "train" else []
        # Memory is read before the trainings, which need more of it than tracking.
        figures["tracking.peak_memory_mb"] = float(peak_memory_megabytes(choose_device("cpu")))
        if os.environ.get("PORTRAIT_ACTOR_GAIN", "1") != "0":
            for prepared in train_clips:
                resized = parent / f"{prepared.folder.info.name}.small.actor"
                figures |= prefix_figures(prepared, measure_pose_gain(prepared, resized))
    lengths = [v for k, v in figures.items() if k.endswith(".clip_lengths")]
    return figures | {"tracking.clip_lengths_max": max(lengths)}


def prefix_figures(prepared: PreparedClip, figures: Figures) -> Figures:
    """Return the figures of a real clip under their full names."""
    return {f"tracking.{prepared.folder.info.name}.{k}": v for k, v in figures.items()}


def sample_figures(parent: Path) -> Figures:
    """Measure the sample: means over the seeds, but maxima of worst cases and sums of counts."""
    rows: list[Figures] = []
    for seed in SEEDS:
        still = still_figures(parent, seed)  # comes first, so that no speed includes the compiling of kernels
        rows.append(still | talk_figures(parent, seed) | parts_figures(parent, seed))
    worst = {name for name in rows[0] if name.endswith(("_max", "_worst"))}
    figures = {n: float(max(r[n] for r in rows) if n in worst else np.mean([r[n] for r in rows])) for n in rows[0]}
    blinks, found, false = (
        sum(r[f"channels.sample.{n}"] for r in rows) for n in ("blinks", "blinks_found", "false_blinks")
    )
    return figures | {
        "channels.sample.blinks": blinks,
        "channels.sample.blinks_found": found,
        "channels.sample.false_blinks": false,
        "channels.sample.blink_recall": found / blinks,
    }


def prepare_sample(parent: Path, motion: str, seed: int) -> tuple[PreparedClip, GroundTruth]:
    """Make and prepare a sample clip; return it with its ground truth."""
    clip = parent / f"{motion}{seed}.mp4"
    options = SampleOptions(SECONDS[motion], SIZE, seed=seed, noise=NOISE, motion=motion, mattes=False)
    make_sample(clip, options)
    prepared = prepare_clip(clip, parent / f"{motion}{seed}.actor", SIZE)
    return prepared, GroundTruth.load(ground_truth_path(clip), should_load_images=False)


def talk_figures(parent: Path, seed: int) -> Figures:
    """Measure poses, channels and blinks of a head that moves and speaks, and the speed."""
    prepared, truth = prepare_sample(parent, "talk", seed)
    track, true = prepared.track, truth.performance
    used = slice(prepared.first_frame, prepared.first_frame + len(track.channels))
    head = rotation_errors(track.head_rotation, true.head_rotation[used])
    torso = rotation_errors(track.torso_rotation, true.torso_rotation[used])
    unaligned = rotation_errors(track.head_rotation, true.head_rotation[used], should_align=False)
    figures = {
        "head_rotation_deg_mean": float(head.mean()),
        "head_rotation_deg_max": float(head.max()),
        "head_rotation_unaligned_deg_mean": float(unaligned.mean()),
        "torso_rotation_deg_mean": float(torso.mean()),
        "torso_rotation_deg_max": float(torso.max()),
    }
    result = {f"tracking.sample.{k}": v for k, v in (figures | prepared.speed_figures()).items()}
    channels = channel_errors(track.channels, true.channels[used])
    blinks, found, false = count_blinks(track.channels, true.channels[used])
    channels |= {"blinks": blinks, "blinks_found": found, "false_blinks": false}
    return result | {f"channels.sample.{k}": v for k, v in channels.items()}


def still_figures(parent: Path, seed: int) -> Figures:
    """Measure the jitter of a still head."""
    prepared, _ = prepare_sample(parent, "still_head", seed)
    return {"tracking.sample.still_jitter_deg": rotation_jitter(prepared.track.head_rotation)}


def parts_figures(parent: Path, seed: int) -> Figures:
    """Measure the crosstalk between the mouth and the rest of the face."""
    prepared, truth = prepare_sample(parent, "parts", seed)
    used = slice(prepared.first_frame, prepared.first_frame + len(prepared.track.channels))
    figures = crosstalk(prepared.track.channels, truth.performance.channels[used])
    return {f"channels.sample.{k}": v for k, v in figures.items()}


def clip_figures(prepared: PreparedClip) -> Figures:
    """Measure a real clip, which has no ground truth."""
    figures = landmark_errors(prepared.track, prepared.landmarks, prepared.size)
    figures |= photometric_gains(prepared.track, prepared.landmarks, FrameStore(prepared.folder).read_frame)
    return figures | prepared.speed_figures() | {"size": float(prepared.size)}
