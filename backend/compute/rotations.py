"""Quaternions (wxyz) and rotations in torch: `contract.geometry` in numpy gives no gradients."""

from __future__ import annotations

import torch
from torch import Tensor


def quaternion_multiply(a: Tensor, b: Tensor) -> Tensor:
    """Return the Hamilton product of (..., 4) and (..., 4), which rotates first by b, then by a."""
    w1, x1, y1, z1 = a.unbind(-1)
    w2, x2, y2, z2 = b.unbind(-1)
    return torch.stack(
        [
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
        ],
        -1,
    )


def rotation_matrix(q: Tensor) -> Tensor:
    """Return the rotation matrices (..., 3, 3) of quaternions (..., 4) of any length above 1e-12."""
    w, x, y, z = torch.nn.functional.normalize(q, dim=-1).unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)], -1),
        torch.stack([2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)], -1),
        torch.stack([2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)], -1),
    ]
    return torch.stack(rows, -2)


def quaternion_from_small_rotation(v: Tensor) -> Tensor:
    """Return unit quaternions (..., 4) of small rotation vectors (..., 3) in radians; smooth at zero."""
    return torch.nn.functional.normalize(torch.cat([torch.ones_like(v[..., :1]), v / 2], -1), dim=-1)
