"""The figures of an actor on the frames it has never seen: the last eleventh of its footage."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..contract.actor_folder import ActorFolder
from ..contract.arrays import F64
from ..contract.channels import ORAL_CHANNELS
from ..contract.progress import Reporter
from ..dataset.clip import Box, Clip, PixelWeights
from ..dataset.frame_store import MATTE_HEAD, MATTE_PERSON
from ..portrait.labels import TORSO
from ..portrait.model import Portrait, Pose
from ..setup.device import device_name
from ..training.pose_refinement import pose_from_tables
from .metrics import detect_landmarks, jitter_ratio, lip_landmark_distance, psnr, ssim, to_uint8, weighted_mse
from .refine import fit_held_out_poses
from .stretch import measure_holes

MIN_EDGE_ALPHA = 0.05  # alpha from which a pixel belongs to the edge
REGIONS = ("whole", "pasted", "portrait", "face", "mouth")


def evaluate_actor(
    folder: ActorFolder, device: torch.device, reporter: Reporter, features_file: Path | None = None
) -> dict[str, Any]:
    """Measure an actor on its held-out frames.

    Args:
        folder: the actor.
        device: of torch.
        reporter: receives progress.
        features_file: the user's own features of the footage's sound, for an actor that learned from such.

    Returns:
        tracked: figures of `measure_drive`, driven by preparation's poses and channels.
        refined: the same with poses and channels fitted to these frames; what is left is the model's own error.
        audio: the same with the mouth predicted from the sound; absent for an actor without speech.
        holes: see `measure_holes`.
        train_seconds, render_fps, peak_memory_mb, device, held_out_frames: of the run.

        In each drive "whole" is the portrait over the estimated plate, "pasted" the head over the footage's own torso
        and background, "portrait" counts pixels by the person's alpha, "face" and "mouth" are boxes, "edge_alpha" is
        the mean absolute difference of alpha and matte where the matte is neither empty nor full.
    """
    clip, portrait = Clip(folder, device), Portrait.load(folder, device)
    rows = list(range(clip.train_frame_count, clip.frame_count))
    drives = {"tracked": clip.poses, "refined": fit_held_out_poses(clip, portrait, rows, reporter)}
    if folder.file_path("speech.safetensors").exists():
        drives["audio"] = {**clip.poses, "channels": predict_spoken_channels(folder, clip, features_file)}
    figures: dict[str, Any] = {}
    footage = detect_landmarks([clip.store.read_frame(r) for r in rows])
    for name, poses in drives.items():
        figures[name] = measure_drive(clip, portrait, poses, rows, footage, reporter, name)
    figures["holes"] = measure_holes(clip, portrait)
    figures["train_seconds"] = folder.info.figures.get("train_seconds", 0.0)
    figures["render_fps"] = measure_render_fps(clip, portrait, rows)
    figures["peak_memory_mb"] = peak_memory_megabytes(device)
    figures["device"] = device_name(device)
    figures["held_out_frames"] = len(rows)
    return figures


def measure_drive(
    clip: Clip,
    portrait: Portrait,
    poses: dict[str, Tensor],
    frame_indices: list[int],
    footage_landmarks: F64,
    reporter: Reporter,
    drive_name: str,
) -> dict[str, Any]:
    """The figures of one way to drive the actor over frames `rows`."""
    values: dict[str, list[tuple[float, float]]] = {region: [] for region in REGIONS}
    pictures, edges = [], []
    for row in reporter.report_items(frame_indices, f"evaluate {drive_name}", len(frame_indices)):
        pose = pose_from_tables(poses, row)
        shown = render_comparison(clip, portrait, pose, row)
        everything = torch.ones_like(shown.person_alpha)
        for region, (ours, theirs, weight) in {
            "whole": (shown.image, shown.target, everything),
            "pasted": (composite_head_over_footage(clip, portrait, pose, row), shown.target, everything),
            "portrait": (shown.image, shown.target, shown.person_alpha),
            **{
                k: crop_comparison(shown, box)
                for k, box in (("face", clip.face_box(row)), ("mouth", clip.mouth_box(row)))
            },
        }.items():
            values[region].append((psnr(weighted_mse(ours, theirs, weight)), ssim(ours, theirs, weight)))
        pictures.append(to_uint8(shown.image))
        edges.append(edge_alpha_error(shown.alpha, shown.person_alpha))
    found = detect_landmarks(pictures)
    figures: dict[str, Any] = {
        region: {k: round(float(np.nanmean([v[i] for v in pairs])), 4) for i, k in enumerate(("psnr", "ssim"))}
        for region, pairs in values.items()
    }
    figures["lmd_px"] = round(lip_landmark_distance(found, footage_landmarks, clip.crop_size), 3)
    figures["lmd_in_place_px"] = round(
        lip_landmark_distance(found, footage_landmarks, clip.crop_size, in_place=True), 3
    )
    figures["jitter_ratio"] = round(jitter_ratio(found, footage_landmarks), 3)
    figures["edge_alpha"] = round(float(np.nanmean(edges)), 4)
    return figures


class Comparison(NamedTuple):
    """A frame of ours beside the footage's."""

    image: Tensor  # (S, S, 3) ours over the plate
    target: Tensor  # (S, S, 3) the footage
    alpha: Tensor  # (S, S) ours
    person_alpha: Tensor  # (S, S) the matte


def render_comparison(clip: Clip, portrait: Portrait, pose: Pose, frame_index: int) -> Comparison:
    """Our picture of a pose, and the footage in frame `row`."""
    sample = clip.load_training_frame(frame_index, PixelWeights())
    frame = portrait.render(pose, clip.camera, with_mattes=False)
    picture = (frame.rgb + (1 - frame.alpha)[..., None] * sample.plate).clamp(0, 1)
    return Comparison(picture, sample.image, frame.alpha, sample.person_alpha)


@torch.no_grad()
def composite_head_over_footage(clip: Clip, portrait: Portrait, pose: Pose, frame_index: int) -> Tensor:
    """(S, S, 3) our head over the footage, from which the real head was taken out and the plate put in its place."""
    sample, matte = clip.load_training_frame(frame_index, PixelWeights()), clip.store.read_matte(frame_index)
    real = torch.from_numpy(matte[..., MATTE_PERSON] * matte[..., MATTE_HEAD]).to(clip.device)[..., None]
    under = sample.image * (1 - real) + sample.plate * real
    moved = portrait.deform(pose)
    belongs = (portrait.label != TORSO).to(moved.colors.dtype)[:, None]
    features = torch.cat([moved.colors.clamp(0, 1) * belongs, belongs], 1)
    head, _, _ = portrait.rasterize_features(moved, features, clip.camera, False)
    return (head[..., :3] + (1 - head[..., 3:]) * under).clamp(0, 1)


def crop_comparison(comparison: Comparison, box: Box) -> tuple[Tensor, Tensor, Tensor]:
    """Ours and the footage's inside a box, each pixel counting the same."""
    x, y, width, height = box
    part = np.s_[y : y + height, x : x + width]
    return comparison.image[part], comparison.target[part], torch.ones_like(comparison.person_alpha[part])


def edge_alpha_error(alpha: Tensor, matte: Tensor) -> float:
    """Mean absolute difference of two alphas (H, W) where the matte is neither empty nor full."""
    edge = (matte > MIN_EDGE_ALPHA) & (matte < 1 - MIN_EDGE_ALPHA)
    return float((alpha - matte).abs()[edge].mean())


def predict_spoken_channels(folder: ActorFolder, clip: Clip, features_file: Path | None = None) -> Tensor:
    """(T, 52) the tracked channels with the oral ones spoken from the actor's own sound."""
    from ..speech.delivery import Delivery
    from ..speech.synthesis import speak

    said = speak(folder, folder.file_path("audio.wav"), Delivery(features=features_file), fps=folder.info.fps)
    channels = clip.poses["channels"].clone()
    count = min(len(said), clip.frame_count)
    oral = torch.as_tensor(said.channels[:count, : len(ORAL_CHANNELS)], dtype=channels.dtype, device=channels.device)
    channels[:count, : len(ORAL_CHANNELS)] = oral
    return channels


def measure_render_fps(clip: Clip, portrait: Portrait, frame_indices: list[int], frame_count: int = 30) -> float:
    """Frames per second of drawing, colour and alpha only, after a warm-up."""
    chosen = [frame_indices[i % len(frame_indices)] for i in range(frame_count)]
    started = 0.0
    for i, row in enumerate([*chosen[:3], *chosen]):
        if i == 3:
            _synchronize(clip.device)
            started = time.perf_counter()
        pose = pose_from_tables(clip.poses, row)
        portrait.render(pose, clip.camera, with_mattes=False)
    _synchronize(clip.device)
    return round(frame_count / (time.perf_counter() - started), 1)


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory_megabytes(device: torch.device) -> int:
    """Megabytes this process used at most: of the GPU where it drew, else of main memory."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    try:
        import resource
    except ImportError:  # Windows has no such module
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))
