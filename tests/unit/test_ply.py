"""The .ply of a frame: the fields that viewers of Gaussian splatting read, and the picture that they stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from backend.__main__ import main
from backend.contract.actor_folder import ActorFolder
from backend.contract.errors import UserError
from backend.contract.performance import Performance
from backend.dataset.clip import Clip
from backend.portrait.model import Portrait
from backend.rasterizer import Gaussians, rasterize
from backend.rendering.ply import PLY_PROPERTIES, SH_C0, write_ply
from backend.training.pose_refinement import pose_from_tables

CPU = torch.device("cpu")


def read(file: Path) -> dict[str, NDArray[Any]]:
    """A reader of its own, from the format's description."""
    head, body = file.read_bytes().split(b"end_header\n", 1)
    lines = head.decode().split("\n")
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    names = [line.split()[2] for line in lines if line.startswith("property float ")]
    count = int(next(line.split()[2] for line in lines if line.startswith("element vertex ")))
    return dict(zip(names, np.frombuffer(body, "<f4").reshape(count, len(names)).T, strict=True))


def test_another_viewer_would_draw_the_same_picture(sample_actor: ActorFolder, tmp_path: Path) -> None:
    portrait, clip = Portrait.load(sample_actor, CPU), Clip(sample_actor, CPU)
    performance = Performance.load(sample_actor.file_path("footage.npz"))
    assert write_ply(portrait, performance, 5, tmp_path / "five.ply") == portrait.size.gaussians
    table = {name: torch.from_numpy(values.copy()) for name, values in read(tmp_path / "five.ply").items()}
    assert tuple(table) == PLY_PROPERTIES
    means, quats, scales, colours = (
        torch.stack([table[n] for n in names], 1)
        for names in (("x", "y", "z"), PLY_PROPERTIES[-4:], PLY_PROPERTIES[-7:-4], ("f_dc_0", "f_dc_1", "f_dc_2"))
    )
    view = clip.camera.view @ torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))  # the file holds y for down
    theirs = Gaussians(means, quats, scales.exp(), table["opacity"].sigmoid(), 0.5 + SH_C0 * colours)
    drawn = rasterize(theirs, clip.camera._replace(view=view)).features
    ours = portrait.render(pose_from_tables(clip.poses, 5), clip.camera)
    assert (drawn - ours.rgb).abs().max() < 0.01


def test_a_frame_that_is_not_there_is_refused(sample_actor: ActorFolder, tmp_path: Path) -> None:
    portrait, performance = Portrait.load(sample_actor, CPU), Performance.load(sample_actor.file_path("footage.npz"))
    with pytest.raises(UserError, match=r"no frame 9999.*\n?"):
        write_ply(portrait, performance, 9999, tmp_path / "none.ply")
    assert not (tmp_path / "none.ply").exists()


def test_the_command_writes_the_first_frame(sample_actor: ActorFolder, tmp_path: Path) -> None:
    footage = str(sample_actor.file_path("footage.npz"))
    assert main(["export", str(sample_actor.path), footage, str(tmp_path / "a" / "first.ply"), "--device", "cpu"]) == 0
    assert len(read(tmp_path / "a" / "first.ply")["x"]) == Portrait.load(sample_actor, CPU).size.gaussians
