"""Visemes, and what is done to many channels at once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import bpy
import pytest
from addon_modules import AddonModules

OPS = bpy.ops.portrait_actor


@pytest.fixture
def keys(nora: SimpleNamespace) -> Any:
    """Nora's shape keys without a take, at rest."""
    shape_keys = nora.face.data.shape_keys
    shape_keys.animation_data.action = None
    for block in shape_keys.key_blocks[1:]:
        block.value = 0
    return shape_keys.key_blocks


def moved(keys: Any) -> set[str]:
    return {block.name for block in keys[1:] if block.value > 1e-6}


def test_a_viseme_keys_the_whole_mouth_and_nothing_else(nora: SimpleNamespace, keys: Any) -> None:
    scene = bpy.context.scene
    keys["browInnerUp"].value, keys["mouthSmileLeft"].value = 0.4, 0.8
    scene.frame_set(10)
    assert OPS.key_viseme(viseme="O") == {"FINISHED"}
    assert keys["mouthFunnel"].value > 0.4 and keys["mouthSmileLeft"].value == 0
    assert keys["browInnerUp"].value == pytest.approx(0.4)
    scene.frame_set(14)
    OPS.key_viseme(viseme="REST")
    found, _ = nora.sample([10, 14])
    assert found.channels[0, found.names.index("mouthFunnel")] > 0.4
    assert found.channels[1, : found.names.index("tongueOut") + 1].max() == 0


def test_every_viseme_differs_and_stays_within_what_can_be_drawn(keys: Any) -> None:
    shapes = set()
    for item in OPS.key_viseme.get_rna_type().properties["viseme"].enum_items:
        OPS.key_viseme(viseme=item.identifier, strength=2.0)
        values = tuple(round(block.value, 3) for block in keys[1:])
        assert max(values) <= 1.2
        shapes.add(values)
    assert len(shapes) == 11


def test_reset_and_mirror(keys: Any) -> None:
    keys["mouthSmileLeft"].value, keys["eyeBlinkRight"].value, keys["jawOpen"].value = 0.6, 0.7, 0.2
    OPS.mirror_channels(part="ALL")
    assert keys["mouthSmileRight"].value == pytest.approx(0.6) and keys["eyeBlinkLeft"].value == pytest.approx(0.7)
    assert moved(keys) == {"mouthSmileRight", "eyeBlinkLeft", "jawOpen"}
    OPS.reset_channels(part="ORAL")
    assert moved(keys) == {"eyeBlinkLeft"}
    OPS.reset_channels(part="FACIAL")
    assert not moved(keys)


def test_key_all_keys_what_is_shown(nora: SimpleNamespace, keys: Any) -> None:
    scene = bpy.context.scene
    keys["cheekPuff"].value = 0.5
    scene.frame_set(3)
    OPS.key_channels(part="FACIAL")
    action = nora.face.data.shape_keys.animation_data.action
    assert action is not None
    found, _ = nora.sample([3, 30])
    assert found.channels[:, found.names.index("cheekPuff")] == pytest.approx([0.5, 0.5])
    keys["jawOpen"].value = 0.3
    scene.tool_settings.use_keyframe_insert_auto = True
    scene.frame_set(20)
    OPS.reset_channels(part="ALL")  # Blender keys by itself then
    found, _ = nora.sample([3, 20])
    assert found.channels[:, found.names.index("cheekPuff")] == pytest.approx([0.5, 0.0])


def test_a_search_limits_what_is_done_to_what_is_listed(nora: SimpleNamespace, keys: Any) -> None:
    keys["mouthSmileLeft"].value, keys["eyeBlinkRight"].value, keys["jawOpen"].value = 0.6, 0.7, 0.2
    OPS.mirror_channels(part="ORAL", search="Smile  Left")
    assert moved(keys) == {"mouthSmileRight", "eyeBlinkRight", "jawOpen"}, "what is listed swaps with its other side"
    OPS.reset_channels(part="ALL", search="jaw")
    assert moved(keys) == {"mouthSmileRight", "eyeBlinkRight"}
    OPS.key_channels(part="ALL", search="smile")
    action = nora.face.data.shape_keys.animation_data.action
    assert action.frame_range[1] == bpy.context.scene.frame_current
    OPS.reset_channels(part="ALL")
    assert not moved(keys), "a search is not remembered"


@pytest.mark.parametrize(
    ("value", "left"), [(0.0, True), (0.096, False), (0.1, False), (0.4, False), (0.503, False), (0.52, True)]
)
def test_the_measured_range_is_told_and_so_is_who_leaves_it(nora: SimpleNamespace, value: float, left: bool) -> None:
    span = nora.armature.portrait_actor.channels["jawOpen"]
    span.low, span.high = 0.1, 0.5
    assert span.is_exceeded_by(value) == left and span.range_label() == "0.10–0.50"
    span.low = 0.0
    assert span.range_label() == "0–0.50"
    unseen = nora.armature.portrait_actor.channels["tongueOut"]
    assert unseen.range_label() == "not seen" and not unseen.is_exceeded_by(value)


def test_without_an_actor_there_is_nothing_to_do(addon: AddonModules) -> None:
    verbs = (OPS.key_viseme, OPS.key_channels, OPS.reset_channels, OPS.mirror_channels)
    assert not any(verb.poll() for verb in verbs)
