"""Motion blur and the Vector pass, against what Cycles makes of the proxy that moves as the actor does."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
from addon_modules import AddonModules
from support import read_pixels, run_python

FRAME = 15
# Prints the median of the Vector pass where both files have something, and how far they are apart there.
COMPARE = """
import json, sys, numpy as np, OpenEXR
def channels(path):
    with OpenEXR.File(path, separate_channels=True) as file:
        return {name: channel.pixels.astype(np.float32) for name, channel in file.channels().items()}
def plane(found, ending):
    return next(value for name, value in found.items() if name.endswith(ending))
actor, cycles = map(channels, sys.argv[1:])
both = (plane(actor, "Combined.A") > 0.95) & (plane(cycles, "Combined.A") > 0.95)
a, b = (np.stack([plane(found, f"Vector.{axis}")[both] for axis in "XYZW"], -1) for found in (actor, cycles))
print(json.dumps({"count": int(both.sum()), "actor": np.median(a, 0).tolist(), "cycles": np.median(b, 0).tolist(),
                  "apart": np.median(np.abs(a - b), 0).tolist()}))
"""


@pytest.fixture
def shot(trained: Path, addon: AddonModules) -> SimpleNamespace:
    """The trained actor, its head on the way to its left and up, faster after the frame than before."""
    bpy.ops.portrait_actor.import_actor(directory=str(trained))
    found = addon.scene_actor.require_actor(bpy.context)
    found.armature.animation_data.action = None
    head = found.armature.pose.bones["head"]
    for frame, place in ((FRAME - 1, (-0.01, 0.002, 0)), (FRAME, (0, 0, 0)), (FRAME + 1, (0.02, 0.01, 0))):
        head.location = place
        head.keyframe_insert("location", frame=frame)
    return SimpleNamespace(armature=found.armature, face=found.face, scene=bpy.context.scene)


def render(output: Any, **options: Any) -> Any:
    bpy.ops.portrait_actor.render_actor(output=str(output), frame_start=FRAME, frame_end=FRAME, **options)
    (file,) = output.glob(f"*_{FRAME:04d}.*")
    return file


def cycles_vectors(shot: SimpleNamespace, folder: Path) -> Any:
    """Cycles' picture of the proxy with its Vector pass."""
    scene, settings = shot.scene, shot.scene.render.image_settings
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 1, False
    scene.render.film_transparent, shot.face.hide_render = True, False
    bpy.context.view_layer.use_pass_vector = True
    settings.file_format = "OPEN_EXR_MULTILAYER"
    scene.render.filepath = str(folder / "cycles.exr")
    scene.frame_set(FRAME)
    bpy.ops.render.render(write_still=True)
    return scene.render.filepath


@pytest.mark.skipif(bpy.app.version >= (5, 0, 0), reason="as a module it writes no passes but the first into a file")
def test_vectors_are_those_of_cycles(shot: SimpleNamespace, tmp_path: Path) -> None:
    file = render(tmp_path / "actor", vectors=True, placement="none")
    found = json.loads(run_python(COMPARE, str(file), cycles_vectors(shot, tmp_path)))
    assert found["count"] > 1000
    assert np.abs(found["cycles"]).max() > 3, "there is motion to compare"
    assert np.allclose(found["actor"], found["cycles"], atol=0.25), found
    assert max(found["apart"]) < 0.25, found


def test_vectors_and_blur_together_are_refused(shot: SimpleNamespace, tmp_path: Path) -> None:
    shot.scene.render.use_motion_blur = True
    with pytest.raises(RuntimeError, match="blurred twice"):
        render(tmp_path, vectors=True)


def test_blur_smears_what_moves_and_only_when_asked(shot: SimpleNamespace, tmp_path: Path) -> None:
    sharp = read_pixels(render(tmp_path / "sharp", file_format="png"))
    shot.scene.render.use_motion_blur = True
    shot.scene.render.motion_blur_shutter, shot.scene.render.motion_blur_position = 1.0, "START"
    blurred = read_pixels(render(tmp_path / "blurred", file_format="png", blur_samples=6))
    rows = slice(sharp.shape[0] // 4, sharp.shape[0] // 2)

    def detail(picture: Any) -> Any:
        return np.abs(np.diff(picture[rows, :, :3] * picture[rows, :, 3:], axis=1)).sum()

    assert detail(blurred) < 0.8 * detail(sharp), "the face loses detail along its way"
    chest = slice(-sharp.shape[0] // 12, None)
    assert np.abs(sharp[chest] - blurred[chest]).mean() < 0.02, "the chest rests"

    def middle(picture: Any) -> Any:
        columns = np.arange(picture.shape[1])
        return (picture[rows, :, 3].sum(0) * columns).sum() / picture[rows, :, 3].sum()

    assert middle(blurred) - middle(sharp) > 1, (
        "the shutter opens at the frame and closes when the head is farther left"
    )


def test_a_frame_in_which_nothing_moves_is_the_same_with_blur(shot: SimpleNamespace, tmp_path: Path) -> None:
    shot.armature.animation_data.action = None
    shot.face.data.shape_keys.animation_data.action = None
    sharp = read_pixels(render(tmp_path / "sharp", file_format="png"))
    shot.scene.render.use_motion_blur = True
    assert np.array_equal(read_pixels(render(tmp_path / "blurred", file_format="png")), sharp)
