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
from numpy.typing import NDArray

from ..contract.actor_folder import ActorFolder, damaged
from ..contract.atomic_write import make_folder, save_whole
from ..contract.camera import footage_camera
from ..contract.channels import ORAL
from ..contract.errors import UserError
from ..contract.geometry import matrix_from_quaternion, project
from ..contract.performance import Performance
from ..contract.progress import Reporter
from ..dataset.frame_store import PERSON, FrameStore
from ..media.encode import VideoWriter
from ..media.image_io import COLOUR, read_picture
from ..media.provenance import film_labels
from ..rendering.frames import frame_name, load_portrait
from ..rendering.images import png_bytes
from ..rendering.passes import Passes, passes_of, whole_numbers
from ..setup.device import choose_device, device_name
from ..speech.model import Delivery, speak
from .blending import ColourMatch, face_height, lower_face
from .footage import Picture, Shot, to_and_fro

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
    start: float = 0.0
    device: str = "auto"


def dub(
    folder: ActorFolder,
    sound: Path,
    how: Delivery,
    options: DubOptions,
    reporter: Reporter,
    load: Callable[[ActorFolder, torch.device], Portrait] = load_portrait,
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
    shot = Shot(folder, options.footage)
    said = speak(folder, sound, how)
    first = round(options.start * said.fps)
    if not 0 <= first < shot.count:
        end = shot.count / said.fps
        raise UserError("bad_start", f"{options.start:g} s is not in the footage.", f"Choose 0 to {end:.1f} s.")
    rows = to_and_fro(first, len(said), shot.count)
    if first + len(said) > shot.count:
        reporter.note(
            f"The line is longer than the {(shot.count - first) / said.fps:.1f} s of footage that are left: "
            "the shot is shown to and fro."
        )
    device = choose_device(options.device)
    reporter.progress(STAGE, 0, len(rows))
    mouth = _Mouth(folder, shot, said, rows, device, load(folder, device))
    pictures = (mouth.over(step, picture) for step, picture in enumerate(shot.pictures(rows)))
    followed = reporter.track(pictures, STAGE, len(rows))
    make_folder(options.out.parent if film else options.out)
    if film:
        labels = film_labels(folder.info, options.out.stem)
        with VideoWriter(options.out, shot.width, shot.height, said.fps, sound, labels) as writer:
            for picture in followed:
                writer.write(picture)
        data: dict[str, Any] = {"file": str(options.out)}
    else:
        data = _sequence(options.out, followed)
    return {
        "first": 0, "last": len(rows) - 1, "count": len(rows), "width": shot.width, "height": shot.height,
        "fps": said.fps, "seconds": round(time.monotonic() - began, 3), "device": device_name(device), **data,
    }  # fmt: skip


def _sequence(folder: Path, pictures: Iterator[Picture]) -> dict[str, Any]:
    """Writes opaque PNG frames from 0 on."""
    name = folder.resolve().name
    for frame, picture in enumerate(pictures):
        colour = picture.astype(np.float32) / 255
        opaque = Passes(colour, np.ones(colour.shape[:2], np.float32), np.zeros(colour.shape[:2], np.float32), {})
        save_whole(folder / frame_name(name, frame, "png"), png_bytes(opaque, 8, {"Title": name, "Frame": str(frame)}))
    return {"folder": str(folder), "pattern": f"{name}_####.png"}


class _Mouth:
    """Draws the lower face of each step of a dub over the original picture.

    Args:
        said: the line; its step i is shown over row `rows[i]` of the tracking.
    """

    def __init__(
        self,
        folder: ActorFolder,
        shot: Shot,
        said: Performance,
        rows: list[int],
        device: torch.device,
        portrait: Portrait,
    ) -> None:
        if folder.info.camera is None:
            raise damaged(folder.file("actor.json"))
        self.rows, self.device, self.portrait = rows, device, portrait
        self.x, self.y, self.side = shot.square
        self.camera = footage_camera(folder.info.camera, self.side)
        self.tracked, self.said = folder.footage(), said
        table = folder.tracking()
        self.shapes = np.asarray(table["shapes"], np.float64)
        self.neutral = np.asarray(table["neutral"], np.float64)
        self.landmarks = np.asarray(table["landmarks"], np.float64) * (self.side / folder.info.size)
        self.mattes, self.match = FrameStore(folder), ColourMatch()
        plate = read_picture(folder.file("plate.png"), COLOUR)
        self.plate = self._fitted(plate[..., ::-1].astype(np.float32) / 255)

    def over(self, step: int, picture: Picture) -> Picture:
        """The original picture (H, W, 3) of a step with the line's mouth in it."""
        part = np.s_[self.y : self.y + self.side, self.x : self.x + self.side]
        original = picture[part].astype(np.float32) / 255
        row = self.rows[step]
        channels = self.tracked.channels[row].copy()
        channels[: len(ORAL)] = self.said.channels[step, : len(ORAL)]
        before = self.landmarks[row, :, :2]
        after = before + self._points(row, channels) - self._points(row, self.tracked.channels[row])
        matte = lower_face([before, after], (self.side, self.side))
        passes = self._drawn(row, channels)
        cover = passes.alpha[..., None]
        drawn = np.asarray(passes.color * cover + self.plate * (1 - cover), np.float32)
        person = self._fitted(self.mattes.matte(row, keep=False)[..., PERSON])
        sure = np.asarray(passes.alpha * person, np.float32)
        drawn = self.match(drawn, original, matte, sure, face_height(before))
        mixed = original + matte[..., None] * (drawn - original)
        result = picture.copy()
        result[part] = np.where(matte[..., None] > 0, whole_numbers(mixed, 255).astype(np.uint8), picture[part])
        return result

    def _drawn(self, row: int, channels: NDArray[np.float32]) -> Passes:
        import torch

        def tensor(values: NDArray[Any]) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values, np.float32)).to(self.device)

        view, intrinsics = self.camera.at(0)
        tracked = self.tracked
        with torch.inference_mode():
            frame = self.portrait.render(
                tensor(tracked.head_rotation[row]), tensor(tracked.head_translation[row]),
                tensor(tracked.torso_rotation[row]), tensor(tracked.torso_translation[row]),
                tensor(channels), tensor(view), tensor(intrinsics), self.side, self.side, mattes=False,
            )  # fmt: skip
        return passes_of(frame)

    def _points(self, row: int, channels: NDArray[np.float32]) -> NDArray[np.float64]:
        """(478, 2) pixels of the face mesh in the pose of a row."""
        view, intrinsics = self.camera.at(0)
        mesh = self.neutral + np.tensordot(channels.astype(np.float64), self.shapes, 1)
        turn = matrix_from_quaternion(self.tracked.head_rotation[row])
        placed = mesh @ turn.T + self.tracked.head_translation[row]
        return project(placed, view[:3, :3], view[:3, 3], intrinsics)

    def _fitted(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """A picture of the training crop's size, as large as the square."""
        smaller = self.side < picture.shape[0]
        way = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(picture, (self.side, self.side), interpolation=way), np.float32)
