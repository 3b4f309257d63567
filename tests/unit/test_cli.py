"""The commands as users, Blender and farms run them: real processes and files, and every kind of failure."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import OpenEXR
import pytest
from child import (
    REPO,
    TIMEOUT_SECONDS,
    BackendProcess,
    assert_one_line_error,
    backend_command,
    can_mount,
    requires_posix,
    run_backend,
)

from backend.contract.actor_folder import ActorFolder
from backend.contract.camera import CameraPath
from backend.contract.performance import Performance
from backend.contract.protocol import Error, Hello, Note, Progress, Result
from backend.media import decode as video


@pytest.fixture
def actor(tmp_path: Path, make_actor: Callable[[Path], ActorFolder]) -> ActorFolder:
    return make_actor(tmp_path / "tiny.actor")


def save_performance(path: Path, count: int) -> Path:
    """Write a performance of `count` frames that moves the head."""
    moving = Performance.rest_pose(count, 25, first_frame=-1)
    moving.head_translation[:, 0] = np.linspace(-0.03, 0.03, count)
    moving.save(path)
    return path


def save_camera(path: Path) -> Path:
    view = np.diag([1.0, -1, -1, 1])
    view[2, 3] = 0.7
    CameraPath(64, 40, np.array([1]), view[None], np.array([[90.0, 90.0, 32.0, 20.0]])).save(path)
    return path


def test_render_with_json_lines_reports_progress_and_writes_passes(actor: ActorFolder, tmp_path: Path) -> None:
    table, camera = save_performance(tmp_path / "say.npz", 3), save_camera(tmp_path / "camera.json")
    out = tmp_path / "frames"
    with BackendProcess("render", actor.path, table, "--camera", camera, "--out", out, "--format", "exr") as blender:
        received, code = blender.read_to_end()
    assert code == 0
    assert isinstance(received[0], Hello) and received[0].device in ("cpu", "cuda") and received[0].device_name
    steps = [m for m in received if isinstance(m, Progress)]
    assert steps[0].done == 0 and steps[-1].done == steps[-1].total == 3
    assert [s.done for s in steps] == sorted(s.done for s in steps)
    result = received[-1]
    assert isinstance(result, Result) and result.id == "job"
    assert (result.data["first"], result.data["last"], result.data["pattern"]) == (-1, 1, "tiny_####.exr")
    assert Path(result.data["folder"]) == out
    with OpenEXR.File(str(out / "tiny_0001.exr"), separate_channels=True) as file:
        planes = {name: channel.pixels.astype(np.float32) for name, channel in file.channels().items()}
    alpha = planes["Actor.Combined.A"]
    assert alpha.shape == (40, 64) and alpha.max() > 0.95 and alpha[0, 0] == 0
    assert planes["Actor.Head.X"][20, 36] > 0.9 and planes["Actor.Torso.X"][20, 36] < 0.1
    assert planes["Actor.Depth.Z"][20, 36] == pytest.approx(0.62, abs=0.03), "the front of a ball of 8 cm"


def test_render_in_an_ascii_terminal_handles_paths_with_any_letters(
    make_actor: Callable[[Path], ActorFolder], tmp_path: Path
) -> None:
    folder = tmp_path / ("a b 'c' \"d\" 肖像 портрет" if os.name != "nt" else "a b 'c' 肖像")
    actor = make_actor(folder / "jané.actor")
    table, sound = save_performance(folder / "sage “ja”.npz", 5), folder / "tön.wav"
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(np.zeros(16000, "<i2").tobytes())
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    arguments = ("render", actor.path, table, "--out", folder / "out", "--format", "mp4", "--sound", sound)
    answer = run_backend(*arguments, env=env)
    assert answer.returncode == 0, answer.stderr
    assert "5 frames are in " in answer.stdout and "Traceback" not in answer.stderr
    info = video.probe_video(folder / "out" / "jané.mp4")
    assert (info.width, info.height, info.frame_count, info.has_audio) == (48, 48, 5, True)


def test_doctor_reports_installed_versions_and_its_exit_code() -> None:
    with BackendProcess("doctor") as blender:
        received, code = blender.read_to_end()
    result = received[-1]
    assert isinstance(received[0], Hello) and isinstance(result, Result)
    found = {f["what"]: f for f in result.data["findings"]}
    assert found["numpy"]["state"].startswith(np.__version__)
    assert code == (0 if result.data["ok"] else 2)
    assert result.data["ok"] == all(f["ok"] for f in found.values() if f["needed"])
    assert found["face tracker"]["ok"] and found["codecs"]["ok"]


def test_help_lists_every_command() -> None:
    answer = run_backend("--help")
    assert answer.returncode == 0
    for name in ("create", "speak", "render", "evaluate", "serve", "doctor", "sample"):
        assert f"  {name} " in answer.stdout


def write_text(path: Path) -> None:
    path.write_text("a shopping list\n" * 99, encoding="utf-8")


@pytest.mark.parametrize(
    ("make", "code"), [(write_text, "not_a_video"), (Path.touch, "empty_file"), (lambda p: None, "missing_file")]
)
def test_create_refuses_a_file_that_is_not_a_video(tmp_path: Path, make: Callable[[Path], None], code: str) -> None:
    clip, actor = tmp_path / "my clip.mp4", tmp_path / "x.actor"
    make(clip)
    with BackendProcess("create", clip, actor, "--preset", "tiny") as blender:
        received, exit_code = blender.read_to_end()
    error = received[-1]
    assert exit_code == 2 and isinstance(error, Error) and error.code == code and error.remedy and not error.log
    assert "my clip.mp4" in error.message and error.message.count(".") <= 3
    assert not (actor / "actor.json").exists() or not json.loads((actor / "actor.json").read_text())["complete"]


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("render", "{tmp}/none.actor", "{tmp}/say.npz", "--out", "{tmp}/o"), "no actor at"),
        (("render", "{actor}", "{tmp}/none.npz", "--out", "{tmp}/o"), "no performance at"),
        (("render", "{actor}", "{tmp}/say.npz", "--camera", "{tmp}/none.json", "--out", "{tmp}/o"), "no camera file"),
        (("render", "{actor}", "{tmp}/say.npz", "--camera", "{tmp}/say.npz", "--out", "{tmp}/o"), "camera file"),
        (("render", "{actor}", "{tmp}/say.npz", "--out", "{tmp}/say.npz/o"), "written"),
        (("render", "{actor}", "{tmp}/say.npz", "--out", "{tmp}/o", "--scale", "-1"), "scale"),
        (("render", "{actor}", "{tmp}/say.npz"), "required: --out"),
        (("render", "{actor}", "{tmp}/say.npz", "--out", "{tmp}/o", "--format", "gif"), "gif"),
        (("sing",), "sing"),
        (("sample", "{tmp}/a.avi"), "a.avi"),
        (("sample", "{tmp}/say.npz/a.wav"), "written"),
    ],
)
def test_invalid_input_is_reported_in_one_line(
    actor: ActorFolder, tmp_path: Path, arguments: tuple[str, ...], part: str
) -> None:
    save_performance(tmp_path / "say.npz", 2)
    assert_one_line_error(
        run_backend(*(argument.format(tmp=tmp_path, actor=actor.path) for argument in arguments)), part
    )


def test_damaged_model_is_reported_without_a_traceback(actor: ActorFolder, tmp_path: Path) -> None:
    model = actor.file_path("model.safetensors")
    model.write_bytes(model.read_bytes()[: model.stat().st_size // 2])
    answer = run_backend("render", actor.path, save_performance(tmp_path / "say.npz", 2), "--out", tmp_path / "o")
    assert "damaged" in answer.stderr and answer.returncode == 2 and "Traceback" not in answer.stderr


@requires_posix
def test_output_folder_without_write_permission_is_reported(actor: ActorFolder, tmp_path: Path) -> None:
    """A read-only mount for the administrator, who may write despite permissions; permissions for everyone else."""
    table, out = save_performance(tmp_path / "say.npz", 2), tmp_path / "locked"
    out.mkdir()
    render = backend_command("render", actor.path, table, "--out", out)
    if os.geteuid() != 0:
        out.chmod(0o500)
        command = render
    elif can_mount():
        script = 'mount -t tmpfs -o ro tmpfs "$0" && exec "$@"'
        command = ["unshare", "--mount", "sh", "-c", script, str(out), *render]
    else:
        pytest.skip("an administrator who may not mount can write everywhere")
    answer = subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=TIMEOUT_SECONDS)
    assert answer.returncode == 2 and "cannot be written" in answer.stderr and "Traceback" not in answer.stderr


@requires_posix
@pytest.mark.parametrize(("file_format", "size", "scale"), [("exr", "64k", 3), ("mp4", "8k", 8)])
def test_full_disk_leaves_only_complete_files(
    actor: ActorFolder, tmp_path: Path, file_format: str, size: str, scale: int
) -> None:
    if os.geteuid() != 0 or not can_mount():
        pytest.skip("only an administrator may mount a small disk")
    out, kept = tmp_path / "small", tmp_path / "kept"
    out.mkdir()
    kept.mkdir()
    render = backend_command(
        "render", actor.path, save_performance(tmp_path / "say.npz", 30), "--out", out, "--format", file_format
    )
    script = 'mount -t tmpfs -o size="$SIZE" tmpfs "$0" && "$@"; code=$?; cp -r "$0/." "$KEPT"; exit $code'
    answer = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, str(out), *render, "--scale", str(scale)],
        cwd=REPO, capture_output=True, text=True, timeout=TIMEOUT_SECONDS,
        env={**os.environ, "KEPT": str(kept), "SIZE": size},
    )  # fmt: skip
    assert answer.returncode == 2 and "The disk is full" in answer.stderr and "Traceback" not in answer.stderr
    files = [p for p in kept.iterdir() if not p.name.startswith(".")]
    assert all(p.suffix == ".exr" for p in files)
    for file in files:
        assert OpenEXR.isOpenExrFile(str(file))
        with OpenEXR.File(str(file)) as picture:
            assert picture.channels()


def list_complete_frames(out: Path) -> list[Path]:
    """Return the frames under their final names, each of which must be readable."""
    found = sorted(out.glob("tiny_*.exr"))
    for path in found:
        with OpenEXR.File(str(path)) as file:
            assert file.channels()
    return found


def test_cancel_request_ends_the_job_and_keeps_complete_frames(actor: ActorFolder, tmp_path: Path) -> None:
    table, out = save_performance(tmp_path / "say.npz", 3000), tmp_path / "o"
    with BackendProcess("render", actor.path, table, "--out", out) as blender:
        blender.read_until_frames(5)
        blender.send_request("cancel")
        received, code = blender.read_to_end()
        assert blender.process.stderr is not None and "Traceback" not in blender.process.stderr.read()
    assert code == 130 and isinstance(received[-1], Error) and received[-1].code == "cancelled"
    assert sum(isinstance(m, (Error, Result)) for m in received) == 1, "exactly one last message"
    assert 5 <= len(list_complete_frames(out)) < 3000 and not list(out.glob("*.part"))


@requires_posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_job_without_a_traceback(actor: ActorFolder, tmp_path: Path, number: signal.Signals) -> None:
    out = tmp_path / "o"
    child = subprocess.Popen(
        backend_command("render", actor.path, save_performance(tmp_path / "say.npz", 3000), "--out", out),
        cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while not list(out.glob("*.exr")) and child.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(0.05)
        child.send_signal(number)
        output, errors = child.communicate(timeout=TIMEOUT_SECONDS)
    finally:
        child.kill()
    assert child.returncode == 130
    assert errors.endswith("Cancelled. Run the same command again to go on.\n") and "Traceback" not in errors
    assert output == "" and list_complete_frames(out) and not list(out.glob("*.part"))


def test_job_is_cancelled_when_its_input_closes(actor: ActorFolder, tmp_path: Path) -> None:
    with BackendProcess(
        "render", actor.path, save_performance(tmp_path / "say.npz", 3000), "--out", tmp_path / "o"
    ) as blender:
        blender.read_until_frames(1)
        assert blender.process.stdin is not None
        blender.process.stdin.close()
        received, code = blender.read_to_end()
    assert code == 130 and isinstance(received[-1], Error) and received[-1].code == "cancelled"


@requires_posix
def test_killed_job_leaves_complete_files_and_the_next_run_continues(actor: ActorFolder, tmp_path: Path) -> None:
    table, out = save_performance(tmp_path / "say.npz", 3000), tmp_path / "o"
    with BackendProcess("render", actor.path, table, "--out", out) as blender:
        blender.read_until_frames(3)
        blender.process.kill()
        received, code = blender.read_to_end()
    assert code == -signal.SIGKILL and not any(isinstance(m, (Error, Result)) for m in received), (
        "only the exit code says so"
    )
    assert len(list_complete_frames(out)) >= 3
    count = len(list_complete_frames(out))
    with BackendProcess("render", actor.path, save_performance(table, 3000), "--out", out) as blender:
        note = next(message.message for message in blender.read_messages() if isinstance(message, Note))
        blender.read_until_frames(1)
        blender.send_request("cancel")
        blender.read_to_end()
    assert len(list_complete_frames(out)) > count, "the next run must continue where this one stopped"
    kept = int(note.removesuffix(" of 3000 frames are unchanged and were kept."))
    assert kept in (count, count - 1), "the last frame may have been renamed but not recorded"
