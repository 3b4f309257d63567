"""The sidebar: what is written on its buttons."""

from __future__ import annotations

import bpy
import pytest
import recording
from recording import Drawn

PANELS = ("job", "create", "pose", "oral", "facial", "speak", "dub", "takes", "capture", "render")


def draw(installed, name: str) -> list[Drawn]:
    """What the panel PORTRAIT_ACTOR_PT_`name` draws now."""
    classes = installed("addon.panels").CLASSES
    return recording.draw(next(kind for kind in classes if kind.__name__ == f"PORTRAIT_ACTOR_PT_{name}"))


def written(drawn: list[Drawn]) -> str:
    """All lines of text, as one."""
    return " ".join(item.text for item in drawn if item.kind == "label")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """A computer without a backend, on which Blender may not go online."""
    monkeypatch.setenv("PORTRAIT_ACTOR_PYTHON", str(tmp_path / "gone" / "python"))
    assert not bpy.app.online_access, "Blender's own default"


def test_the_button_that_allows_online_access_is_named_and_explained(installed, offline):
    drawn = draw(installed, "job")
    (button,) = (item for item in drawn if item.arguments[:1] == ("extensions.userpref_allow_online",))
    assert button.text == "Allow Online Access"
    before = drawn[: drawn.index(button)]
    assert "Blender may not go online" in written(before) and "downloads" in written(before)


@pytest.mark.parametrize("panel", PANELS)
def test_every_button_has_a_name_or_an_icon_beside_something_that_has_one(installed, nora, offline, panel):
    drawn = draw(installed, panel)
    assert drawn
    for item in drawn:
        if item.kind == "operator" and not item.text:
            beside = [other for other in item.siblings if other.text or other.kind in ("prop", "template_ID")]
            assert item.options.get("text") == "" and item.options.get("icon") and beside, item


@pytest.mark.parametrize("code", ["no_backend", "no_cuda", "broken_backend", "no_python", "unsaved", "offline"])
def test_every_remedy_is_a_button_with_a_name(installed, code):
    box = installed("addon.panels.job_box")
    operator, label, _ = box.REMEDIES[code]
    layout = recording.Layout()
    layout.operator(operator, text=label or None)
    assert layout.everything[0].text
