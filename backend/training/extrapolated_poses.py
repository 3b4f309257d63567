"""Head poses beyond the footage, and whether the actor is solid there: the motion consistency that no frame shows."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..dataset.clip import Clip
from ..portrait.model import Pose

FACTOR = 1.5
RADIAN, METRE = 1.0, 10.0  # what a turn and a shift count for in "farthest"
SOLID = 0.95
AIM = 0.99  # alpha that training asks for, so that what it misses is solid still
RIM = 48  # the silhouette's rim, a 48th of the picture's side wide, may be soft: hair, wool, moving edges


class FarPoses:
    """The training frames' poses with the head turned and shifted against the torso further than it was."""

    def __init__(self, clip: Clip) -> None:
        rows = torch.as_tensor(clip.train_rows)
        self._device = clip.device
        self._table = {name: values[rows].cpu().double().numpy() for name, values in clip.poses.items()}
        head, self._torso = (
            Rotation.from_quat(self._table[f"{k}_rotation"], scalar_first=True) for k in ("head", "torso")
        )
        turn = self._torso.inv() * head
        apart = self._table["head_translation"] - self._table["torso_translation"]
        shift = self._torso.inv().apply(apart)
        self._usual_shift = np.median(shift, 0)
        self._usual = turn[int(np.argmin((turn * turn.mean().inv()).magnitude()))]
        self._away, self._apart = (turn * self._usual.inv()).as_rotvec(), shift - self._usual_shift
        distance = RADIAN * np.linalg.norm(self._away, axis=1) + METRE * np.linalg.norm(self._apart, axis=1)
        self._order = np.argsort(-distance)

    def farthest(self, count: int) -> list[Pose]:
        """At most `count` poses, `FACTOR` times as far out as those of the farthest quarter of the frames."""
        return [self._pose(i, FACTOR) for i in self._order[:: max(1, len(self._order) // (4 * count))][:count]]

    def draw(self, rng: np.random.Generator) -> Pose:
        """A random one: some frame of the farther half, up to `FACTOR` times as far out."""
        i = int(self._order[rng.integers(max(1, len(self._order) // 2))])
        return self._pose(i, float(rng.uniform(1, FACTOR)))

    def _pose(self, i: int, factor: float) -> Pose:
        table, torso = self._table, self._torso[i]
        head = torso * Rotation.from_rotvec(factor * self._away[i]) * self._usual
        moved = torso.apply(self._usual_shift + factor * self._apart[i]) + table["torso_translation"][i]
        values = (
            head.as_quat(scalar_first=True), moved, table["torso_rotation"][i], table["torso_translation"][i],
            table["channels"][i],
        )  # fmt: skip
        return Pose(*(torch.as_tensor(v, dtype=torch.float32, device=self._device) for v in values))


def inside(alpha: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where an alpha (S, S) ought to be solid: (S, S) within the outline, away from its rim."""
    padded = cv2.copyMakeBorder((alpha > 0.5).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    cv2.floodFill(padded, None, (0, 0), 2)
    within = (padded[1:-1, 1:-1] != 2).astype(np.uint8)
    below = cv2.copyMakeBorder(within, 0, 1, 0, 0, cv2.BORDER_REPLICATE)  # the picture's lower edge is no outline
    reach = max(1, len(alpha) // RIM)
    return np.asarray(cv2.erode(below, np.ones((2 * reach + 1, 2 * reach + 1)))[:-1] > 0)


def hole_pixels(alpha: NDArray[np.float32]) -> int:
    """Pixels of alpha (S, S) that are not solid although they lie inside the outline."""
    return int(((alpha < SOLID) & inside(alpha)).sum())


def gap_loss(alpha: Tensor) -> Tensor:
    """How far alpha (S, S) is from solid inside its own outline, mean over the picture."""
    within = torch.from_numpy(inside(alpha.detach().cpu().numpy())).to(alpha.device)
    return ((AIM - alpha).clamp_min(0) * within).mean()
