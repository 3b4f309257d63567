"""The figures of an actor on the frames it has never seen: the last eleventh of its footage."""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..actor import ActorFolder
from ..channels import ORAL
from ..device import device_name
from ..model.portrait import Portrait, Pose
from ..progress import Reporter
from ..training.corrections import tracked_pose
from ..training.data import Box, Clip
from ..training.schedule import Weights
from .metrics import find_landmarks, jitter_ratio, mouth_distance, psnr, ssim, to_bytes, weighted_mse

REGIONS = ("whole", "portrait", "face", "mouth")


def evaluate(folder: ActorFolder, device: torch.device, reporter: Reporter) -> dict[str, Any]:
    """{"tracked": {"whole": {"psnr", "ssim"}, "portrait", "face", "mouth", "lmd_px", "jitter_ratio"}, "audio": {the
    same}, "train_seconds", "render_fps", "peak_memory_mb", "device", "held_out_frames"}.

    `whole` is our person over the estimated plate; `portrait` counts pixels by the person's alpha, so no background
    flatters it; `face` and `mouth` are boxes. `tracked` is driven by preparation's poses and channels, `audio` by
    tracked poses and upper face with the mouth spoken from the sound; it is absent for an actor without speech.
    """
    clip, portrait = Clip(folder, device), Portrait.load(folder, device)
    rows = list(range(clip.train_count, clip.count))
    drives = {"tracked": clip.poses}
    if folder.file("speech.safetensors").exists():
        drives["audio"] = {**clip.poses, "channels": spoken_channels(folder, clip)}
    figures: dict[str, Any] = {}
    footage = find_landmarks([clip.store.frame(r) for r in rows])
    for name, poses in drives.items():
        figures[name] = measure_drive(clip, portrait, poses, rows, footage, reporter, name)
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
    pictures = []
    for row in reporter.track(rows, f"evaluate {name}", len(rows)):
        picture, target, person = draw(clip, portrait, tracked_pose(poses, row), row)
        pictures.append(to_bytes(picture))
        everything = torch.ones_like(person)
        values["whole"].append((psnr(weighted_mse(picture, target, everything)), ssim(picture, target)))
        values["portrait"].append((psnr(weighted_mse(picture, target, person)), ssim(picture, target, person)))
        for region, box in (("face", clip.face_box(row)), ("mouth", clip.mouth_box(row))):
            ours, theirs = inside(picture, box), inside(target, box)
            values[region].append((psnr(weighted_mse(ours, theirs, torch.ones_like(ours[..., 0]))), ssim(ours, theirs)))
    found = find_landmarks(pictures)
    figures: dict[str, Any] = {
        region: {k: round(float(np.nanmean([v[i] for v in pairs])), 4) for i, k in enumerate(("psnr", "ssim"))}
        for region, pairs in values.items()
    }
    figures["lmd_px"] = round(mouth_distance(found, footage, clip.size), 3)
    figures["jitter_ratio"] = round(jitter_ratio(found, footage), 3)
    return figures


def draw(clip: Clip, portrait: Portrait, pose: Pose, row: int) -> tuple[Tensor, Tensor, Tensor]:
    """Our picture over the plate and the footage's (S, S, 3), and the person's alpha (S, S)."""
    sample = clip.sample(row, Weights())
    frame = portrait.render(*pose, clip.view, clip.intrinsics, clip.size, clip.size, mattes=False)
    picture = (frame.rgb + (1 - frame.alpha)[..., None] * sample.plate).clamp(0, 1)
    return picture, sample.picture, sample.person


def inside(picture: Tensor, box: Box) -> Tensor:
    """The part of a picture (H, W, C) inside a box."""
    x, y, width, height = box
    return picture[y : y + height, x : x + width]


def spoken_channels(folder: ActorFolder, clip: Clip) -> Tensor:
    """(T, 52) the tracked channels with the oral ones spoken from the actor's own sound."""
    from ..model.speech import speak

    said = speak(folder, folder.file("audio.wav"), fps=folder.info.fps, seed=0)
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
