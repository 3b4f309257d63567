"""How far tracking lies from the truth on the sample actor, and how fast preparation is."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.actor import ActorFolder, ActorInfo
from backend.channels import INDEX
from backend.geometry import matrix_from_quaternion, rotation_angle
from backend.progress import Reporter
from backend.sample import SampleOptions, Truth, make_sample, truth_path
from backend.training.crops import crop_box, write_crops
from backend.training.prepare import track_stretch
from backend.training.scanning import scan_footage

CHANNELS = ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight", "mouthPucker", "mouthSmileLeft", "browInnerUp")


def run() -> dict[str, float]:
    """Figures under `tracking.sample.*` of an 8 s clip at 512²."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "sample.mp4"
        make_sample(clip, SampleOptions(seconds=8.0, size=512, seed=1, noise=0.01))
        return measure(clip, Path(folder) / "sample.actor", 512)


def measure(clip: Path, actor: Path, size: int) -> dict[str, float]:
    """Tracks the sample clip and compares with its truth."""
    truth = Truth.load(truth_path(clip), pictures=False)
    reporter = Reporter()
    clocks = [time.perf_counter()]
    info, found, chosen = scan_footage(clip, None, reporter)
    clocks.append(time.perf_counter())
    folder = ActorFolder.create(actor, ActorInfo(name="sample", fps=info.fps, size=size))
    box = crop_box(chosen.landmarks, found.size)
    write_crops(clip, folder, chosen, box, size, reporter)
    clocks.append(time.perf_counter())
    track = track_stretch(folder, chosen, box, size, found.size, reporter)
    clocks.append(time.perf_counter())
    frames = slice(chosen.first, chosen.last + 1)
    true = truth.performance
    error = rotation_errors(track.head_rotation, true.head_rotation[frames])
    figures = {
        "tracking.sample.frames_found": float(np.isfinite(found.landmarks[:, 0, 0]).mean()),
        "tracking.sample.head_rotation_deg_mean": float(error.mean()),
        "tracking.sample.head_rotation_unaligned_deg_mean": float(
            rotation_errors(track.head_rotation, true.head_rotation[frames], aligned=False).mean()
        ),
        "tracking.sample.head_rotation_deg_max": float(error.max()),
        "tracking.sample.torso_rotation_deg_mean": float(
            rotation_errors(track.torso_rotation, true.torso_rotation[frames]).mean()
        ),
    }
    for name in CHANNELS:
        ours, theirs = track.channels[:, INDEX[name]], true.channels[frames, INDEX[name]]
        figures[f"tracking.sample.{name}_mean_abs"] = float(np.abs(ours - theirs).mean())
        figures[f"tracking.sample.{name}_correlation"] = float(np.corrcoef(ours, theirs)[0, 1])
    count = len(track.channels)
    for stage, seconds in zip(("scan", "mattes", "solve"), np.diff(clocks), strict=True):
        figures[f"tracking.sample.{stage}_fps"] = count / float(seconds)
    return figures


def rotation_errors(
    ours: NDArray[np.floating], truth: NDArray[np.floating], aligned: bool = True
) -> NDArray[np.float64]:
    """(T,) degrees between two rotations (T, 4) wxyz, after the one constant turn by which the two define "straight".

    Which way a head looks "straight ahead" is a convention of each rig; a constant turn between conventions moves no
    picture, so it is estimated (mean of the relative rotations) and taken out.
    """
    a, b = matrix_from_quaternion(ours), matrix_from_quaternion(truth)
    relative = np.swapaxes(b, 1, 2) @ a
    if not aligned:
        return rotation_angle(relative)
    u, _, vt = np.linalg.svd(relative.mean(0))
    constant = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt
    return rotation_angle(np.swapaxes(relative, 1, 2) @ constant)
