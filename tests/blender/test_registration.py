"""The zip in Blender: it is valid, loads nothing heavy, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import addon_utils
import bpy
import pytest
from support import PACKAGE, handler_lists

VERBS = (
    "setup_backend", "create_actor", "import_actor", "speak", "dub", "push_take", "render_actor", "cancel_job",
    "open_log", "open_folder", "open_report", "load_overlay", "choose_face", "track_video", "sample_clip",
)  # fmt: skip


def ours() -> set[str]:
    return {name for name in dir(bpy.types) if name.startswith("PORTRAIT_ACTOR_")}


def handler_count() -> int:
    return sum(map(len, handler_lists()))


def extension_tool() -> Path:
    scripts = Path(bpy.utils.resource_path("LOCAL")) / "scripts"
    return next(scripts.glob("**/bl_pkg/cli/blender_ext.py"))


def test_blender_accepts_the_zip(archive):
    answer = subprocess.run([sys.executable, extension_tool(), "validate", archive], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_a_static_repository_offers_the_zip(archive, tmp_path):
    from tools import package

    scripts = Path(bpy.utils.resource_path("LOCAL")) / "scripts"
    package.repository(
        archive, tmp_path / "shelf", [sys.executable, next(scripts.glob("**/bl_pkg/cli/blender_ext.py"))]
    )
    offered = json.loads((tmp_path / "shelf" / "index.json").read_text(encoding="utf-8"))
    (ours,) = offered["data"]
    assert ours["id"] == "portrait_actor" and ours["archive_url"].endswith(archive.name)
    assert ours["archive_size"] == archive.stat().st_size and (tmp_path / "shelf" / archive.name).is_file()
    assert "Portrait Actor" in (tmp_path / "shelf" / "index.html").read_text(encoding="utf-8")


def test_every_verb_is_there():
    assert all(hasattr(bpy.types, f"PORTRAIT_ACTOR_OT_{verb}") for verb in VERBS)
    assert {getattr(bpy.types, name).bl_category for name in ours() if "_PT_" in name} == {"Portrait Actor"}


def test_it_runs_from_the_user_folder_and_loads_nothing_heavy(installed):
    assert "portrait_actor_tests_" in installed("addon").__file__
    assert not {"torch", "numba", "mediapipe", "cv2", "scipy"} & set(sys.modules)


def test_every_property_and_operator_is_described():
    for verb in VERBS:
        kind = getattr(bpy.ops.portrait_actor, verb).get_rna_type()
        assert kind.description, verb
    for group in (bpy.types.Scene, bpy.types.Object):
        settings = group.bl_rna.properties["portrait_actor"].fixed_type
        bare = [p.identifier for p in settings.properties if not p.description]
        assert set(bare) <= {"rna_type", "name", "channels"}, bare


def test_switching_off_leaves_nothing_behind(actor_folder):
    keys = set(bpy.types.Scene.bl_rna.properties.keys()), set(bpy.types.Object.bl_rna.properties.keys())
    handlers = handler_count()
    menu = list(bpy.types.TOPBAR_MT_file_import._dyn_ui_initialize())
    for _ in range(5):
        bpy.ops.portrait_actor.import_actor(directory=str(actor_folder))
        addon_utils.disable(PACKAGE)
        assert not ours()
        assert "portrait_actor" not in bpy.types.Scene.bl_rna.properties
        assert "portrait_actor" not in bpy.types.Object.bl_rna.properties
        assert len(bpy.types.TOPBAR_MT_file_import._dyn_ui_initialize()) == len(menu) - 1
        assert handler_count() < handlers
        assert not any("portrait_actor" in f.__module__ for kind in handler_lists() for f in kind)
        assert addon_utils.enable(PACKAGE) is not None
    assert handler_count() == handlers
    assert keys == (set(bpy.types.Scene.bl_rna.properties.keys()), set(bpy.types.Object.bl_rna.properties.keys()))
    assert len(bpy.types.TOPBAR_MT_file_import._dyn_ui_initialize()) == len(menu)


def test_a_file_with_an_actor_survives_without_the_extension(nora, tmp_path):
    file = tmp_path / "kept.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    addon_utils.disable(PACKAGE)
    try:
        bpy.ops.wm.open_mainfile(filepath=str(file))
        bpy.context.scene.frame_set(9)
        bpy.ops.wm.save_mainfile()
    finally:
        addon_utils.enable(PACKAGE)
    bpy.ops.wm.open_mainfile(filepath=str(file))
    assert bpy.data.objects["Nora"].portrait_actor.face == bpy.data.objects["Nora face"]


@pytest.mark.parametrize("verb", ["create_actor", "speak", "render_actor", "setup_backend"])
def test_a_second_job_says_why_it_must_wait(addon, verb, tmp_path):
    code = "import sys; sys.stdin.read()"
    addon.job.start("a long one", [sys.executable, "-c", code], tmp_path / "log.txt", lambda data: "")
    with pytest.raises(RuntimeError, match="A job is running"):
        getattr(bpy.ops.portrait_actor, verb)()
