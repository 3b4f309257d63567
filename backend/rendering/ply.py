"""Exports the Gaussians of one frame as the `.ply` that 3DGS viewers open (file format of Kerbl et al. 2023)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..contract.atomic_write import write_bytes_atomically
from ..contract.errors import UserError
from ..contract.performance import Performance
from ..portrait.model import Portrait, Pose
from ..rasterizer import Gaussians

SH_C0 = 0.28209479177387814  # zeroth spherical harmonic, 1 / (2 √π): colour = 0.5 + SH_C0 · f_dc
OPACITY_MARGIN = 1e-6  # distance of opacities from 0 and 1, where the logit is infinite
VIEWER_FROM_ACTOR = np.diag([1.0, -1.0, -1.0]).astype(np.float32)  # in viewers y is down and z forward
PLY_PROPERTIES = (
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"),
    *(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4)),
)  # fmt: skip


def write_ply(portrait: Portrait, performance: Performance, frame_number: int, out: Path) -> int:
    """Write the actor in the pose of one frame.

    Args:
        portrait: the actor's model.
        performance: the poses.
        frame_number: a number of `performance.frames`.
        out: the file.

    Returns:
        The number of Gaussians.

    Raises:
        UserError: the performance has no such frame, or the file cannot be written.
    """
    rows = np.flatnonzero(performance.frames == frame_number)
    if len(rows) == 0:
        first, last = int(performance.frames[0]), int(performance.frames[-1])
        raise UserError(
            "no_frame", f"The performance has no frame {frame_number}.", f"Choose one from {first} to {last}."
        )
    pose = Pose.from_performance(performance, int(rows[0]), portrait.means.device)
    with torch.no_grad():
        data = encode_ply(portrait.deform(pose))
    write_bytes_atomically(out, data)
    return portrait.size.gaussians


def encode_ply(gaussians: Gaussians) -> bytes:
    """Encode a .ply in metres and a viewer's axes: log scales, opacity logits, colour as zeroth harmonic."""
    quats = torch.nn.functional.normalize(gaussians.quats, dim=1)
    w, x, y, z = quats.unbind(1)
    rotations = torch.stack([-x, w, -z, y], 1)  # half a turn about x after the Gaussian's rotation
    means = gaussians.means @ torch.as_tensor(VIEWER_FROM_ACTOR, device=gaussians.means.device)
    harmonic = (gaussians.colors.clamp(0, 1) - 0.5) / SH_C0
    opacity = torch.logit(gaussians.opacities.clamp(OPACITY_MARGIN, 1 - OPACITY_MARGIN))[:, None]
    table = torch.cat([means, torch.zeros_like(means), harmonic, opacity, gaussians.scales.log(), rotations], 1)
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(table)}"]
    header += [f"property float {name}" for name in PLY_PROPERTIES] + ["end_header", ""]
    return "\n".join(header).encode() + table.cpu().numpy().astype("<f4").tobytes()
