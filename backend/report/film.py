"""Writes the overlay video: the crops with mattes, mesh and axes drawn over them, and the clip's audio."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from ..compute.threads import MAX_WORKERS, map_in_order, single_opencv_thread
from ..contract.actor_folder import ActorFolder
from ..contract.arrays import F32, Image
from ..contract.progress import Reporter
from ..media.encode import CompressionSettings, VideoWriter
from .overlay import draw_overlay, overlay_side
from .tracked import TrackingData

OVERLAY_FILE = "overlay.mp4"
OVERLAY_STAGE = "draw the report"
# A keyframe every second and a fast preset: seeking in the page and in Blender is instant, the file small enough.
SEEKABLE_COMPRESSION = CompressionSettings(crf=25, preset="veryfast", keyframe_interval=25)

ReadFrame = Callable[[int], Image]
ReadMatte = Callable[[int], F32]


def write_overlay_video(folder: ActorFolder, read_frame: ReadFrame, read_matte: ReadMatte, reporter: Reporter) -> None:
    """Write `overlay.mp4`, whose frame n is frame n of the actor.

    Args:
        folder: the actor.
        read_frame: reads a crop (S, S, 3) uint8 RGB; called from several threads.
        read_matte: reads its alphas (S, S, 3 or 4) float32 0–1: person, head, mouth interior and hair; likewise.
        reporter: receives the progress.

    Raises:
        UserError: a frame is missing or damaged, or the disk is full.
    """
    tracking, info = TrackingData.load(folder), folder.info
    side = overlay_side(info.size)
    audio = folder.file_path("audio.wav") if info.has_audio else None
    title = {"title": f"{info.name}: tracking overlay"}
    with VideoWriter(
        folder.file_path(OVERLAY_FILE), side, side, info.fps, audio, title, compression=SEEKABLE_COMPRESSION
    ) as video:
        for image in reporter.report_items(
            _draw_frames(tracking, read_frame, read_matte), OVERLAY_STAGE, len(tracking)
        ):
            video.write_frame(image)


def _draw_frames(tracking: TrackingData, read_frame: ReadFrame, read_matte: ReadMatte) -> Iterator[Image]:
    """Yield all frames in order; threads draw some of them in advance while the video is being compressed."""

    def draw_frame(index: int) -> Image:
        return draw_overlay(
            read_frame(index),
            read_matte(index),
            tracking.project_mesh(index),
            tracking.project_head_axes(index),
            tracking.project_torso_axes(index),
        )

    with ThreadPoolExecutor(MAX_WORKERS, "overlay") as pool, single_opencv_thread():
        yield from map_in_order(pool, draw_frame, range(len(tracking)))
