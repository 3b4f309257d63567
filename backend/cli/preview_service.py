"""The process behind the live preview: the model stays loaded, and only the newest request is rendered.

A `frame` request contains a pose and a camera. The answer is a `preview` message that names a memory-mapped file of
width×height RGBA uint8, top row first, display sRGB with straight alpha, and on request a second one of the footage.
Two files alternate, so the one that Blender reads is never being written.
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

from ..contract.actor_folder import ActorFolder
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
MAX_PREVIEW_SIDE = 4096  # pixels; a request beyond it is an error, since no viewport is that large


@dataclasses.dataclass(frozen=True)
class PreviewRequest:
    """A checked `frame` request.

    Attributes:
        id: the request's id.
        frame: the scene's frame number, which the answer repeats.
        performance: one row.
        camera: a still camera.
        footage_frame: the frame of the footage to show beside the actor, or None.
        cut_out: whether the footage shows only the person, over black.
    """

    id: str
    frame: int
    performance: Performance
    camera: CameraPath
    footage_frame: int | None = None
    cut_out: bool = False

    @classmethod
    def from_request(cls, request: Request, folder: ActorFolder) -> PreviewRequest:
        """Read and check `request.data`.

        Its keys are "width", "height", "frame", "head_rotation" [4], "head_translation" [3], "torso_rotation" [4],
        "torso_translation" [3], "channels" (52 numbers, or {name: number}), "view" 4×4, "intrinsics" [fx, fy, cx, cy],
        "footage" (frame index) and "cut_out" (bool). Defaults are the rest pose, the footage's camera at width×width,
        and no footage.

        Raises:
            UserError: bad_request, bad_camera, bad_performance or no_footage.
        """
        data = request.data
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
            message = "The preview request cannot be read."
            raise UserError("bad_request", message, "Update the extension and the backend.") from error
        if max(size) > MAX_PREVIEW_SIDE:
            raise UserError(
                "bad_request",
                f"The preview has {size[0]}×{size[1]} pixels, and at most {MAX_PREVIEW_SIDE} are possible on a side.",
                "Request a smaller one.",
            )
        count = folder.info.frame_count
        if footage is not None and not 0 <= footage < count:
            raise UserError("no_footage", f"The footage has no frame {footage}.", f"It has frames 0 to {count - 1}.")
        performance, camera = performance.check("of the request"), camera.check("of the request")
        return cls(request.id, frame, performance, camera, footage, bool(data.get("cut_out", False)))


class PreviewService:
    """Answers `frame` requests until `quit` is requested or `close` is called.

    `post_request` and `close` may be called from any thread.

    Args:
        folder: the actor.
        send: sends a message to Blender.
        error_from_exception: converts any exception to an error message, whose id is then replaced.
        image_folder: where the mapped files are made; by default the system's folder for temporary files.
    """

    def __init__(
        self,
        folder: ActorFolder,
        send: Callable[[Message], None],
        error_from_exception: Callable[[BaseException], Error],
        image_folder: Path | None = None,
    ) -> None:
        self._folder, self._send = folder, send
        self._error_from_exception, self._image_folder = error_from_exception, image_folder
        self._condition = threading.Condition()
        self._pending_request: Request | None = None
        self._quit_request: Request | None = None
        self._is_closed = False
        self._frame_store = FrameStore(folder)

    def post_request(self, request: Request) -> None:
        """Accept a request. A `frame` request replaces one that still waits."""
        with self._condition:
            if request.verb == "quit":
                self._quit_request, self._is_closed = request, True
            elif request.verb == "cancel":
                self._pending_request = None
            elif request.verb == "frame":
                self._pending_request = request
            else:
                message = f"The preview service does not know “{request.verb}”."
                self._send(Error(request.id, "bad_request", message, "Update the extension and the backend."))
            self._condition.notify()

    def close(self) -> None:
        """End `run` after the current frame."""
        with self._condition:
            self._is_closed = True
            self._condition.notify()

    def run(self, load_portrait: Callable[[ActorFolder, torch.device], Portrait], device: torch.device) -> None:
        """Load the model, then render until the end; the progress message load 1/1 announces that the service is ready.

        Raises:
            UserError: the actor cannot be loaded. An error in one request is only sent to Blender.
        """
        self._send(Progress(SERVICE_JOB_ID, "load", 0, 1))
        portrait = load_portrait(self._folder, device)
        folder = Path(tempfile.mkdtemp(prefix="portrait_actor_preview_", dir=self._image_folder))
        renders, footage = _MappedImages(folder, "preview"), _MappedImages(folder, "footage")
        try:
            warm_up = PreviewRequest.from_request(Request(SERVICE_JOB_ID, "frame"), self._folder)
            self._render(portrait, device, warm_up)  # compiles the kernels
            self._send(Progress(SERVICE_JOB_ID, "load", 1, 1))
            while (request := self._wait_for_request()) is not None:
                self._answer_request(portrait, device, request, renders, footage)
            if self._quit_request is not None:
                self._send(Result(self._quit_request.id))
        finally:
            renders.close()
            footage.close()
            shutil.rmtree(folder, ignore_errors=True)  # Windows keeps a file that Blender still maps

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
            preview = PreviewRequest.from_request(request, self._folder)
            footage_path = ""
            if preview.footage_frame is not None:
                footage_path = str(footage_files.write(self._view_footage(preview, preview.footage_frame)))
            path = render_files.write(self._render(portrait, device, preview))
        except Exception as error:  # one bad request must not end the service; the error is sent, and logged if a bug
            self._send(dataclasses.replace(self._error_from_exception(error), id=request.id))
            return
        width, height = preview.camera.width, preview.camera.height
        self._send(Preview(preview.id, str(path), width, height, preview.frame, footage_path))

    def _view_footage(self, preview: PreviewRequest, frame_index: int) -> U8:
        """Return the footage as the preview's camera shows it; see `warp_to_camera`."""
        image = self._frame_store.read_frame(frame_index)
        if preview.cut_out:
            person = self._frame_store.read_matte(frame_index)[..., MATTE_PERSON, None]
            image = np.rint(image * person).astype(np.uint8)
        return warp_to_camera(preview.camera, image, self._folder.require_camera().crop_intrinsics(len(image)))

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
    """Warp an image taken from the camera's position to the camera's intrinsics.

    Args:
        camera: a still camera.
        image: (S, S, 3) uint8.
        intrinsics: (3, 3) of the image, in its pixels.

    Returns:
        (height, width, 4) uint8 RGBA; alpha is 0 beyond the image's edges.
    """
    fx, fy, cx, cy = camera.intrinsics[0]
    scale = np.array([fx, fy]) / intrinsics[[0, 1], [0, 1]]
    shift = np.array([cx, cy]) - scale * intrinsics[:2, 2]
    size = np.array(image.shape[1::-1])
    smaller = np.maximum(1, np.rint(size * np.minimum(scale, 1))).astype(int)
    rgba = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    if (smaller < size).any():  # average first: warpAffine would sample single pixels
        rgba, scale = cv2.resize(rgba, smaller.tolist(), interpolation=cv2.INTER_AREA), scale * size / smaller
    # OpenCV's pixel centres are at whole numbers, ours at +0.5.
    matrix = np.column_stack([np.diag(scale), shift + (scale - 1) / 2])
    warped = cv2.warpAffine(rgba, matrix, (camera.width, camera.height), flags=cv2.INTER_LINEAR)
    result: U8 = warped.astype(np.uint8, copy=False)
    return result


class _MappedImages:
    """Two memory-mapped files that alternate; a new size gets new files, so a mapped file never shrinks."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder, self._name = folder, name
        self._maps: list[np.memmap[Any, np.dtype[np.uint8]]] = []
        self._paths: list[Path] = []
        self._current = self._generation = 0

    def write(self, image: U8) -> Path:
        """Write (H, W, 4) uint8 to the file that was not written last."""
        if not self._maps or self._maps[0].shape != image.shape:
            self.close()
            self._generation += 1
            self._paths = [self._folder / f"{self._name}_{self._generation}_{i}.rgba" for i in (0, 1)]
            self._maps = [np.memmap(path, np.uint8, "w+", shape=image.shape) for path in self._paths]
        self._current ^= 1
        self._maps[self._current][...] = image
        return self._paths[self._current]

    def close(self) -> None:
        """Unmap and delete the files."""
        self._maps = []
        for path in self._paths:
            try:
                path.unlink(missing_ok=True)
            except PermissionError:
                continue  # Windows: Blender still maps it; the folder is deleted later


def _channels_from_json(json_value: Any) -> F32:
    """Parse the channels of a request as a (1, 52) row."""
    row = np.zeros((1, len(CHANNELS)), np.float32)
    if isinstance(json_value, dict):
        for name, value in json_value.items():
            row[0, CHANNEL_INDEX[name]] = value
        return row
    return np.array([json_value], np.float32).reshape(1, len(CHANNELS))


def _camera_from_json(data: dict[str, Any], size: tuple[int, int], folder: ActorFolder) -> CameraPath:
    if "view" not in data and "intrinsics" not in data:
        return footage_camera_path(folder.require_camera(), size[0])
    return CameraPath(
        width=size[0],
        height=size[1],
        frames=np.array([0], np.int64),
        views=np.array(data["view"], np.float64).reshape(1, 4, 4),
        intrinsics=np.array(data["intrinsics"], np.float64).reshape(1, 4),
    )
