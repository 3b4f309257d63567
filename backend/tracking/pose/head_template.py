"""The head as a template in one frontal view: the face mesh, and around it hair, ears and temples on a guessed shape.

Hair and ears carry the sharpest texture of a head, and far from its axis they show its turns best. Bundle adjustment
finds where they really lie.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ...contract.arrays import F32, F64, I64, Mask
from ...contract.geometry import FLIP_YZ, project_points
from ..detection import topology as topo
from .patch_tracker import NODE_SPACING
from .poses import Poses, spread_frames
from .shape_prior import ShapePrior
from .template import NODE_GRID, Template
from .triangles import rasterize_triangles

# Where hair and ears are looked for: beside the face, in widths of the face, and above it, in heights of the face.
# Larger templates take longer; what is not head is masked out. Not tuned.
SURROUND_MARGIN_BESIDE = 0.28
SURROUND_MARGIN_ABOVE = 0.42
# First guess of the depth beyond the face's outline: metres per metre from it, and per metre².
SURROUND_SLOPE = 0.45
SURROUND_CURVATURE = 6.0
SURROUND_BLUR_SHARE = 60  # the guessed depth is blurred by this part (one sixtieth) of the view's width
SURROUND_DEVIATION_SCALE = 4.0  # how much less is known about the shape beyond the face than about the face
SURROUND_WEIGHT = 0.6  # of hair and ears, against 1 of the nose; hair moves by itself. Not tuned.
# The depth of the face (z) is known worse than its outline. Not tuned.
SHAPE_PRIOR = ShapePrior(smooth_deviation=(0.0025, 0.0035, 0.009), correlation_length=0.03, independent_deviation=0.001)
SAMPLES_ACROSS = 28  # over the width of the template; more cost time and find little more. Not tuned.
RIGIDITY_BLUR_PIXELS = 1.0  # softens the steps of rigidity between triangles
MASK_FRAMES = 40  # frames in which the head's mask is read
MIN_ALPHA = 0.9  # of a pixel that is head in one frame
# A pixel counts from the share of frames in which it is head: not at all up to 60 %, fully at 100 %.
PERSISTENCE_GAIN = 2.5
PERSISTENCE_OFFSET = 1.5
NECK_FADE_METERS = 0.02  # above the mouth, over which the surroundings count more and more; below is the neck

# How rigid the regions of the face are, 0–1: as far as the skull carries their skin. Later rows win. Not tuned.
RIGIDITY = {
    "elsewhere": 0.25,
    "nose": 1.0,
    "forehead": 0.35,
    "below the nose": 0.0,
    "lips and brows": 0.0,
    "lids": 0.05,
    "eye corners": 0.3,
}  # fmt: skip
NOSE_BASE = 2  # landmark where the nose meets the upper lip
NOSE_HALF_WIDTH = 0.022  # metres
NOSE_TOP = 0.012  # metres above the eye corners' line, where brows begin to move the skin
FOREHEAD_BOTTOM = 0.030  # metres above the eye corners' line
NOSE_BASE_MARGIN = 0.004  # metres above the nose's base that the lips still move


class HeadTemplate(Template):
    """The head's template; see the module.

    Attributes:
        neutral: (478, 3) the face mesh at rest in head space, which follows the template's shape.
    """

    def __init__(
        self, neutral: F64, displacement: F64, poses: Poses, intrinsics: F64, read_head_mask: Callable[[int], F32]
    ) -> None:
        """Lay out the view and read the head's masks.

        Args:
            neutral: (478, 3) metres, head space.
            displacement: (T, 478, 3) metres that each frame's expression adds to `neutral`.
            poses: head → camera.
            intrinsics: (3, 3) of the crop, pixels.
            read_head_mask: reads the head's alpha (S, S) of a frame, hair included.
        """
        self.neutral, self._displacement = neutral, displacement
        position = np.median(poses.translation, 0)
        seen = project_points(neutral, FLIP_YZ, position, intrinsics)
        origin, width, height = _view_rectangle(seen)
        triangles = topo.mesh_triangles(neutral)
        face, barycentric = rasterize_triangles(seen - origin, triangles, -neutral[:, 2], max(width, height))
        face, barycentric = face[:height, :width], barycentric[:height, :width]
        inside = face >= 0
        corners, barycentric = triangles[np.maximum(face, 0)], barycentric * inside[..., None]
        self._node_triangles, self._node_barycentric = corners[NODE_GRID], barycentric[NODE_GRID]
        mesh_z = (neutral[corners, 2] * barycentric).sum(-1)
        self.nodes, self.intrinsics = _unproject_view(mesh_z, inside, origin, position, intrinsics), intrinsics
        rigidity = (vertex_rigidity(neutral)[corners] * barycentric).sum(-1).astype(np.float32)
        rigidity = cv2.GaussianBlur(rigidity, (0, 0), RIGIDITY_BLUR_PIXELS) * (rigidity > 0)
        head_mask = self._persistent_head_mask(poses, read_head_mask)
        surround = SURROUND_WEIGHT * head_mask * _above_mouth_mask(self.nodes, neutral)
        weight = np.where(inside, rigidity, surround).astype(np.float32)
        deviation_scale = np.where(inside, 1.0, SURROUND_DEVIATION_SCALE).astype(np.float32)
        super().__init__(self.nodes, weight, deviation_scale, SAMPLES_ACROSS, SHAPE_PRIOR, intrinsics)
        x, y = self.patch_tracker.samples.T
        self._sample_triangles, self._sample_barycentric = corners[y, x], barycentric[y, x].astype(np.float64)

    def node_deformation(self, frame_index: int) -> F32:
        """Return what the frame's expression adds to the nodes; see `Template`."""
        displacement = self._displacement[frame_index].astype(np.float32)
        added: F32 = np.einsum("hwk,hwkc->hwc", self._node_barycentric, displacement[self._node_triangles])
        return added

    def sample_deformation(self, frame_indices: I64) -> F64:
        """Return what the frames' expressions add to the samples; see `Template`."""
        added: F64 = np.einsum(
            "sk,tskc->tsc",
            self._sample_barycentric,
            self._displacement[frame_indices][:, self._sample_triangles],
            optimize=True,
        )
        return added

    def update_shape(self, points: F64, intrinsics: F64) -> None:
        """Move template and face mesh; see `Template`."""
        self.neutral = self.neutral + self.propagate_displacement(
            points - self.points, self.neutral, np.ones(len(self.neutral))
        )
        super().update_shape(points, intrinsics)

    def _persistent_head_mask(self, poses: Poses, read_head_mask: Callable[[int], F32]) -> F32:
        """Weight (H, W): 1 where the view shows the head in nearly every frame."""
        chosen = spread_frames(len(poses.rotation), MASK_FRAMES)
        total = np.zeros(self.nodes.shape[:2], np.float32)
        for t in chosen:
            warp_map = self.compute_warp_map(int(t), poses) - 0.5
            mask = cv2.remap(read_head_mask(int(t)), warp_map, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
            total += mask > MIN_ALPHA
        return np.clip(PERSISTENCE_GAIN * total / len(chosen) - PERSISTENCE_OFFSET, 0, 1).astype(np.float32)


def vertex_rigidity(neutral: F64) -> F64:
    """Rigidity (478,) of the landmarks: 1 on skin that the skull carries, 0 where expressions move it."""
    y, z = neutral[:, 1], neutral[:, 2]
    base = neutral[NOSE_BASE, 1]
    is_nose = (np.abs(neutral[:, 0]) < NOSE_HALF_WIDTH) & (y < NOSE_TOP) & (y > base)
    is_nose &= z > neutral[topo.EYE_INNER_LEFT, 2]
    lids = (topo.LID_UPPER_LEFT, topo.LID_LOWER_LEFT, topo.LID_UPPER_RIGHT, topo.LID_LOWER_RIGHT)
    result = np.full(len(neutral), RIGIDITY["elsewhere"])
    result[is_nose] = RIGIDITY["nose"]
    result[y > FOREHEAD_BOTTOM] = RIGIDITY["forehead"]
    result[y < base + NOSE_BASE_MARGIN] = RIGIDITY["below the nose"]
    result[topo.index_array(*topo.LIPS, *topo.BROW_LEFT, *topo.BROW_RIGHT)] = RIGIDITY["lips and brows"]
    for lid in lids:
        result[topo.index_array(*lid)] = RIGIDITY["lids"]
    for corner in (topo.EYE_INNER_LEFT, topo.EYE_INNER_RIGHT, topo.EYE_OUTER_LEFT, topo.EYE_OUTER_RIGHT):
        result[corner] = RIGIDITY["eye corners"]
    return result


def _view_rectangle(seen: F64) -> tuple[F64, int, int]:
    """Origin (2,), width and height in pixels of the view around the projected face mesh (478, 2)."""
    low, high = seen.min(0), seen.max(0)
    beside, above = SURROUND_MARGIN_BESIDE * (high[0] - low[0]), SURROUND_MARGIN_ABOVE * (high[1] - low[1])
    origin = np.floor(low - [beside, above]) - 2
    width, height = (int(v) for v in np.ceil((high - origin + [beside, 2]) / NODE_SPACING) * NODE_SPACING)
    return origin, width, height


def _unproject_view(mesh_z: F64, inside: Mask, origin: F64, head_position: F64, intrinsics: F64) -> F32:
    """Head-space points (H, W, 3) of all view pixels: on the mesh where it is, on a receding surface around it.

    Args:
        mesh_z: (H, W) head-space z of the mesh, metres.
        inside: (H, W) where the mesh is.
        origin: (2,) the view's first pixel, in the crop's pixels.
        head_position: (3,) metres, in camera space.
        intrinsics: (3, 3) of the crop, pixels.
    """
    height, width = inside.shape
    _, labels = cv2.distanceTransformWithLabels(
        (~inside).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    y, x = np.nonzero(inside)
    nearest = np.zeros((int(labels.max()) + 1, 2), np.int64)
    nearest[labels[y, x]] = np.stack([y, x], 1)
    nearest_y, nearest_x = np.moveaxis(nearest[labels], -1, 0)
    v, u = np.mgrid[:height, :width] + 0.5
    distance = np.hypot(u - nearest_x - 0.5, v - nearest_y - 0.5) * head_position[2] / intrinsics[0, 0]
    z = mesh_z[nearest_y, nearest_x] - SURROUND_SLOPE * distance - SURROUND_CURVATURE * distance**2
    depth = head_position[2] - z
    blurred = cv2.GaussianBlur(depth, (0, 0), max(1.0, width / SURROUND_BLUR_SHARE))
    depth = np.where(inside, depth, blurred)
    ray = (np.stack([u, v], -1) + origin - intrinsics[:2, 2]) / intrinsics[0, 0]
    camera = np.concatenate([ray, np.ones((height, width, 1))], -1) * depth[..., None]
    points: F32 = ((camera - head_position) @ FLIP_YZ).astype(np.float32)
    return points


def _above_mouth_mask(nodes: F32, neutral: F64) -> F32:
    """Weight (H, W): 1 beside and above the face, 0 below the mouth, where the neck is."""
    mouth = (neutral[topo.MOUTH_LEFT, 1] + neutral[topo.MOUTH_RIGHT, 1]) / 2
    weight: F32 = np.clip((nodes[..., 1] - mouth) / NECK_FADE_METERS, 0, 1).astype(np.float32)
    return weight
