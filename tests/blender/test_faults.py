"""Blender and its backend when either is killed, and what is left after doing the same thing many times.

docs/user/RELIABILITY.md lists these tests beside those of other files. PORTRAIT_ACTOR_SOAK=SECONDS makes the repeated
ones long: 7200 scrubs the preview for two hours, and speaks and cancels a hundred times.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import addon_utils
import bpy
import pytest
from addon_modules import AddonModules
from support import PACKAGE, handler_lists, is_alive, receive_until, wait_for_exit, wait_for_preview, write_child_script

OPS = bpy.ops.portrait_actor
CREATING = Path(__file__).with_name("create_actor_process.py")
TRAIN, WAIT = "train the actor", "wait for another actor"
LIMIT = 600.0  # s after which a process counts as hanging
SOAK = float(os.environ.get("PORTRAIT_ACTOR_SOAK", "0"))
GROWTH = 24 << 20  # bytes of memory that a long run may hold more than at its first quarter
posix = pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc and kills")


def children() -> set[int]:
    """Processes that this one started and that have not ended."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split() if is_alive(int(pid))}


def held() -> dict[str, int]:
    """What a leak would make grow, counted: of Blender, of this process, of the system."""
    kinds = (getattr(bpy.data, name) for name in dir(bpy.data))
    return {
        "datablocks": sum(len(kind) for kind in kinds if isinstance(kind, bpy.types.bpy_prop_collection)),
        "handlers": sum(map(len, handler_lists())),
        "classes": sum(name.startswith("PORTRAIT_ACTOR_") for name in dir(bpy.types)),
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 (of numbers, not of paths)
        "children": len(children()),
    }


def growth(before: dict[str, int], now: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Return the counts that are larger than before; threads of libraries may end at any time."""
    return {name: (before[name], count) for name, count in now.items() if count > before[name]}


def leaks(before: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Return the counts that stay larger than before; processes that were let go may end in the background."""
    end = time.monotonic() + LIMIT
    while (grown := growth(before, held())) and time.monotonic() < end:
        time.sleep(0.05)
    return grown


def memory(pid: int) -> int:
    """Bytes that a process holds in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def another_blender(video: Path, folder: Path, on_quit: str) -> Iterator[subprocess.Popen[str]]:
    """A Blender of its own that creates an actor."""
    command = [sys.executable, str(CREATING), str(video), str(folder), on_quit]
    blender = subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8")
    try:
        yield blender
    finally:
        blender.kill()
        blender.communicate()


def shown(blender: subprocess.Popen[str], until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """What its sidebar shows as soon as a condition holds."""
    assert blender.stdout is not None
    for line in blender.stdout:
        if line.startswith("{") and until(now := json.loads(line)):
            return now
    raise AssertionError("that Blender ended")


@posix
def test_blender_killed_while_it_trains_stops_or_goes_on_as_chosen(
    trained: Path, addon: AddonModules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped: the backend ends too and the next one goes on from its step. Going on: the next Create Actor waits for
    it and imports what it made."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where turns are kept: this test waits for no other
    folder, video = tmp_path / "sample.actor", trained.with_name("sample.mp4")
    shutil.copytree(trained, folder)
    record = json.loads((folder / "actor.json").read_text(encoding="utf-8"))
    del record["stages"]["train"]
    (folder / "actor.json").write_text(json.dumps({**record, "complete": False}), encoding="utf-8")
    (folder / "model.safetensors").unlink()

    with another_blender(video, folder, "STOP") as blender:
        now = shown(blender, lambda now: now["stage"] == TRAIN and now["done"] > 20)
        blender.kill()
        assert wait_for_exit(now["pid"]), "the backend ends with Blender"
    assert (folder / "checkpoints" / "training.safetensors").is_file()

    with another_blender(video, folder, "GO_ON") as blender:
        now = shown(blender, lambda now: any(note.startswith("Training goes on from step") for note in now["notes"]))
        steps = int(next(n for n in now["notes"] if n.startswith("Training")).split()[5])
        assert steps > 20
        now = shown(blender, lambda now: now["stage"] == TRAIN and now["done"] > steps)
        blender.kill()
        blender.wait(LIMIT)
        time.sleep(0.5)
        assert is_alive(now["pid"]), "the backend goes on without Blender"

    assert OPS.create_actor(video=str(video), folder=str(folder), preset="tiny") == {"FINISHED"}
    assert wait_for_exit(now["pid"]) and addon.scene_actor.find_actor(bpy.context) is not None
    last = addon.job.current_job().progress
    assert last is None or last.stage == WAIT, "nothing was left to do"
    assert '"event": "result"' in Path(now["log"]).read_text(encoding="utf-8").replace('":"', '": "')
    assert not list(folder.rglob("*.part")) and not (folder / "checkpoints").exists()


@posix
def test_a_detached_job_outlives_the_extension_and_tells_its_log(addon: AddonModules, tmp_path: Path) -> None:
    code = "sys.stdin.read(); time.sleep(0.5); say(Result('job', {'frames': 7}))"
    command, log = write_child_script(tmp_path, code), tmp_path / "log.txt"
    job = addon.job.start_job(addon.job.JobRequest("x", command, tmp_path, str, is_detached=True))
    receive_until(job.process, is_done=bool)
    addon.job.stop_job()
    assert addon.job.current_job() is None and is_alive(job.process.pid)
    assert wait_for_exit(job.process.pid)
    end = time.monotonic() + LIMIT
    while "frames" not in log.read_text(encoding="utf-8") and time.monotonic() < end:
        time.sleep(0.05)
    assert "frames" in log.read_text(encoding="utf-8")


@posix
def test_a_detached_job_is_cancelled_all_the_same(addon: AddonModules, tmp_path: Path) -> None:
    code = "sys.stdin.readline(); say(Error('job', 'cancelled', 'Stopped.'))"
    job = addon.job.start_job(
        addon.job.JobRequest("x", write_child_script(tmp_path, code), tmp_path, str, is_detached=True)
    )
    job.cancel()
    addon.job.stop_job()
    assert wait_for_exit(job.process.pid)


@posix
def test_speak_and_cancel_again_and_again_leaves_nothing(
    sam: SimpleNamespace, addon: AddonModules, installed: Callable[[str], ModuleType]
) -> None:
    """Cancelled at once, or when the voice is being read; the actor speaks afterwards."""
    speak, scene = installed("addon.operators.speak"), bpy.context.scene
    scene.portrait_actor.line.audio = str(sam.folder / "audio.wav")
    before = held()
    for turn in range(100 if SOAK else 4):
        job = speak.start_job(bpy.context, scene.portrait_actor.line)
        while turn % 2 and job.is_running and job.progress is None:
            job.update()
            time.sleep(0.01)
        job.cancel()
        with pytest.raises(addon.contract.errors.UserError, match="ancelled"):
            job.wait()
    assert not leaks(before)
    assert len(list((addon.environment.cache_folder() / "jobs").iterdir())) <= addon.environment.MAX_JOB_FOLDERS
    assert OPS.speak(audio=scene.portrait_actor.line.audio) == {"FINISHED"}


@posix
def test_switched_on_and_off_fifty_times_nothing_grows(
    addon: AddonModules, installed: Callable[[str], ModuleType]
) -> None:
    before = held()
    for _ in range(50):
        addon_utils.disable(PACKAGE)
        assert not any("portrait_actor" in f.__module__ for kind in handler_lists() for f in kind)
        assert not bpy.app.timers.is_registered(addon.main_thread._update_job)
        addon_utils.enable(PACKAGE)
    assert not leaks(before)


@posix
def test_scrubbing_the_preview_makes_nothing_grow(sam: SimpleNamespace, live: ModuleType) -> None:
    """Memory of both processes, open files, threads and datablocks after a quarter of the time and at the end."""
    scene, rest = bpy.context.scene, held()
    live.start_preview(bpy.context)
    wait_for_preview(live)
    backend, frames = live.current_preview().process._process.pid, random.Random(1)

    def scrub(seconds: float) -> tuple[dict[str, int], list[int]]:
        end, pictures = time.monotonic() + seconds, 0
        while time.monotonic() < end or not pictures:
            before = live.current_preview().image
            scene.frame_set(frames.randint(scene.frame_start, scene.frame_end))
            scene.portrait_actor.preview_size = frames.choice(("256", "256", "256", "512"))
            live.update_preview()
            time.sleep(0.002)
            pictures += live.current_preview().image is not before
        assert pictures and not live.current_preview().error_text
        wait_for_preview(live)
        return held(), [memory(os.getpid()), memory(backend)]

    seconds = SOAK or 8.0
    early, small = scrub(seconds / 4)
    late, large = scrub(seconds * 3 / 4)
    assert not growth(early, late)
    assert all(end - start < GROWTH for start, end in zip(small, large, strict=True)), (small, large)
    live.stop_preview()
    assert not leaks(rest) and wait_for_exit(backend)


@posix
def test_a_killed_preview_stays_told_and_leaves_no_file(
    sam: SimpleNamespace, live: ModuleType, addon: AddonModules
) -> None:
    before = held()
    live.start_preview(bpy.context)
    wait_for_preview(live)
    painter = live.current_preview().process
    pictures = {file.parent for file in (addon.environment.cache_folder() / "jobs").rglob("*.rgba")}
    assert pictures and all(painter._process.log.parent in folder.parents for folder in pictures)
    os.kill(painter._process.pid, signal.SIGKILL)
    end = time.monotonic() + LIMIT
    while not live.current_preview().error_text and time.monotonic() < end:
        bpy.context.scene.frame_set(bpy.context.scene.frame_current + 1)
        live.update_preview()
        time.sleep(0.02)
    for frame in range(1, 6):
        bpy.context.scene.frame_set(frame)
        live.update_preview()
    assert "was killed" in live.current_preview().error_text and not painter.is_rendering
    live.stop_preview()
    live.start_preview(bpy.context)
    assert wait_for_preview(live) is not None and not live.current_preview().error_text, (
        "switched on again, it draws again"
    )
    live.stop_preview()
    assert not leaks(before)


def test_a_clock_that_is_set_back_takes_no_job_its_folder(addon: AddonModules, tmp_path: Path) -> None:
    preferences = addon.rna.get_preferences()
    preferences.cache_folder = str(tmp_path)
    later = tmp_path / "jobs"
    later.mkdir()
    for number in range(addon.environment.MAX_JOB_FOLDERS):  # as an earlier version named them, by a clock far ahead
        (later / f"21000101-000000-{number:06d}-speak").mkdir()
    try:
        folders = [addon.environment.make_job_folder("test") for _ in range(3)]
        os.utime(folders[-1], (0, 0))
        folders.append(addon.environment.make_job_folder("test"))
    finally:
        preferences.cache_folder = ""
    assert (
        all(folder.is_dir() for folder in folders) and len(list(later.iterdir())) == addon.environment.MAX_JOB_FOLDERS
    )
    assert sorted(later.iterdir())[-4:] == folders


@posix
def test_two_blenders_make_job_folders_at_once(addon: AddonModules, tmp_path: Path) -> None:
    preferences, made = addon.rna.get_preferences(), []
    preferences.cache_folder = str(tmp_path)
    jobs = tmp_path / "jobs"
    try:
        made = [addon.environment.make_job_folder("test")]
        made += [addon.environment._make_next_folder(jobs, 1, "test") for _ in range(2)]  # both have counted up to one
    finally:
        preferences.cache_folder = ""
    assert len(set(made)) == 3 and all(folder.is_dir() for folder in made)
