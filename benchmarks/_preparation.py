"""Preparation as `create` does it, stage by stage with a clock, for the benchmarks."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from backend.contract.actor_folder import ActorFolder, ActorInfo
from backend.contract.arrays import F64
from backend.contract.progress import Reporter
from backend.dataset.crops import CropBox, write_crops
from backend.dataset.frame_store import FrameStore
from backend.dataset.split import first_held_out_frame
from backend.pipeline.prepare import track_segment
from backend.pipeline.scan import scan_footage
from backend.report.film import write_overlay_video
from backend.report.page import write_report
from backend.tracking.detection.selection import SegmentSelection
from backend.tracking.tracker import TrackingResult

STAGES = ("scan", "mattes", "track", "report")


@dataclass
class PreparedClip:
    """An actor up to its report.

    Attributes:
        landmarks: (T, 478, 3) crop pixels. first: the footage frame of row 0. size: side of the crops. fps: footage's.
        seconds: per stage, how long one frame of it took.
    """

    folder: ActorFolder
    track: TrackingResult
    landmarks: F64
    first_frame: int
    size: int
    fps: float
    seconds: dict[str, float]

    def speed_figures(self) -> dict[str, float]:
        """Frames per second of each stage, and what all take together as a multiple of the clip's length."""
        figures = {f"{stage}_fps": 1 / spent for stage, spent in self.seconds.items()}
        return figures | {"clip_lengths": self.fps * sum(self.seconds.values())}


def prepare_clip(clip: Path, actor: Path, size: int, max_frames: int | None = None) -> PreparedClip:
    """Makes the actor's folder up to its report.

    Args:
        size: side of the crops; less when the footage shows less, as in `create`.
        longest: frames of the stretch that are used at most.
    """
    reporter, clocks = Reporter(), [time.perf_counter()]
    info, found, chosen = scan_footage(clip, None, reporter)
    clocks.append(time.perf_counter())
    count = min(len(chosen.landmarks), max_frames or len(chosen.landmarks))
    chosen = SegmentSelection(chosen.first, chosen.first + count - 1, chosen.landmarks[:count])
    box = CropBox.from_landmarks(chosen.landmarks, found.frame_size, size)
    side = box.crop_size
    folder = ActorFolder.create(
        actor,
        ActorInfo(
            name=clip.stem, fps=info.fps, size=side, frame_count=count, segments=[[chosen.first, chosen.last]],
            source={"name": clip.name, "frames": len(found.landmarks)},
        ),
    )  # fmt: skip
    write_crops(clip, folder, chosen, box, reporter)
    clocks.append(time.perf_counter())
    track = track_segment(folder, chosen, box, reporter)
    clocks.append(time.perf_counter())
    store = FrameStore(folder)
    write_overlay_video(folder, lambda t: store.read_frame(t, use_cache=False), store.read_matte, reporter)
    write_report(folder, first_held_out_frame(count))
    clocks.append(time.perf_counter())
    frames = (len(found.landmarks), count, count, count)
    seconds = {s: float(d) / n for s, d, n in zip(STAGES, np.diff(clocks), frames, strict=True)}
    landmarks = box.to_crop_space(chosen.landmarks)
    return PreparedClip(folder, track, landmarks, chosen.first, side, info.fps, seconds)
