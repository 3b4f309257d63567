"""The original shot: the footage's pictures, in any order, with the square in which the actor is drawn."""

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


class FootageReader:
    """The footage of an actor: its whole frames from the original video, or the crops that the actor's folder keeps.

    Args:
        folder: the actor.
        video: the video that it was made from; None takes the crops.

    Attributes:
        count: frames that were tracked. width, height: of the pictures.
        square: x, y, side in pixels of the pictures that training saw.

    Raises:
        UserError: ``other_footage``, ``damaged_actor``, or the video cannot be read.
    """

    def __init__(self, folder: ActorFolder, video: Path | None) -> None:
        info = folder.info
        camera = folder.require_camera()
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
        same_size = (found.width, found.height) == (camera.width, camera.height)
        if not same_size or found.frame_count < self._first_frame + self.frame_count:
            raise UserError(
                "other_footage",
                f"{video.name} is not the video that {info.name or folder.path.name} was made from.",
                f"Choose {info.source.get('name', 'the original')}, or leave it out to dub the actor's own crops.",
            )

    def read_images(self, frame_indices: Sequence[int]) -> Iterator[Image]:
        """(H, W, 3) display RGB of each row of the tracking, in the order that is asked for."""
        if self.video is None:
            yield from (self._store.read_frame(row, use_cache=False) for row in frame_indices)
        elif all(np.diff(frame_indices) == 1):
            yield from (picture for _, picture in self._stream_images(frame_indices[0], frame_indices[-1]))
        else:  # a film is read forwards only: what is shown more than once is laid aside
            with tempfile.TemporaryDirectory(prefix="dub") as place:
                files = {row: Path(place) / f"{row}.png" for row in range(min(frame_indices), max(frame_indices) + 1)}
                for row, picture in self._stream_images(min(frame_indices), max(frame_indices)):
                    quick = cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])[1]
                    files[row].write_bytes(quick.tobytes())
                for row in frame_indices:
                    yield np.asarray(cv2.imdecode(np.fromfile(files[row], np.uint8), cv2.IMREAD_COLOR), np.uint8)[
                        ..., ::-1
                    ]

    def _stream_images(self, first_index: int, last_index: int) -> Iterator[tuple[int, Image]]:
        assert self.video is not None
        for index, _, picture in read_frames(self.video):
            row = index - self._first_frame
            if row > last_index:
                return
            if row >= first_index:
                yield row, picture


def ping_pong_indices(start: int, count: int, total: int) -> list[int]:
    """`count` rows of `total` from `start` on: to the end, back to the beginning, and so on, without a jump."""
    if total == 1:
        return [0] * count
    period = 2 * (total - 1)
    places = (np.arange(count) + start) % period
    return [int(row) for row in np.minimum(places, period - places)]
