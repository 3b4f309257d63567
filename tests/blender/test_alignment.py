"""The rendered frame lies exactly where Blender projects the proxy: marks on the face, through ten random cameras."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from addon_modules import AddonModules
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector
from numpy.typing import NDArray
from support import read_pixels, run_python

SIZE = 512
FRAMES = range(20, 30)
# Paints magenta marks on a trained actor: small opaque Gaussians that lie on vertices of its face mesh and move as the
# mesh does, on a face that is grey and faint: a tiny actor's few Gaussians are so large that they would hide them.
PAINT = """
import sys, torch
from pathlib import Path
from backend.contract.actor_folder import ActorFolder
from backend.portrait.branch import COLOR
from backend.portrait.model import Portrait
folder = ActorFolder.open(Path(sys.argv[1]))
marks = [int(word) for word in sys.argv[2:]]
portrait, proxy = Portrait.load(folder, torch.device("cpu")), folder.load_proxy()
places = torch.as_tensor(proxy.vertices)[marks]
n, count = portrait.size.gaussians, len(marks)
members = set(portrait.oral.members.tolist()) | set(portrait.facial.members.tolist())
free = next(i for i in range(n) if i not in members)
portrait.reindex_gaussians(torch.cat([torch.arange(n), torch.full((count,), free)]))
with torch.no_grad():
    portrait.colours.fill_(0.3)
    for branch in (portrait.facial, portrait.oral, portrait.rigid):
        shapes = branch.basis.view(branch.basis.shape[0], -1, 7)
        shapes[..., COLOR] = 0
    portrait.opacity_logits[:n] = -4
    portrait.means[n:], portrait.colours[n:] = places, torch.tensor([1.0, 0, 1])
    portrait.log_scales[n:] = torch.log(torch.tensor(0.0012))
    portrait.opacity_logits[n:], portrait.quats[n:] = 8, torch.tensor([1.0, 0, 0, 0])
    portrait.skin_logits[n:] = torch.logit(torch.as_tensor(proxy.head_weight)[marks].float(), 1e-6)
    portrait.rigid.basis.view(portrait.rigid.basis.shape[0], -1, 7)[:, n:] = 0
    portrait.prior.view(52, -1, 3)[:, n:] = torch.as_tensor(proxy.shapes)[:, marks]
    portrait.growth[:, n:] = 0
portrait.save(folder)
"""


def spread(points: NDArray[Any], allowed: NDArray[Any], count: int) -> list[int]:
    """Indices of allowed points, each the farthest from those before it."""
    chosen = [int(np.flatnonzero(allowed)[0])]
    while len(chosen) < count:
        distance = np.linalg.norm(points[:, None] - points[chosen], axis=-1).min(1)
        chosen.append(int(np.argmax(np.where(allowed, distance, -1))))
    return chosen


@pytest.fixture
def marked(trained: Path, addon: AddonModules, tmp_path: Path) -> Any:
    """The trained actor with marks, in the scene, and the marks' vertices."""
    folder = tmp_path / "marked.actor"
    shutil.copytree(trained, folder)
    bpy.ops.portrait_actor.import_actor(directory=str(folder))
    found = addon.scene_actor.require_actor(bpy.context)
    normals = np.array([v.normal for v in found.face.data.vertices])
    points = np.array([v.co for v in found.face.data.vertices])
    marks = spread(points, (normals[:, 1] < -0.6) & (points[:, 2] > -0.09), 16)
    run_python(PAINT, str(folder), *map(str, marks))
    return found, marks


def random_cameras(scene: bpy.types.Scene, face: Any) -> None:
    """One camera for each frame, bound by a marker: place, lens, sensor, fit and shift at random, the face in view."""
    random = np.random.default_rng(7)
    for frame in FRAMES:
        camera = bpy.data.objects.new(f"camera {frame}", bpy.data.cameras.new(f"camera {frame}"))
        scene.collection.objects.link(camera)
        lens = camera.data
        lens.sensor_fit = random.choice(["AUTO", "HORIZONTAL", "VERTICAL"])
        lens.sensor_width, lens.sensor_height = random.uniform(20, 40), random.uniform(15, 30)
        lens.shift_x, lens.shift_y = random.uniform(-0.15, 0.15, 2)
        scene.frame_set(frame)
        target = face.matrix_world @ Vector((0, -0.05, -0.02))
        yaw, pitch, distance = random.uniform(-0.45, 0.45), random.uniform(-0.3, 0.3), random.uniform(0.5, 1.5)
        local = Vector((np.sin(yaw) * np.cos(pitch), -np.cos(yaw) * np.cos(pitch), np.sin(pitch))) * distance
        place = target + face.matrix_world.to_3x3() @ local
        size = lens.sensor_height if lens.sensor_fit == "VERTICAL" else lens.sensor_width
        lens.lens = size * distance / random.uniform(0.3, 0.45)
        camera.rotation_euler = (target - place).to_track_quat("-Z", "Y").to_euler()
        camera.rotation_euler.rotate_axis("Z", random.uniform(-0.5, 0.5))
        camera.location = place
        scene.timeline_markers.new(camera.name, frame=frame).camera = camera


def projected(scene: bpy.types.Scene, face: Any, marks: list[int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """(M, 2) pixels where Blender projects the marks' vertices, and (M,) whether they clearly face the camera."""
    posed = face.evaluated_get(bpy.context.evaluated_depsgraph_get())
    turn, eye = posed.matrix_world.to_3x3(), scene.camera.matrix_world.translation
    places, facing = [], []
    for vertex in (posed.data.vertices[mark] for mark in marks):
        place = posed.matrix_world @ vertex.co
        seen = world_to_camera_view(scene, scene.camera, place)
        places.append((seen.x * SIZE, (1 - seen.y) * SIZE))
        facing.append((turn @ vertex.normal).normalized().dot((eye - place).normalized()) > 0.5)
    pixels = np.array(places)
    return pixels, np.array(facing) & ((pixels > 12) & (pixels < SIZE - 12)).all(1)


def mark_near(picture: NDArray[Any], place: NDArray[Any], reach: int = 8) -> NDArray[Any] | None:
    """(2,) the middle of the magenta within some pixels of a place."""
    x, y = np.round(place).astype(int)
    part = picture[y - reach : y + reach, x - reach : x + reach]
    magenta = np.clip(np.minimum(part[..., 0], part[..., 2]) - part[..., 1] - 0.1, 0, 1) * part[..., 3]
    if magenta.sum() < 1:
        return None
    rows, columns = np.mgrid[y - reach : y + reach, x - reach : x + reach] + 0.5
    return np.array([(magenta * columns).sum(), (magenta * rows).sum()]) / magenta.sum()


def test_marks_lie_where_blender_projects_them(marked: Any, tmp_path: Path) -> None:
    found, marks = marked
    scene = bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y = SIZE
    found.armature.location, found.armature.scale = (1.5, -2, 0.7), [1.2] * 3
    found.armature.rotation_euler = 0.1, -0.2, 2.2
    random_cameras(scene, found.face)
    output = tmp_path / "frames"
    bpy.ops.portrait_actor.render_actor(
        output=str(output), file_format="png", frame_start=FRAMES[0], frame_end=FRAMES[-1], actor=found.name
    )
    errors = []
    for frame in FRAMES:
        scene.frame_set(frame)
        expected, facing = projected(scene, found.face, marks)
        picture = read_pixels(next(output.glob(f"*_{frame:04d}.png")))
        seen = [(mark_near(picture, place), place) for place in expected[facing]]
        hits = [float(np.linalg.norm(mark - place)) for mark, place in seen if mark is not None]
        assert len(hits) >= max(4, 0.8 * len(seen)), f"frame {frame}: {len(hits)} of {len(seen)} marks found"
        errors += hits
    print(f"{len(errors)} marks, mean {np.mean(errors):.2f} px, worst {max(errors):.2f} px")
    assert max(errors) < 1
