"""The camera file that Blender hands to `render`: one entry a frame, or one for all. numpy only, so Blender writes it.

    {"format": "portrait_actor.camera.1", "width": 1920, "height": 1080, "frames": [
        {"frame": 1, "world_to_camera": [[…4 numbers] ×4], "intrinsics": [fx, fy, cx, cy]}, …]}

OpenCV convention: x right, y down, z forward; pixels, centres at +0.5. `world_to_camera` maps actor space (metres) and
may carry a uniform scale, so an actor that was scaled in the scene renders at its scene size. An optional `"border":
[left, top, right, bottom]` in pixels leaves everything outside of it empty.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .actor_folder import FootageCamera as FootageCamera
from .arrays import F64, I64
from .atomic_write import write_atomically
from .errors import UserError
from .safe_io import read_json

CAMERA_FORMAT = "portrait_actor.camera.1"
MAX_IMAGE_SIDE = 16384  # pixels, the largest texture most GPUs take
Border = tuple[int, int, int, int]  # left, top, right, bottom in pixels


@dataclass
class CameraPath:
    """A still or moving camera.

    Attributes:
        width, height: of the picture, pixels, 1–16384.
        frames: (T,) int frame numbers, increasing; T = 1 is a still camera that serves every frame.
        views: (T, 4, 4) actor space → camera.
        intrinsics: (T, 4) fx, fy, cx, cy in pixels.
        border: left, top, right, bottom in pixels of the part that is drawn, the rest stays empty; None draws all.
    """

    width: int
    height: int
    frames: I64
    views: F64
    intrinsics: F64
    border: Border | None = None

    def matrices_at(self, frame: int) -> tuple[F64, F64]:
        """(4, 4) view and (3, 3) intrinsics at a frame number.

        Raises:
            UserError: the camera moves and has no entry for that frame.
        """
        row = 0
        if len(self.frames) > 1:
            row = int(np.searchsorted(self.frames, frame))
            if row == len(self.frames) or self.frames[row] != frame:
                raise UserError(
                    "camera_frame_missing",
                    f"The camera has no entry for frame {frame}.",
                    f"Export it for frames {self.frames[0]} to {self.frames[-1]} and that frame as well.",
                )
        fx, fy, cx, cy = self.intrinsics[row]
        return self.views[row], np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], np.float64)

    def resize(self, width: int, height: int) -> CameraPath:
        """The same view as a picture of another size."""
        x, y = width / self.width, height / self.height
        intrinsics = self.intrinsics * np.array([x, y, x, y])
        border = None
        if self.border is not None:
            left, top, right, bottom = self.border
            left, top = round(left * x), round(top * y)
            border = left, top, max(left + 1, round(right * x)), max(top + 1, round(bottom * y))
        return CameraPath(width, height, self.frames, self.views, intrinsics, border).check()

    def crop(self, border: Border) -> CameraPath:
        """The part of the picture within a border, as a picture of its own."""
        left, top, right, bottom = border
        intrinsics = self.intrinsics - np.array([0, 0, left, top])
        return CameraPath(right - left, bottom - top, self.frames, self.views, intrinsics).check()

    def check(self, source: str = "camera") -> CameraPath:
        """The camera itself when it is sound.

        Raises:
            UserError: bad_camera, with what is wrong.
        """
        count = len(self.frames)
        problem = ""
        if not (1 <= self.width <= MAX_IMAGE_SIDE and 1 <= self.height <= MAX_IMAGE_SIDE):
            problem = f"its picture is {self.width}×{self.height} pixels, not 1 to {MAX_IMAGE_SIDE}"
        elif self.border is not None and not _is_within(self.border, self.width, self.height):
            problem = f"its border {list(self.border)} is no part of the picture"
        elif count == 0:
            problem = "it has no frames"
        elif self.views.shape != (count, 4, 4) or self.intrinsics.shape != (count, 4):
            problem = "its matrices have the wrong shape"
        elif not (np.isfinite(self.views).all() and np.isfinite(self.intrinsics).all()):
            problem = "it holds values that are not finite numbers"
        elif np.any(np.diff(self.frames) <= 0):
            problem = "its frame numbers do not increase"
        elif self.intrinsics[:, :2].min() <= 0:
            problem = "its focal length is not above 0"
        elif np.abs(self.views[:, 3] - (0, 0, 0, 1)).max() > 1e-6:
            problem = "the last row of a matrix is not 0 0 0 1"
        elif not all(_is_scaled_rotation(view[:3, :3]) for view in self.views):
            problem = "a matrix is not a rotation with a uniform scale"
        if problem:
            raise UserError(
                "bad_camera",
                f"The camera {source} cannot be used: {problem}.",
                "Scale the actor evenly, and export it again.",
            )
        return self

    def save(self, path: Path) -> None:
        """Writes the camera file under a temporary name first.

        Raises:
            UserError: it cannot be written.
        """
        entries = [
            {"frame": int(frame), "world_to_camera": view.tolist(), "intrinsics": intrinsics.tolist()}
            for frame, view, intrinsics in zip(self.frames, self.views, self.intrinsics, strict=True)
        ]
        data = {"format": CAMERA_FORMAT, "width": self.width, "height": self.height, "frames": entries}
        if self.border is not None:
            data["border"] = list(self.border)
        with write_atomically(path) as part:
            part.write_text(json.dumps(data, allow_nan=False), encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> CameraPath:
        """Reads a camera file.

        Raises:
            UserError: missing_file, bad_camera.
        """
        try:
            data = read_json(path)
            if data["format"] != CAMERA_FORMAT:
                raise ValueError(f"unknown format {data['format']!r}")
            return cls._from_json(data).check(path.name)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise UserError("missing_file", f"There is no camera file at {path}.", "Choose another file.") from error
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(
                "bad_camera", f"{path.name} is not a readable camera file.", "Export the camera again."
            ) from error

    @classmethod
    def _from_json(cls, data: dict[str, Any]) -> CameraPath:
        entries = data["frames"]
        border = data.get("border")
        numbers = [data["width"], data["height"], *(entry["frame"] for entry in entries), *(border or ())]
        if not all(isinstance(number, int) and not isinstance(number, bool) for number in numbers):
            raise TypeError("size, border and frame numbers must be whole numbers")
        return cls(
            width=data["width"],
            height=data["height"],
            frames=np.array([entry["frame"] for entry in entries], np.int64),
            views=np.array([entry["world_to_camera"] for entry in entries], np.float64).reshape(-1, 4, 4),
            intrinsics=np.array([entry["intrinsics"] for entry in entries], np.float64).reshape(-1, 4),
            border=None if border is None else tuple(border),
        )


def footage_camera_path(camera: FootageCamera, size: int) -> CameraPath:
    """The footage's own camera, still, looking at the crop that training saw, `size`×`size` pixels."""
    k = camera.crop_intrinsics(size)
    return CameraPath(
        width=size,
        height=size,
        frames=np.array([0], np.int64),
        views=camera.view()[None],
        intrinsics=np.array([[k[0, 0], k[1, 1], k[0, 2], k[1, 2]]], np.float64),
    ).check("of the footage")


def _is_within(border: tuple[int, ...], width: int, height: int) -> bool:
    """Whether four numbers are a border with at least one pixel of the picture."""
    if len(border) != 4:
        return False
    left, top, right, bottom = border
    return 0 <= left < right <= width and 0 <= top < bottom <= height


def _is_scaled_rotation(matrix: F64) -> bool:
    """Whether a (3, 3) matrix is a proper rotation times a positive number, to 1 part in 1000."""
    scale_cubed = float(np.linalg.det(matrix))
    if scale_cubed <= 0:
        return False
    rotation = matrix / scale_cubed ** (1 / 3)
    return bool(np.abs(rotation @ rotation.T - np.eye(3)).max() < 1e-3)
