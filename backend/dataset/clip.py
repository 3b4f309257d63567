"""What a training step sees: pictures, mattes, weights and tracked poses of one frame, as tensors."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..contract.actor_folder import ActorFolder, damaged
from ..contract.channels import INDEX
from ..media.image_io import read_picture
from ..tracking.detection import topology as topo
from .frame_store import HEAD, MOUTH, PERSON, FrameStore
from .split import held_out_start, train_rows

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
class Sample:
    """One frame. picture (H, W, 3) and plate (H, W, 3) in 0–1, person alpha (H, W), weight (H, W) ≥ 0."""

    picture: Tensor
    plate: Tensor
    person: Tensor
    weight: Tensor


class Clip:
    """The frames of an actor with their poses; the last eleventh is held out and only `evaluate` looks at it.

    Attributes:
        count: T. train_count: frames that training may see. size: side of the crops.
        train_rows: those of them that show the face well; what is blurred or asleep is left out.
        poses: tables keyed by the fields of `model.portrait.Pose`. view (4, 4), intrinsics (3, 3) of the crop.
        landmarks: (T, 478, 2) crop pixels.
    """

    def __init__(self, folder: ActorFolder, device: torch.device) -> None:
        table = folder.tracking()
        self.store = FrameStore(folder)
        self.device = device
        self.landmarks = np.asarray(table["landmarks"], np.float32)
        self.count = len(self.landmarks)
        self.train_count = held_out_start(self.count)
        self.train_rows = train_rows(folder.info, self.train_count)
        self.size = self.store.frame(0).shape[0]
        names = ("head_rotation", "head_translation", "torso_rotation", "torso_translation", "channels")
        self.poses = {n: torch.as_tensor(table[n], dtype=torch.float32, device=device) for n in names}
        self.view = torch.as_tensor(table["view"], dtype=torch.float32, device=device)
        self.intrinsics = torch.as_tensor(table["intrinsics"], dtype=torch.float32, device=device)
        picture = read_picture(folder.file("plate.png"))
        if picture.shape != (self.size, self.size, 4):
            raise damaged(folder.file("plate.png"))
        self.plate = self._tensor(picture[..., 2::-1].astype(np.float32) / 255)

    def sample(self, index: int, weights: PixelWeights) -> Sample:
        """Frame `index`."""
        matte = self.store.matte(index)
        return Sample(
            self._tensor(self.store.frame(index).astype(np.float32) / 255),
            self.plate,
            self._tensor(matte[..., PERSON]),
            self._tensor(pixel_weight(matte, weights)),
        )

    def on_background(self, sample: Sample, background: Tensor) -> Sample:
        """The person of a sample over another background (H, W, 3): what shows whether alpha and edges are right."""
        through = (1 - sample.person)[..., None]
        person = (sample.picture - through * sample.plate).clamp_min(0).minimum(sample.person[..., None])
        return replace(sample, picture=person + through * background, plate=background)

    def rows_beyond(self, family: str, value: float) -> NDArray[np.int64]:
        """The training frames in which a channel whose name begins so is above a value."""
        columns = [i for name, i in INDEX.items() if name.startswith(family)]
        peak = self.poses["channels"][:, columns].amax(1).cpu().numpy()
        return self.train_rows[peak[self.train_rows] > value]

    def face_box(self, index: int) -> Box:
        """The face in frame `index`, from brow to chin with a margin: what "face" means in every figure."""
        return self._around(self.landmarks[index, : topo.MESH], 0.06)

    def mouth_box(self, index: int) -> Box:
        """The lips in frame `index` with a margin."""
        return self._around(self.landmarks[index, list(topo.LIPS)], 0.35)

    def _around(self, points: NDArray[np.float32], margin: float) -> Box:
        low, high = points.min(0), points.max(0)
        grow = margin * (high - low).max()
        x0, y0 = np.floor(low - grow).astype(int).clip(0, self.size - 2)
        x1, y1 = np.ceil(high + grow).astype(int).clip(2, self.size)
        return int(x0), int(y0), int(max(x1 - x0, 1)), int(max(y1 - y0, 1))

    def _tensor(self, array: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)


def pixel_weight(matte: NDArray[np.float32], weights: PixelWeights) -> NDArray[np.float32]:
    """(H, W) what each pixel counts for: the person with a margin, the head more, the mouth most."""
    reach = max(3, matte.shape[0] // 40) | 1
    near = cv2.dilate(np.ascontiguousarray(matte[..., PERSON]), np.ones((reach, reach), np.uint8))
    mouth = cv2.GaussianBlur(cv2.dilate(np.ascontiguousarray(matte[..., MOUTH]), np.ones((7, 7), np.uint8)), (0, 0), 2)
    head = matte[..., HEAD] * matte[..., PERSON]
    return 0.15 + 0.85 * near + weights.face * head + weights.mouth * mouth
