"""The sidebar: what is written on its buttons, and which actor it is about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import bpy
import pytest
import recording_layout
from addon_modules import AddonModules
from recording_layout import LayoutCall

OPS = bpy.ops.portrait_actor
ABOUT_ACTORS = ("job", "pose", "oral", "facial", "takes")
PANELS = ("job", "create", "pose", "oral", "facial", "speak", "dub", "takes", "capture", "render")


def draw(installed: Callable[[str], ModuleType], name: str) -> list[LayoutCall]:
    """What the panel PORTRAIT_ACTOR_PT_`name` draws now."""
    classes = installed("addon.panels").CLASSES
    return recording_layout.record_panel(next(kind for kind in classes if kind.__name__ == f"PORTRAIT_ACTOR_PT_{name}"))


def written(drawn: list[LayoutCall]) -> str:
    """All lines of text, as one."""
    return " ".join(item.text for item in drawn if item.kind == "label")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A computer without a backend, on which Blender may not go online."""
    monkeypatch.setenv("PORTRAIT_ACTOR_PYTHON", str(tmp_path / "gone" / "python"))
    assert not bpy.app.online_access, "Blender's own default"


def test_the_button_that_allows_online_access_is_named_and_explained(
    installed: Callable[[str], ModuleType], offline: Any
) -> None:
    drawn = draw(installed, "job")
    (button,) = (item for item in drawn if item.arguments[:1] == ("extensions.userpref_allow_online",))
    assert button.text == "Allow Online Access"
    before = drawn[: drawn.index(button)]
    assert "Blender may not go online" in written(before) and "downloads" in written(before)


@pytest.mark.parametrize("panel", PANELS)
def test_every_button_has_a_name_or_an_icon_beside_something_that_has_one(
    installed: Callable[[str], ModuleType], nora: SimpleNamespace, offline: Any, panel: Any
) -> None:
    drawn = draw(installed, panel)
    assert drawn
    for item in drawn:
        if item.kind == "operator" and not item.text:
            beside = [other for other in item.siblings if other.text or other.kind in ("prop", "template_ID")]
            assert item.options.get("text") == "" and item.options.get("icon") and beside, item


@pytest.mark.parametrize("code", ["no_backend", "no_cuda", "broken_backend", "no_python", "unsaved", "offline"])
def test_every_remedy_is_a_button_with_a_name(installed: Callable[[str], ModuleType], code: str) -> None:
    box = installed("addon.panels.job_box")
    operator, label, _ = box.REMEDIES[code]
    layout = recording_layout.RecordingLayout()
    layout.operator(operator, text=label or None)
    assert layout.all_calls[0].text


@pytest.fixture
def pair(actor_folder: Path) -> Any:
    """Two actors, each with a card and the first with a hat; nothing is selected and nothing is active."""
    for _ in range(2):
        OPS.import_actor(directory=str(actor_folder))
    both = [bpy.data.objects[name] for name in ("Nora", "Nora.001")]
    for armature in both:
        card = bpy.data.objects.new(f"{armature.name} card", bpy.data.meshes.new("card"))
        card.parent = armature
        bpy.context.collection.objects.link(card)
    hat = bpy.data.objects.new("hat", bpy.data.meshes.new("hat"))
    hat.parent = both[0].portrait_actor.face
    bpy.context.collection.objects.link(hat)
    bpy.context.collection.objects.link(bpy.data.objects.new("table", None))
    choose()
    return SimpleNamespace(first=both[0], second=both[1], hat=hat, table=bpy.data.objects["table"])


def choose(*selected: bpy.types.Object, active: bpy.types.Object | None = None) -> None:
    """Selects these objects and no others."""
    for thing in bpy.context.view_layer.objects:
        thing.select_set(thing in selected)
    bpy.context.view_layer.objects.active = active


def parts_of(armature: bpy.types.Object) -> list[bpy.types.Object]:
    """The armature and the other objects of an actor."""
    settings = armature.portrait_actor
    return [armature, settings.face, settings.camera, bpy.data.objects[f"{armature.name} card"]]


def owners(drawn: list[LayoutCall]) -> set[bpy.types.ID]:
    """The datablocks of objects whose properties a panel draws."""
    owned = {getattr(a, "id_data", None) for item in drawn for a in item.arguments}
    return {found for found in owned if isinstance(found, (bpy.types.Object, bpy.types.Key))}


@pytest.mark.parametrize("part", ["armature", "face", "camera", "card"])
@pytest.mark.parametrize("name", ["Nora", "Nora.001"])
def test_selecting_a_part_of_an_actor_makes_every_panel_show_that_actor(
    installed: Callable[[str], ModuleType], pair: Any, name: str, part: str
) -> None:
    armature = bpy.data.objects[name]
    thing = dict(zip(("armature", "face", "camera", "card"), parts_of(armature), strict=True))[part]
    choose(thing, active=thing)
    own = {armature, armature.portrait_actor.face.data.shape_keys}
    for panel in ABOUT_ACTORS:
        drawn = owners(draw(installed, panel))
        assert drawn and drawn <= own, (panel, drawn)
    assert f"Actor: {name}" in [item.text for item in draw(installed, "job")]


@pytest.mark.parametrize("name", ["Nora", "Nora.001"])
def test_a_button_changes_the_channels_of_the_selected_actor_alone(pair: Any, name: str) -> None:
    jaws = {}
    for armature in (pair.first, pair.second):
        keys = armature.portrait_actor.face.data.shape_keys
        keys.animation_data_clear()
        jaws[armature.name] = keys.key_blocks["jawOpen"]
        jaws[armature.name].value = 0.5
    camera = bpy.data.objects[name].portrait_actor.camera
    choose(camera, active=camera)
    assert OPS.reset_channels() == {"FINISHED"}
    assert {other: jaw.value for other, jaw in jaws.items()} == {
        other: 0.0 if other == name else 0.5 for other in ("Nora", "Nora.001")
    }


@pytest.mark.parametrize("name", ["Nora", "Nora.001"])
def test_a_button_is_grey_when_the_selected_actor_lacks_what_it_needs(pair: Any, name: str) -> None:
    """Only the first has a take in use; Push Take asks for one."""
    pair.second.animation_data_clear()
    pair.second.portrait_actor.face.data.shape_keys.animation_data_clear()
    face = bpy.data.objects[name].portrait_actor.face
    choose(face, active=face)
    assert OPS.push_take.poll() == (name == "Nora")


def test_which_actor_is_meant(addon: AddonModules, pair: Any) -> None:
    """Selected before active, active before the sidebar's choice, and the scene's last when that one is gone."""
    first, second, table = pair.first, pair.second, pair.table
    face = first.portrait_actor.face

    def meant() -> bpy.types.Object:
        return addon.scene_actor.require_actor(bpy.context).armature

    choose()
    assert meant() == second, "it came last, and the form names it"
    choose(face, active=second)
    assert meant() == first, "a box selection leaves the active object as it was"
    choose(active=first)
    assert meant() == first, "deselecting everything leaves the active object"
    choose(table, first, active=table)
    assert meant() == first, "the table belongs to no actor"
    choose(first, second, active=second)
    assert meant() == second, "of several, the active one"
    choose(pair.hat, active=pair.hat)
    assert meant() == first, "what is parented to the face"
    bpy.context.scene.portrait_actor.actor = first
    choose(table, active=table)
    assert meant() == first, "chosen in the sidebar"
    choose()
    bpy.data.objects.remove(first)
    assert meant() == second, "the only one left"


def test_a_face_that_only_its_modifier_ties_to_the_rig_belongs_to_the_actor(addon: AddonModules, pair: Any) -> None:
    face = pair.first.portrait_actor.face
    face.parent = None
    choose(face, active=face)
    assert addon.scene_actor.require_actor(bpy.context).armature == pair.first


def test_a_name_that_a_script_gave_does_not_stay_for_the_next_button() -> None:
    for verb in ("speak", "dub", "render_actor", "export_job", "track_video", "import_capture", "export_capture"):
        assert getattr(OPS, verb).get_rna_type().properties["actor"].is_skip_save, verb
