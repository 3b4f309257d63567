"""Soft person mattes: MediaPipe's segmenter, sharpened along the picture's edges, and the background plate."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


class PersonMatte:
    """Alpha of the person, frame after frame. A context manager: it holds MediaPipe's segmenter."""

    def __init__(self) -> None:
        from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation

        self._model: Any = SelfieSegmentation(model_selection=0)

    def __enter__(self) -> PersonMatte:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._model.close()

    def __call__(self, rgb: NDArray[np.uint8]) -> F32:
        """(H, W) alpha in 0–1 of an (H, W, 3) picture."""
        raw = self._model.process(np.ascontiguousarray(rgb)).segmentation_mask
        return refine(np.asarray(raw, np.float32), rgb)


def refine(raw: F32, rgb: NDArray[np.uint8]) -> F32:
    """A raw mask (H, W) drawn to the edges of the picture (H, W, 3): a guided filter (He et al., PAMI 2013).

    The radius is about the width of the mask's own uncertain band; a curve then takes faint haze away.
    """
    radius = max(2, round(max(raw.shape) / 32))
    guided = cv2.ximgproc.guidedFilter(rgb, np.ascontiguousarray(raw), radius, (0.02 * 255) ** 2)
    return np.clip((guided - 0.15) / 0.7, 0, 1).astype(np.float32)


class PlateEstimator:
    """The background without the person: the median, per pixel, over the frames that show it.

    Keeps at most `capacity` frames spread over the clip, so memory does not grow with its length.
    """

    def __init__(self, expected: int, capacity: int = 48) -> None:
        self._every = max(1, expected // capacity)
        self._seen = 0
        self._pictures: list[NDArray[np.uint8]] = []
        self._clear: list[NDArray[np.bool_]] = []

    def add(self, rgb: NDArray[np.uint8], alpha: F32) -> None:
        """Looks at one frame (H, W, 3) with its person alpha (H, W)."""
        if self._seen % self._every == 0:
            reach = max(3, round(alpha.shape[0] / 40)) | 1
            self._pictures.append(rgb.copy())
            self._clear.append(cv2.dilate(alpha, np.ones((reach, reach), np.uint8)) < 0.05)
        self._seen += 1

    def plate(self) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The plate (H, W, 3) and where it was really seen (H, W); the rest is filled in from its surroundings."""
        pictures = np.stack(self._pictures)
        clear = np.stack(self._clear)
        plate = np.zeros(pictures.shape[1:], np.uint8)
        for y in range(plate.shape[0]):  # row by row: a masked median of everything at once would need 8× the memory
            row = np.where(clear[:, y, :, None], pictures[:, y].astype(np.float32), np.nan)
            known = clear[:, y].any(0)
            plate[y, known] = np.rint(np.nanmedian(row[:, known], axis=0)).astype(np.uint8)
        seen = clear.any(0)
        return fill(plate, seen), seen


def fill(picture: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The picture with its unknown pixels filled from coarser and coarser averages of the known ones (push–pull)."""
    if known.all() or not known.any():
        return picture
    levels = [(picture.astype(np.float32) * known[..., None], known.astype(np.float32))]
    while min(levels[-1][1].shape) > 2:
        levels.append(tuple(cv2.pyrDown(layer) for layer in levels[-1]))  # type: ignore[arg-type]
    colour = levels[-1][0] / np.maximum(levels[-1][1][..., None], 1e-6)
    for value, weight in reversed(levels[:-1]):
        wide = cv2.resize(colour, (weight.shape[1], weight.shape[0]), interpolation=cv2.INTER_LINEAR)
        share = np.clip(weight, 0, 1)[..., None]
        colour = value / np.maximum(weight[..., None], 1e-6) * share + wide * (1 - share)
    return np.where(known[..., None], picture, np.clip(np.rint(colour), 0, 255).astype(np.uint8))
