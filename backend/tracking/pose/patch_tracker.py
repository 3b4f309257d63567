"""A textured surface seen from a fixed view: unwraps frames onto it and finds where its patches lie in each frame.

Landmarks of single frames jitter by about a pixel, the clip's mean texture does not. Patches are tracked from the mean
texture to the unwrapped frame and back by pyramidal Lucas–Kanade (Bouguet, 2001).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from ...contract.arrays import F32, F64, I64, Image, Mask

NODE_SPACING = 4  # pixels between projected nodes; in between is interpolated. Larger is faster and bends less.
PATCH_SIZE = 17  # pixels; larger patches are found more surely but blur what deforms. Not tuned.
SOBEL_SIZE = 3  # pixels of the gradient filter of the structure tensor
MIN_SAMPLE_WEIGHT = 0.05  # pixels of the view that weigh less are not tracked
# Pixels by which forward and backward tracking may differ: confidence falls to 1/e there. Not tuned.
ROUND_TRIP_TOLERANCE_PIXELS = 0.4
LUCAS_KANADE_ITERATIONS = 12  # at most, per pyramid level
LUCAS_KANADE_STEP = 0.01  # pixels: smaller steps end the iteration
# Gray levels of the contrast-normalised image: its mean, its standard deviation, and the least variance that is
# stretched to it, so that flat areas do not become noise.
NORMALIZED_MEAN = 128
NORMALIZED_DEVIATION = 48
MIN_LOCAL_VARIANCE = 4.0
MIN_NORMALIZATION_WINDOW = 9  # pixels
NORMALIZATION_WINDOW_SHARE = 8  # the window is this part (one eighth) of the view's longer side


@dataclass(frozen=True)
class SearchRange:
    """How far a patch is searched for.

    Attributes:
        max_displacement: pixels; confidence falls to 1/e there.
        pyramid_levels: halvings of the image in which it is looked for first.
    """

    max_displacement: float = 4.0
    pyramid_levels: int = 1


DEFAULT_SEARCH = SearchRange()


class PatchTracker:
    """Patches of a surface on the pixel grid of one view.

    Attributes:
        weight: (H, W) 0–1 how rigid and reliable the surface is at each pixel; 0 where there is none.
        samples: (S, 2) integer x, y of the pixels that are tracked.
        sqrt_information: (S, 2, 2) square root of what the texture says about a shift of each sample, eigenvalues 0–1:
            along an edge it is small.
    """

    def __init__(self, weight: F32, spacing: int) -> None:
        self.weight = weight
        offset = spacing // 2
        grid = np.zeros_like(weight, bool)
        grid[offset::spacing, offset::spacing] = True
        y, x = np.nonzero(grid & (weight > MIN_SAMPLE_WEIGHT))
        self.samples = np.stack([x, y], 1)
        self.sqrt_information = np.tile(np.eye(2), (len(x), 1, 1))
        self._texture: Image = np.zeros(weight.shape, np.uint8)
        self._normalization_window = 0

    @property
    def sample_weight(self) -> F64:
        """Weights (S,) of the samples."""
        weight: F64 = self.weight[self.samples[:, 1], self.samples[:, 0]].astype(np.float64)
        return weight

    def unwrap_frame(self, frame: Image, warp_map: F32) -> Image:
        """Return the frame in the surface's view; `warp_map` (H, W, 2) is the frame's pixel of each view pixel."""
        unwrapped: Image = cv2.remap(frame, warp_map - 0.5, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return unwrapped

    def learn_texture(self, unwrapped_frames: Iterable[Image], search: SearchRange = DEFAULT_SEARCH) -> None:
        """Make the mean of unwrapped frames the texture that is tracked.

        Args:
            unwrapped_frames: (H, W, 3) each.
            search: of the tracking that follows: contrast is normalised over more than its displacement.
        """
        total, count = np.zeros((*self.weight.shape, 3), np.float32), 0
        for image in unwrapped_frames:
            total += image
            count += 1
        texture = np.rint(total / count).astype(np.uint8)
        sides = (v // NORMALIZATION_WINDOW_SHARE for v in texture.shape[:2])
        window = max(MIN_NORMALIZATION_WINDOW, *sides, round(2 * search.max_displacement))
        self._normalization_window = window | 1
        self._texture = normalize_contrast(texture, self._normalization_window)
        self.sqrt_information = _sqrt_information(self._texture, self.samples)

    def track_samples(self, frame: Image, warp_map: F32, search: SearchRange = DEFAULT_SEARCH) -> tuple[F32, F32]:
        """Return where the samples are seen in the frame: pixels (S, 2) and confidence (S,) 0–1."""
        unwrapped = normalize_contrast(self.unwrap_frame(frame, warp_map), self._normalization_window)
        start = self.samples.astype(np.float32)[:, None]
        landed, is_found = _track_points(self._texture, unwrapped, start, start, search.pyramid_levels)
        returned, is_returned = _track_points(unwrapped, self._texture, landed, start, search.pyramid_levels)
        error = np.linalg.norm(returned - start, axis=-1)[:, 0]
        step = np.linalg.norm(landed - start, axis=-1)[:, 0]
        confidence = (
            np.exp(-((error / ROUND_TRIP_TOLERANCE_PIXELS) ** 2) - (step / search.max_displacement) ** 4)
            * is_found
            * is_returned
        )
        pixels = cv2.remap(warp_map, landed[:, 0][None], None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
        return pixels.astype(np.float32), confidence.astype(np.float32)


def normalize_contrast(image: Image, window: int) -> Image:
    """Return the image in gray, its contrast normalised over `window` pixels so that changing light is no motion."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = cv2.blur(gray, (window, window))
    variance = cv2.blur(gray * gray, (window, window)) - mean * mean
    deviation = np.sqrt(np.maximum(variance, MIN_LOCAL_VARIANCE))
    levels = NORMALIZED_MEAN + NORMALIZED_DEVIATION * (gray - mean) / deviation
    normalized: Image = np.clip(levels, 0, 255).astype(np.uint8)
    return normalized


def _track_points(
    source: Image, target: Image, points: F32, initial_points: F32, pyramid_levels: int
) -> tuple[F32, Mask]:
    """Where points (S, 1, 2) of `source` lie in `target`, searched from `initial_points`, and if they were found."""
    landed, found, _ = cv2.calcOpticalFlowPyrLK(
        source,
        target,
        points,
        initial_points.copy(),
        winSize=(PATCH_SIZE, PATCH_SIZE),
        maxLevel=pyramid_levels,
        criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, LUCAS_KANADE_ITERATIONS, LUCAS_KANADE_STEP),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return landed.astype(np.float32), found[:, 0] > 0


def _sqrt_information(gray: Image, samples: I64) -> F64:
    """Square roots (S, 2, 2) of the patches' structure tensors, each eigenvalue against the noise that all share."""
    height, width = gray.shape
    eigen = cv2.cornerEigenValsAndVecs(gray.astype(np.float32) / 255, PATCH_SIZE, SOBEL_SIZE)
    x, y = samples[:, 0].clip(0, width - 1), samples[:, 1].clip(0, height - 1)
    values, vectors = eigen[y, x, :2].astype(np.float64), eigen[y, x, 2:].reshape(-1, 2, 2).astype(np.float64)
    usual = float(np.median(values[:, 1])) + 1e-9  # of the weaker direction
    share = np.sqrt(values / (values + 2 * usual))
    result: F64 = np.einsum("sk,ski,skj->sij", share, vectors, vectors)
    return result
