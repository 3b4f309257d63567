"""`blender -b FILE.blend -a`: the placed actor's frames are brought up to date first, or the missing ones are told."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from support import read_pixels

FIRST, LAST = 4, 6
BLENDER = Path(__file__).with_name("blender_cli.py")


@pytest.fixture(params=["compositor", "card"])
def shot(request: pytest.FixtureRequest, sam: SimpleNamespace, tmp_path: Path) -> Path:
    """A saved scene that shows rendered frames of the actor; since then, frame 4 was lost and frame 6 changed."""
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = FIRST, LAST
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.device = 1, "CPU"
    scene.render.resolution_x = scene.render.resolution_y = 64
    scene.render.filepath = str(tmp_path / "film" / "####")
    out = tmp_path / "frames ü"
    bpy.ops.portrait_actor.render_actor(output=str(out), file_format="png", placement=request.param)
    (out / "sample_0004.png").unlink()
    head = sam.armature.pose.bones["head"]
    for frame, turn in ((FIRST, 0), (LAST - 1, 0), (LAST, 25)):
        scene.frame_set(frame)
        head.rotation_euler[1] += math.radians(turn)
        head.keyframe_insert("rotation_euler", frame=frame)
    blend = tmp_path / "shot.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    return blend


def render(blend: Path, **changes: str) -> str:
    """Renders the animation in a Blender of its own; returns what it wrote on standard error."""
    command = [sys.executable, str(BLENDER), "-b", str(blend), "-a"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=os.environ | changes, timeout=200)
    assert done.returncode == 0, done.stderr
    assert len(list((blend.parent / "film").iterdir())) == LAST - FIRST + 1
    return "\n".join(line for line in done.stderr.splitlines() if line.startswith("Portrait Actor: "))


def test_missing_and_changed_frames_are_rendered_first(shot: Path) -> None:
    frames = shot.parent / "frames ü"
    old = {file.name: (file.stat().st_mtime_ns, read_pixels(file)) for file in frames.glob("*.png")}
    assert sorted(old) == ["sample_0005.png", "sample_0006.png"]
    said = render(shot)
    assert said.startswith("Portrait Actor: 3 frames are in ") and len(said.splitlines()) == 1
    new = {file.name: (file.stat().st_mtime_ns, read_pixels(file)) for file in frames.glob("*.png")}
    assert sorted(new) == ["sample_0004.png", "sample_0005.png", "sample_0006.png"]
    assert new["sample_0005.png"][0] == old["sample_0005.png"][0]
    assert np.abs(new["sample_0006.png"][1] - old["sample_0006.png"][1]).max() > 0.1


def test_without_a_backend_the_missing_frames_are_told(shot: Path, tmp_path: Path) -> None:
    said = render(shot, PORTRAIT_ACTOR_PYTHON=str(tmp_path / "gone")).splitlines()
    assert len(said) == 2 and "not brought up to date" in said[0] and "gone does not exist" in said[0]
    assert said[1].startswith("Portrait Actor: Frame 4 of sample is missing: ") and "sample_0004.png" in said[1]
