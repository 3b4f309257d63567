"""All mattes of a clip: collect every frame, learn plate and hair, then compute the matte of any frame."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from ..contract.arrays import F32, U8, Floats
from .edges import EdgeRefiner
from .hair import HairModel
from .plate import Plate, PlateEstimator
from .regions import head_mask, mouth_mask
from .resampling import push_pull

# Pixels of the window by which the parts reach beyond the person, so that resampling meets no step at the edge.
PART_MARGIN_PIXELS = 9
MAX_LEARNING_THREADS = 4  # each holds a few images
HAIR_FRAME_INTERVAL = 2  # hair is learned from every second frame that the plate keeps: enough, and twice as fast

# Rough mask between which its edge lies.
MIN_EDGE_MASK = 0.1
MAX_EDGE_MASK = 0.9
DECIDED_INFLUENCE = 0.5  # influence from which the plate decided a pixel

MIN_HAIR_SOURCE_MASK = 0.8  # mask from which hair probabilities spread outwards
# Outside the mask the spread probability counts, inside the pixel's own; the change runs over this range of the mask.
OWN_HAIR_GAIN = 2
OWN_HAIR_OFFSET = 0.6


class ClipMatting:
    """The mattes of one clip from a camera that stands still, or nearly so.

    Call `add_frame` for every frame in order, `learn` once, then `compute_matte` for any frame, from any thread. Memory
    does not grow with the length of the clip.

    Attributes:
        plate: the learned plate.
        hair_model: the learned colours of the hair.
    """

    plate: Plate
    hair_model: HairModel

    def __init__(self, expected_frames: int) -> None:
        self._estimator = PlateEstimator(expected_frames)
        self._masks: list[F32] = []
        self._landmarks: list[Floats] = []

    def add_frame(self, rgb: U8, mask: F32, landmarks: Floats) -> None:
        """Add the next frame (H, W, 3), its rough mask (h, w) and its landmarks (478, ≥2) in pixels."""
        if self._estimator.add_frame(rgb, mask):
            self._masks.append(mask)
            self._landmarks.append(np.asarray(landmarks, np.float32))

    def learn(self) -> None:
        """Learn plate and hair, then the plate again, up to the edges that the first one gave."""
        images = self._estimator.kept_frames()
        small_images = [halve_image(image) for image in images]
        masks = [cv2.resize(m, p.shape[1::-1]) for m, p in zip(self._masks, small_images, strict=True)]
        landmarks = [points / 2 for points in self._landmarks]
        every = slice(None, None, HAIR_FRAME_INTERVAL)
        self.hair_model = HairModel.learn(small_images[every], masks[every], landmarks[every])
        self.plate = self._estimator.estimate_plate()
        refiner = EdgeRefiner(self.plate)

        def refine_alpha(rgb: U8, small: U8, mask: F32, points: Floats) -> F32:
            return refiner.refine(_upsample_mask(mask, rgb), rgb, self.hair_model.predict(small, points, mask)).alpha

        with ThreadPoolExecutor(min(MAX_LEARNING_THREADS, os.cpu_count() or 1), "learn") as pool:
            alphas = list(pool.map(refine_alpha, images, small_images, masks, landmarks))
        self._estimator.update_masks(alphas)
        self.plate = self._estimator.estimate_plate()
        self._refiner = EdgeRefiner(self.plate)

    def compute_matte(self, rgb: U8, mask: F32, landmarks: Floats) -> tuple[F32, float]:
        """Compute the mattes of a frame.

        Args:
            rgb: (H, W, 3).
            mask: (h, w) rough mask.
            landmarks: (478, ≥2) pixels.

        Returns:
            mattes: (H, W, 4) in 0–1: the person's alpha, and which part of the person is head (with hair), mouth
                interior, hair. Head and hair are 0 a few pixels away from the person, where they would only fill the
                disk.
            plate_share: share 0–1 of the person's edge that the plate decided.
        """
        small = halve_image(rgb)
        small_mask = cv2.resize(mask, small.shape[1::-1])
        small_hair = self.hair_model.predict(small, landmarks / 2, small_mask)
        rough = _upsample_mask(mask, rgb)
        refined = self._refiner.refine(rough, rgb, small_hair)
        shape = rough.shape[0], rough.shape[1]
        margin = np.ones((PART_MARGIN_PIXELS, PART_MARGIN_PIXELS), np.uint8)
        is_near = cv2.dilate((refined.alpha > 0).astype(np.uint8), margin).astype(np.float32)
        hair = _upsample_mask(extend_hair_outwards(small_hair, small_mask), rgb) * is_near
        head = cv2.max(head_mask(landmarks, shape) * is_near, hair)
        is_edge = (rough > MIN_EDGE_MASK) & (rough < MAX_EDGE_MASK)
        is_decided = is_edge & (refined.plate_influence > DECIDED_INFLUENCE)
        plate_share = np.count_nonzero(is_decided) / max(np.count_nonzero(is_edge), 1)
        return cv2.merge([refined.alpha, head, mouth_mask(landmarks, shape), hair]), plate_share


def halve_image(rgb: U8) -> U8:
    """Return an image (H, W, 3) at half its width and height, the size at which hair is classified."""
    half = rgb.shape[1] // 2, rgb.shape[0] // 2
    return np.asarray(cv2.resize(rgb, half, interpolation=cv2.INTER_AREA), np.uint8)


def extend_hair_outwards(hair: F32, mask: F32) -> F32:
    """Return the hair probability (H, W), outside the rough mask (H, W) as at its nearby edge: for loose strands."""
    size = max(8, mask.shape[1] // 2), max(8, mask.shape[0] // 2)
    small_hair, small_mask = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (hair, mask))
    spread = push_pull(small_hair[..., None], (small_mask > MIN_HAIR_SOURCE_MASK).astype(np.float32))
    outer = cv2.resize(spread, (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_LINEAR)
    own_share = np.clip(mask * OWN_HAIR_GAIN - OWN_HAIR_OFFSET, 0, 1)
    return np.asarray(outer + own_share * (hair - outer), np.float32)


def _upsample_mask(mask: F32, rgb: U8) -> F32:
    return np.asarray(cv2.resize(mask, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR), np.float32)
