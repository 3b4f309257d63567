"""The figures of an actor on the frames it has never seen: the last eleventh of its footage."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..contract.actor_folder import ActorFolder
from ..contract.channels import ORAL
from ..contract.progress import Reporter
from ..dataset.clip import Box, Clip, PixelWeights
from ..dataset.frame_store import HEAD, PERSON
from ..portrait.labels import TORSO
from ..portrait.model import Portrait, Pose
from ..setup.device import device_name
from ..training.pose_refinement import tracked_pose
from .metrics import find_landmarks, jitter_ratio, mouth_distance, psnr, ssim, to_bytes, weighted_mse
from .refine import refined_poses
from .stretch import holes

EDGE = 0.05  # alpha from which a pixel belongs to the edge
REGIONS = ("whole", "pasted", "portrait", "face", "mouth")


def evaluate(
    folder: ActorFolder, device: torch.device, reporter: Reporter, features: Path | None = None
) -> dict[str, Any]:
    """{"tracked": {"whole": {"psnr", "ssim"}, "pasted", "portrait", "face", "mouth", "lmd_px", "lmd_in_place_px",
    "jitter_ratio", "edge_alpha"}, "refined": {the same}, "audio": {the same}, "holes": see `stretch.holes`,
    "train_seconds", "render_fps", "peak_memory_mb", "device", "held_out_frames"}.

    `whole` is our person over the estimated plate; `pasted` is what other systems report as the whole frame: our head
    over the footage's own torso and background; `portrait` counts pixels by the person's alpha, so no background
    flatters it; `face` and `mouth` are boxes; `edge_alpha` is the mean absolute difference between our alpha and the
    matte where the matte is neither empty nor full; `lmd_px` and `lmd_in_place_px` see `metrics.mouth_distance`.

    `tracked` is driven by preparation's poses and channels. `refined` fits them to the held-out frames against the
    finished model: what is left is the model's share of the error. `audio` is driven by tracked poses and upper face
    with the mouth spoken from the sound; it is absent for an actor without speech. `features` are those of the
    footage's sound, for an actor that learned to speak from such.
    """
    clip, portrait = Clip(folder, device), Portrait.load(folder, device)
    rows = list(range(clip.train_count, clip.count))
    drives = {"tracked": clip.poses, "refined": refined_poses(clip, portrait, rows, reporter)}
    if folder.file("speech.safetensors").exists():
        drives["audio"] = {**clip.poses, "channels": spoken_channels(folder, clip, features)}
    figures: dict[str, Any] = {}
    footage = find_landmarks([clip.store.frame(r) for r in rows])
    for name, poses in drives.items():
        figures[name] = measure_drive(clip, portrait, poses, rows, footage, reporter, name)
    figures["holes"] = holes(clip, portrait)
    figures["train_seconds"] = folder.info.figures.get("train_seconds", 0.0)
    figures["render_fps"] = render_speed(clip, portrait, rows)
    figures["peak_memory_mb"] = peak_memory(device)
    figures["device"] = device_name(device)
    figures["held_out_frames"] = len(rows)
    return figures


def measure_drive(
    clip: Clip,
    portrait: Portrait,
    poses: dict[str, Tensor],
    rows: list[int],
    footage: NDArray[np.float64],
    reporter: Reporter,
    name: str,
) -> dict[str, Any]:
    """The figures of one way to drive the actor over frames `rows`."""
    values: dict[str, list[tuple[float, float]]] = {region: [] for region in REGIONS}
    pictures, edges = [], []
    for row in reporter.track(rows, f"evaluate {name}", len(rows)):
        pose = tracked_pose(poses, row)
        shown = draw(clip, portrait, pose, row)
        everything = torch.ones_like(shown.person)
        for region, (ours, theirs, weight) in {
            "whole": (shown.picture, shown.target, everything),
            "pasted": (pasted_head(clip, portrait, pose, row), shown.target, everything),
            "portrait": (shown.picture, shown.target, shown.person),
            **{k: box_of(shown, box) for k, box in (("face", clip.face_box(row)), ("mouth", clip.mouth_box(row)))},
        }.items():
            values[region].append((psnr(weighted_mse(ours, theirs, weight)), ssim(ours, theirs, weight)))
        pictures.append(to_bytes(shown.picture))
        edges.append(edge_difference(shown.alpha, shown.person))
    found = find_landmarks(pictures)
    figures: dict[str, Any] = {
        region: {k: round(float(np.nanmean([v[i] for v in pairs])), 4) for i, k in enumerate(("psnr", "ssim"))}
        for region, pairs in values.items()
    }
    figures["lmd_px"] = round(mouth_distance(found, footage, clip.size), 3)
    figures["lmd_in_place_px"] = round(mouth_distance(found, footage, clip.size, in_place=True), 3)
    figures["jitter_ratio"] = round(jitter_ratio(found, footage), 3)
    figures["edge_alpha"] = round(float(np.nanmean(edges)), 4)
    return figures


class Drawn(NamedTuple):
    """A frame of ours beside the footage's."""

    picture: Tensor  # (S, S, 3) ours over the plate
    target: Tensor  # (S, S, 3) the footage
    alpha: Tensor  # (S, S) ours
    person: Tensor  # (S, S) the matte


def draw(clip: Clip, portrait: Portrait, pose: Pose, row: int) -> Drawn:
    """Our picture of a pose, and the footage in frame `row`."""
    sample = clip.sample(row, PixelWeights())
    frame = portrait.render(*pose, clip.view, clip.intrinsics, clip.size, clip.size, mattes=False)
    picture = (frame.rgb + (1 - frame.alpha)[..., None] * sample.plate).clamp(0, 1)
    return Drawn(picture, sample.picture, frame.alpha, sample.person)


@torch.no_grad()
def pasted_head(clip: Clip, portrait: Portrait, pose: Pose, row: int) -> Tensor:
    """(S, S, 3) our head over the footage, from which the real head was taken out and the plate put in its place."""
    sample, matte = clip.sample(row, PixelWeights()), clip.store.matte(row)
    real = torch.from_numpy(matte[..., PERSON] * matte[..., HEAD]).to(clip.device)[..., None]
    under = sample.picture * (1 - real) + sample.plate * real
    moved = portrait.move(pose)
    belongs = (portrait.label != TORSO).to(moved.colours.dtype)[:, None]
    features = torch.cat([moved.colours.clamp(0, 1) * belongs, belongs], 1)
    head, _, _ = portrait.draw(moved, features, clip.view, clip.intrinsics, clip.size, clip.size, False)
    return (head[..., :3] + (1 - head[..., 3:]) * under).clamp(0, 1)


def box_of(shown: Drawn, box: Box) -> tuple[Tensor, Tensor, Tensor]:
    """Ours and the footage's inside a box, each pixel counting the same."""
    x, y, width, height = box
    part = np.s_[y : y + height, x : x + width]
    return shown.picture[part], shown.target[part], torch.ones_like(shown.person[part])


def edge_difference(ours: Tensor, matte: Tensor) -> float:
    """Mean absolute difference of two alphas (H, W) where the matte is neither empty nor full."""
    edge = (matte > EDGE) & (matte < 1 - EDGE)
    return float((ours - matte).abs()[edge].mean())


def spoken_channels(folder: ActorFolder, clip: Clip, features: Path | None = None) -> Tensor:
    """(T, 52) the tracked channels with the oral ones spoken from the actor's own sound."""
    from ..speech.model import Delivery, speak

    said = speak(folder, folder.file("audio.wav"), Delivery(features=features), fps=folder.info.fps)
    channels = clip.poses["channels"].clone()
    count = min(len(said), clip.count)
    oral = torch.as_tensor(said.channels[:count, : len(ORAL)], dtype=channels.dtype, device=channels.device)
    channels[:count, : len(ORAL)] = oral
    return channels


def render_speed(clip: Clip, portrait: Portrait, rows: list[int], frames: int = 30) -> float:
    """Frames per second of drawing, colour and alpha only, after a warm-up."""
    chosen = [rows[i % len(rows)] for i in range(frames)]
    started = 0.0
    for i, row in enumerate([*chosen[:3], *chosen]):
        if i == 3:
            _wait(clip.device)
            started = time.perf_counter()
        pose = tracked_pose(clip.poses, row)
        portrait.render(*pose, clip.view, clip.intrinsics, clip.size, clip.size, mattes=False)
    _wait(clip.device)
    return round(frames / (time.perf_counter() - started), 1)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> int:
    """Megabytes this process used at most: of the GPU where it drew, else of main memory."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 2**20)
    try:
        import resource
    except ImportError:  # Windows has no such module
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10))
