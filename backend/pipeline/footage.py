"""The original footage of an actor as a source of frames in any order, with the square that the actor is drawn in."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from ..contract.actor_folder import ActorFolder
from ..contract.arrays import Image
from ..contract.errors import UserError
from ..dataset.frame_store import FrameStore
from ..media.decode import probe_video, read_frames

PNG_COMPRESSION_LEVEL = 1  # the fastest: the files are read again at once


class FootageReader:
    """The tracked frames of an actor: whole frames of the original video, or the crops in the actor folder.

    Attributes:
        frame_count: number of tracked frames.
        width: width of the frames in pixels.
        height: height of the frames in pixels.
        crop_square: x, y, side in pixels of the frames of the square that training sees.
    """

    def __init__(self, folder: ActorFolder, video: Path | None) -> None:
        """Open the footage.

        Args:
            folder: the actor.
            video: the video that the actor was made from; None reads the crops.

        Raises:
            UserError: ``other_footage``, ``damaged_actor``, or the video cannot be read.
        """
        info, camera = folder.info, folder.require_camera()
        self.video, self.frame_count = video, info.frame_count
        self._first_frame = info.segments[0][0] if info.segments else 0
        if video is None:
            self._store = FrameStore(folder)
            side = self._store.read_frame(0, use_cache=False).shape[0]
            self.width = self.height = side
            self.crop_square = (0, 0, side)
            return
        found = probe_video(video)
        x, y, side = (round(v) for v in camera.crop)
        self.width, self.height, self.crop_square = found.width, found.height, (x, y, side)
        has_same_size = (found.width, found.height) == (camera.width, camera.height)
        if not has_same_size or found.frame_count < self._first_frame + self.frame_count:
            raise UserError(
                "other_footage",
                f"{video.name} is not the video that {info.name or folder.path.name} was made from.",
                f"Choose {info.source.get('name', 'the original')}, or leave it out to dub the actor's own crops.",
            )

    def read_images(self, frame_indices: Sequence[int]) -> Iterator[Image]:
        """Yield the display RGB image (H, W, 3) of each index of the tracked frames, in the given order."""
        if self.video is None:
            yield from (self._store.read_frame(index, use_cache=False) for index in frame_indices)
        elif all(np.diff(frame_indices) == 1):
            yield from (image for _, image in self._stream_images(frame_indices[0], frame_indices[-1]))
        else:
            yield from self._read_in_any_order(frame_indices)

    def _read_in_any_order(self, frame_indices: Sequence[int]) -> Iterator[Image]:
        """Decode the frames once into temporary files, because a video is only read forwards."""
        first, last = min(frame_indices), max(frame_indices)
        with tempfile.TemporaryDirectory(prefix="dub") as folder:
            files = {index: Path(folder) / f"{index}.png" for index in range(first, last + 1)}
            for index, image in self._stream_images(first, last):
                options = [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION_LEVEL]
                files[index].write_bytes(cv2.imencode(".png", image[..., ::-1], options)[1].tobytes())
            for index in frame_indices:
                bgr = cv2.imdecode(np.fromfile(files[index], np.uint8), cv2.IMREAD_COLOR)
                yield np.asarray(bgr, np.uint8)[..., ::-1]

    def _stream_images(self, first_index: int, last_index: int) -> Iterator[tuple[int, Image]]:
        assert self.video is not None
        for frame_number, _, image in read_frames(self.video):
            index = frame_number - self._first_frame
            if index > last_index:
                return
            if index >= first_index:
                yield index, image
