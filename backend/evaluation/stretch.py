"""Whether the actor holds together beyond the footage: at head poses half as far again as any that were learned."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from ..model.portrait import Portrait, Pose
from ..training.data import Clip

FACTOR = 1.5
LOOKS = 24  # poses that are drawn: those farthest from the usual one
RADIAN, METRE = 1.0, 10.0  # what a turn and a shift count for in "farthest"
SOLID = 0.95
RIM = 48  # the silhouette's rim, a 48th of the picture's side wide, may be soft: hair, wool, moving edges


def holes(clip: Clip, portrait: Portrait) -> dict[str, float]:
    """{"pixels_mean", "pixels_max"}: pixels inside the silhouette whose alpha is under 0.95, per pose, at 512².

    The head is turned and shifted against the torso by `FACTOR` times what the farthest training frames show.
    """
    counts = []
    for pose in stretched(clip):
        frame = portrait.render(*pose, clip.view, clip.intrinsics, clip.size, clip.size, mattes=False)
        counts.append(hole_pixels(frame.alpha.cpu().numpy()) * (512 / clip.size) ** 2)
    return {"pixels_mean": round(float(np.mean(counts)), 2), "pixels_max": round(float(np.max(counts)), 2)}


def hole_pixels(alpha: NDArray[np.float32]) -> int:
    """Pixels of alpha (S, S) that are not solid although they lie inside the outline."""
    padded = cv2.copyMakeBorder((alpha > 0.5).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    cv2.floodFill(padded, None, (0, 0), 2)
    inside = (padded[1:-1, 1:-1] != 2).astype(np.uint8)
    below = cv2.copyMakeBorder(inside, 0, 1, 0, 0, cv2.BORDER_REPLICATE)  # the picture's lower edge is no outline
    reach = max(1, len(alpha) // RIM)
    inside = cv2.erode(below, np.ones((2 * reach + 1, 2 * reach + 1)))[:-1]
    return int(((alpha < SOLID) & (inside > 0)).sum())


def stretched(clip: Clip) -> list[Pose]:
    """The farthest head poses of the training frames, relative to the torso, half as far again."""
    rows = clip.train_rows
    table = {name: values[torch.as_tensor(rows)].cpu().double().numpy() for name, values in clip.poses.items()}
    head, torso = (Rotation.from_quat(table[f"{k}_rotation"], scalar_first=True) for k in ("head", "torso"))
    turn = torso.inv() * head
    shift = torso.inv().apply(table["head_translation"] - table["torso_translation"])
    usual_shift = np.median(shift, 0)
    usual = turn[int(np.argmin((turn * turn.mean().inv()).magnitude()))]
    away, apart = (turn * usual.inv()).as_rotvec(), shift - usual_shift
    distance = RADIAN * np.linalg.norm(away, axis=1) + METRE * np.linalg.norm(apart, axis=1)
    poses = []
    for i in np.argsort(-distance)[:: max(1, len(rows) // (4 * LOOKS))][:LOOKS]:
        further = torso[i] * Rotation.from_rotvec(FACTOR * away[i]) * usual
        moved = torso[i].apply(usual_shift + FACTOR * apart[i]) + table["torso_translation"][i]
        values = (
            further.as_quat(scalar_first=True), moved, table["torso_rotation"][i], table["torso_translation"][i],
            table["channels"][i],
        )  # fmt: skip
        poses.append(Pose(*(torch.as_tensor(v, dtype=torch.float32, device=clip.device) for v in values)))
    return poses
