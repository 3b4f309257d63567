"""Which frames are rendered again, interrupted films, and motion blur."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rendering_stand_in import (  # noqa: F401 (fixtures)
    CancellingReporter,
    NoteReporter,
    RenderRun,
    actor_folder,
    moving_performance,
    read_exr,
    render_run,
    still_camera,
    write_beep,
)

from backend.contract.actor_folder import ActorFolder
from backend.contract.channels import CHANNEL_INDEX
from backend.contract.errors import Cancelled, UserError
from backend.contract.performance import POSE_FIELDS, Performance
from backend.media import decode


def test_unchanged_frames_are_kept(render_run: RenderRun, actor_folder: ActorFolder) -> None:
    assert render_run()["rendered"] == 4
    before = {p.name: p.stat().st_mtime_ns for p in render_run.out.glob("*.exr")}
    again = render_run()
    assert (again["rendered"], again["skipped"]) == (0, 4) and render_run.disc.rendered_positions == []
    assert {p.name: p.stat().st_mtime_ns for p in render_run.out.glob("*.exr")} == before
    assert isinstance(render_run.reporter, NoteReporter)
    assert render_run.reporter.notes == ["4 of 4 frames are unchanged and were kept."]


def open_jaw(performance: Performance) -> None:
    performance.channels[2, CHANNEL_INDEX["jawOpen"]] = 0.5


def turn_torso(performance: Performance) -> None:
    performance.torso_rotation[2] = (0.6, 0.8, 0, 0)


@pytest.mark.parametrize("change", [open_jaw, turn_torso])
def test_only_changed_frames_are_rendered(render_run: RenderRun, change: Callable[[Performance], None]) -> None:
    render_run()
    performance = moving_performance()
    change(performance)
    data = render_run(performance)
    assert (data["rendered"], data["skipped"]) == (1, 3) and render_run.disc.rendered_positions == [
        pytest.approx(0.004)
    ]


def test_changed_inputs_and_deleted_frames_are_rendered_again(render_run: RenderRun, actor_folder: ActorFolder) -> None:
    render_run()
    (render_run.out / "jane doe_0001.exr").unlink()
    assert render_run()["rendered"] == 1
    actor_folder.file_path("model.safetensors").write_bytes(b"a better model")
    assert render_run()["rendered"] == 4
    assert render_run(camera=still_camera(actor_folder))["rendered"] == 4
    assert render_run(camera=still_camera(actor_folder), scale=0.5)["rendered"] == 4
    assert render_run(camera=still_camera(actor_folder), scale=0.5)["rendered"] == 0
    assert render_run(camera=still_camera(actor_folder), format="png")["rendered"] == 4
    assert render_run(camera=still_camera(actor_folder), format="png", png_bits=8)["rendered"] == 4


def test_rendering_continues_after_a_cancel_and_a_truncated_record(render_run: RenderRun) -> None:
    reporter, render_run.reporter = render_run.reporter, CancellingReporter()
    with pytest.raises(Cancelled):
        render_run()
    assert len(list(render_run.out.glob("*.exr"))) == 2 and not list(render_run.out.glob("*.part"))
    record = next(render_run.out.glob(".*.jsonl"))
    record.write_text(record.read_text(encoding="utf-8") + '\n{"file": "jane doe_0001.exr", "inp', encoding="utf-8")
    render_run.reporter = reporter
    assert (render_run()["rendered"], render_run()["skipped"]) == (2, 4)


def test_film_continues_after_a_cancel_and_new_sound_renders_nothing(render_run: RenderRun, tmp_path: Path) -> None:
    reporter, render_run.reporter = render_run.reporter, CancellingReporter()
    with pytest.raises(Cancelled):
        render_run(moving_performance(6), format="mp4")
    assert not (render_run.out / "jane doe.mp4").exists()
    render_run.reporter = reporter
    assert (render_run(moving_performance(6), format="mp4")["rendered"], len(render_run.disc.rendered_positions)) == (
        4,
        4,
    )
    again = render_run(moving_performance(6), format="mp4", audio=write_beep(tmp_path / "a.wav"))
    assert (again["rendered"], again["skipped"]) == (0, 6)
    assert decode.probe_video(render_run.out / "jane doe.mp4").has_audio
    next((render_run.out / ".jane doe.frames").glob("*.png")).write_bytes(b"truncated")
    with pytest.raises(UserError, match="cannot be read"):
        render_run(moving_performance(6), format="mp4")


def test_film_of_every_second_frame_keeps_its_duration(render_run: RenderRun) -> None:
    every_frame = moving_performance(12, first_frame=1)
    every_second = replace(
        every_frame, **{name: getattr(every_frame, name)[::2] for name in ("frames", *POSE_FIELDS, "channels")}
    )
    data = render_run(every_second, format="mp4")
    info = decode.probe_video(Path(data["file"]))
    assert (data["count"], info.frame_count) == (6, 6) and info.fps == pytest.approx(12.5)


def blur_performance(per_frame: int, frames: list[int], steps: list[float]) -> Performance:
    """Return frames whose moment i is `steps[i]` metres to the actor's left of the rest pose."""
    moving = Performance.rest_pose(per_frame * len(frames), 25)
    moving.frames = np.concatenate([per_frame * f + np.arange(per_frame) for f in frames])
    moving.head_translation[:, 0] = np.tile(np.array(steps, np.float32), len(frames))
    return moving


def test_blur_is_the_mean_of_linear_light(render_run: RenderRun) -> None:
    steps = [0.0, 0.01, 0.02, 0.02]
    data = render_run(blur_performance(4, [-3, 5], steps), blur_samples=4)
    assert (data["first"], data["last"], data["count"]) == (-3, 5, 2)
    assert len(render_run.disc.rendered_positions) == 6, "identical moments are rendered once"
    blurred, _ = read_exr(render_run.out / "jane doe_-0003.exr")
    single = []
    for step in steps:
        render_run.out = render_run.out.parent / f"step {step}"
        render_run(blur_performance(1, [5], [step]))
        single.append(read_exr(render_run.out / "jane doe_0005.exr")[0])
    for name in ("Combined.R", "Combined.G", "Combined.A", "Head.X", "Torso.X", "Hair.X"):
        mean = np.mean([s[f"Actor.{name}"].astype(np.float32) for s in single], axis=0)
        assert np.abs(blurred[f"Actor.{name}"] - mean).max() < 2e-3, name
    depth = np.min([s["Actor.Depth.Z"] for s in single], axis=0)
    assert np.array_equal(blurred["Actor.Depth.Z"], depth), "the nearest depth, so that all of the blurred edge has one"


def test_changed_moment_renders_its_frame_again(render_run: RenderRun) -> None:
    moving = blur_performance(3, [1, 2, 3], [0.0, 0.001, 0.002])
    assert render_run(moving, blur_samples=3)["rendered"] == 3
    moving.channels[4, CHANNEL_INDEX["jawOpen"]] = 1
    assert (render_run(moving, blur_samples=3)["rendered"], render_run(moving, blur_samples=3)["rendered"]) == (1, 0)
