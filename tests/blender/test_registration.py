"""The zip in Blender: it is valid, loads nothing heavy, and leaves nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import addon_utils
import bpy
import pytest
from addon_modules import AddonModules
from support import PACKAGE, handler_lists

MENUS = ("TOPBAR_MT_file_import", "VIEW3D_MT_object", "VIEW3D_MT_pose")
VERBS = (
    "setup_backend", "create_actor", "import_actor", "speak", "dub", "push_take", "render_actor", "cancel_job",
    "open_log", "open_folder", "open_report", "load_overlay", "choose_face", "track_video", "sample_clip",
    "export_job", "live_preview", "import_capture", "export_capture", "key_viseme", "key_channels", "reset_channels",
    "mirror_channels", "override_channels", "dismiss",
)  # fmt: skip


def ours() -> set[str]:
    return {name for name in dir(bpy.types) if name.startswith("PORTRAIT_ACTOR_")}


def menu_lines() -> list[int]:
    """How many functions draw each of Blender's menus that we add to."""
    return [len(getattr(bpy.types, name)._dyn_ui_initialize()) for name in MENUS]


def handler_count() -> int:
    return sum(map(len, handler_lists()))


def extension_tool() -> Path:
    scripts = Path(bpy.utils.resource_path("LOCAL")) / "scripts"
    return next(scripts.glob("**/bl_pkg/cli/blender_ext.py"))


def test_blender_accepts_the_zip(archive: Path) -> None:
    answer = subprocess.run([sys.executable, extension_tool(), "validate", archive], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_a_static_repository_offers_the_zip(archive: Path, tmp_path: Path) -> None:
    from tools import package

    scripts = Path(bpy.utils.resource_path("LOCAL")) / "scripts"
    package.make_repository(
        archive, tmp_path / "shelf", [sys.executable, next(scripts.glob("**/bl_pkg/cli/blender_ext.py"))]
    )
    offered = json.loads((tmp_path / "shelf" / "index.json").read_text(encoding="utf-8"))
    (ours,) = offered["data"]
    assert ours["id"] == "portrait_actor" and ours["archive_url"].endswith(archive.name)
    assert ours["archive_size"] == archive.stat().st_size and (tmp_path / "shelf" / archive.name).is_file()
    assert "Portrait Actor" in (tmp_path / "shelf" / "index.html").read_text(encoding="utf-8")


def test_every_verb_is_there() -> None:
    assert all(hasattr(bpy.types, f"PORTRAIT_ACTOR_OT_{verb}") for verb in VERBS)
    assert {
        getattr(bpy.types, name).bl_category for name in ours() if "_PT_" in name and not name.endswith("_presets")
    } == {"Portrait Actor"}


def test_search_finds_every_verb_in_a_menu(installed: Callable[[str], ModuleType]) -> None:
    """Blender's search looks through menus; what is not there has a picture or a letter to choose in the sidebar."""
    listed = {verb[0] for verb in installed("addon.panels.menu").MENU_OPERATORS if verb is not None}
    kinds = {verb: getattr(bpy.types, f"PORTRAIT_ACTOR_OT_{verb}") for verb in VERBS}
    aside = {verb for verb, kind in kinds.items() if "INTERNAL" in getattr(kind, "bl_options", ())}
    assert listed | aside | {"key_viseme"} == set(VERBS) and not listed & aside
    for verb in listed:
        assert getattr(bpy.ops.portrait_actor, verb).get_rna_type().name, verb


@pytest.mark.parametrize(
    ("verb", "kept", "left"),
    [("speak", {"line.lips_strength": 1.5, "line.seed": 7}, {"line.audio": "/a.wav"}),
     ("render", {"file_format": "png", "placement": "card"}, {"output": "//there"})],
)  # fmt: skip
def test_a_preset_brings_back_how_not_what(verb: str, kept: Any, left: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    menu = f"PORTRAIT_ACTOR_PT_{verb}_presets"
    monkeypatch.setattr(getattr(bpy.types, menu), "bl_label", "")  # Blender writes the preset's name there
    form = bpy.context.scene.portrait_actor
    for path, value in (kept | left).items():
        set_value(form, path, value)
    add = getattr(bpy.ops.portrait_actor, f"add_{verb}_preset")
    assert add(name="Mine") == {"FINISHED"}
    bpy.ops.wm.read_homefile(use_empty=True)
    form = bpy.context.scene.portrait_actor
    (file,) = (f for folder in bpy.utils.preset_paths(f"portrait_actor/{verb}") for f in Path(folder).glob("*.py"))
    bpy.ops.script.execute_preset(filepath=str(file), menu_idname=menu)
    assert {path: form.path_resolve(path) for path in kept} == kept
    assert all(form.path_resolve(path) != value for path, value in left.items())
    add(name="Mine", remove_name=True)
    assert not file.exists()


def set_value(owner: Any, path: str, value: Any) -> None:
    *parts, name = path.split(".")
    for part in parts:
        owner = getattr(owner, part)
    setattr(owner, name, value)


def test_what_the_caller_leaves_open_is_filled_in(installed: Callable[[str], ModuleType]) -> None:
    seen = []

    class Probe(bpy.types.Operator):
        bl_idname = "scene.portrait_actor_probe"
        bl_label = "Probe"
        frame: bpy.props.IntProperty(default=1)
        film: bpy.props.StringProperty()

        def execute(self, context: Any) -> Any:
            installed("addon.operators.operator_base").fill_unset_properties(self, frame=7, film="form.mp4")
            seen.append((self.frame, self.film))
            return {"FINISHED"}

    bpy.utils.register_class(Probe)
    try:
        for given in ({}, {"frame": 1}, {"film": "own.mp4"}):
            bpy.ops.scene.portrait_actor_probe(**given)
    finally:
        bpy.utils.unregister_class(Probe)
    assert seen == [(7, "form.mp4"), (1, "form.mp4"), (7, "own.mp4")]


def test_it_runs_from_the_user_folder_and_loads_nothing_heavy(installed: Callable[[str], ModuleType]) -> None:
    assert "portrait_actor_tests_" in str(installed("addon").__file__)
    assert not {"torch", "numba", "mediapipe", "cv2", "scipy"} & set(sys.modules)


def test_every_property_and_operator_is_described() -> None:
    for verb in VERBS:
        kind = getattr(bpy.ops.portrait_actor, verb).get_rna_type()
        assert kind.description, verb
        bare = [p.identifier for p in kind.properties if not (p.description or p.is_hidden)]
        assert set(bare) <= {"rna_type"}, (verb, bare)
    for group in (bpy.types.Scene, bpy.types.Object):
        settings = group.bl_rna.properties["portrait_actor"].fixed_type
        bare = [p.identifier for p in settings.properties if not p.description]
        assert set(bare) <= {"rna_type", "name", "channels"}, bare


def test_switching_off_leaves_nothing_behind(actor_folder: Path) -> None:
    keys = set(bpy.types.Scene.bl_rna.properties.keys()), set(bpy.types.Object.bl_rna.properties.keys())
    handlers = handler_count()
    lines = menu_lines()
    for _ in range(5):
        bpy.ops.portrait_actor.import_actor(directory=str(actor_folder))
        addon_utils.disable(PACKAGE)
        assert not ours()
        assert "portrait_actor" not in bpy.types.Scene.bl_rna.properties
        assert "portrait_actor" not in bpy.types.Object.bl_rna.properties
        assert menu_lines() == [count - 1 for count in lines]
        assert handler_count() < handlers
        assert not any("portrait_actor" in f.__module__ for kind in handler_lists() for f in kind)
        assert addon_utils.enable(PACKAGE) is not None
    assert handler_count() == handlers
    assert keys == (set(bpy.types.Scene.bl_rna.properties.keys()), set(bpy.types.Object.bl_rna.properties.keys()))
    assert menu_lines() == lines


def test_a_file_with_an_actor_survives_without_the_extension(nora: SimpleNamespace, tmp_path: Path) -> None:
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
def test_a_second_job_says_why_it_must_wait(addon: AddonModules, verb: str, tmp_path: Path) -> None:
    code = "import sys; sys.stdin.read()"
    addon.job.start_job(addon.job.JobRequest("a long one", [sys.executable, "-c", code], tmp_path, lambda data: ""))
    with pytest.raises(RuntimeError, match="A job is running"):
        getattr(bpy.ops.portrait_actor, verb)()
