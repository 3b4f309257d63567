"""Dub: the footage's shot stays, its lips say another line.

Head pose and upper face are the footage's, the mouth is the line's. The actor is drawn so through the footage's camera,
and only the lower face of it is laid over the original pictures.
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
from ..rendering.frames import frame_file_name, load_portrait
from ..rendering.images import encode_png
from ..rendering.passes import Passes, passes_from_frame, quantize
from ..setup.device import choose_device, device_name
from ..speech.model import Delivery, speak
from .blending import ColorMatch, face_height, lower_face_matte
from .footage import FootageReader, ping_pong_indices

if TYPE_CHECKING:
    import torch

    from ..portrait.model import Portrait

STAGE = "dub"


@dataclass(frozen=True)
class DubOptions:
    """What is dubbed and where it goes.

    Attributes:
        out: a film (.mp4, with the line as its sound), or a folder for PNG frames.
        footage: the video that the actor was made from; None takes the crops that the actor's folder keeps.
        start: seconds into the footage where the line begins.
        device: "auto", "cpu" or "cuda".
    """

    out: Path
    footage: Path | None = None
    start_seconds: float = 0.0
    device: str = "auto"


def dub(
    folder: ActorFolder,
    audio: Path,
    delivery: Delivery,
    options: DubOptions,
    reporter: Reporter,
    portrait_loader: Callable[[ActorFolder, torch.device], Portrait] = load_portrait,
) -> dict[str, Any]:
    """Lays a spoken line over the footage. The result is as long as the line; where the footage is shorter than that,
    it is shown to and fro, and a note says so.

    Returns:
        {"file" or "folder" and "pattern", "first", "last", "count", "width", "height", "fps", "seconds", "device"}.

    Raises:
        UserError: ``bad_start``, ``bad_format``, what `speak` and `Shot` raise, or the result cannot be written.
        Cancelled: whole PNG frames stay on disk.
    """
    began = time.monotonic()
    film = options.out.suffix.lower() == ".mp4"
    if options.out.suffix and not film:
        raise UserError("bad_format", f"{options.out.name} is no .mp4.", "Name an .mp4, or a folder for PNG frames.")
    shot = FootageReader(folder, options.footage)
    said = speak(folder, audio, delivery)
    first = round(options.start_seconds * said.fps)
    if not 0 <= first < shot.frame_count:
        end = shot.frame_count / said.fps
        raise UserError("bad_start", f"{options.start_seconds:g} s is not in the footage.", f"Choose 0 to {end:.1f} s.")
    rows = ping_pong_indices(first, len(said), shot.frame_count)
    if first + len(said) > shot.frame_count:
        reporter.note(
            f"The line is longer than the {(shot.frame_count - first) / said.fps:.1f} s of footage that are left: "
            "the shot is shown to and fro."
        )
    device = choose_device(options.device)
    reporter.progress(STAGE, 0, len(rows))
    mouth = _MouthCompositor(folder, shot, said, rows, device, portrait_loader(folder, device))
    pictures = (mouth.composite_step(step, picture) for step, picture in enumerate(shot.read_images(rows)))
    followed = reporter.report_items(pictures, STAGE, len(rows))
    make_folder(options.out.parent if film else options.out)
    if film:
        labels = video_metadata(folder.info, options.out.stem)
        with VideoWriter(options.out, shot.width, shot.height, said.fps, audio, labels) as writer:
            for picture in followed:
                writer.write_frame(picture)
        data: dict[str, Any] = {"file": str(options.out)}
    else:
        data = _write_sequence(options.out, followed)
    return {
        "first": 0, "last": len(rows) - 1, "count": len(rows), "width": shot.width, "height": shot.height,
        "fps": said.fps, "seconds": round(time.monotonic() - began, 3), "device": device_name(device), **data,
    }  # fmt: skip


def _write_sequence(folder: Path, images: Iterator[Image]) -> dict[str, Any]:
    """Writes opaque PNG frames from 0 on."""
    name = folder.resolve().name
    for frame, picture in enumerate(images):
        colour = picture.astype(np.float32) / 255
        opaque = Passes(colour, np.ones(colour.shape[:2], np.float32), np.zeros(colour.shape[:2], np.float32), {})
        write_bytes_atomically(
            folder / frame_file_name(name, frame, "png"), encode_png(opaque, 8, {"Title": name, "Frame": str(frame)})
        )
    return {"folder": str(folder), "pattern": f"{name}_####.png"}


class _MouthCompositor:
    """Draws the lower face of each step of a dub over the original picture.

    Args:
        said: the line; its step i is shown over row `rows[i]` of the tracking.
    """

    def __init__(
        self,
        folder: ActorFolder,
        footage: FootageReader,
        speech: Performance,
        frame_indices: list[int],
        device: torch.device,
        portrait: Portrait,
    ) -> None:
        self.frame_indices, self.device, self.portrait = frame_indices, device, portrait
        self.square_x, self.square_y, self.square_side = footage.crop_square
        self.camera = footage_camera_path(folder.require_camera(), self.square_side)
        self.footage_performance, self.speech = folder.load_footage_performance(), speech
        table = folder.load_tracking()
        self.shapes = np.asarray(table["shapes"], np.float64)
        self.neutral = np.asarray(table["neutral"], np.float64)
        self.landmarks = np.asarray(table["landmarks"], np.float64) * (self.square_side / folder.info.size)
        self.frame_store, self.color_match = FrameStore(folder), ColorMatch()
        plate = read_image(folder.file_path("plate.png"), COLOR)
        self.plate = self._resize_to_square(plate[..., ::-1].astype(np.float32) / 255)

    def composite_step(self, step: int, image: Image) -> Image:
        """The original picture (H, W, 3) of a step with the line's mouth in it."""
        part = np.s_[self.square_y : self.square_y + self.square_side, self.square_x : self.square_x + self.square_side]
        original = image[part].astype(np.float32) / 255
        row = self.frame_indices[step]
        channels = self.footage_performance.channels[row].copy()
        channels[: len(ORAL_CHANNELS)] = self.speech.channels[step, : len(ORAL_CHANNELS)]
        before = self.landmarks[row, :, :2]
        after = (
            before + self._project_mesh(row, channels) - self._project_mesh(row, self.footage_performance.channels[row])
        )
        matte = lower_face_matte([before, after], (self.square_side, self.square_side))
        passes = self._render_frame(row, channels)
        cover = passes.alpha[..., None]
        drawn = np.asarray(passes.color * cover + self.plate * (1 - cover), np.float32)
        person = self._resize_to_square(self.frame_store.read_matte(row, use_cache=False)[..., MATTE_PERSON])
        sure = np.asarray(passes.alpha * person, np.float32)
        drawn = self.color_match(drawn, original, matte, sure, face_height(before))
        mixed = original + matte[..., None] * (drawn - original)
        result = image.copy()
        result[part] = np.where(matte[..., None] > 0, quantize(mixed, 255).astype(np.uint8), image[part])
        return result

    def _render_frame(self, frame_index: int, channels: F32) -> Passes:
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
        """(478, 2) pixels of the face mesh in the pose of a row."""
        view, intrinsics = self.camera.matrices_at(0)
        mesh = self.neutral + np.tensordot(channels.astype(np.float64), self.shapes, 1)
        turn = matrix_from_quaternion(self.footage_performance.head_rotation[frame_index])
        placed = mesh @ turn.T + self.footage_performance.head_translation[frame_index]
        return project_points(placed, view[:3, :3], view[:3, 3], intrinsics)

    def _resize_to_square(self, image: F32) -> F32:
        """A picture of the training crop's size, as large as the square."""
        smaller = self.square_side < image.shape[0]
        way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(image, (self.square_side, self.square_side), interpolation=way), np.float32)
