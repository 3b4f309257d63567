"""The frames of an actor as training sees them: images, mattes, pixel weights and tracked poses, as tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor

from ..contract.actor_folder import ActorFolder, damaged_file_error
from ..contract.arrays import F32, I64
from ..contract.channels import CHANNEL_INDEX
from ..media.image_io import read_image
from ..rasterizer import CameraView
from ..tracking.detection import topology as topo
from .frame_store import MATTE_HEAD, MATTE_MOUTH, MATTE_PERSON, FrameStore
from .split import first_held_out_frame, usable_train_frames

Box = tuple[int, int, int, int]  # x, y, width, height in crop pixels

POSE_TABLES = ("head_rotation", "head_translation", "torso_rotation", "torso_translation", "channels")
# Weight of background pixels: smaller lets Gaussians stray over the background. Not tuned.
BACKGROUND_WEIGHT = 0.15
# Weight that a pixel of the person has in addition, so that the person alone weighs 1.
PERSON_EXTRA_WEIGHT = 0.85
# The person's weight reaches beyond the matte by this part of the crop's side: wider trains cleaner edges.
PERSON_MARGIN_DIVISOR = 40
# The smallest window of that margin in pixels, for small crops.
MIN_PERSON_WINDOW_PIXELS = 3
# Window in pixels by which the mouth's weight reaches over the lips. Not tuned.
MOUTH_WINDOW_PIXELS = 7
# Standard deviation in pixels over which the mouth's weight fades. Not tuned.
MOUTH_BLUR_PIXELS = 2
# Margins of the boxes, in shares of the larger side of the landmarks' box. They define "face" and "mouth" in all
# figures: changing them makes older figures incomparable.
FACE_BOX_MARGIN = 0.06
MOUTH_BOX_MARGIN = 0.35


@dataclass(frozen=True)
class PixelWeights:
    """Extra weights of pixels in the loss, beside 1 for the person and 0.15 for the background.

    Attributes:
        face: extra weight of pixels inside the head matte.
        mouth: extra weight of pixels inside the mouth matte.
    """

    face: float = 1.0
    mouth: float = 3.0


@dataclass
class TrainingFrame:
    """One frame of the clip.

    Attributes:
        image: (S, S, 3) the crop, 0–1.
        plate: (S, S, 3) the background, 0–1.
        person_alpha: (S, S) the person matte, 0–1.
        pixel_weight: (S, S) weight of each pixel in the loss, ≥ 0.
    """

    image: Tensor
    plate: Tensor
    person_alpha: Tensor
    pixel_weight: Tensor

    def composite_over_plate(self, rgb: Tensor, alpha: Tensor) -> Tensor:
        """Return premultiplied colours (S, S, 3) with alpha (S, S) over the plate."""
        return rgb + (1 - alpha)[..., None] * self.plate


class Clip:
    """The frames of an actor with their poses. The last eleventh is held out; only evaluation reads it.

    Attributes:
        frame_count: T, number of frames.
        train_frame_count: number of frames that training may read.
        train_frame_indices: those of them that are usable, without blurred frames and shut eyes.
        crop_size: S, side of the crops in pixels.
        poses: tables (T, …) keyed by the fields of `portrait.model.Pose`.
        camera: the camera of the crops.
        landmarks: (T, 478, 2) crop pixels.
        plate: (S, S, 3) the background, 0–1.
    """

    def __init__(self, folder: ActorFolder, device: torch.device) -> None:
        table = folder.load_tracking()
        self.store = FrameStore(folder)
        self.device = device
        self.landmarks = np.asarray(table["landmarks"], np.float32)
        self.frame_count = len(self.landmarks)
        self.train_frame_count = first_held_out_frame(self.frame_count)
        self.train_frame_indices = usable_train_frames(folder.info, self.train_frame_count)
        self.crop_size = self.store.read_frame(0).shape[0]
        self.poses = {n: torch.as_tensor(table[n], dtype=torch.float32, device=device) for n in POSE_TABLES}
        view, intrinsics = (
            torch.as_tensor(table[name], dtype=torch.float32, device=device) for name in ("view", "intrinsics")
        )
        self.camera = CameraView(view, intrinsics, self.crop_size, self.crop_size)
        bgra = read_image(folder.file_path("plate.png"))
        if bgra.shape != (self.crop_size, self.crop_size, 4):
            raise damaged_file_error(folder.file_path("plate.png"))
        self.plate = self._to_tensor(bgra[..., 2::-1].astype(np.float32) / 255)

    def load_training_frame(self, frame_index: int, weights: PixelWeights) -> TrainingFrame:
        """Read a frame and its mattes."""
        matte = self.store.read_matte(frame_index)
        return TrainingFrame(
            self._to_tensor(self.store.read_frame(frame_index).astype(np.float32) / 255),
            self.plate,
            self._to_tensor(matte[..., MATTE_PERSON]),
            self._to_tensor(pixel_weights(matte, weights)),
        )

    def replace_background(self, frame: TrainingFrame, background: Tensor) -> TrainingFrame:
        """Return the frame with its person over another background (S, S, 3), which shows errors of alpha."""
        background_share = (1 - frame.person_alpha)[..., None]
        person = (frame.image - background_share * frame.plate).clamp_min(0).minimum(frame.person_alpha[..., None])
        return replace(frame, image=person + background_share * background, plate=background)

    def frames_with_channel_above(self, prefix: str, threshold: float) -> I64:
        """Return the usable training frames in which a channel whose name starts with `prefix` exceeds a value."""
        columns = [i for name, i in CHANNEL_INDEX.items() if name.startswith(prefix)]
        maximum = self.poses["channels"][:, columns].amax(1).cpu().numpy()
        return self.train_frame_indices[maximum[self.train_frame_indices] > threshold]

    def face_box(self, frame_index: int) -> Box:
        """Return the box of the face from brow to chin, with a margin."""
        return self._bounding_box(self.landmarks[frame_index, : topo.MESH_VERTEX_COUNT], FACE_BOX_MARGIN)

    def mouth_box(self, frame_index: int) -> Box:
        """Return the box of the lips, with a margin."""
        return self._bounding_box(self.landmarks[frame_index, list(topo.LIPS)], MOUTH_BOX_MARGIN)

    def _bounding_box(self, points: F32, margin: float) -> Box:
        low, high = points.min(0), points.max(0)
        margin_pixels = margin * (high - low).max()
        x0, y0 = np.floor(low - margin_pixels).astype(int).clip(0, self.crop_size - 2)
        x1, y1 = np.ceil(high + margin_pixels).astype(int).clip(2, self.crop_size)
        return int(x0), int(y0), int(max(x1 - x0, 1)), int(max(y1 - y0, 1))

    def _to_tensor(self, array: F32) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def pixel_weights(matte: F32, weights: PixelWeights) -> F32:
    """Return the weight (S, S) of each pixel: the person with a margin, the head more, the mouth most."""
    window = max(MIN_PERSON_WINDOW_PIXELS, matte.shape[0] // PERSON_MARGIN_DIVISOR) | 1  # an odd number of pixels
    person = _dilate(matte[..., MATTE_PERSON], window)
    mouth = cv2.GaussianBlur(_dilate(matte[..., MATTE_MOUTH], MOUTH_WINDOW_PIXELS), (0, 0), MOUTH_BLUR_PIXELS)
    head = matte[..., MATTE_HEAD] * matte[..., MATTE_PERSON]
    total: F32 = BACKGROUND_WEIGHT + PERSON_EXTRA_WEIGHT * person + weights.face * head + weights.mouth * mouth
    return total


def _dilate(mask: F32, window: int) -> F32:
    """Return a mask (H, W) grown by a square window of `window` pixels."""
    return np.asarray(cv2.dilate(np.ascontiguousarray(mask), np.ones((window, window), np.uint8)), np.float32)
