"""The camera file that Blender passes to `render`: one entry per frame, or a single one. Needs only numpy.

    {"format": "portrait_actor.camera.1", "width": 1920, "height": 1080, "frames": [
        {"frame": 1, "world_to_camera": [[…4 numbers] ×4], "intrinsics": [fx, fy, cx, cy]}, …]}

OpenCV convention: x right, y down, z forward; pixels, centres at +0.5. `world_to_camera` maps actor space (metres) and
may contain a uniform scale, so an actor that is scaled in the scene renders at its scene size. The optional `"border":
[left, top, right, bottom]` in pixels restricts rendering to that rectangle; the rest of the image stays empty.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .actor_folder import FootageCamera
from .arrays import F64, I64
from .atomic_write import write_atomically
from .errors import UserError
from .geometry import intrinsics_matrix
from .safe_io import matches_type, read_json

CAMERA_FORMAT = "portrait_actor.camera.1"
MAX_IMAGE_SIDE = 16384  # pixels, the largest texture that most GPUs accept
MAX_BOTTOM_ROW_ERROR = 1e-6  # of the elements of a view's last row, 0 0 0 1; allows for rounding only
MAX_ROTATION_ERROR = 1e-3  # of the elements of R Rᵀ − I; larger would accept sheared or unevenly scaled actors
Border = tuple[int, int, int, int]  # left, top, right, bottom in pixels


@dataclass
class CameraPath:
    """A still or moving camera.

    Attributes:
        width: image width in pixels, 1–16384.
        height: image height in pixels, 1–16384.
        frames: (T,) int frame numbers, increasing; T = 1 is a still camera, valid for every frame.
        views: (T, 4, 4) actor space → camera.
        intrinsics: (T, 4) fx, fy, cx, cy in pixels.
        border: left, top, right, bottom in pixels of the rendered part, the rest stays empty; None renders everything.
    """

    width: int
    height: int
    frames: I64
    views: F64
    intrinsics: F64
    border: Border | None = None

    def matrices_at(self, frame: int) -> tuple[F64, F64]:
        """Return the (4, 4) view and the (3, 3) intrinsics at a frame number.

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
        return self.views[row], intrinsics_matrix(*self.intrinsics[row])

    def resize(self, width: int, height: int) -> CameraPath:
        """Return the same view at another image size."""
        x, y = width / self.width, height / self.height
        intrinsics = self.intrinsics * np.array([x, y, x, y])
        border = None
        if self.border is not None:
            left, top, right, bottom = self.border
            left, top = round(left * x), round(top * y)
            border = left, top, max(left + 1, round(right * x)), max(top + 1, round(bottom * y))
        return CameraPath(width, height, self.frames, self.views, intrinsics, border).check()

    def crop(self, border: Border) -> CameraPath:
        """Return the camera whose image is the part within `border`."""
        left, top, right, bottom = border
        intrinsics = self.intrinsics - np.array([0, 0, left, top])
        return CameraPath(right - left, bottom - top, self.frames, self.views, intrinsics).check()

    def check(self, source: str = "camera") -> CameraPath:
        """Return the camera itself when it is valid.

        Args:
            source: its name in the error.

        Raises:
            UserError: bad_camera, with what is wrong.
        """
        if problem := self._find_problem():
            raise UserError(
                "bad_camera",
                f"The camera {source} cannot be used: {problem}.",
                "Scale the actor evenly, and export it again.",
            )
        return self

    def _find_problem(self) -> str:
        """Return what makes the camera unusable, or an empty string."""
        count = len(self.frames)
        if not (1 <= self.width <= MAX_IMAGE_SIDE and 1 <= self.height <= MAX_IMAGE_SIDE):
            return f"its image has {self.width}×{self.height} pixels, not 1 to {MAX_IMAGE_SIDE}"
        if self.border is not None and not _is_within(self.border, self.width, self.height):
            return f"its border {list(self.border)} is not within the image"
        if count == 0:
            return "it has no frames"
        if self.views.shape != (count, 4, 4) or self.intrinsics.shape != (count, 4):
            return "its matrices have the wrong shape"
        if not (np.isfinite(self.views).all() and np.isfinite(self.intrinsics).all()):
            return "it contains values that are not finite numbers"
        if np.any(np.diff(self.frames) <= 0):
            return "its frame numbers do not increase"
        if self.intrinsics[:, :2].min() <= 0:
            return "its focal length is not above 0"
        if np.abs(self.views[:, 3] - (0, 0, 0, 1)).max() > MAX_BOTTOM_ROW_ERROR:
            return "the last row of a matrix is not 0 0 0 1"
        if not all(_is_scaled_rotation(view[:3, :3]) for view in self.views):
            return "a matrix is not a rotation with a uniform scale"
        return ""

    def save(self, path: Path) -> None:
        """Write the camera file.

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
        """Read a camera file.

        Raises:
            UserError: missing_file or bad_camera.
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
        """Build the camera from a file's content; raises TypeError, ValueError or KeyError."""
        entries = data["frames"]
        border = data.get("border")
        integers = [data["width"], data["height"], *(entry["frame"] for entry in entries), *(border or ())]
        if not matches_type(integers, list[int]):
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
    """Return the still camera that shows the training crop at `size`×`size` pixels."""
    k = camera.crop_intrinsics(size)
    return CameraPath(
        width=size,
        height=size,
        frames=np.array([0], np.int64),
        views=camera.view()[None],
        intrinsics=np.array([[k[0, 0], k[1, 1], k[0, 2], k[1, 2]]], np.float64),
    ).check("of the footage")


def _is_within(border: tuple[int, ...], width: int, height: int) -> bool:
    """Whether a border lies in the image and contains at least one pixel."""
    if len(border) != 4:
        return False
    left, top, right, bottom = border
    return 0 <= left < right <= width and 0 <= top < bottom <= height


def _is_scaled_rotation(matrix: F64) -> bool:
    """Whether a (3, 3) matrix is a proper rotation times a positive number."""
    scale_cubed = float(np.linalg.det(matrix))
    if scale_cubed <= 0:
        return False
    rotation = matrix / scale_cubed ** (1 / 3)
    return bool(np.abs(rotation @ rotation.T - np.eye(3)).max() < MAX_ROTATION_ERROR)
