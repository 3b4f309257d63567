"""What preparation saw, in Blender: the report, the footage's overlay as a movie clip, the choice of a face."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest
import small_actor
from addon_modules import AddonModules
from support import run_backend, run_python

FILM = """
import sys
from pathlib import Path
import numpy as np
from backend.media.encode import VideoWriter
with VideoWriter(Path(sys.argv[1]), 64, 48, float(sys.argv[2])) as film:
    for shade in range(int(sys.argv[3])):
        film.write_frame(np.full((48, 64, 3), 5 * shade, np.uint8))
"""
TWO = """
import sys
from pathlib import Path
import numpy as np
from backend.media.decode import read_frames
from backend.media.encode import VideoWriter
one, two = Path(sys.argv[1]), Path(sys.argv[2])
with VideoWriter(two, 384, 192, 25.0, one) as film:
    for _, _, rgb in read_frames(one):
        film.write_frame(np.ascontiguousarray(np.hstack([rgb, rgb])))
"""


@pytest.fixture
def reported(nora: SimpleNamespace, tmp_path: Path, addon: AddonModules) -> SimpleNamespace:
    """Nora with a report and an overlay, imported so that her footage begins at frame 7."""
    folder = tmp_path / "Nora Ünlü & co.actor"
    shutil.copytree(nora.folder, folder)
    (folder / "report.html").write_text("<!doctype html><title>Nora</title>", encoding="utf-8")
    run_python(FILM, str(folder / "overlay.mp4"), str(small_actor.FPS), str(small_actor.FRAMES))
    bpy.ops.portrait_actor.import_actor(directory=str(folder), frame_start=7)
    return SimpleNamespace(folder=folder, armature=addon.scene_actor.require_actor(bpy.context).armature)


def test_an_actor_without_a_report_says_so(nora: SimpleNamespace) -> None:
    assert not bpy.ops.portrait_actor.open_report.poll()
    with pytest.raises(RuntimeError, match="There is no report"):
        bpy.ops.portrait_actor.open_report()
    with pytest.raises(RuntimeError, match="no footage overlay"):
        bpy.ops.portrait_actor.load_overlay()


def test_the_report_is_the_actor_s(reported: SimpleNamespace, nora: SimpleNamespace) -> None:
    assert bpy.ops.portrait_actor.open_report() == {"FINISHED"}
    with pytest.raises(RuntimeError, match="There is no report at"):
        bpy.ops.portrait_actor.open_report(directory=str(nora.folder))


def test_the_report_can_be_read_while_its_actor_is_still_trained(addon: AddonModules, tmp_path: Path) -> None:
    folder = tmp_path / "jane.actor"
    folder.mkdir()
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    addon.job.start_job(addon.job.JobRequest("Create Jane", command, tmp_path, lambda data: "", actor_folder=folder))
    assert not bpy.ops.portrait_actor.open_report.poll()
    (folder / "report.html").write_text("<!doctype html>", encoding="utf-8")
    assert bpy.ops.portrait_actor.open_report() == {"FINISHED"}


def test_the_overlay_runs_with_the_footage_s_take(reported: SimpleNamespace, addon: AddonModules) -> None:
    assert bpy.ops.portrait_actor.load_overlay() == {"FINISHED"}
    (clip,) = bpy.data.movieclips
    assert clip.name == f"{reported.armature.name} footage overlay"
    assert list(np.array(clip.size)) == [64, 48] and clip.frame_duration == small_actor.FRAMES
    assert clip.fps == pytest.approx(small_actor.FPS)
    action = reported.armature.animation_data.action
    assert clip.frame_start == round(action.frame_range[0]) == 7
    assert Path(bpy.path.abspath(clip.filepath)).resolve() == (reported.folder / "overlay.mp4").resolve()
    bpy.ops.portrait_actor.load_overlay()
    assert len(bpy.data.movieclips) == 1, "the same film is not loaded twice"


def test_an_open_clip_editor_shows_the_overlay(reported: SimpleNamespace) -> None:
    area = bpy.context.window_manager.windows[0].screen.areas[0]
    before = area.type
    area.type = "CLIP_EDITOR"
    try:
        bpy.ops.portrait_actor.load_overlay()
        assert area.spaces.active.clip == bpy.data.movieclips[0]
    finally:
        area.type = before


def test_a_scene_of_another_rate_is_told(reported: SimpleNamespace, installed: Callable[[str], ModuleType]) -> None:
    footage = installed("addon.scene.footage")
    bpy.ops.portrait_actor.load_overlay()
    (clip,) = bpy.data.movieclips
    assert not footage.is_frame_rate_different(bpy.context.scene, clip)
    bpy.context.scene.render.fps = 24
    assert footage.is_frame_rate_different(bpy.context.scene, clip)


def test_a_film_that_blender_cannot_read_is_told(reported: SimpleNamespace) -> None:
    (reported.folder / "overlay.mp4").write_bytes(b"no film")
    with pytest.raises(RuntimeError, match="cannot read"):
        bpy.ops.portrait_actor.load_overlay()
    assert not bpy.data.movieclips


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (2, ["Face 1 (left)", "Face 2 (right)"]),
        (3, ["Face 1 (left)", "Face 2 (middle)", "Face 3 (right)"]),
        (4, ["Face 1 (left)", "Face 2", "Face 3", "Face 4 (right)"]),
    ],
)
def test_faces_are_called_by_where_they_are(addon: AddonModules, count: int, names: Any) -> None:
    assert [addon.panels.job_box._face_label(n, count) for n in range(1, count + 1)] == names


def test_nothing_to_choose_from_says_so(addon: AddonModules) -> None:
    with pytest.raises(RuntimeError, match="No video with several faces"):
        bpy.ops.portrait_actor.choose_face(face=1)


def test_a_landmarker_that_is_none_is_refused_before_any_work(addon: AddonModules, tmp_path: Path) -> None:
    (tmp_path / "jane.mp4").write_bytes(b"")
    with pytest.raises(RuntimeError, match="no face landmarker at"):
        bpy.ops.portrait_actor.create_actor(video=str(tmp_path / "jane.mp4"), landmarker=str(tmp_path / "none.task"))
    assert addon.job.current_job() is None


def test_two_faces_ask_which_and_the_chosen_one_becomes_the_actor(addon: AddonModules, tmp_path: Path) -> None:
    one, two = tmp_path / "one.mp4", tmp_path / "two.mp4"
    run_backend("sample", str(one), "--seconds", "4", "--size", "192")
    run_python(TWO, str(one), str(two))
    bpy.context.scene.portrait_actor.video = str(two)
    with pytest.raises(RuntimeError, match="2 faces at once"):
        bpy.ops.portrait_actor.create_actor(
            video=str(two), folder=str(tmp_path / "two.actor"), preset="tiny", consent_who="nobody: drawn by code"
        )
    asked = addon.job.current_job()
    assert not (tmp_path / "two.actor").exists()
    faces = [x + width / 2 for x, _, width, _ in asked.error.data["faces"]]
    assert faces == pytest.approx([96, 288], abs=25)
    pictures = [Path(p) for p in asked.error.data["pictures"]]
    assert [p.parent for p in pictures] == [asked.log.parent] * 2 and all(p.is_file() for p in pictures)
    for file in (*pictures, tmp_path / "none.png"):
        addon.thumbnails.load_icon(file)  # Blender makes no icons without a window, but the panel's call must not fail
    assert bpy.ops.portrait_actor.choose_face(face=2) == {"FINISHED"}
    assert bpy.context.scene.portrait_actor.face == 2
    folder = addon.scene_actor.require_actor(bpy.context).folder()
    x, _, side = folder.info.camera.crop
    assert x + side / 2 == pytest.approx(288, abs=40), "the face at the right"
    assert bpy.ops.portrait_actor.open_report() == {"FINISHED"}
    bpy.ops.portrait_actor.load_overlay()
    assert bpy.data.movieclips[0].frame_duration == folder.info.frame_count


def test_another_video_asks_anew_for_the_face_and_the_consent(addon: AddonModules) -> None:
    settings = bpy.context.scene.portrait_actor
    settings.video, settings.face, settings.consent_given = "//one.mp4", 2, True
    settings.video = "//other.mp4"
    assert (settings.face, settings.consent_given) == (0, False)
