"""The first guess of an actor: Gaussians placed on the tracked face and, from pixels, on hair, neck and torso."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..contract.actor_folder import ActorFolder
from ..contract.arrays import F64, Mask
from ..contract.geometry import FLIP_YZ, matrix_from_quaternion, project_points
from ..dataset.clip import Clip
from ..dataset.frame_store import MATTE_HEAD, MATTE_PERSON, FrameStore
from ..dataset.landmark_colors import median_vertex_colors
from ..tracking.detection import topology as topo
from ..tracking.pose.torso_template import TORSO_DEPTH_OFFSET as TORSO_DEPTH
from ..tracking.pose.torso_template import chest_depth_offset
from ..tracking.storage import load_track
from ..tracking.tracker import TrackingResult
from .labels import HAIR, TORSO
from .model import Portrait
from .seeds import Seeds, portrait_from_seeds, seed_beside_mesh, seed_eyes, seed_face_mesh, seed_mouth

NECK_TOP_METERS, NECK_BOTTOM_METERS = (
    0.0,
    -0.055,
)  # metres from the chin: where the neck follows the head, where the torso
MAX_SAMPLED_FRAMES = 60
NECK_HALF_WIDTH_SHARE, HIDDEN_NECK_SHARE = (
    0.36,
    0.25,
)  # of the face: half the neck's width, how far it goes on behind the jaw


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

    spacing: float = 1.9
    facial: int = 20
    oral: int = 16
    rigid: int = 8
    has_prior: bool = True


def initialize_portrait(folder: ActorFolder, clip: Clip, options: InitialPortrait, seed: int) -> Portrait:
    """An untrained portrait of the actor, on the clip's device."""
    track, landmarks = load_track(folder), clip.landmarks.astype(np.float64)
    colours = median_vertex_colors(landmarks, clip.store)
    portrait = portrait_from_track(track, landmarks, colours, clip.store, options, seed).to_device(clip.device)
    if not options.has_prior:
        portrait.prior.zero_()
        portrait.growth.zero_()
    return portrait


def portrait_from_track(
    track: TrackingResult, landmarks: F64, colors: F64, store: FrameStore, options: InitialPortrait, seed: int
) -> Portrait:
    """A portrait before training.

    Args:
        landmarks: (T, 478, 2) crop pixels. colours: (478, 3) colour of each landmark, 0–1.
    """
    rng = np.random.default_rng(seed)
    pixel = meters_per_pixel(track)
    spacing = options.spacing * pixel
    faces = topo.mesh_triangles(track.rig.neutral)
    reference = find_reference_frame(track)
    parts = [
        seed_face_mesh(track.rig, faces, colors, spacing, rng),
        seed_eyes(track.rig, 0.8 * pixel, eye_colors(colors)),
        seed_mouth(track.rig, 1.1 * pixel),
        seed_hair(track, landmarks, store, reference, options.spacing),
        seed_torso(track, store, options.spacing * 1.25),
    ]
    return portrait_from_seeds(
        Seeds.concatenate(parts),
        track.rig,
        facial_shapes=options.facial,
        oral_shapes=options.oral,
        rigid_shapes=options.rigid,
    )


def meters_per_pixel(track: TrackingResult) -> float:
    """Size of a crop pixel at the head's usual distance."""
    return float(track.view[2, 3] / track.intrinsics[0, 0])


def find_reference_frame(track: TrackingResult) -> int:
    """The frame whose head is nearest to where it usually is, among those with a calm face."""
    away = np.linalg.norm(track.head_translation, axis=1) / 0.02
    turned = np.linalg.norm(track.head_rotation - np.median(track.head_rotation, 0), axis=1) / 0.05
    return int(np.argmin(away + turned + track.channels.sum(1) / 4))


def eye_colors(colors: F64) -> dict[str, F64]:
    """First colours of iris and sclera."""
    iris = colors[[topo.IRIS_LEFT[0], topo.IRIS_RIGHT[0]]].mean(0)
    return {"iris": iris, "sclera": np.clip(0.35 + 0.4 * iris, 0, 1)}


def seed_hair(track: TrackingResult, landmarks: F64, store: FrameStore, reference_index: int, spacing: float) -> Seeds:
    """Gaussians on what belongs to the head but not to the face mesh, on an ellipsoid around the skull."""
    picture, matte = store.read_frame(reference_index), store.read_matte(reference_index)
    outline = landmarks[reference_index][list(topo.FACE_OVAL)]
    face = np.zeros(matte.shape[:2], np.uint8)
    cv2.fillPoly(face, [np.rint(outline).astype(np.int32)], 1)
    face = cv2.erode(face, np.ones((3, 3), np.uint8))
    chosen = (matte[..., MATTE_PERSON] > 0.3) & (matte[..., MATTE_HEAD] > 0.5) & (face == 0)
    pixels, size = sample_pixel_grid(chosen, spacing)
    colour = picture[pixels[:, 1].astype(int), pixels[:, 0].astype(int)] / 255.0
    rotation = matrix_from_quaternion(track.head_rotation[reference_index])
    points = unproject_to_skull(track, pixels, rotation, track.head_translation[reference_index])
    return seed_beside_mesh(points, size * meters_per_pixel(track), colour, HAIR, 1.0, track.rig)


def unproject_to_skull(track: TrackingResult, pixels: F64, rotation: F64, translation: F64) -> F64:
    """(P, 3) rest positions of pixels (P, 2) on an ellipsoid of a skull's proportions; beyond its outline, level with
    its middle."""
    centre, radii = np.array([0.0, 0.005, -0.085]), np.array([0.085, 0.125, 0.095])
    origin, ray = rest_space_rays(track, pixels, rotation, translation)
    o, d = (origin - centre) / radii, ray / radii
    a, b, c = (d * d).sum(1), (d * o).sum(1), (o * o).sum(1) - 1
    root = b * b - a * c
    along = np.where(root > 0, (-b - np.sqrt(np.maximum(root, 0))) / a, -b / a)
    return origin + ray * along[:, None]


def rest_space_rays(track: TrackingResult, pixels: F64, rotation: F64, translation: F64) -> tuple[F64, F64]:
    """Viewing rays of pixels (P, 2) in the rest space of a part with that pose: origin (P, 3), direction (P, 3)."""
    k = track.intrinsics
    camera = np.stack([(pixels[:, 0] - k[0, 2]) / k[0, 0], (pixels[:, 1] - k[1, 2]) / k[1, 1], np.ones(len(pixels))], 1)
    turn, shift = track.view[:3, :3], track.view[:3, 3]
    ray = camera @ turn  # turnᵀ · ray
    origin = np.broadcast_to(-shift @ turn, ray.shape)
    return (origin - translation) @ rotation, ray @ rotation


def seed_torso(track: TrackingResult, store: FrameStore, spacing: float) -> Seeds:
    """Gaussians on neck, clothes and shoulders, coloured from all frames that show them, at the torso's rest pose."""
    colour, share_seen = average_torso_image(track, store)
    colour, covered = extend_hidden_neck(track, colour, share_seen > 0.05)
    pixels, size = sample_pixel_grid(covered, spacing)
    points = unproject_to_chest(track, pixels)
    chin = track.rig.neutral[topo.CHIN, 1]
    share = np.clip((points[:, 1] - chin - NECK_BOTTOM_METERS) / (NECK_TOP_METERS - NECK_BOTTOM_METERS), 0, 1)
    share = 0.95 * share**2 * (3 - 2 * share)
    wide = np.abs(track.rig.neutral[:, 0]).max()
    share *= np.clip((1.25 * wide - np.abs(points[:, 0])) / (0.35 * wide), 0, 1)
    tint = colour[pixels[:, 1].astype(int), pixels[:, 0].astype(int)]
    return seed_beside_mesh(points, size * meters_per_pixel(track), tint, TORSO, share, track.rig)


def extend_hidden_neck(track: TrackingResult, color: F64, is_visible: Mask) -> tuple[F64, Mask]:
    """Continues the neck upwards behind the jaw, where no frame shows it, in the colours below: a head that turns
    farther than it did in the footage then uncovers neck and not a hole.

    Args:
        colour: (S, S, 3). seen: (S, S) where the torso was ever seen, at rest.
    """
    jaw = project_points(track.rig.neutral[list(topo.FACE_OVAL)], FLIP_YZ, track.view[:3, 3], track.intrinsics)
    chin, middle = jaw[:, 1].max(), jaw[:, 0].mean()
    wide = NECK_HALF_WIDTH_SHARE * np.ptp(jaw[:, 0])
    y, x = np.mgrid[: len(is_visible), : len(is_visible)] + 0.5
    behind = (y > chin - HIDDEN_NECK_SHARE * np.ptp(jaw[:, 1])) & (y < chin + HIDDEN_NECK_SHARE * np.ptp(jaw[:, 1]))
    behind &= np.abs(x - middle) < wide
    _, nearest = cv2.distanceTransformWithLabels(
        (~is_visible).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    known = np.zeros((int(nearest.max()) + 1, 3))
    known[nearest[is_visible]] = color[is_visible]
    return np.where(is_visible[..., None], color, known[nearest]), is_visible | behind


def average_torso_image(track: TrackingResult, store: FrameStore) -> tuple[F64, F64]:
    """The torso at rest as if no head were in front: colour (S, S, 3) 0–1 and share of frames that show it (S, S)."""
    count = len(track.channels)
    some = np.unique(np.linspace(0, count - 1, min(count, MAX_SAMPLED_FRAMES)).astype(int))
    size = store.read_frame(0).shape[0]
    y, x = np.mgrid[:size, :size].astype(np.float64) + 0.5
    points = unproject_to_chest(track, np.stack([x.ravel(), y.ravel()], 1))
    total, weight = np.zeros((size, size, 3)), np.zeros((size, size))
    for t in some:
        rotation = matrix_from_quaternion(track.torso_rotation[t])
        actor = points @ rotation.T + track.torso_translation[t]
        camera = actor @ track.view[:3, :3].T + track.view[:3, 3]
        xy = camera[:, :2] / camera[:, 2:] * track.intrinsics[0, 0] + track.intrinsics[:2, 2]
        at = (xy.reshape(size, size, 2) - 0.5).astype(np.float32)
        alpha = cv2.remap(cv2.erode(store.read_torso_alpha(int(t)), np.ones((3, 3))), at, None, cv2.INTER_LINEAR)
        total += cv2.remap(store.read_frame(int(t)), at, None, cv2.INTER_LINEAR) / 255.0 * alpha[..., None]
        weight += alpha
    return total / np.maximum(weight, 1e-6)[..., None], weight / len(some)


def unproject_to_chest(track: TrackingResult, pixels: F64) -> F64:
    """(P, 3) rest positions of crop pixels (P, 2) on the surface at which the torso was tracked."""
    k = track.intrinsics
    depth = track.view[2, 3] - TORSO_DEPTH
    x = (pixels[:, 0] - k[0, 2]) / k[0, 0]
    depth = depth + chest_depth_offset(x * depth)
    camera = np.stack([x, (pixels[:, 1] - k[1, 2]) / k[1, 1], np.ones(len(pixels))], 1) * depth[:, None]
    return (camera - track.view[:3, 3]) @ track.view[:3, :3]


def sample_pixel_grid(mask: Mask, spacing: float) -> tuple[F64, float]:
    """Positions (P, 2) about `spacing` pixels apart inside a mask (H, W), and the Gaussian's size in pixels."""
    axis = np.arange(spacing / 2, mask.shape[0], spacing)
    x, y = np.meshgrid(axis, axis)
    inside = mask[y.astype(int), x.astype(int)]
    return np.stack([x[inside], y[inside]], 1), 0.62 * spacing
