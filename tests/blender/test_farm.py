"""A shot as an Open Job Description bundle, run by the specification's own runner."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import bpy
import numpy as np
import pytest
from addon_modules import AddonModules
from support import read_pixels

FIRST, LAST, CHUNK = 4, 9, 3
BLENDER = Path(__file__).with_name("blender_cli.py")
OPENJD = Path(os.environ["PORTRAIT_ACTOR_PYTHON"]).with_name("openjd")


@pytest.fixture
def bundle(sam: SimpleNamespace, tmp_path: Path) -> Path:
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = FIRST, LAST
    folder = tmp_path / "job é"
    bpy.ops.portrait_actor.export_job(directory=str(folder), chunk=CHUNK, file_format="png")
    return folder


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A program that is called as Blender is."""
    file = tmp_path / "blender"
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{BLENDER}" "$@"\n', encoding="utf-8")
    file.chmod(0o755)
    return file


def start(bundle: Path, program: Path, chunk_start: int) -> subprocess.Popen[str]:
    """Runs one task."""
    tasks = json.dumps([{"ChunkStart": chunk_start}])
    command = [OPENJD, "run", bundle / "template.json", "--step", "RenderActor", "--tasks", tasks]
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    return subprocess.Popen(
        [*map(str, command), "-p", f"Blender={program}", "-p", "Device=cpu"],
        env=environment, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8",
    )  # fmt: skip


def test_the_template_is_valid_and_the_bundle_whole(bundle: Path) -> None:
    checked = subprocess.run([OPENJD, "check", bundle / "template.json"], capture_output=True, encoding="utf-8")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    template = json.loads((bundle / "template.json").read_text(encoding="utf-8"))
    given = {p["name"]: p["default"] for p in template["parameterDefinitions"]}
    assert (bundle / given["BlendFile"]).is_file()
    actor = bundle / given["ActorFolder"]
    assert {f.name for f in actor.iterdir()} == {
        "actor.json", "model.safetensors", "plate.png", "proxy.npz", "footage.npz"
    }  # fmt: skip
    assert "nobody" in json.loads((actor / "actor.json").read_text(encoding="utf-8"))["consent"]["who"]
    summary = subprocess.run([OPENJD, "summary", bundle / "template.json"], capture_output=True, encoding="utf-8")
    assert "2 total Tasks" in summary.stdout or "Total tasks: 2" in summary.stdout, summary.stdout


def test_chunks_side_by_side_one_killed_and_retried_give_the_pixels_of_one_run(
    sam: SimpleNamespace, bundle: Path, program: Path, tmp_path: Path
) -> None:
    whole, frames = tmp_path / "whole", bundle / "frames"
    bpy.ops.portrait_actor.render_actor(output=str(whole), file_format="png", placement="none")
    sam.folder.rename(sam.folder.with_name("elsewhere.actor"))  # the bundle needs nothing outside itself
    try:
        first, second = (start(bundle, program, s) for s in (FIRST, FIRST + CHUNK))
        deadline = time.monotonic() + 120
        while not list(frames.glob("*.png")) and first.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        os.killpg(second.pid, signal.SIGKILL)
        second.wait()
        assert first.wait(120) == 0, first.stdout and first.stdout.read()
        again = start(bundle, program, FIRST + CHUNK)
        assert again.wait(120) == 0, again.stdout and again.stdout.read()
    finally:
        sam.folder.with_name("elsewhere.actor").rename(sam.folder)
    names = sorted(f.name for f in whole.glob("*.png"))
    assert len(names) == LAST - FIRST + 1 and sorted(f.name for f in frames.glob("*.png")) == names
    assert all(np.array_equal(read_pixels(whole / n), read_pixels(frames / n)) for n in names)


def test_a_folder_with_other_things_is_left_alone(sam: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(RuntimeError, match="holds other files"):
        bpy.ops.portrait_actor.export_job(directory=str(tmp_path))
    assert [f.name for f in tmp_path.iterdir()] == ["letter.txt"]


def test_a_scene_that_no_task_could_render_is_told_at_once(sam: SimpleNamespace, tmp_path: Path) -> None:
    bpy.context.scene.camera.data.type = "ORTHO"
    with pytest.raises(RuntimeError, match="perspective"):
        bpy.ops.portrait_actor.export_job(directory=str(tmp_path / "job"))
    bpy.context.scene.camera = None
    with pytest.raises(RuntimeError, match="no camera"):
        bpy.ops.portrait_actor.export_job(directory=str(tmp_path / "job"))
    assert not (tmp_path / "job").exists()


def test_the_command_line_exports_and_exports_again(sam: SimpleNamespace, addon: AddonModules, tmp_path: Path) -> None:
    folder = tmp_path / "job"
    for chunk in (2, 5):
        arguments = [
            "export-job",
            "--out",
            str(folder),
            "--chunk",
            str(chunk),
            "--frame-start",
            "3",
            "--frame-end",
            "8",
        ]
        assert addon.cli.main(arguments) == 0
        template = json.loads((folder / "template.json").read_text(encoding="utf-8"))
        given = {p["name"]: p["default"] for p in template["parameterDefinitions"]}
        assert (given["FirstFrame"], given["LastFrame"], given["ChunkLength"]) == (3, 8, chunk)
