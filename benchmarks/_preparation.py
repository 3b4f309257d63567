"""Prepares a clip as `create` does, and times each stage."""

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
    """An actor's folder up to its report.

    Attributes:
        folder: of the actor.
        track: the tracker's result.
        landmarks: (T, 478, 3) crop pixels.
        first_frame: the footage's index of the first frame.
        size: side of the crops, pixels.
        fps: of the footage.
        seconds: per frame, by stage.
    """

    folder: ActorFolder
    track: TrackingResult
    landmarks: F64
    first_frame: int
    size: int
    fps: float
    seconds: dict[str, float]

    def speed_figures(self) -> dict[str, float]:
        """Return frames per second of each stage, and the duration of all as a multiple of the clip's length."""
        figures = {f"{stage}_fps": 1 / seconds for stage, seconds in self.seconds.items()}
        return figures | {"clip_lengths": self.fps * sum(self.seconds.values())}


def prepare_clip(clip: Path, actor: Path, size: int, max_frames: int | None = None) -> PreparedClip:
    """Make an actor's folder up to its report.

    Args:
        clip: the footage.
        actor: the folder.
        size: side of the crops; smaller when the footage shows less, as in `create`.
        max_frames: of the segment; None uses all.
    """
    reporter, times = Reporter(), [time.perf_counter()]
    info, scan, segment = scan_footage(clip, None, reporter)
    times.append(time.perf_counter())
    count = min(len(segment.landmarks), max_frames or len(segment.landmarks))
    segment = SegmentSelection(segment.first, segment.first + count - 1, segment.landmarks[:count])
    box = CropBox.from_landmarks(segment.landmarks, scan.frame_size, size)
    side = box.crop_size
    folder = ActorFolder.create(
        actor,
        ActorInfo(
            name=clip.stem, fps=info.fps, size=side, frame_count=count, segments=[[segment.first, segment.last]],
            source={"name": clip.name, "frames": len(scan.landmarks)},
        ),
    )  # fmt: skip
    write_crops(clip, folder, segment, box, reporter)
    times.append(time.perf_counter())
    track = track_segment(folder, segment, box, reporter)
    times.append(time.perf_counter())
    store = FrameStore(folder)
    write_overlay_video(folder, lambda t: store.read_frame(t, use_cache=False), store.read_matte, reporter)
    write_report(folder, first_held_out_frame(count))
    times.append(time.perf_counter())
    frames = (len(scan.landmarks), count, count, count)
    seconds = {s: float(d) / n for s, d, n in zip(STAGES, np.diff(times), frames, strict=True)}
    landmarks = box.to_crop_space(segment.landmarks)
    return PreparedClip(folder, track, landmarks, segment.first, side, info.fps, seconds)
