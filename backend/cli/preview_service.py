"""The warm process behind the live preview: the model stays loaded, and the newest request wins.

A `frame` request carries a pose and a camera; the answer is a `preview` event that names a memory-mapped file of
width×height RGBA uint8, top row first, display sRGB with straight alpha, and beside it one with the footage when that
is asked for. Two files take turns, so the one that Blender reads is never being written.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ..contract.actor_folder import ActorFolder, damaged_file_error
from ..contract.arrays import F32, F64, U8
from ..contract.camera import CameraPath, footage_camera_path
from ..contract.channels import CHANNEL_INDEX, CHANNELS
from ..contract.errors import UserError
from ..contract.performance import POSE_FIELDS, Performance
from ..contract.protocol import Error, Message, Preview, Progress, Request, Result
from ..dataset.frame_store import MATTE_PERSON, FrameStore

if TYPE_CHECKING:
    import torch

    from ..portrait.model import Portrait

SERVICE_JOB_ID = "serve"
MAX_PREVIEW_SIDE = 4096  # pixels of a preview


@dataclasses.dataclass(frozen=True)
class PreviewRequest:
    """A checked `frame` request.

    Attributes:
        id: of the request. frame: the scene's frame number, given back with the picture.
        performance: one row. camera: still.
        footage: the footage's frame that is wanted beside the picture; None for none.
        cut_out: show the footage's person alone, over black.
    """

    id: str
    frame: int
    performance: Performance
    camera: CameraPath
    footage_frame: int | None = None
    cut_out: bool = False

    @classmethod
    def from_request(cls, request: Request, folder: ActorFolder) -> PreviewRequest:
        """Reads `request.data`: {"width", "height", "frame", "head_rotation" [4], "head_translation" [3],
        "torso_rotation" [4], "torso_translation" [3], "channels" (52 numbers, or {name: number}), "view" 4×4,
        "intrinsics" [fx, fy, cx, cy], "footage" number, "cut_out" bool}. What is missing is the rest pose, the
        footage's camera at width×width, and no footage.

        Raises:
            UserError: bad_request, bad_camera, bad_performance or no_footage.
        """
        data = request.data
        wrong = UserError("bad_request", "The preview request cannot be read.", "Update the extension and the backend.")
        try:
            size = int(data.get("width", folder.info.size)), int(data.get("height", folder.info.size))
            frame = int(data.get("frame", 0))
            performance = Performance.rest_pose(1, 25)
            for name in POSE_FIELDS:
                if name in data:
                    setattr(performance, name, np.array([data[name]], np.float32))
            performance.channels = _channels_from_json(data.get("channels", {}))
            camera = _camera_from_json(data, size, folder)
            footage = int(data["footage"]) if "footage" in data else None
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise wrong from error
        if max(size) > MAX_PREVIEW_SIDE:
            raise UserError(
                "bad_request", f"A preview has at most {MAX_PREVIEW_SIDE} pixels a side.", "Ask for a smaller one."
            )
        count = folder.info.frame_count
        if footage is not None and not 0 <= footage < count:
            raise UserError("no_footage", f"The footage has no frame {footage}.", f"It has frames 0 to {count - 1}.")
        performance, camera = performance.check("of the request"), camera.check("of the request")
        return cls(request.id, frame, performance, camera, footage, bool(data.get("cut_out", False)))


class PreviewService:
    """Answers `frame` requests until it is told to `quit` or `close`d. `post` and `close` may come from any thread."""

    def __init__(
        self,
        folder: ActorFolder,
        send: Callable[[Message], None],
        error_from_exception: Callable[[BaseException], Error],
        image_folder: Path | None = None,
    ) -> None:
        """
        Args:
            send: writes a message to Blender.
            explain: turns any exception into an error message; its id is replaced.
            pictures: where the pictures go; by default the system's folder for temporary files.
        """
        self._folder, self._send, self._error_from_exception, self._image_folder = (
            folder,
            send,
            error_from_exception,
            image_folder,
        )
        self._condition = threading.Condition()
        self._pending_request: Request | None = None
        self._quit_request: Request | None = None
        self._is_closed = False
        self._frame_store = FrameStore(folder)

    def post_request(self, request: Request) -> None:
        """Takes a request. A `frame` that still waits is dropped: only the newest is worth drawing."""
        with self._condition:
            if request.verb == "quit":
                self._quit_request, self._is_closed = request, True
            elif request.verb == "cancel":
                self._pending_request = None
            elif request.verb == "frame":
                self._pending_request = request
            else:
                told = f"The preview service does not know “{request.verb}”."
                self._send(Error(request.id, "bad_request", told, "Update the extension and the backend."))
            self._condition.notify()

    def close(self) -> None:
        """Ends `run` after the present frame."""
        with self._condition:
            self._is_closed = True
            self._condition.notify()

    def run(self, load_portrait: Callable[[ActorFolder, torch.device], Portrait], device: torch.device) -> None:
        """Loads the model, then draws until the end. `progress` load 1/1 says that the first frame will come at once.

        Raises:
            UserError: the actor cannot be loaded. What goes wrong with one request is only told.
        """
        self._send(Progress(SERVICE_JOB_ID, "load", 0, 1))
        portrait = load_portrait(self._folder, device)
        place = Path(tempfile.mkdtemp(prefix="portrait_actor_preview_", dir=self._image_folder))
        renders, stills = _MappedImages(place, "preview"), _MappedImages(place, "footage")
        try:
            self._render(
                portrait, device, PreviewRequest.from_request(Request(SERVICE_JOB_ID, "frame"), self._folder)
            )  # compiles the kernels
            self._send(Progress(SERVICE_JOB_ID, "load", 1, 1))
            while (request := self._wait_for_request()) is not None:
                self._answer_request(portrait, device, request, renders, stills)
            if self._quit_request is not None:
                self._send(Result(self._quit_request.id))
        finally:
            renders.close()
            stills.close()
            shutil.rmtree(place, ignore_errors=True)  # Windows keeps a file that Blender still maps

    def _wait_for_request(self) -> Request | None:
        with self._condition:
            self._condition.wait_for(lambda: self._is_closed or self._pending_request is not None)
            request, self._pending_request = self._pending_request, None
            return None if self._is_closed else request

    def _answer_request(
        self,
        portrait: Portrait,
        device: torch.device,
        request: Request,
        render_files: _MappedImages,
        footage_files: _MappedImages,
    ) -> None:
        try:
            shot = PreviewRequest.from_request(request, self._folder)
            still = (
                ""
                if shot.footage_frame is None
                else str(footage_files.write(self._view_footage(shot, shot.footage_frame)))
            )
            path = render_files.write(self._render(portrait, device, shot))
        except Exception as error:  # one bad request must not end the service; it is told, and logged if it is a bug
            self._send(dataclasses.replace(self._error_from_exception(error), id=request.id))
            return
        self._send(Preview(shot.id, str(path), shot.camera.width, shot.camera.height, shot.frame, still))

    def _view_footage(self, preview: PreviewRequest, frame_index: int) -> U8:
        """The footage as the shot's camera sees it; see `through`."""
        assert self._folder.info.camera is not None
        picture = self._frame_store.read_frame(frame_index)
        if preview.cut_out:
            person = self._frame_store.read_matte(frame_index)[..., MATTE_PERSON, None]
            picture = np.rint(picture * person).astype(np.uint8)
        return warp_to_camera(preview.camera, picture, self._folder.info.camera.crop_intrinsics(len(picture)))

    def _render(self, portrait: Portrait, device: torch.device, preview: PreviewRequest) -> U8:
        import torch

        from ..portrait.model import Pose
        from ..rasterizer import CameraView
        from ..rendering.passes import preview_image

        pose = Pose.from_performance(preview.performance, 0, device)
        camera = CameraView.from_path(preview.camera, 0, device)
        with torch.inference_mode():
            frame = portrait.render(pose, camera, with_mattes=False)
        return preview_image(frame)


def warp_to_camera(camera: CameraPath, image: U8, intrinsics: F64) -> U8:
    """What a picture taken from the camera's place shows through the camera's own lens.

    Args:
        camera: still.
        picture: (S, S, 3) uint8. intrinsics: (3, 3) of the lens that it was taken with, at that size.

    Returns:
        (height, width, 4) uint8 RGBA; alpha is 0 beyond the picture's edges.
    """
    fx, fy, cx, cy = camera.intrinsics[0]
    scale = np.array([fx, fy]) / intrinsics[[0, 1], [0, 1]]
    shift = np.array([cx, cy]) - scale * intrinsics[:2, 2]
    size = np.array(image.shape[1::-1])
    smaller = np.maximum(1, np.rint(size * np.minimum(scale, 1))).astype(int)
    rgba = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    if (smaller < size).any():  # averaged, as one pixel of the preview is; what is left to do is a shift
        rgba, scale = cv2.resize(rgba, smaller.tolist(), interpolation=cv2.INTER_AREA), scale * size / smaller
    # OpenCV's pixel centres lie at whole numbers
    matrix = np.column_stack([np.diag(scale), shift + (scale - 1) / 2])
    seen = cv2.warpAffine(rgba, matrix, (camera.width, camera.height), flags=cv2.INTER_LINEAR)
    return seen.astype(np.uint8, copy=False)


class _MappedImages:
    """Two memory-mapped files that take turns; new ones when the size changes, so a mapped file never shrinks."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._maps: list[np.memmap[Any, np.dtype[np.uint8]]] = []
        self._paths: list[Path] = []
        self._current = self._generation = 0

    def write(self, image: U8) -> Path:
        """Puts (H, W, 4) uint8 into the file whose turn it is."""
        if not self._maps or self._maps[0].shape != image.shape:
            self.close()
            self._generation += 1
            self._paths = [self._folder / f"{self._name}_{self._generation}_{i}.rgba" for i in (0, 1)]
            self._maps = [np.memmap(path, np.uint8, "w+", shape=image.shape) for path in self._paths]
        self._current ^= 1
        self._maps[self._current][...] = image
        return self._paths[self._current]

    def close(self) -> None:
        """Lets go of the files; those of the last but one size are removed."""
        self._maps = []
        for path in self._paths:
            try:
                path.unlink(missing_ok=True)
            except PermissionError:
                continue  # Windows: Blender still maps it; the folder is cleared away later


def _channels_from_json(json_value: Any) -> F32:
    """(1, 52)"""
    row = np.zeros((1, len(CHANNELS)), np.float32)
    if isinstance(json_value, dict):
        for name, value in json_value.items():
            row[0, CHANNEL_INDEX[name]] = value
        return row
    return np.array([json_value], np.float32).reshape(1, len(CHANNELS))


def _camera_from_json(data: dict[str, Any], size: tuple[int, int], folder: ActorFolder) -> CameraPath:
    if "view" not in data and "intrinsics" not in data:
        if folder.info.camera is None:
            raise damaged_file_error(folder.file_path("actor.json"))
        return footage_camera_path(folder.info.camera, size[0])
    return CameraPath(
        width=size[0],
        height=size[1],
        frames=np.array([0], np.int64),
        views=np.array(data["view"], np.float64).reshape(1, 4, 4),
        intrinsics=np.array(data["intrinsics"], np.float64).reshape(1, 4),
    )
