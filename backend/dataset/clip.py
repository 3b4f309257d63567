"""What a training step sees: pictures, mattes, weights and tracked poses of one frame, as tensors."""

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


@dataclass(frozen=True)
class PixelWeights:
    """How much the parts of the person count in the loss, beside 1 for the person and 0.15 for the background.

    Attributes:
        face: extra weight of pixels inside the head matte.
        mouth: extra weight of pixels inside the mouth matte.
    """

    face: float = 1.0
    mouth: float = 3.0


@dataclass
class TrainingFrame:
    """One frame. picture (H, W, 3) and plate (H, W, 3) in 0–1, person alpha (H, W), weight (H, W) ≥ 0."""

    image: Tensor
    plate: Tensor
    person_alpha: Tensor
    pixel_weight: Tensor


class Clip:
    """The frames of an actor with their poses; the last eleventh is held out and only `evaluate` looks at it.

    Attributes:
        count: T. train_count: frames that training may see. size: side of the crops.
        train_rows: those of them that show the face well; what is blurred or asleep is left out.
        poses: tables keyed by the fields of `portrait.model.Pose`. camera: the camera of the crop.
        landmarks: (T, 478, 2) crop pixels.
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
        names = ("head_rotation", "head_translation", "torso_rotation", "torso_translation", "channels")
        self.poses = {n: torch.as_tensor(table[n], dtype=torch.float32, device=device) for n in names}
        view, intrinsics = (
            torch.as_tensor(table[name], dtype=torch.float32, device=device) for name in ("view", "intrinsics")
        )
        self.camera = CameraView(view, intrinsics, self.crop_size, self.crop_size)
        picture = read_image(folder.file_path("plate.png"))
        if picture.shape != (self.crop_size, self.crop_size, 4):
            raise damaged_file_error(folder.file_path("plate.png"))
        self.plate = self._to_tensor(picture[..., 2::-1].astype(np.float32) / 255)

    def load_training_frame(self, frame_index: int, weights: PixelWeights) -> TrainingFrame:
        """Frame `index`."""
        matte = self.store.read_matte(frame_index)
        return TrainingFrame(
            self._to_tensor(self.store.read_frame(frame_index).astype(np.float32) / 255),
            self.plate,
            self._to_tensor(matte[..., MATTE_PERSON]),
            self._to_tensor(pixel_weights(matte, weights)),
        )

    def replace_background(self, training_frame: TrainingFrame, background: Tensor) -> TrainingFrame:
        """The person of a sample over another background (H, W, 3): what shows whether alpha and edges are right."""
        through = (1 - training_frame.person_alpha)[..., None]
        person = (
            (training_frame.image - through * training_frame.plate)
            .clamp_min(0)
            .minimum(training_frame.person_alpha[..., None])
        )
        return replace(training_frame, image=person + through * background, plate=background)

    def frames_with_channel_above(self, prefix: str, threshold: float) -> I64:
        """The training frames in which a channel whose name begins so is above a value."""
        columns = [i for name, i in CHANNEL_INDEX.items() if name.startswith(prefix)]
        peak = self.poses["channels"][:, columns].amax(1).cpu().numpy()
        return self.train_frame_indices[peak[self.train_frame_indices] > threshold]

    def face_box(self, frame_index: int) -> Box:
        """The face in frame `index`, from brow to chin with a margin: what "face" means in every figure."""
        return self._bounding_box(self.landmarks[frame_index, : topo.MESH_VERTEX_COUNT], 0.06)

    def mouth_box(self, frame_index: int) -> Box:
        """The lips in frame `index` with a margin."""
        return self._bounding_box(self.landmarks[frame_index, list(topo.LIPS)], 0.35)

    def _bounding_box(self, points: F32, margin: float) -> Box:
        low, high = points.min(0), points.max(0)
        grow = margin * (high - low).max()
        x0, y0 = np.floor(low - grow).astype(int).clip(0, self.crop_size - 2)
        x1, y1 = np.ceil(high + grow).astype(int).clip(2, self.crop_size)
        return int(x0), int(y0), int(max(x1 - x0, 1)), int(max(y1 - y0, 1))

    def _to_tensor(self, array: F32) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def pixel_weights(matte: F32, weights: PixelWeights) -> F32:
    """(H, W) what each pixel counts for: the person with a margin, the head more, the mouth most."""
    reach = max(3, matte.shape[0] // 40) | 1
    near = cv2.dilate(np.ascontiguousarray(matte[..., MATTE_PERSON]), np.ones((reach, reach), np.uint8))
    mouth = cv2.GaussianBlur(
        cv2.dilate(np.ascontiguousarray(matte[..., MATTE_MOUTH]), np.ones((7, 7), np.uint8)), (0, 0), 2
    )
    head = matte[..., MATTE_HEAD] * matte[..., MATTE_PERSON]
    return 0.15 + 0.85 * near + weights.face * head + weights.mouth * mouth
