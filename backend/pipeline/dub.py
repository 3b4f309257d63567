"""Dub: the footage stays, but its lips speak another line.

Head pose and upper face are the footage's, the mouth is the line's. The actor is rendered in that pose through the
footage's camera, and only its lower face is composited over the original frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ..contract.actor_folder import ActorFolder
from ..contract.arrays import F32, F64, Image
from ..contract.atomic_write import make_folder, write_bytes_atomically
from ..contract.camera import footage_camera_path
from ..contract.channels import ORAL_CHANNELS
from ..contract.errors import UserError
from ..contract.geometry import matrix_from_quaternion, project_points
from ..contract.performance import Performance
from ..contract.progress import Reporter
from ..dataset.frame_store import MATTE_PERSON, FrameStore
from ..media.encode import VideoWriter
from ..media.image_io import COLOR, read_image
from ..media.provenance import video_metadata
from ..media.timing import ping_pong_indices
from ..rendering.frames import frame_file_name, load_portrait
from ..rendering.images import encode_png
from ..rendering.passes import Passes, passes_from_frame, quantize
from ..setup.device import choose_device, device_name
from ..speech.delivery import Delivery
from ..speech.synthesis import speak
from .blending import ColorMatch, face_height, lower_face_matte
from .footage import FootageReader

if TYPE_CHECKING:
    import torch

    from ..portrait.model import Portrait

STAGE = "dub"
MAX_BYTE = 255  # of 8-bit images


@dataclass(frozen=True)
class DubOptions:
    """The user's choices.

    Attributes:
        out: a film (.mp4, with the line as its sound), or a folder for PNG frames.
        footage: the video that the actor was made from; None uses the crops in the actor folder.
        start_seconds: where in the tracked footage the line begins, ≥ 0.
        device: "auto", "cpu" or "cuda".
    """

    out: Path
    footage: Path | None = None
    start_seconds: float = 0.0
    device: str = "auto"

    @property
    def is_film(self) -> bool:
        """Whether a film is written, not frames."""
        return self.out.suffix.lower() == ".mp4"


def dub(
    folder: ActorFolder,
    audio: Path,
    delivery: Delivery,
    options: DubOptions,
    reporter: Reporter,
    portrait_loader: Callable[[ActorFolder, torch.device], Portrait] = load_portrait,
) -> dict[str, Any]:
    """Composite a spoken line over the footage.

    The result is as long as the line. Shorter footage plays forwards and backwards, and a note says so.

    Args:
        folder: the actor.
        audio: the line.
        delivery: how it is spoken.
        options: the user's choices.
        reporter: gets progress and notes.
        portrait_loader: loads the actor's model.

    Returns:
        {"file" or "folder" and "pattern", "first", "last", "count", "width", "height", "fps", "seconds", "device"}.

    Raises:
        UserError: ``bad_start``, ``bad_format``, an error of `speak` or `FootageReader`, or the result cannot be
            written.
        Cancelled: whole PNG frames stay on disk.
    """
    started = time.monotonic()
    if options.out.suffix and not options.is_film:
        raise UserError(
            "bad_format", f"{options.out.name} is not an .mp4 file.", "Name an .mp4, or a folder for PNG frames."
        )
    footage = FootageReader(folder, options.footage)
    speech = speak(folder, audio, delivery)
    frame_indices = _footage_indices(footage, speech, options.start_seconds, reporter)
    device = choose_device(options.device)
    reporter.progress(STAGE, 0, len(frame_indices))
    compositor = _MouthCompositor(folder, footage, speech, frame_indices, portrait_loader(folder, device), device)
    frames = (compositor.composite_step(step, image) for step, image in enumerate(footage.read_images(frame_indices)))
    reported_frames = reporter.report_items(frames, STAGE, len(frame_indices))
    make_folder(options.out.parent if options.is_film else options.out)
    if options.is_film:
        labels = video_metadata(folder.info, options.out.stem)
        with VideoWriter(options.out, footage.width, footage.height, speech.fps, audio, labels) as writer:
            for frame in reported_frames:
                writer.write_frame(frame)
        written: dict[str, Any] = {"file": str(options.out)}
    else:
        written = _write_sequence(options.out, reported_frames)
    return {
        "first": 0, "last": len(frame_indices) - 1, "count": len(frame_indices),
        "width": footage.width, "height": footage.height, "fps": speech.fps,
        "seconds": round(time.monotonic() - started, 3), "device": device_name(device), **written,
    }  # fmt: skip


def _footage_indices(
    footage: FootageReader, speech: Performance, start_seconds: float, reporter: Reporter
) -> list[int]:
    """Return the index of the footage that is shown at each frame of the line.

    Raises:
        UserError: ``bad_start``.
    """
    first = round(start_seconds * speech.fps)
    if not 0 <= first < footage.frame_count:
        end = footage.frame_count / speech.fps
        raise UserError("bad_start", f"{start_seconds:g} s is not in the footage.", f"Choose 0 to {end:.1f} s.")
    if first + len(speech) > footage.frame_count:
        reporter.note(
            f"The line is longer than the {(footage.frame_count - first) / speech.fps:.1f} s of footage that are left: "
            "the footage plays forwards and backwards."
        )
    return ping_pong_indices(first, len(speech), footage.frame_count)


def _write_sequence(folder: Path, images: Iterator[Image]) -> dict[str, Any]:
    """Write opaque PNG frames, numbered from 0."""
    name = folder.resolve().name
    for frame_number, image in enumerate(images):
        color = image.astype(np.float32) / MAX_BYTE
        opaque = Passes(color, np.ones(color.shape[:2], np.float32), np.zeros(color.shape[:2], np.float32), {})
        png = encode_png(opaque, 8, {"Title": name, "Frame": str(frame_number)})
        write_bytes_atomically(folder / frame_file_name(name, frame_number, "png"), png)
    return {"folder": str(folder), "pattern": f"{name}_####.png"}


class _MouthCompositor:
    """Renders the lower face of each frame of the line and composites it over the original frame."""

    def __init__(
        self,
        folder: ActorFolder,
        footage: FootageReader,
        speech: Performance,
        frame_indices: list[int],
        portrait: Portrait,
        device: torch.device,
    ) -> None:
        """Load what all frames need.

        Args:
            folder: the actor.
            footage: its original frames.
            speech: the line.
            frame_indices: for each frame of the line, the index of the footage that is shown.
            portrait: the actor's model.
            device: where it renders.
        """
        self.frame_indices, self.device, self.portrait = frame_indices, device, portrait
        self.square_x, self.square_y, self.square_side = footage.crop_square
        self.camera = footage_camera_path(folder.require_camera(), self.square_side)
        self.footage_performance, self.speech = folder.load_footage_performance(), speech
        tracking = folder.load_tracking()
        self.shapes = np.asarray(tracking["shapes"], np.float64)
        self.neutral = np.asarray(tracking["neutral"], np.float64)
        self.landmarks = np.asarray(tracking["landmarks"], np.float64) * (self.square_side / folder.info.size)
        self.frame_store, self.color_match = FrameStore(folder), ColorMatch()
        plate = read_image(folder.file_path("plate.png"), COLOR)
        self.plate = self._resize_to_square(plate[..., ::-1].astype(np.float32) / MAX_BYTE)

    def composite_step(self, step: int, image: Image) -> Image:
        """Return the original frame (H, W, 3) with the mouth of one frame of the line."""
        x, y, side = self.square_x, self.square_y, self.square_side
        square = np.s_[y : y + side, x : x + side]
        original = image[square].astype(np.float32) / MAX_BYTE
        frame_index = self.frame_indices[step]
        footage_channels = self.footage_performance.channels[frame_index]
        channels = footage_channels.copy()
        channels[: len(ORAL_CHANNELS)] = self.speech.channels[step, : len(ORAL_CHANNELS)]
        before = self.landmarks[frame_index, :, :2]
        after = before + self._project_mesh(frame_index, channels) - self._project_mesh(frame_index, footage_channels)
        matte = lower_face_matte([before, after], (side, side))
        passes = self._render_frame(frame_index, channels)
        alpha = passes.alpha[..., None]
        rendered = np.asarray(passes.color * alpha + self.plate * (1 - alpha), np.float32)
        person = self._resize_to_square(self.frame_store.read_matte(frame_index, use_cache=False)[..., MATTE_PERSON])
        confidence = np.asarray(passes.alpha * person, np.float32)
        matched = self.color_match(rendered, original, matte, confidence, face_height(before))
        blended = original + matte[..., None] * (matched - original)
        result = image.copy()
        result[square] = np.where(matte[..., None] > 0, quantize(blended, MAX_BYTE).astype(np.uint8), image[square])
        return result

    def _render_frame(self, frame_index: int, channels: F32) -> Passes:
        """Return the actor in the footage's pose with other channels, through the footage's camera."""
        import torch

        from ..portrait.model import Pose
        from ..rasterizer import CameraView

        tracked = Pose.from_performance(self.footage_performance, frame_index, self.device)
        pose = tracked._replace(channels=torch.as_tensor(channels).to(self.device))
        camera = CameraView.from_path(self.camera, 0, self.device)
        with torch.inference_mode():
            frame = self.portrait.render(pose, camera, with_mattes=False)
        return passes_from_frame(frame)

    def _project_mesh(self, frame_index: int, channels: F32) -> F64:
        """Return the pixels (478, 2) of the face mesh in the footage's head pose."""
        view, intrinsics = self.camera.matrices_at(0)
        mesh = self.neutral + np.tensordot(channels.astype(np.float64), self.shapes, 1)
        rotation = matrix_from_quaternion(self.footage_performance.head_rotation[frame_index])
        points = mesh @ rotation.T + self.footage_performance.head_translation[frame_index]
        return project_points(points, view[:3, :3], view[:3, 3], intrinsics)

    def _resize_to_square(self, image: F32) -> F32:
        """Return an image of the training crop's size, resized to the square."""
        interpolation = cv2.INTER_AREA if self.square_side < image.shape[0] else cv2.INTER_LINEAR
        size = (self.square_side, self.square_side)
        return np.asarray(cv2.resize(image, size, interpolation=interpolation), np.float32)
