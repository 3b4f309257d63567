"""The .ply of a frame: the properties that viewers of Gaussian splatting read, and the image they describe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from backend.cli.commands import main
from backend.contract.actor_folder import ActorFolder
from backend.contract.arrays import F32
from backend.contract.errors import UserError
from backend.contract.performance import Performance
from backend.dataset.clip import Clip
from backend.portrait.model import Portrait
from backend.rasterizer import Gaussians, rasterize
from backend.rendering.ply import PLY_PROPERTIES, SH_C0, write_ply
from backend.training.pose_refinement import pose_from_tables

CPU = torch.device("cpu")


def read_ply(file: Path) -> dict[str, F32]:
    """Read the columns as the format's description defines them."""
    head, body = file.read_bytes().split(b"end_header\n", 1)
    lines = head.decode().split("\n")
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    names = [line.split()[2] for line in lines if line.startswith("property float ")]
    count = int(next(line.split()[2] for line in lines if line.startswith("element vertex ")))
    return dict(zip(names, np.frombuffer(body, "<f4").reshape(count, len(names)).T, strict=True))


def test_ply_describes_the_rendered_image(sample_actor: ActorFolder, tmp_path: Path) -> None:
    portrait, clip = Portrait.load(sample_actor, CPU), Clip(sample_actor, CPU)
    performance = Performance.load(sample_actor.file_path("footage.npz"))
    assert write_ply(portrait, performance, 5, tmp_path / "five.ply") == portrait.size.gaussians
    columns = {name: torch.from_numpy(values.copy()) for name, values in read_ply(tmp_path / "five.ply").items()}
    assert tuple(columns) == PLY_PROPERTIES
    means, quats, scales, harmonics = (
        torch.stack([columns[name] for name in names], 1)
        for names in (("x", "y", "z"), PLY_PROPERTIES[-4:], PLY_PROPERTIES[-7:-4], ("f_dc_0", "f_dc_1", "f_dc_2"))
    )
    view = clip.camera.view @ torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))  # y points down in the file
    gaussians = Gaussians(means, quats, scales.exp(), columns["opacity"].sigmoid(), 0.5 + SH_C0 * harmonics)
    from_file = rasterize(gaussians, clip.camera._replace(view=view)).features
    rendered = portrait.render(pose_from_tables(clip.poses, 5), clip.camera).rgb
    assert (from_file - rendered).abs().max() < 0.01


def test_missing_frame_is_refused_and_writes_nothing(sample_actor: ActorFolder, tmp_path: Path) -> None:
    portrait, performance = Portrait.load(sample_actor, CPU), Performance.load(sample_actor.file_path("footage.npz"))
    with pytest.raises(UserError, match="no frame 9999"):
        write_ply(portrait, performance, 9999, tmp_path / "none.ply")
    assert not (tmp_path / "none.ply").exists()


def test_export_command_writes_the_first_frame(sample_actor: ActorFolder, tmp_path: Path) -> None:
    footage = str(sample_actor.file_path("footage.npz"))
    assert main(["export", str(sample_actor.path), footage, str(tmp_path / "a" / "first.ply"), "--device", "cpu"]) == 0
    assert len(read_ply(tmp_path / "a" / "first.ply")["x"]) == Portrait.load(sample_actor, CPU).size.gaussians
