"""All mattes of a clip: first look at every frame, then learn, then matte every frame."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np

from ..contract.arrays import F32, U8, Floats
from .edges import EdgeRefiner
from .hair import HairModel
from .plate import Plate, PlateEstimator, push_pull
from .regions import head_mask, mouth_mask

PART_MARGIN_PIXELS = (
    9  # pixels: the window by which parts reach beyond the person, so that resampling meets no step at the edge
)


class ClipMatting:
    """The mattes of one clip from a camera that stands still, or nearly so.

    `look` at every frame in order, `learn` once, then `matte` any frame, from any thread. Memory does not grow with the
    clip's length.
    """

    plate: Plate
    hair_model: HairModel

    def __init__(self, expected_frames: int) -> None:
        self._estimator = PlateEstimator(expected_frames)
        self._masks: list[F32] = []
        self._landmarks: list[Floats] = []

    def add_frame(self, rgb: U8, mask: F32, landmarks: Floats) -> None:
        """Looks at a frame (H, W, 3), its rough mask (h, w) and its landmarks (478, ≥2) in pixels."""
        if self._estimator.add_frame(rgb, mask):
            self._masks.append(mask)
            self._landmarks.append(np.asarray(landmarks, np.float32))

    def learn(self) -> None:
        """Learns plate and hair; then the plate once more, up to the edges that the first one gave."""
        pictures = self._estimator.kept_frames()
        halves = [halve_image(picture) for picture in pictures]
        masks = [cv2.resize(m, p.shape[1::-1]) for m, p in zip(self._masks, halves, strict=True)]
        landmarks = [at / 2 for at in self._landmarks]
        self.hair_model = HairModel.learn(halves[::2], masks[::2], landmarks[::2])
        self.plate = self._estimator.estimate_plate()
        refine = EdgeRefiner(self.plate)

        def alpha(rgb: U8, small: U8, mask: F32, at: Floats) -> F32:
            return refine(_upsample_mask(mask, rgb), rgb, self.hair_model(small, at, mask)).alpha

        with ThreadPoolExecutor(min(4, os.cpu_count() or 1), "learn") as pool:
            alphas = list(pool.map(alpha, pictures, halves, masks, landmarks))
        self._estimator.update_masks(alphas)
        self.plate = self._estimator.estimate_plate()
        self._refiner = EdgeRefiner(self.plate)

    def compute_matte(self, rgb: U8, mask: F32, landmarks: Floats) -> tuple[F32, float]:
        """The mattes (H, W, 4) in 0–1 of a frame, and the share of its edge that the plate decided.

        Channels: the person's alpha, and what part of the person there is head (with hair), mouth interior, hair;
        no parts are named a few pixels away from the person, where they would only fill the disk.
        """
        small = halve_image(rgb)
        inside = cv2.resize(mask, small.shape[1::-1])
        hair = self.hair_model(small, landmarks / 2, inside)
        mask = _upsample_mask(mask, rgb)
        refined = self._refiner(mask, rgb, hair)
        hair = _upsample_mask(extend_hair_outwards(hair, inside), rgb)
        shape = mask.shape[0], mask.shape[1]
        near = cv2.dilate(
            (refined.alpha > 0).astype(np.uint8), np.ones((PART_MARGIN_PIXELS, PART_MARGIN_PIXELS), np.uint8)
        ).astype(np.float32)
        hair = hair * near
        head = cv2.max(head_mask(landmarks, shape) * near, hair)
        edge = (mask > 0.1) & (mask < 0.9)
        share = np.count_nonzero(edge & (refined.plate_influence > 0.5)) / max(np.count_nonzero(edge), 1)
        return cv2.merge([refined.alpha, head, mouth_mask(landmarks, shape), hair]), share


def halve_image(rgb: U8) -> U8:
    """A picture (H, W, 3) at half its width and height: where hair is told from skin."""
    return cv2.resize(rgb, (rgb.shape[1] // 2, rgb.shape[0] // 2), interpolation=cv2.INTER_AREA)


def extend_hair_outwards(hair: F32, mask: F32) -> F32:
    """How likely hair is (H, W), outside the rough mask (H, W) as at the mask's nearby edge: for loose strands."""
    size = max(8, mask.shape[1] // 2), max(8, mask.shape[0] // 2)
    small, inside = (cv2.resize(p, size, interpolation=cv2.INTER_AREA) for p in (hair, mask))
    wide = push_pull(small[..., None], (inside > 0.8).astype(np.float32))
    outer = cv2.resize(wide, (mask.shape[1], mask.shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(outer + np.clip(mask * 2 - 0.6, 0, 1) * (hair - outer), np.float32)


def _upsample_mask(mask: F32, rgb: U8) -> F32:
    return cv2.resize(mask, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_LINEAR).astype(np.float32, copy=False)
