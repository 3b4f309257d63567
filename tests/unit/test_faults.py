"""What may happen to a job from outside: killed at any stage, its folder moved, locked or too new, its disk full.

Real processes over real files; docs/user/RELIABILITY.md lists these tests beside those of other files.
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

STAGES = {  # what is told while it runs, in order, and how many of FINISHED are by then
    "look at the footage": 0, "cut out the person": 1, "refine the mattes": 1, "track the face": 2,
    "draw the report": 3, "train the actor": 4, "learn to speak": 5,
}  # fmt: skip
FINISHED = ("scan", "crops", "track", "report", "train", "speech")
WAIT = "wait for another actor"
TINY = ("--preset", "tiny", "--device", "cpu")


@pytest.fixture
def own_turn(tmp_path: Path) -> dict[str, str]:
    """An environment in which a creation waits for none outside its test."""
    (tmp_path / "temporary").mkdir()
    return {**os.environ, "TMPDIR": str(tmp_path / "temporary")}


def snapshot(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def content(name: str, data: bytes) -> Any:
    """What a file says; safetensors writes its header's notes in any order."""
    if not name.endswith(".safetensors"):
        return data
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def told(said: list[Message]) -> list[str]:
    """The stages that were told of, in their order."""
    return list(dict.fromkeys(m.stage for m in said if isinstance(m, Progress)))


def reached(message: Message, stage: str) -> bool:
    """Whether the first unit of a stage is finished, or the only one has begun."""
    return isinstance(message, Progress) and message.stage == stage and (message.done > 0 or message.total == 1)


def record(folder: Path) -> dict[str, Any]:
    """actor.json without what differs from run to run: seconds."""
    data = json.loads((folder / "actor.json").read_text(encoding="utf-8"))
    data["figures"] = {k: v for k, v in data["figures"].items() if "seconds" not in k}
    data["figures"]["speech"].pop("seconds")
    return data


@requires_posix
def test_create_killed_at_every_stage_goes_on_and_ends_the_same(
    sample_actor: ActorFolder, sample_clip: Path, tmp_path: Path, own_turn: dict[str, str]
) -> None:
    """One folder through all stages. While each process works, the next one waits for its turn on the same folder; at
    one stage the folder is moved away instead."""
    path, away = tmp_path / "sample.actor", tmp_path / "moved.actor"

    def create() -> BackendProcess:
        return BackendProcess("create", sample_clip, path, *TINY, env=own_turn)

    now, kept = create(), 0
    for stage, finished in STAGES.items():
        moves = stage == "draw the report"
        with now:
            said = now.read_until(lambda message: isinstance(message, Progress) and message.stage != WAIT)
            following = None if moves else create()
            while not reached(said[-1], stage):
                said += now.read_until(lambda message: isinstance(message, Progress))
            assert not {name for name, done in STAGES.items() if done < kept} & set(told(said)), "done again"
            if moves:
                path.rename(away)
                rest, code = now.read_to_end()
                assert code == 2 and isinstance(rest[-1], Error) and rest[-1].code in ("folder_gone", "damaged_actor")
                assert not path.exists(), "no second folder where it was"
                away.rename(path)
            now.kill()
        assert tuple(ActorFolder.open(path, must_be_complete=False).info.stages) == FINISHED[:finished]
        kept = finished
        now = following or create()
    with now:
        said, code = now.read_to_end()
    assert code == 0 and isinstance(said[-1], Result)
    assert {WAIT, "learn to speak"} >= set(told(said)), "only what was missing was done"
    assert record(path) == record(sample_actor.path)
    made, whole = snapshot(path), snapshot(sample_actor.path)
    assert set(made) == set(whole), "nothing is left over, nothing is missing"
    differs = {name for name in made if content(name, made[name]) != content(name, whole[name])}
    assert differs <= {"actor.json", "report.html"}, "these two tell how long it took"
    shutil.rmtree(path)


@requires_posix
def test_a_folder_that_is_deleted_under_the_first_look_is_one_sentence(
    sample_clip: Path, tmp_path: Path, own_turn: dict[str, str]
) -> None:
    path = tmp_path / "gone.actor"
    with BackendProcess("create", sample_clip, path, *TINY, env=own_turn) as blender:
        blender.read_until(lambda message: reached(message, "look at the footage"))
        shutil.rmtree(path)
        said, code = blender.read_to_end()
    assert code == 2 and isinstance(said[-1], Error) and said[-1].code == "folder_gone" and said[-1].remedy
    assert not path.exists()


@requires_posix
def test_frames_that_are_moved_away_under_a_render_are_one_sentence(
    make_actor: Callable[[Path], ActorFolder], tmp_path: Path
) -> None:
    actor, table, out = make_actor(tmp_path / "tiny.actor"), tmp_path / "say.npz", tmp_path / "out"
    Performance.rest_pose(3000, 25).save(table)
    with BackendProcess("render", actor.path, table, "--out", out) as blender:
        blender.read_until_frames(3)
        out.rename(tmp_path / "moved")
        said, code = blender.read_to_end()
    assert code == 2 and isinstance(said[-1], Error) and said[-1].code == "folder_gone"
    assert len(list((tmp_path / "moved").glob("tiny_*.exr"))) >= 3 and not out.exists()
    assert not list((tmp_path / "moved").glob("*.part"))


@requires_posix
def test_speak_and_dub_killed_leave_nothing_half_made(sample_actor: ActorFolder, tmp_path: Path) -> None:
    sound, table, film = tmp_path / "short.wav", tmp_path / "say.npz", tmp_path / "dub.mp4"
    with wave.open(str(sample_actor.file_path("audio.wav"))) as whole, wave.open(str(sound), "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(whole.getframerate()))
    with BackendProcess("speak", sample_actor.path, sound, table) as blender:
        blender.read_until(lambda message: reached(message, "speak"))
        blender.kill()
    assert not table.exists()
    with BackendProcess("dub", sample_actor.path, sound, "--out", film, "--device", "cpu") as blender:
        blender.read_until_frames(2)
        blender.kill()
    assert not film.exists()
    again = run_backend("dub", sample_actor.path, sound, "--out", film, "--device", "cpu")
    assert again.returncode == 0, again.stderr
    assert {p.name for p in tmp_path.iterdir()} == {film.name, sound.name}, "nor is the killed one's part left"


@requires_posix
def test_a_read_only_actor_speaks_and_is_not_created_again(
    sample_actor: ActorFolder, sample_clip: Path, tmp_path: Path, own_turn: dict[str, str]
) -> None:
    if os.geteuid() != 0 or not can_mount():
        pytest.skip("only an administrator may mount a folder read-only")
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'

    def locked(*words: object) -> subprocess.CompletedProcess[str]:
        asked = ["unshare", "--mount", "sh", "-c", script, str(sample_actor.path), *backend_command(*words)]
        return subprocess.run(asked, cwd=REPO, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, env=own_turn)

    before, table = snapshot(sample_actor.path), tmp_path / "say.npz"
    spoken = locked("speak", sample_actor.path, sample_actor.file_path("audio.wav"), table)
    assert spoken.returncode == 0 and len(Performance.load(table)), spoken.stderr
    assert_one_line_error(locked("create", sample_clip, sample_actor.path, *TINY), "cannot be written")
    assert snapshot(sample_actor.path) == before


@requires_posix
def test_create_on_a_full_disk_is_one_sentence_and_keeps_what_is_finished(
    sample_clip: Path, tmp_path: Path, own_turn: dict[str, str]
) -> None:
    if os.geteuid() != 0 or not can_mount():
        pytest.skip("only an administrator may mount a small disk")
    small, kept = tmp_path / "small", tmp_path / "kept"
    small.mkdir()
    script = 'mount -t tmpfs -o size=1m tmpfs "$0" && "$@"; code=$?; cp -r "$0/." "$KEPT"; exit $code'
    asked = ["unshare", "--mount", "sh", "-c", script, str(small)]
    answer = subprocess.run(
        [*asked, *backend_command("create", sample_clip, small / "sample.actor", *TINY)],
        cwd=REPO, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, env={**own_turn, "KEPT": str(kept)},
    )  # fmt: skip
    assert answer.returncode == 2 and "The disk is full" in answer.stderr and "Traceback" not in answer.stderr
    folder = ActorFolder.open(kept / "sample.actor", must_be_complete=False)
    assert tuple(folder.info.stages) == ("scan",) and not list(folder.path.rglob("*.part"))


@pytest.mark.parametrize("verb", ["create", "speak", "render"])
def test_an_actor_of_a_newer_format_is_one_sentence_and_untouched(
    make_actor: Callable[[Path], ActorFolder], tmp_path: Path, own_turn: dict[str, str], verb: str
) -> None:
    actor, file, out = make_actor(tmp_path / "new.actor"), tmp_path / "given", tmp_path / "out"
    data = json.loads(actor.file_path("actor.json").read_text(encoding="utf-8"))
    actor.file_path("actor.json").write_text(
        json.dumps({**data, "format_version": FORMAT_VERSION + 1}), encoding="utf-8"
    )
    file.write_bytes(b"never looked at")
    before = snapshot(actor.path)
    words = {
        "create": (file, actor.path, *TINY),
        "speak": (actor.path, file, out),
        "render": (actor.path, file, "--out", out),
    }
    assert_one_line_error(run_backend(verb, *words[verb], env=own_turn), "newer Portrait Actor", "Update")
    assert snapshot(actor.path) == before and not out.exists()


def test_clocks_decide_nothing(
    sample_actor: ActorFolder, sample_clip: Path, tmp_path: Path, make_actor: Callable[[Path], ActorFolder]
) -> None:
    """Files dated 2100 and 1970: a finished actor stays finished, unchanged frames stay."""
    path, clip, out = tmp_path / "sample.actor", tmp_path / sample_clip.name, tmp_path / "out"
    shutil.copytree(sample_actor.path, path)
    shutil.copy(sample_clip, clip)
    tiny, rest, wish = (
        make_actor(tmp_path / "tiny.actor"),
        Performance.rest_pose(2, 25),
        RenderOptions(out, device="cpu"),
    )
    assert render_performance(tiny, rest, None, wish, Reporter())["rendered"] == 2
    before = snapshot(path)
    ahead, back = 4102444800, 86400
    for file in (clip, *path.rglob("*"), *tiny.path.rglob("*")):
        os.utime(file, (ahead, ahead))
    for file in out.rglob("*"):
        os.utime(file, (back, back))

    class NothingToDo(Reporter):
        def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
            raise AssertionError(stage)

    create_actor(clip, path, CreateOptions(preset="tiny", device="cpu"), NothingToDo())
    assert snapshot(path) == before
    assert render_performance(tiny, rest, None, wish, Reporter())["skipped"] == 2
