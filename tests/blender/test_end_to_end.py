"""The whole way with the real backend: a clip made by code → actor → keys → frames → composite. Preset "tiny"."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
from addon_modules import AddonModules
from bpy_extras.object_utils import world_to_camera_view
from numpy.typing import NDArray
from support import run_backend, run_python

FRAMES = range(10, 14)
PROBE = """
import sys
from pathlib import Path
from backend.media.decode import probe_video
film = probe_video(Path(sys.argv[1]))
print(film.width, film.height, film.has_audio)
"""


@pytest.fixture
def shot(trained: Path, addon: AddonModules) -> SimpleNamespace:
    """The trained actor in a scene that is matched to its footage."""
    bpy.ops.portrait_actor.import_actor(directory=str(trained))
    found = addon.scene_actor.require_actor(bpy.context)
    return SimpleNamespace(armature=found.armature, face=found.face, scene=bpy.context.scene)


def render(output: Path, frames: range = FRAMES, file_format: str = "png") -> dict[int, NDArray[Any]]:
    """(H, W, 4) straight RGBA 0–1, top row first, of each frame that Render Actor writes as PNG."""
    bpy.ops.portrait_actor.render_actor(
        output=str(output), file_format=file_format, frame_start=frames[0], frame_end=frames[-1]
    )
    pictures = {}
    for frame in frames:
        (file,) = output.glob(f"*_{frame:04d}.{file_format}")
        image = bpy.data.images.load(str(file))
        image.colorspace_settings.name = "Non-Color"
        width, height = image.size
        pixels = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(pixels)
        pictures[frame] = pixels.reshape(height, width, 4)[::-1]
        bpy.data.images.remove(image)
    return pictures


def premultiplied(picture: NDArray[Any]) -> NDArray[Any]:
    return picture[..., :3] * picture[..., 3:]


def change(before: NDArray[Any], after: NDArray[Any]) -> NDArray[Any]:
    """(H, W) the largest difference of any colour."""
    return np.abs(premultiplied(before) - premultiplied(after)).max(-1)


def points(shot: SimpleNamespace, frame: int) -> NDArray[Any]:
    """(V, 2) pixels of the proxy's vertices as Blender poses and projects them."""
    shot.scene.frame_set(frame)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    posed = shot.face.evaluated_get(depsgraph)
    seen = [world_to_camera_view(shot.scene, shot.scene.camera, posed.matrix_world @ v.co) for v in posed.data.vertices]
    size = shot.scene.render.resolution_x, shot.scene.render.resolution_y
    return np.array([(s.x * size[0], (1 - s.y) * size[1]) for s in seen])


def around(pixels: NDArray[Any], shape: tuple[int, ...], margin: float) -> NDArray[Any]:
    """(H, W) whether a pixel lies in the box of some points, widened by a share of the picture's width."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    low, high = pixels.min(0) - margin * shape[1], pixels.max(0) + margin * shape[1]
    return (x > low[0]) & (x < high[0]) & (y > low[1]) & (y < high[1])


def moved_by(shot: SimpleNamespace, channel: str) -> NDArray[Any]:
    """(V,) which vertices a channel moves by more than a fifth of what it moves most."""
    keys = shot.face.data.shape_keys.key_blocks
    count = len(shot.face.data.vertices)
    a, b = np.empty(3 * count, np.float32), np.empty(3 * count, np.float32)
    keys["Basis"].data.foreach_get("co", a)
    keys[channel].data.foreach_get("co", b)
    distance = np.linalg.norm((a - b).reshape(-1, 3), axis=1)
    return distance > 0.2 * distance.max()


def test_create_ends_with_a_finished_actor_and_says_who_is_shown(trained: Path, addon: AddonModules) -> None:
    folder = addon.contract.actor_folder.ActorFolder.open(trained)
    assert folder.info.complete and folder.info.consent["who"] == "nobody: drawn by code"
    assert folder.info.preset == "tiny"


def test_the_render_lies_where_blender_projects_the_proxy(shot: SimpleNamespace, tmp_path: Path) -> None:
    """Every vertex of the face lies on the actor, and around the person there is nothing."""
    pictures = render(tmp_path, range(10, 11))
    alpha = pictures[10][..., 3]
    assert alpha.shape == (shot.scene.render.resolution_y, shot.scene.render.resolution_x)
    x, y = points(shot, 10).astype(int).T
    inside = (x >= 0) & (x < alpha.shape[1]) & (y >= 0) & (y < alpha.shape[0])
    assert inside.mean() > 0.95
    assert (alpha[y[inside], x[inside]] > 0.5).mean() > 0.95
    assert alpha[:4, :4].max() < 0.3 and alpha[:4, -4:].max() < 0.3, "the upper corners show no actor"


def test_a_channel_changes_the_picture_where_and_when_it_should(shot: SimpleNamespace, tmp_path: Path) -> None:
    before = render(tmp_path)
    key = shot.face.data.shape_keys.key_blocks["jawOpen"]
    shot.scene.frame_set(12)
    key.value = 1.0 if key.value < 0.5 else 0.0
    key.keyframe_insert("value", frame=12)
    after = render(tmp_path)
    assert all(np.array_equal(before[f], after[f]) for f in FRAMES if f != 12), "other frames are the same"
    mouth = around(points(shot, 12)[moved_by(shot, "jawOpen")], before[12].shape, 0.08)
    difference = change(before[12], after[12])
    assert difference[mouth].max() > 0.1, "the mouth moves"
    assert difference[~mouth].max() < 0.5 * difference[mouth].max()
    assert difference[mouth].sum() > 0.8 * difference.sum(), "nearly all of the change is at the mouth"


def test_the_head_bone_turns_the_head_when_it_should(shot: SimpleNamespace, tmp_path: Path) -> None:
    before = render(tmp_path)
    head = shot.armature.pose.bones["head"]
    shot.scene.frame_set(11)
    head.rotation_euler.y += math.radians(12)
    head.keyframe_insert("rotation_euler", frame=11)
    after = render(tmp_path)
    assert all(np.array_equal(before[f], after[f]) for f in FRAMES if f != 11)
    difference = change(before[11], after[11])
    face = around(points(shot, 11), difference.shape, 0.1)
    assert difference[face].mean() > 0.01, "the head turns"
    lowest = difference[-difference.shape[0] // 10 :]
    assert lowest.mean() < 0.2 * difference[face].mean(), "the chest stays"


def test_moving_actor_and_camera_together_changes_nothing(shot: SimpleNamespace, tmp_path: Path) -> None:
    before = render(tmp_path / "a", range(10, 11))
    for thing in (shot.armature, shot.scene.camera):
        thing.matrix_world = type(thing.matrix_world).Translation((3, -2, 1)) @ thing.matrix_world
    after = render(tmp_path / "b", range(10, 11))
    assert change(before[10], after[10]).mean() < 1e-3


def test_exr_frames_stand_in_the_compositor(shot: SimpleNamespace, addon: AddonModules, tmp_path: Path) -> None:
    shot.scene.view_settings.view_transform = "Standard"
    bpy.ops.portrait_actor.render_actor(output=str(tmp_path), file_format="exr", frame_start=10, frame_end=11)
    tree = addon.compat.ensure_compositor_tree(shot.scene)
    (node,) = [n for n in tree.nodes if n.bl_idname == "CompositorNodeImage"]
    assert Path(node.image.filepath).parent.samefile(tmp_path)
    assert (node.frame_start, node.frame_duration) == (10, 2)
    render_settings = shot.scene.render
    render_settings.engine, shot.scene.cycles.samples, shot.scene.cycles.use_denoising = "CYCLES", 1, False
    shot.scene.frame_set(11)
    render_settings.image_settings.file_format = "PNG"
    render_settings.filepath = str(tmp_path / "composite.png")
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(render_settings.filepath)
    width, height = image.size
    composite = np.array(image.pixels[:]).reshape(height, width, 4)[::-1]
    straight = render(tmp_path / "png", range(11, 12))[11]
    solid = straight[..., 3] > 0.99
    assert np.abs(composite[solid][:, :3] - straight[solid][:, :3]).mean() < 0.01, "Standard shows display colours"


def test_frames_stand_on_a_card_and_every_second_is_enough(
    shot: SimpleNamespace, addon: AddonModules, tmp_path: Path
) -> None:
    shot.scene.frame_step = 2
    bpy.ops.portrait_actor.render_actor(
        output=str(tmp_path), file_format="png", frame_start=10, frame_end=13, placement="card"
    )
    assert sorted(p.name[-8:] for p in tmp_path.glob("*.png")) == ["0010.png", "0012.png"]
    (card,) = [c for c in shot.armature.children if c.get(addon.card.TAG_PROPERTY) == "card"]
    shot.scene.frame_set(12)
    corners = [
        world_to_camera_view(shot.scene, shot.scene.camera, card.matrix_world @ v.co) for v in card.data.vertices
    ]
    assert np.allclose([(c.x, c.y) for c in corners], [(0, 0), (1, 0), (1, 1), (0, 1)], atol=1e-4)
    head = shot.armature.matrix_world @ shot.armature.pose.bones["head"].head
    assert corners[0].z == pytest.approx(world_to_camera_view(shot.scene, shot.scene.camera, head).z, abs=0.15)
    bpy.ops.portrait_actor.render_actor(output=str(tmp_path / "exr"), frame_start=10, frame_end=10)
    assert card.hide_render, "the compositor shows the actor now"
    (node,) = [n for n in addon.compat.ensure_compositor_tree(shot.scene).nodes if n.bl_idname == "CompositorNodeGroup"]
    plate = np.array(node.inputs["Footage Light"].default_value)[:3]
    assert not np.allclose(plate, 0.5) and np.all((plate > 0) & (plate < 1)), "the footage's background was measured"
    bpy.ops.portrait_actor.render_actor(
        output=str(tmp_path), file_format="png", frame_start=10, frame_end=13, placement="card"
    )
    assert node.mute and not card.hide_render


def test_speak_makes_a_take_and_the_mouth_moves_with_the_voice(
    shot: SimpleNamespace, addon: AddonModules, tmp_path: Path
) -> None:
    line = tmp_path / "line.wav"
    run_backend("sample", str(line), "--seconds", "2", "--seed", "3")
    keys = shot.face.data.shape_keys
    footage = keys.animation_data.action
    bpy.ops.portrait_actor.speak(audio=str(line), frame_start=21, head=False, blink=False)
    take = keys.animation_data.action
    assert take != footage and footage.use_fake_user and take.frame_range[0] == 21
    fps = addon.takes.scene_fps(shot.scene)
    frames = range(21, 21 + int(2 * fps))
    table, _ = addon.sampling.sample_frames(shot.scene, bpy.context.view_layer, shot.armature, shot.face, frames)
    oral = [table.names.index(n) for n in addon.contract.channels.ORAL_CHANNELS]
    facial = [table.names.index(n) for n in addon.contract.channels.FACIAL_CHANNELS]
    assert np.ptp(table.channels[:, oral], axis=0).max() > 0.1, "the mouth moves"
    assert not table.channels[:, facial].any(), "the rest of the face rests"
    assert np.ptp(table.head_rotation, axis=0).max() > 0, "the head keeps the footage's motion"
    if bpy.app.build_options.audaspace:
        spans = {s.name: addon.compat.strip_span(s)[0] for s in addon.compat.list_strips(shot.scene)}
        assert spans["line"] == 21


def test_another_reading_of_a_stretch_keeps_the_keys_around_it(
    shot: SimpleNamespace, addon: AddonModules, tmp_path: Path
) -> None:
    line = tmp_path / "line.wav"
    run_backend("sample", str(line), "--seed", "3")
    keys = shot.face.data.shape_keys
    take, jaw = keys.animation_data.action, keys.key_blocks["jawOpen"]
    for frame in (3, 190):
        jaw.value = 0.77
        jaw.keyframe_insert("value", frame=frame)
    before = {frame: value_at(shot, jaw, frame) for frame in (3, 15, 40, 190)}
    bpy.ops.portrait_actor.speak(audio=str(line), frame_start=21, into_take=True, seed=4, lips_strength=1.5)
    assert keys.animation_data.action == take
    after = {frame: value_at(shot, jaw, frame) for frame in before}
    assert all(after[frame] == pytest.approx(before[frame], abs=1e-5) for frame in (3, 15, 190))
    assert after[40] != pytest.approx(before[40], abs=1e-3)
    assert "its keys before and after are unchanged" in addon.job.current_job().outcome


def value_at(shot: SimpleNamespace, key: bpy.types.ShapeKey, frame: int) -> float:
    shot.scene.frame_set(frame)
    return key.value


def test_two_actors_speak_two_strips(shot: SimpleNamespace, trained: Path, addon: AddonModules, tmp_path: Path) -> None:
    if not bpy.app.build_options.audaspace:
        pytest.skip("this Blender is built without sound")
    bpy.ops.portrait_actor.import_actor(directory=str(trained), match_scene=False)
    one, two = sorted(o.name for o in bpy.data.objects if addon.scene_actor.is_actor_armature(o))
    lines, strips = {one: 3, two: 5}, addon.compat.ensure_strips(shot.scene)
    for channel, seed in enumerate(lines.values(), 10):
        run_backend("sample", str(tmp_path / f"{seed}.wav"), "--seed", str(seed))
        strips.new_sound(f"line {seed}", str(tmp_path / f"{seed}.wav"), channel, 10 * seed)
    strips["line 5"].frame_offset_start = 6  # trimmed: spoken from what is left
    muted = {s.name: s.mute for s in strips}
    for name, seed in lines.items():
        bpy.ops.portrait_actor.speak(strip=f"line {seed}", actor=name)
    for name, seed in lines.items():
        action = bpy.data.objects[name].portrait_actor.face.data.shape_keys.animation_data.action
        first, last = addon.compat.strip_span(strips[f"line {seed}"])
        assert action.name.startswith(f"{name} line {seed}")
        assert action.frame_range[0] == first and action.frame_range[1] == pytest.approx(last - 1, abs=1)
    assert len(strips) == len(muted), "a strip is spoken where it lies: no other is added"
    assert not strips["line 3"].mute and not strips["line 5"].mute


def test_another_video_drives_the_actor(shot: SimpleNamespace, addon: AddonModules, tmp_path: Path) -> None:
    video = tmp_path / "other.mp4"
    run_backend("sample", str(video), "--seconds", "3", "--size", "256", "--seed", "7")
    keys = shot.face.data.shape_keys
    footage = keys.animation_data.action
    bpy.ops.portrait_actor.track_video(filepath=str(video), frame_start=11)
    take = keys.animation_data.action
    assert take != footage and "other" in take.name and take.frame_range[0] == 11
    frames = range(11, int(take.frame_range[1]) + 1)
    table, _ = addon.sampling.sample_frames(shot.scene, bpy.context.view_layer, shot.armature, shot.face, frames)
    assert len(frames) > 50 and np.ptp(table.channels[:, table.names.index("jawOpen")]) > 0.1
    assert np.ptp(table.head_rotation, axis=0).max() > 0.01


def test_a_sample_clip_is_filled_in(addon: AddonModules, tmp_path: Path) -> None:
    settings = bpy.context.scene.portrait_actor
    settings.actor_name, settings.face = "Jane", 2
    bpy.ops.portrait_actor.sample_clip(filepath=str(tmp_path / "try"), seconds=1, size=96)
    assert Path(settings.video) == tmp_path / "try.mp4" and Path(settings.video).is_file()
    assert not settings.actor_name and settings.face == 0
    assert settings.consent_given and "nobody" in settings.consent_who


def test_dub_makes_a_film_of_the_original_video(
    shot: SimpleNamespace, trained: Path, addon: AddonModules, tmp_path: Path
) -> None:
    line, video = tmp_path / "line.wav", trained.parent / "sample.mp4"
    run_backend("sample", str(line), "--seed", "3")
    bpy.ops.portrait_actor.dub(audio=str(line), film=str(tmp_path / "own.mp4"))
    assert "over the actor's own crops" in addon.job.current_job().outcome
    shot.scene.portrait_actor.video = str(video)
    bpy.ops.portrait_actor.dub(audio=str(line), film=str(tmp_path / "dub"), lips_strength=1.2)
    assert "over sample.mp4" in addon.job.current_job().outcome
    clip = bpy.data.movieclips["dub.mp4"]
    bpy.ops.portrait_actor.dub(audio=str(line), film=str(tmp_path / "dub"), lips_strength=1.2)
    assert list(clip.size) == [192, 192] and len([c for c in bpy.data.movieclips if "dub" in c.name]) == 1
    assert run_python(PROBE, str(tmp_path / "dub.mp4")).split() == ["192", "192", "True"]
    with pytest.raises(RuntimeError, match="There is no video at"):
        bpy.ops.portrait_actor.dub(audio=str(line), film=str(tmp_path / "x.mp4"), footage="/nowhere/x.mp4")
    code = addon.cli.main(
        ["dub", str(line), "--out", str(tmp_path / "cli.mp4"), "--start", "1", "--lips-strength", "0"]
    )
    assert code == 0 and (tmp_path / "cli.mp4").is_file()


def test_a_film_has_the_scenes_sound(shot: SimpleNamespace, tmp_path: Path) -> None:
    bpy.ops.portrait_actor.render_actor(output=str(tmp_path), file_format="mp4", frame_start=5, frame_end=9)
    (film,) = tmp_path.glob("*.mp4")
    clip = bpy.data.movieclips.load(str(film))
    assert clip.frame_duration == 5
    size = shot.scene.render.resolution_x, shot.scene.render.resolution_y
    assert run_python(PROBE, str(film)).split() == [*map(str, size), str(bool(bpy.app.build_options.audaspace))]


def test_create_again_goes_on_where_it_was(trained: Path, addon: AddonModules) -> None:
    """The same call on a finished actor trains nothing again and only imports it."""
    model = trained / "model.safetensors"
    stamp = model.stat().st_mtime_ns
    bpy.ops.portrait_actor.create_actor(
        video=str(trained.parent / "sample.mp4"),
        folder=str(trained),
        preset="tiny",
        consent_who="nobody: drawn by code",
    )
    assert model.stat().st_mtime_ns == stamp
    assert addon.scene_actor.require_actor(bpy.context).folder().path.samefile(trained)
