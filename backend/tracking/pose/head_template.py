"""The head as a sheet in one frontal view: the face mesh, and around it hair, ears and temples on a guessed shape.

Hair and ears carry the sharpest texture of a head and the longest lever for its turns; bundle adjustment then finds
where they really lie.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ...contract.arrays import F32, F64, I64, Mask
from ...contract.geometry import FLIP_YZ, project_points
from ..detection import topology as topo
from .bundle_adjustment import Poses
from .patch_tracker import NODE_SPACING, rasterize_triangles
from .shape_prior import ShapePrior
from .template import NODE_GRID, Template

SURROUND_MARGIN = (
    0.28,
    0.42,
)  # of the face's width beside it and of its height above it: where hair and ears are looked for
SURROUND_SLOPE, SURROUND_CURVATURE = 0.45, 6.0  # metres of depth per metre beyond the face's outline, and per metre²
SHAPE_PRIOR = ShapePrior(smooth_deviation=(0.0025, 0.0035, 0.009), correlation_length=0.03, independent_deviation=0.001)
SURROUND_DEVIATION_SCALE = 4.0  # how much less is known about the shape beyond the face than about the face
SURROUND_WEIGHT = 0.6  # of hair and ears against the nose's 1
SAMPLES_ACROSS = 28
MASK_FRAMES = 40  # frames in which the head's mask is looked up


class HeadTemplate(Template):
    """See the module. Attribute `neutral`: (478, 3) the face mesh at rest, reshaped with the sheet."""

    def __init__(
        self, neutral: F64, displacement: F64, poses: Poses, intrinsics: F64, read_head_mask: Callable[[int], F32]
    ) -> None:
        """
        Args:
            neutral: (478, 3) head space. displacement: (T, 478, 3) what each frame's expression adds to it.
            poses: head → camera. head_mask: reads the head's alpha (S, S) of a frame, hair included.
        """
        self.neutral, self._displacement = neutral, displacement
        centre = np.median(poses.translation, 0)
        triangles = topo.mesh_triangles(neutral)
        seen = project_points(neutral, FLIP_YZ, centre, intrinsics)
        low, high = seen.min(0), seen.max(0)
        beside, above = SURROUND_MARGIN[0] * (high[0] - low[0]), SURROUND_MARGIN[1] * (high[1] - low[1])
        corner = np.floor(low - [beside, above]) - 2
        width, height = (int(v) for v in np.ceil((high - corner + [beside, 2]) / NODE_SPACING) * NODE_SPACING)
        face, bary = rasterize_triangles(seen - corner, triangles, -neutral[:, 2], max(width, height))
        face, bary = face[:height, :width], bary[:height, :width]
        inside = face >= 0
        corners, bary = triangles[np.maximum(face, 0)], bary * inside[..., None]
        self._node_triangles, self._node_barycentric = corners[NODE_GRID], bary[NODE_GRID]
        rigid = (vertex_rigidity(neutral)[corners] * bary).sum(-1).astype(np.float32)
        nodes = _unproject_view((neutral[corners, 2] * bary).sum(-1), inside, corner, centre, intrinsics)
        self.nodes, self.intrinsics = nodes, intrinsics
        beyond = SURROUND_WEIGHT * self._persistent_head_mask(poses, read_head_mask) * _above_mouth_mask(nodes, neutral)
        weight = np.where(inside, cv2.GaussianBlur(rigid, (0, 0), 1.0) * (rigid > 0), beyond).astype(np.float32)
        loose = np.where(inside, 1.0, SURROUND_DEVIATION_SCALE).astype(np.float32)
        super().__init__(nodes, weight, loose, max(3, round(width / SAMPLES_ACROSS)), SHAPE_PRIOR, intrinsics)
        x, y = self.patch_tracker.samples.T
        self._sample_triangles, self._sample_barycentric = corners[y, x], bary[y, x].astype(np.float64)

    def _persistent_head_mask(self, poses: Poses, read_head_mask: Callable[[int], F32]) -> F32:
        """(H, W) 1 where the view shows the head in nearly every frame."""
        chosen = np.unique(np.linspace(0, len(poses.rotation) - 1, MASK_FRAMES).astype(int))
        total = np.zeros(self.nodes.shape[:2], np.float32)
        for t in chosen:
            where = self.compute_warp_map(int(t), poses) - 0.5
            total += (
                cv2.remap(read_head_mask(int(t)), where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) > 0.9
            )
        return np.clip(2.5 * total / len(chosen) - 1.5, 0, 1).astype(np.float32)

    def node_deformation(self, frame_index: int) -> F32:
        """See `Sheet`: what the expression does to the face."""
        moved = self._displacement[frame_index].astype(np.float32)
        added: F32 = np.einsum("hwk,hwkc->hwc", self._node_barycentric, moved[self._node_triangles])
        return added

    def sample_deformation(self, frame_indices: I64) -> F64:
        """See `Sheet`."""
        return np.einsum(
            "sk,tskc->tsc",
            self._sample_barycentric,
            self._displacement[frame_indices][:, self._sample_triangles],
            optimize=True,
        )

    def update_shape(self, points: F64, intrinsics: F64) -> None:
        """See `Sheet`; the face mesh follows."""
        self.neutral = self.neutral + self.propagate_displacement(
            points - self.points, self.neutral, np.ones(len(self.neutral))
        )
        super().update_shape(points, intrinsics)


def _unproject_view(z: F64, inside: Mask, view_origin: F64, head_position: F64, intrinsics: F64) -> F32:
    """(H, W, 3) head-space points of all view pixels: at the mesh's z where it is, on a receding surface around it.

    Args:
        z: (H, W) head-space height of the mesh. corner: (2,) the view's first pixel in the footage's pixels.
        centre: (3,) the head's place before the camera.
    """
    height, width = inside.shape
    _, labels = cv2.distanceTransformWithLabels(
        (~inside).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    y, x = np.nonzero(inside)
    nearest = np.zeros((int(labels.max()) + 1, 2), np.int64)
    nearest[labels[y, x]] = np.stack([y, x], 1)
    ny, nx = np.moveaxis(nearest[labels], -1, 0)
    v, u = np.mgrid[:height, :width] + 0.5
    metres = np.hypot(u - nx - 0.5, v - ny - 0.5) * head_position[2] / intrinsics[0, 0]
    depth = head_position[2] - (z[ny, nx] - SURROUND_SLOPE * metres - SURROUND_CURVATURE * metres**2)
    depth = np.where(inside, depth, cv2.GaussianBlur(depth, (0, 0), max(1.0, width / 60)))
    ray = (np.stack([u, v], -1) + view_origin - intrinsics[:2, 2]) / intrinsics[0, 0]
    camera = np.concatenate([ray, np.ones((height, width, 1))], -1) * depth[..., None]
    return ((camera - head_position) @ FLIP_YZ).astype(np.float32)


def _above_mouth_mask(nodes: F32, neutral: F64) -> F32:
    """(H, W) 1 beside and above the face, 0 below the mouth, where the neck is."""
    mouth = (neutral[topo.MOUTH_LEFT, 1] + neutral[topo.MOUTH_RIGHT, 1]) / 2
    return np.clip((nodes[..., 1] - mouth) / 0.02, 0, 1).astype(np.float32)


def vertex_rigidity(neutral: F64) -> F64:
    """(478,) 1 on the skull's own skin (nose, cheekbones, temples, forehead), 0 where expressions move it."""
    y, z = neutral[:, 1], neutral[:, 2]
    result = np.full(len(neutral), 0.25)
    nose = (np.abs(neutral[:, 0]) < 0.022) & (y < 0.012) & (y > neutral[2, 1]) & (z > neutral[topo.EYE_INNER_LEFT, 2])
    result[nose] = 1.0
    result[(y > 0.030)] = 0.35
    below = y < neutral[2, 1] + 0.004
    result[below] = 0.0
    movable = (*topo.LIPS, *topo.BROW_LEFT, *topo.BROW_RIGHT)
    result[topo.index_array(*movable)] = 0.0
    for lids in (topo.LID_UPPER_LEFT, topo.LID_LOWER_LEFT, topo.LID_UPPER_RIGHT, topo.LID_LOWER_RIGHT):
        result[topo.index_array(*lids)] = 0.05
    for corner in (topo.EYE_INNER_LEFT, topo.EYE_INNER_RIGHT, topo.EYE_OUTER_LEFT, topo.EYE_OUTER_RIGHT):
        result[corner] = 0.3
    return result
