"""Jobs under external faults: killed at any stage, folder moved, read-only or too new, disk full.

Real processes and real files; docs/user/RELIABILITY.md lists these tests and those of other files.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

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

from backend.contract.actor_folder import FORMAT_VERSION, ActorFolder
from backend.contract.performance import Performance
from backend.contract.progress import Reporter
from backend.contract.protocol import Error, Message, Progress, Result
from backend.pipeline.create import CreateOptions, create_actor
from backend.rendering.frames import render_performance
from backend.rendering.options import RenderOptions
from backend.setup.process_lock import WAIT_STAGE

STAGES = {  # reported stages in order, and how many of FINISHED are complete by then
    "look at the footage": 0, "cut out the person": 1, "refine the mattes": 1, "track the face": 2,
    "draw the report": 3, "train the actor": 4, "learn to speak": 5,
}  # fmt: skip
FINISHED = ("scan", "crops", "track", "report", "train", "speech")
TINY = ("--preset", "tiny", "--device", "cpu")


@pytest.fixture
def own_lock(tmp_path: Path) -> dict[str, str]:
    """An environment in which a creation waits for no other outside its test."""
    (tmp_path / "temporary").mkdir()
    return {**os.environ, "TMPDIR": str(tmp_path / "temporary")}


def snapshot(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its content."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def parse_content(name: str, data: bytes) -> Any:
    """Return a file's content for comparison; safetensors writes the metadata in its header in any order."""
    if not name.endswith(".safetensors"):
        return data
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def reported_stages(messages: list[Message]) -> list[str]:
    """Return the reported stages in their order."""
    return list(dict.fromkeys(m.stage for m in messages if isinstance(m, Progress)))


def has_reached(message: Message, stage: str) -> bool:
    """Whether the first unit of a stage is finished, or the only one has begun."""
    return isinstance(message, Progress) and message.stage == stage and (message.done > 0 or message.total == 1)


def read_info(folder: Path) -> dict[str, Any]:
    """Return the content of actor.json without durations."""
    data: dict[str, Any] = json.loads((folder / "actor.json").read_text(encoding="utf-8"))
    data["figures"] = {name: value for name, value in data["figures"].items() if "seconds" not in name}
    data["figures"]["speech"].pop("seconds")
    return data


@requires_posix
def test_create_killed_at_every_stage_continues_to_the_same_result(
    sample_actor: ActorFolder, sample_clip: Path, tmp_path: Path, own_lock: dict[str, str]
) -> None:
    """One folder goes through all stages, and at each its process is killed.

    While a process works, the next one waits for the lock on the same folder. At one stage the folder is moved instead.
    """
    path, moved_path = tmp_path / "sample.actor", tmp_path / "moved.actor"

    def create() -> BackendProcess:
        return BackendProcess("create", sample_clip, path, *TINY, env=own_lock)

    process, kept = create(), 0
    for stage, finished in STAGES.items():
        moves = stage == "draw the report"
        with process:
            messages = process.read_until(lambda message: isinstance(message, Progress) and message.stage != WAIT_STAGE)
            next_process = None if moves else create()
            while not has_reached(messages[-1], stage):
                messages += process.read_until(lambda message: isinstance(message, Progress))
            assert not {name for name, done in STAGES.items() if done < kept} & set(reported_stages(messages)), (
                "a finished stage must not run again"
            )
            if moves:
                path.rename(moved_path)
                rest, code = process.read_to_end()
                assert code == 2 and isinstance(rest[-1], Error) and rest[-1].code in ("folder_gone", "damaged_actor")
                assert not path.exists(), "no new folder may appear"
                moved_path.rename(path)
            process.kill()
        assert tuple(ActorFolder.open(path, must_be_complete=False).info.stages) == FINISHED[:finished]
        kept = finished
        process = next_process or create()
    with process:
        messages, code = process.read_to_end()
    assert code == 0 and isinstance(messages[-1], Result)
    assert {WAIT_STAGE, "learn to speak"} >= set(reported_stages(messages)), "only the missing stage may run"
    assert read_info(path) == read_info(sample_actor.path)
    created, expected = snapshot(path), snapshot(sample_actor.path)
    assert set(created) == set(expected)
    different = {name for name in created if parse_content(name, created[name]) != parse_content(name, expected[name])}
    assert different <= {"actor.json", "report.html"}, "only these contain durations"
    shutil.rmtree(path)


@requires_posix
def test_folder_deleted_during_the_scan_is_reported(
    sample_clip: Path, tmp_path: Path, own_lock: dict[str, str]
) -> None:
    path = tmp_path / "gone.actor"
    with BackendProcess("create", sample_clip, path, *TINY, env=own_lock) as blender:
        blender.read_until(lambda message: has_reached(message, "look at the footage"))
        shutil.rmtree(path)
        messages, code = blender.read_to_end()
    assert code == 2 and isinstance(messages[-1], Error) and messages[-1].code == "folder_gone" and messages[-1].remedy
    assert not path.exists()


@requires_posix
def test_output_folder_moved_during_a_render_is_reported(
    make_actor: Callable[[Path], ActorFolder], tmp_path: Path
) -> None:
    actor, table, out = make_actor(tmp_path / "tiny.actor"), tmp_path / "say.npz", tmp_path / "out"
    Performance.rest_pose(3000, 25).save(table)
    with BackendProcess("render", actor.path, table, "--out", out) as blender:
        blender.read_until_frames(3)
        out.rename(tmp_path / "moved")
        messages, code = blender.read_to_end()
    assert code == 2 and isinstance(messages[-1], Error) and messages[-1].code == "folder_gone"
    assert len(list((tmp_path / "moved").glob("tiny_*.exr"))) >= 3 and not out.exists()
    assert not list((tmp_path / "moved").glob("*.part"))


@requires_posix
def test_killed_speak_and_dub_leave_no_incomplete_file(sample_actor: ActorFolder, tmp_path: Path) -> None:
    sound, table, film = tmp_path / "short.wav", tmp_path / "say.npz", tmp_path / "dub.mp4"
    with wave.open(str(sample_actor.file_path("audio.wav"))) as whole, wave.open(str(sound), "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(whole.getframerate()))
    with BackendProcess("speak", sample_actor.path, sound, table) as blender:
        blender.read_until(lambda message: has_reached(message, "speak"))
        blender.kill()
    assert not table.exists()
    with BackendProcess("dub", sample_actor.path, sound, "--out", film, "--device", "cpu") as blender:
        blender.read_until_frames(2)
        blender.kill()
    assert not film.exists()
    again = run_backend("dub", sample_actor.path, sound, "--out", film, "--device", "cpu")
    assert again.returncode == 0, again.stderr
    assert {p.name for p in tmp_path.iterdir()} == {film.name, sound.name}, (
        "the killed process's temporary file must be gone"
    )


@requires_posix
def test_read_only_actor_speaks_and_is_not_created_again(
    sample_actor: ActorFolder, sample_clip: Path, tmp_path: Path, own_lock: dict[str, str]
) -> None:
    if os.geteuid() != 0 or not can_mount():
        pytest.skip("only an administrator may mount a folder read-only")
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'

    def run_read_only(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = ["unshare", "--mount", "sh", "-c", script, str(sample_actor.path), *backend_command(*arguments)]
        return subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, env=own_lock)

    before, table = snapshot(sample_actor.path), tmp_path / "say.npz"
    spoken = run_read_only("speak", sample_actor.path, sample_actor.file_path("audio.wav"), table)
    assert spoken.returncode == 0 and len(Performance.load(table)), spoken.stderr
    assert_one_line_error(run_read_only("create", sample_clip, sample_actor.path, *TINY), "cannot be written")
    assert snapshot(sample_actor.path) == before


@requires_posix
def test_create_on_a_full_disk_is_reported_and_keeps_finished_stages(
    sample_clip: Path, tmp_path: Path, own_lock: dict[str, str]
) -> None:
    if os.geteuid() != 0 or not can_mount():
        pytest.skip("only an administrator may mount a small disk")
    small, kept = tmp_path / "small", tmp_path / "kept"
    small.mkdir()
    script = 'mount -t tmpfs -o size=1m tmpfs "$0" && "$@"; code=$?; cp -r "$0/." "$KEPT"; exit $code'
    command = ["unshare", "--mount", "sh", "-c", script, str(small)]
    answer = subprocess.run(
        [*command, *backend_command("create", sample_clip, small / "sample.actor", *TINY)],
        cwd=REPO, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, env={**own_lock, "KEPT": str(kept)},
    )  # fmt: skip
    assert answer.returncode == 2 and "The disk is full" in answer.stderr and "Traceback" not in answer.stderr
    folder = ActorFolder.open(kept / "sample.actor", must_be_complete=False)
    assert tuple(folder.info.stages) == ("scan",) and not list(folder.path.rglob("*.part"))


@pytest.mark.parametrize("verb", ["create", "speak", "render"])
def test_actor_of_a_newer_format_is_reported_and_left_unchanged(
    make_actor: Callable[[Path], ActorFolder], tmp_path: Path, own_lock: dict[str, str], verb: str
) -> None:
    actor, file, out = make_actor(tmp_path / "new.actor"), tmp_path / "input", tmp_path / "out"
    data = json.loads(actor.file_path("actor.json").read_text(encoding="utf-8"))
    actor.file_path("actor.json").write_text(
        json.dumps({**data, "format_version": FORMAT_VERSION + 1}), encoding="utf-8"
    )
    file.write_bytes(b"never read")
    before = snapshot(actor.path)
    arguments = {
        "create": (file, actor.path, *TINY),
        "speak": (actor.path, file, out),
        "render": (actor.path, file, "--out", out),
    }
    assert_one_line_error(run_backend(verb, *arguments[verb], env=own_lock), "newer Portrait Actor", "Update")
    assert snapshot(actor.path) == before and not out.exists()


def test_file_times_do_not_cause_work(
    sample_actor: ActorFolder, sample_clip: Path, tmp_path: Path, make_actor: Callable[[Path], ActorFolder]
) -> None:
    """Files dated 2100 and 1970: a complete actor stays complete, unchanged frames are kept."""
    path, clip, out = tmp_path / "sample.actor", tmp_path / sample_clip.name, tmp_path / "out"
    shutil.copytree(sample_actor.path, path)
    shutil.copy(sample_clip, clip)
    tiny, performance = make_actor(tmp_path / "tiny.actor"), Performance.rest_pose(2, 25)
    options = RenderOptions(out, device="cpu")
    assert render_performance(tiny, performance, None, options, Reporter())["rendered"] == 2
    before = snapshot(path)
    year_2100, year_1970 = 4102444800, 86400
    for file in (clip, *path.rglob("*"), *tiny.path.rglob("*")):
        os.utime(file, (year_2100, year_2100))
    for file in out.rglob("*"):
        os.utime(file, (year_1970, year_1970))

    class FailingReporter(Reporter):
        """Fails at any work."""

        def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
            """Fail."""
            raise AssertionError(stage)

    create_actor(clip, path, CreateOptions(preset="tiny", device="cpu"), FailingReporter())
    assert snapshot(path) == before
    assert render_performance(tiny, performance, None, options, Reporter())["skipped"] == 2
