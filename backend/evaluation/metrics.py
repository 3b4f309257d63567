"""Picture and landmark measures. Pictures are (H, W, 3) in 0–1, higher PSNR and SSIM are better, lower LMD is."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..compute.ssim import WINDOW_SIZE, weighted_ssim
from ..contract.arrays import F64, U8
from ..tracking.detection import topology as topo


def psnr(mse: float) -> float:
    """Decibels of a mean squared error of values in 0–1."""
    return float(-10 * np.log10(max(mse, 1e-10)))


def weighted_mse(image: Tensor, target: Tensor, weight: Tensor) -> float:
    """Mean squared error of the pixels, each counting as `weight` (H, W)."""
    error = (image - target).square().mean(2)
    return float((error * weight).sum() / weight.sum().clamp_min(1e-6))


def ssim(image: Tensor, target: Tensor, weight: Tensor | None = None) -> float:
    """Mean structural similarity, of all pixels or weighted by `weight` (H, W); the window is 7 pixels."""
    if min(image.shape[:2]) < WINDOW_SIZE:
        return float("nan")
    return float(weighted_ssim(image, target, image.new_ones(image.shape[:2]) if weight is None else weight))


def lip_landmark_distance(predicted: F64, reference: F64, image_size: int, *, in_place: bool = False) -> float:
    """LMD: mean distance of the lips' landmarks (T, 478, 2), in pixels of a 512² picture; NaN frames are left out.

    In every frame both pairs of lips are laid middle on middle, as in the figures that other systems publish (the
    metric's code in RAD-NeRF and its successors): the mouth's shape is measured. `in_place` leaves them where they
    are, so that a jaw that opens less, and a head that stands elsewhere, counts by how far it moves the whole mouth.
    """
    lips = list(topo.LIPS)
    apart = predicted[:, lips] - reference[:, lips]
    if not in_place:
        apart = apart - apart.mean(1, keepdims=True)
    return float(np.nanmean(np.linalg.norm(apart, axis=-1)) * 512 / image_size)


def jitter_ratio(predicted: F64, reference: F64) -> float:
    """How much our landmarks (T, 478, 2) tremble against the footage's: ratio of their mean second differences."""
    ours_change, theirs_change = (np.linalg.norm(np.diff(a, 2, axis=0), axis=-1) for a in (predicted, reference))
    return float(np.nanmean(ours_change) / max(float(np.nanmean(theirs_change)), 1e-9))


def detect_landmarks(images: list[U8]) -> F64:
    """(T, 478, 2) pixels of the face in each picture, as in a film; NaN where none was found."""
    from mediapipe.python.solutions.face_mesh import FaceMesh

    found = np.full((len(images), topo.LANDMARK_COUNT, 2), np.nan)
    with FaceMesh(max_num_faces=1, refine_landmarks=True) as mesh:
        for t, picture in enumerate(images):
            faces = mesh.process(np.ascontiguousarray(picture)).multi_face_landmarks
            if faces:
                height, width = picture.shape[:2]
                found[t] = [(p.x * width, p.y * height) for p in faces[0].landmark]
    return found


def to_uint8(image: Tensor) -> U8:
    """A picture as uint8."""
    return (image.clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
