"""The square of the footage that shows the actor, and the crops, mattes and plate that are made from it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import cv2
import numpy as np

from ..compute.threads import MAX_WORKERS, map_in_order, single_opencv_thread
from ..contract.actor_folder import ActorFolder
from ..contract.arrays import F32, F64, U8, Floats
from ..contract.progress import Reporter
from ..matting.clip import ClipMatting
from ..matting.person import PersonSegmenter
from ..matting.plate import Plate
from ..matting.temporal_filter import TemporalFilter
from ..media.decode import read_frames
from ..media.prefetch import prefetch
from ..tracking.detection import topology as topo
from ..tracking.detection.selection import SegmentSelection
from .frame_store import FrameStore

# Face heights that the crop shows above the forehead, for the hair; a larger value makes the face smaller in the crop.
# Chosen by eye on the train clips.
MARGIN_ABOVE_FACE_HEIGHTS = 0.50
# The same below the chin, for neck and shoulders.
MARGIN_BELOW_FACE_HEIGHTS = 0.85
# Percentiles over the clip of forehead and chin: farther out follows single outlying frames.
FOREHEAD_PERCENTILE = 2
CHIN_PERCENTILE = 98
# Crops are at least this large, even where the footage shows less: smaller ones leave too few pixels for the mouth.
# Not tuned.
MIN_CROP_SIZE_PIXELS = 96
# The crop's side is a multiple of this many pixels, the side of gsplat's tiles.
CROP_SIZE_MULTIPLE_PIXELS = 16


@dataclass(frozen=True)
class CropBox:
    """A square of the footage and the crop that it is resized to.

    Attributes:
        x: left edge in footage pixels, whole.
        y: upper edge in footage pixels, whole.
        side: side in footage pixels, whole.
        crop_size: side of the crop in pixels.
        footage_size: width and height of the footage frame in pixels.
    """

    x: float
    y: float
    side: float
    crop_size: int
    footage_size: tuple[int, int]

    @classmethod
    def from_landmarks(cls, landmarks: Floats, footage_size: tuple[int, int], max_crop_size: int) -> CropBox:
        """Return the square that holds head and shoulders over a whole segment.

        Args:
            landmarks: (T, 478, ≥2) footage pixels.
            footage_size: width and height of the footage frame in pixels.
            max_crop_size: maximum side of the crop in pixels; where the footage shows less, the crop is smaller.
        """
        top = np.percentile(landmarks[:, topo.FOREHEAD, 1], FOREHEAD_PERCENTILE)
        bottom = np.percentile(landmarks[:, topo.CHIN, 1], CHIN_PERCENTILE)
        face_height = float(np.median(np.ptp(landmarks[..., 1], axis=1)))
        center = float(np.median(landmarks[:, topo.NOSE_TIP, 0]))
        upper = top - MARGIN_ABOVE_FACE_HEIGHTS * face_height
        lower = bottom + MARGIN_BELOW_FACE_HEIGHTS * face_height
        side = round(min(lower - upper, *footage_size))
        x = round(np.clip(center - side / 2, 0, footage_size[0] - side))
        y = round(np.clip(upper, 0, footage_size[1] - side))
        multiple = side // CROP_SIZE_MULTIPLE_PIXELS * CROP_SIZE_MULTIPLE_PIXELS
        crop_size = min(max_crop_size, max(MIN_CROP_SIZE_PIXELS, multiple))
        return cls(float(x), float(y), float(side), crop_size, footage_size)

    @property
    def scale(self) -> float:
        """Crop pixels per footage pixel."""
        return self.crop_size / self.side

    @property
    def principal_point(self) -> tuple[float, float]:
        """The footage frame's centre in crop pixels."""
        width, height = self.footage_size
        return (
            (width / 2 - self.x) * self.crop_size / self.side,
            (height / 2 - self.y) * self.crop_size / self.side,
        )

    def to_crop_space(self, landmarks: Floats) -> F64:
        """Return landmarks (T, 478, 3) in crop pixels from footage pixels; depth is scaled alike."""
        return (np.asarray(landmarks, np.float64) - [self.x, self.y, 0]) * self.scale

    def crop_image(self, image: U8) -> U8:
        """Return the crop (crop_size, crop_size, 3) of a footage frame (H, W, 3)."""
        x, y, side = round(self.x), round(self.y), round(self.side)
        interpolation = cv2.INTER_AREA if side > self.crop_size else cv2.INTER_CUBIC
        square = image[y : y + side, x : x + side]
        crop = cv2.resize(square, (self.crop_size, self.crop_size), interpolation=interpolation)
        return np.ascontiguousarray(crop)


def write_crops(
    video: Path, folder: ActorFolder, selection: SegmentSelection, box: CropBox, reporter: Reporter
) -> float:
    """Stream the selected segment into `frames/` and `mattes/`, and estimate the plate, in two passes.

    The first pass segments the person roughly and learns the background and the hair; the second refines the mattes at
    their edges.

    Returns:
        The share 0–1 of the person's edge that the known background could decide.
    """
    store = FrameStore(folder)
    store.make_folders()
    count = selection.last - selection.first + 1
    crop_landmarks = box.to_crop_space(selection.landmarks)
    clip_matting = ClipMatting(count)
    frames = takewhile(lambda frame: frame[0] <= selection.last, read_frames(video))

    def crop_frames() -> Iterator[U8]:
        for index, _, rgb in frames:
            if index >= selection.first:
                crop = box.crop_image(rgb)
                store.write_frame(index - selection.first, crop)
                yield crop

    with PersonSegmenter() as segmenter, single_opencv_thread(), closing(prefetch(crop_frames())) as crops:
        for index, crop in enumerate(reporter.report_items(crops, "cut out the person", count)):
            mask = segmenter.segment(crop)
            store.write_mask(index, mask)
            clip_matting.add_frame(crop, mask, crop_landmarks[index])
        clip_matting.learn()
    _write_plate(folder, clip_matting.plate)
    return _write_mattes(store, clip_matting, crop_landmarks, reporter)


def _write_plate(folder: ActorFolder, plate: Plate) -> None:
    """Write `plate.png`; its alpha is 0 where the background was never seen."""
    with folder.write_atomically("plate.png") as temporary:
        bgra = np.dstack([plate.color[..., ::-1], np.where(plate.seen, 255, 0).astype(np.uint8)])
        temporary.write_bytes(cv2.imencode(".png", bgra)[1].tobytes())


def _write_mattes(store: FrameStore, clip_matting: ClipMatting, crop_landmarks: F64, reporter: Reporter) -> float:
    """Refine and write the mattes on all cores; only the temporal filter sees them one after the other.

    Returns:
        The mean over frames of the edge's share that the known background could decide.
    """
    temporal_filter, count = TemporalFilter(), len(crop_landmarks)

    def refine(index: int) -> tuple[U8, F32, float]:
        frame = store.read_frame(index, use_cache=False)
        return frame, *clip_matting.compute_matte(frame, store.read_mask(index), crop_landmarks[index])

    def filter_mattes() -> Iterator[tuple[int, F32, float]]:
        for index, (frame, matte, plate_share) in enumerate(map_in_order(pool, refine, range(count))):
            yield index, temporal_filter.filter(frame, matte), plate_share

    def write(item: tuple[int, F32, float]) -> float:
        index, matte, plate_share = item
        store.write_matte(index, matte)
        return plate_share

    with ThreadPoolExecutor(MAX_WORKERS, "mattes") as pool, single_opencv_thread():
        plate_shares = map_in_order(pool, write, filter_mattes())
        return float(np.mean(list(reporter.report_items(plate_shares, "refine the mattes", count))))
