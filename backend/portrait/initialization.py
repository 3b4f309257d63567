"""The untrained portrait: Gaussians on the tracked face and, from pixels, on hair, neck and torso."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..contract.actor_folder import ActorFolder
from ..contract.arrays import F64
from ..contract.channels import CHANNELS
from ..dataset.clip import Clip
from ..dataset.frame_store import FrameStore
from ..dataset.landmark_colors import median_vertex_colors
from ..tracking.detection import topology as topo
from ..tracking.face.blendshape_rig import BlendshapeRig
from ..tracking.storage import load_tracking
from ..tracking.tracker import TrackingResult
from .anatomy.eyes import EyeColors, seed_eyes
from .anatomy.face import seed_face_mesh
from .anatomy.hair import seed_hair
from .anatomy.mouth import seed_mouth
from .anatomy.torso import seed_torso
from .labels import FACE, HAIR, MOUTH
from .model import ORAL_CHANNEL_COUNT, Portrait, PortraitSize
from .seeds import Seeds
from .unprojection import meters_per_pixel

# Distance of neighbours in eyes and mouth, crop pixels; in the torso, as a multiple of that on plain skin. Not tuned.
EYE_SPACING_PIXELS = 0.8
MOUTH_SPACING_PIXELS = 1.1
TORSO_SPACING_FACTOR = 1.25

# Deviations that count the same in the choice of the reference frame: of the head's position in metres, of its
# quaternion, and of the sum of all channels. Not tuned.
REFERENCE_TRANSLATION_METERS = 0.02
REFERENCE_QUATERNION = 0.05
REFERENCE_CHANNEL_SUM = 4

# A Gaussian's initial opacity before the sigmoid: 0.88. Higher leaves what lies behind without gradient. Not tuned.
INITIAL_OPACITY_LOGIT = 2.0
# Head weights are kept this far from 0 and 1, where the sigmoid has no gradient.
MIN_HEAD_WEIGHT = 1e-3

# Strength above which a Gaussian becomes a member of a branch. Lower makes the branches slower. Not tuned.
MIN_BRANCH_STRENGTH = 0.02
# Metres below the outer eye corners where the oral branch begins, and over which it reaches full strength. Not tuned.
ORAL_TOP_METERS = 0.012
ORAL_FADE_METERS = 0.02
# Metres above the base of the nose over which the facial branch reaches full strength. Not tuned.
FACIAL_FADE_METERS = 0.015
# Metres of motion by the oral channels at which hair, neck and torso belong fully to the oral branch. Not tuned.
ORAL_MOTION_METERS = 0.002
# Metres of motion by the facial channels above which hair belongs to the facial branch. Not tuned.
FACIAL_MOTION_METERS = 0.0005


@dataclass(frozen=True)
class InitialPortrait:
    """How a portrait is laid out before training.

    Attributes:
        spacing: distance between neighbouring Gaussians on plain skin, pixels of the crop.
        facial: shapes of the facial branch.
        oral: shapes of the oral branch.
        rigid: shapes of the rigid branch.
        has_prior: whether the Gaussians follow the tracked mesh.
    """

    spacing: float
    facial: int
    oral: int
    rigid: int
    has_prior: bool


def initialize_portrait(folder: ActorFolder, clip: Clip, options: InitialPortrait, seed: int) -> Portrait:
    """Return an untrained portrait of the actor, on the clip's device.

    Args:
        folder: the tracked actor.
        clip: its frames.
        options: the layout.
        seed: of the random positions on the face.
    """
    track, landmarks = load_tracking(folder), clip.landmarks.astype(np.float64)
    colors = median_vertex_colors(landmarks, clip.store)
    portrait = portrait_from_track(track, landmarks, colors, clip.store, options, seed).to_device(clip.device)
    if not options.has_prior:
        portrait.prior.zero_()
        portrait.growth.zero_()
    return portrait


def portrait_from_track(
    track: TrackingResult, landmarks: F64, colors: F64, store: FrameStore, options: InitialPortrait, seed: int
) -> Portrait:
    """Return a portrait before training, with the prior.

    Args:
        track: the tracked face, poses and camera.
        landmarks: (T, 478, 2) crop pixels.
        colors: (478, 3) colour of each landmark, 0–1.
        store: frames and mattes.
        options: the layout.
        seed: of the random positions on the face.
    """
    rng = np.random.default_rng(seed)
    pixel = meters_per_pixel(track)
    faces = topo.mesh_triangles(track.rig.neutral)
    parts = [
        seed_face_mesh(track.rig, faces, colors, options.spacing * pixel, rng),
        seed_eyes(track.rig, EYE_SPACING_PIXELS * pixel, EyeColors.from_landmarks(colors)),
        seed_mouth(track.rig, MOUTH_SPACING_PIXELS * pixel),
        seed_hair(track, landmarks, store, find_reference_frame(track), options.spacing),
        seed_torso(track, store, options.spacing * TORSO_SPACING_FACTOR),
    ]
    return portrait_from_seeds(Seeds.concatenate(parts), track.rig, options)


def find_reference_frame(track: TrackingResult) -> int:
    """Return the frame whose head is nearest to its usual pose, among those with a calm face."""
    offset = np.linalg.norm(track.head_translation, axis=1) / REFERENCE_TRANSLATION_METERS
    turn = np.linalg.norm(track.head_rotation - np.median(track.head_rotation, 0), axis=1) / REFERENCE_QUATERNION
    return int(np.argmin(offset + turn + track.channels.sum(1) / REFERENCE_CHANNEL_SUM))


def portrait_from_seeds(seeds: Seeds, rig: BlendshapeRig, options: InitialPortrait) -> Portrait:
    """Return a portrait whose Gaussians are the seeds and whose branches are the identity."""
    oral, facial = branch_strengths(seeds, rig)
    oral_members = np.nonzero(oral > MIN_BRANCH_STRENGTH)[0]
    facial_members = np.nonzero(facial > MIN_BRANCH_STRENGTH)[0]
    size = PortraitSize(
        len(seeds.means), len(facial_members), len(oral_members), options.facial, options.oral, options.rigid
    )
    portrait = Portrait(size)
    with torch.no_grad():
        portrait.means.copy_(_to_tensor(seeds.means))
        portrait.log_scales.copy_(_to_tensor(np.log(seeds.size))[:, None].expand(-1, 3))
        portrait.opacity_logits.fill_(INITIAL_OPACITY_LOGIT)
        portrait.colours.copy_(_to_tensor(seeds.color))
        head_weight = np.clip(seeds.head_weight, MIN_HEAD_WEIGHT, 1 - MIN_HEAD_WEIGHT)
        portrait.skin_logits.copy_(_to_tensor(np.log(head_weight / (1 - head_weight))))
        portrait.prior.copy_(_to_tensor(seeds.prior.reshape(len(CHANNELS), -1)))
        portrait.growth.copy_(_to_tensor(seeds.growth))
        portrait.label.copy_(torch.as_tensor(seeds.label, dtype=torch.uint8))
        portrait.oral.members.copy_(torch.as_tensor(oral_members))
        portrait.oral.strength.copy_(_to_tensor(oral[oral_members]))
        portrait.facial.members.copy_(torch.as_tensor(facial_members))
        portrait.facial.strength.copy_(_to_tensor(facial[facial_members]))
    return portrait


def _to_tensor(array: F64) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(array), dtype=torch.float32)


def branch_strengths(seeds: Seeds, rig: BlendshapeRig) -> tuple[F64, F64]:
    """Return the strengths (N,) of the oral and the facial branch at each Gaussian, 0–1.

    The oral branch has mouth and jaw, the facial one eyes, brows and nose; they overlap only in the cheeks.
    """
    y = seeds.means[:, 1]
    nose, eyes = rig.neutral[topo.NOSE_BASE, 1], rig.neutral[topo.EYE_OUTER_LEFT, 1]
    below_eyes = np.clip((eyes - ORAL_TOP_METERS - y) / ORAL_FADE_METERS, 0, 1)
    above_nose = np.clip((y - nose) / FACIAL_FADE_METERS, 0, 1)
    oral_motion = np.linalg.norm(seeds.prior[:ORAL_CHANNEL_COUNT], axis=-1).max(0)
    facial_motion = np.linalg.norm(seeds.prior[ORAL_CHANNEL_COUNT:], axis=-1).max(0)
    is_face_or_mouth = np.isin(seeds.label, (FACE, MOUTH))
    oral = np.where(is_face_or_mouth, below_eyes, np.clip(oral_motion / ORAL_MOTION_METERS, 0, 1) * below_eyes)
    is_facial = (seeds.label == FACE) | ((seeds.label == HAIR) & (facial_motion > FACIAL_MOTION_METERS))
    return oral, np.where(is_facial, above_nose, 0.0)
