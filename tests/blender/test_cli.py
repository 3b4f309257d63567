"""``blender --command portrait_actor …``: exit codes, one sentence on failure, what is saved."""

from __future__ import annotations

import shlex
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import pytest
from addon_modules import AddonModules
from support import ROOT


def run(addon: AddonModules, capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = addon.cli.main([str(a) for a in arguments])
    said = capfd.readouterr()
    return code, said.out, said.err


def test_import_and_save(
    addon: AddonModules, capfd: pytest.CaptureFixture[str], actor_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "scene with spaces é.blend"
    code, out, _ = run(addon, capfd, "import", actor_folder, "--frame-start", 5, "--save", file)
    assert code == 0 and "Nora is in the scene." in out
    bpy.ops.wm.open_mainfile(filepath=str(file))
    assert addon.scene_actor.require_actor(bpy.context).folder().path.samefile(actor_folder)
    action = bpy.data.objects["Nora"].animation_data.action
    assert action.frame_range[0] == 5


def test_import_where_a_file_was_opened_without_a_window(
    addon: AddonModules, capfd: pytest.CaptureFixture[str], actor_folder: Path
) -> None:
    """`blender -b FILE --command` has no window, so Blender knows no active object there."""
    with bpy.context.temp_override(window=None):
        code, out, err = run(addon, capfd, "import", actor_folder)
    assert code == 0 and "Nora is in the scene." in out, err


def test_save_in_place(
    addon: AddonModules, capfd: pytest.CaptureFixture[str], actor_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "a.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file))
    assert run(addon, capfd, "import", actor_folder, "--save")[0] == 0
    bpy.ops.wm.open_mainfile(filepath=str(file))
    assert "Nora" in bpy.data.objects


@pytest.mark.parametrize("arguments", [["--help"], ["create", "--help"], ["render", "--help"], ["speak", "--help"]])
def test_help(addon: AddonModules, capfd: pytest.CaptureFixture[str], arguments: Any) -> None:
    code, out, _ = run(addon, capfd, *arguments)
    assert code == 0 and "--command portrait_actor" in out


@pytest.mark.parametrize("page", ["README.md", "docs/user/PIPELINE.md"])
def test_the_manual_s_commands_can_be_parsed(addon: AddonModules, page: str) -> None:
    written = (ROOT / page).read_text(encoding="utf-8")
    commands = [line.partition("--command portrait_actor ")[2] for line in written.splitlines()]
    commands = [words.partition("&&")[0] for words in commands if words and "`" not in words]
    assert len(commands) > 1
    for words in commands:
        arguments = shlex.split(words.removesuffix("|| exit"), comments=True)
        if "--help" not in arguments:
            addon.cli._build_parser().parse_args(arguments)


FAILURES = {
    "an unknown verb": (["dance"], "invalid choice"),
    "no verb": ([], "required"),
    "no folder": (["import", "/nowhere/x.actor"], "There is no actor at"),
    "no video": (["create", "/nowhere/x.mp4"], "There is no video at"),
    "no actor to speak": (["speak", "/nowhere/x.wav"], "There is no actor in the scene."),
    "no actor to render": (["render", "--out", "//frames"], "There is no actor in the scene."),
    "an actor of another name": (["render", "--out", "//frames", "--actor", "Otto"], "No actor called Otto"),
    "a preset that is none": (["create", "x.mp4", "--preset", "huge"], "invalid choice"),
}


@pytest.mark.parametrize("what", FAILURES)
def test_a_failure_is_one_sentence_and_an_exit_code(
    addon: AddonModules, capfd: pytest.CaptureFixture[str], what: Any
) -> None:
    arguments, sentence = FAILURES[what]
    code, out, err = run(addon, capfd, *arguments)
    assert code == 2 and sentence in err and "Traceback" not in err and not out
    assert len([line for line in err.splitlines() if "rror:" in line]) == 1


def test_no_sound_file(addon: AddonModules, capfd: pytest.CaptureFixture[str], nora: SimpleNamespace) -> None:
    code, _, err = run(addon, capfd, "speak", "/nowhere/x.wav")
    assert code == 2 and "There is no sound at" in err


def test_speak_asks_what_the_operator_asks(addon: AddonModules) -> None:
    """With the same defaults: both are made from the same properties."""
    parsed = addon.cli._build_parser().parse_args(
        ["speak", "line.wav", "--lips-strength", "1.5", "--no-head", "--use-style"]
    )
    properties = bpy.ops.portrait_actor.speak.get_rna_type().properties
    asked = {name: p for name, p in properties.items() if name not in ("rna_type", "frame_start", "actor")}
    given = {"audio": "line.wav", "lips_strength": 1.5, "head": False, "use_style": True}
    for name, prop in asked.items():
        assert getattr(parsed, name) == given.get(name, prop.default), name


def test_relative_output_of_an_unsaved_file(
    addon: AddonModules, capfd: pytest.CaptureFixture[str], nora: SimpleNamespace
) -> None:
    code, _, err = run(addon, capfd, "render", "--out", "//frames")
    assert code == 2 and "not saved yet" in err


def test_saving_without_a_name(addon: AddonModules, capfd: pytest.CaptureFixture[str], actor_folder: Path) -> None:
    code, _, err = run(addon, capfd, "import", actor_folder, "--save")
    assert code == 2 and "The scene has no file yet. Name one" in err


def test_a_backend_that_fails_is_one_sentence(
    addon: AddonModules, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real start-up with a Python that has none of the packages and no backend command that works."""
    video = tmp_path / "broken.mp4"
    video.write_text("this is no video")
    code, _, err = run(addon, capfd, "create", video, tmp_path / "x.actor", "--preset", "tiny")
    assert code == 2 and "Traceback" not in err and "Error: " in err
    assert len([line for line in err.splitlines() if line.startswith("Error:")]) == 1
    assert not (tmp_path / "x.actor" / "actor.json").exists() or '"complete": true' not in (
        tmp_path / "x.actor" / "actor.json"
    ).read_text(encoding="utf-8")
