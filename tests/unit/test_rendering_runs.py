"""What is rendered again and what is not; films that stop and go on; moments of motion blur."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rendering_stand_in import (  # noqa: F401 (fixtures)
    CancellingReporter,
    RenderRun,
    folder,
    moving_performance,
    read_exr,
    run,
    still_camera,
    write_beep,
)

from backend.contract.actor_folder import ActorFolder
from backend.contract.channels import CHANNEL_INDEX
from backend.contract.errors import Cancelled, UserError
from backend.contract.performance import POSE_FIELDS, Performance
from backend.media import decode


def test_unchanged_frames_are_kept(run: RenderRun, folder: ActorFolder) -> None:
    assert run()["rendered"] == 4
    before = {p.name: p.stat().st_mtime_ns for p in run.out.glob("*.exr")}
    again = run()
    assert (again["rendered"], again["skipped"]) == (0, 4) and run.disc.rendered_positions == []
    assert {p.name: p.stat().st_mtime_ns for p in run.out.glob("*.exr")} == before
    assert run.notes == ["4 of 4 frames are unchanged and were kept."]


def _move(p: Performance) -> None:
    p.channels[2, CHANNEL_INDEX["jawOpen"]] = 0.5


def _turn(p: Performance) -> None:
    p.torso_rotation[2] = (0.6, 0.8, 0, 0)


@pytest.mark.parametrize("change", [_move, _turn])
def test_only_changed_frames_are_rendered(run: RenderRun, change: Callable[[Performance], None]) -> None:
    run()
    moving = moving_performance()
    change(moving)
    data = run(moving)
    assert (data["rendered"], data["skipped"]) == (1, 3) and run.disc.rendered_positions == [pytest.approx(0.004)]


def test_deleted_frames_other_models_cameras_and_sizes_are_rendered(run: RenderRun, folder: ActorFolder) -> None:
    run()
    (run.out / "jane doe_0001.exr").unlink()
    assert run()["rendered"] == 1
    folder.file_path("model.safetensors").write_bytes(b"a better model")
    assert run()["rendered"] == 4
    assert run(camera=still_camera(folder))["rendered"] == 4
    assert run(camera=still_camera(folder), scale=0.5)["rendered"] == 4
    assert run(camera=still_camera(folder), scale=0.5)["rendered"] == 0
    assert run(camera=still_camera(folder), format="png")["rendered"] == 4
    assert run(camera=still_camera(folder), format="png", png_bits=8)["rendered"] == 4


def test_a_run_goes_on_after_cancel_and_after_a_torn_ledger(run: RenderRun) -> None:
    patient, run.reporter = run.reporter, CancellingReporter()
    with pytest.raises(Cancelled):
        run()
    assert len(list(run.out.glob("*.exr"))) == 2 and not list(run.out.glob("*.part"))
    ledger = next(run.out.glob(".*.jsonl"))
    ledger.write_text(ledger.read_text(encoding="utf-8") + '\n{"file": "jane doe_0001.exr", "inp', encoding="utf-8")
    run.reporter = patient
    assert (run()["rendered"], run()["skipped"]) == (2, 4)


def test_a_stopped_film_goes_on_and_new_sound_renders_nothing(run: RenderRun, tmp_path: Path) -> None:
    patient, run.reporter = run.reporter, CancellingReporter()
    with pytest.raises(Cancelled):
        run(moving_performance(6), format="mp4")
    assert not (run.out / "jane doe.mp4").exists()
    run.reporter = patient
    assert (run(moving_performance(6), format="mp4")["rendered"], len(run.disc.rendered_positions)) == (4, 4)
    again = run(moving_performance(6), format="mp4", audio=write_beep(tmp_path / "a.wav"))
    assert (again["rendered"], again["skipped"]) == (0, 6)
    assert decode.probe_video(run.out / "jane doe.mp4").has_audio
    next((run.out / ".jane doe.frames").glob("*.png")).write_bytes(b"torn")
    with pytest.raises(UserError, match="cannot be read"):
        run(moving_performance(6), format="mp4")


def test_a_film_of_every_second_frame_lasts_as_long(run: RenderRun) -> None:
    every = moving_performance(12, first_frame=1)
    second = replace(every, **{name: getattr(every, name)[::2] for name in ("frames", *POSE_FIELDS, "channels")})
    data = run(second, format="mp4")
    info = decode.probe_video(Path(data["file"]))
    assert (data["count"], info.frame_count, info.fps) == (6, 6, pytest.approx(12.5))


def moments(per_frame: int, frames: list[int], steps: list[float]) -> Performance:
    """Frames that begin at the rest pose; moment i of each stands `steps[i]` metres further to the actor's left."""
    moving = Performance.rest_pose(per_frame * len(frames), 25)
    moving.frames = np.concatenate([per_frame * f + np.arange(per_frame) for f in frames])
    moving.head_translation[:, 0] = np.tile(np.array(steps, np.float32), len(frames))
    return moving


def test_blur_is_the_mean_of_light(run: RenderRun) -> None:
    steps = [0.0, 0.01, 0.02, 0.02]
    data = run(moments(4, [-3, 5], steps), blur_samples=4)
    assert (data["first"], data["last"], data["count"]) == (-3, 5, 2)
    assert len(run.disc.rendered_positions) == 6, "moments that are alike are drawn once"
    blurred, _ = read_exr(run.out / "jane doe_-0003.exr")
    single = []
    for step in steps:
        run.out = run.out.parent / f"step {step}"
        run(moments(1, [5], [step]))
        single.append(read_exr(run.out / "jane doe_0005.exr")[0])
    for name in ("Combined.R", "Combined.G", "Combined.A", "Head.X", "Torso.X", "Hair.X"):
        mean = np.mean([s[f"Actor.{name}"].astype(np.float32) for s in single], axis=0)
        assert np.abs(blurred[f"Actor.{name}"] - mean).max() < 2e-3, name
    depth = np.min([s["Actor.Depth.Z"] for s in single], axis=0)
    assert np.array_equal(blurred["Actor.Depth.Z"], depth), "the nearest: all of the blurred edge has a depth"


def test_a_changed_moment_renders_its_frame_again(run: RenderRun) -> None:
    moving = moments(3, [1, 2, 3], [0.0, 0.001, 0.002])
    assert run(moving, blur_samples=3)["rendered"] == 3
    moving.channels[4, CHANNEL_INDEX["jawOpen"]] = 1
    assert (run(moving, blur_samples=3)["rendered"], run(moving, blur_samples=3)["rendered"]) == (1, 0)
