"""Training: phases, losses, held-out frames, checkpoints, and a quality floor on the sample actor."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.compute.rotations import quaternion_from_small_rotation, quaternion_multiply
from backend.contract.actor_folder import ActorFolder, ActorInfo
from backend.contract.channels import CHANNEL_INDEX
from backend.contract.errors import Cancelled
from backend.contract.progress import Reporter
from backend.dataset.clip import Clip
from backend.dataset.split import first_held_out_frame
from backend.evaluation.evaluate import evaluate_actor
from backend.portrait.labels import TORSO
from backend.portrait.model import Portrait
from backend.training.checkpoint import CHECKPOINT_PATH, Checkpoint, read_checkpoint, write_checkpoint
from backend.training.config import (
    FACIAL_PHASE,
    JOINT_PHASE,
    ORAL_PHASE,
    POSE_PHASE,
    PRESETS,
    WARM_UP_PHASE,
    LearningRates,
    Preset,
    phase_at_step,
)
from backend.training.ema import ExponentialMovingAverage
from backend.training.losses import image_loss
from backend.training.pose_refinement import pose_from_tables
from backend.training.regularizers import NeckConsistency
from backend.training.trainer import Trainer, train_portrait

CPU = torch.device("cpu")
TINY = PRESETS["tiny"]


class CancellingReporter(Reporter):
    """Keeps the notes and cancels at the first step."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
        raise Cancelled

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(scope="module")
def clip(sample_actor: ActorFolder) -> Clip:
    return Clip(sample_actor, CPU)


@pytest.fixture
def portrait(sample_actor: ActorFolder) -> Portrait:
    return Portrait.load(sample_actor, CPU)


@pytest.fixture
def empty_folder(tmp_path: Path) -> ActorFolder:
    """An actor without files, in which checkpoints are written."""
    return ActorFolder.create(tmp_path / "empty.actor", ActorInfo(name="empty"))


def test_schedule_is_warm_up_then_cycles_of_three_phases_then_joint() -> None:
    preset = Preset(warm_up_steps=10, cycle_count=2, cycle_steps=30, joint_steps=5)
    phases = [phase_at_step(preset, step) for step in range(preset.total_steps)]
    cycle = [ORAL_PHASE] * 10 + [FACIAL_PHASE] * 10 + [POSE_PHASE] * 10
    assert phases == [WARM_UP_PHASE] * 10 + cycle * 2 + [JOINT_PHASE] * 5


def test_image_loss_of_equal_images_is_zero() -> None:
    target = torch.rand(32, 32, 3)
    assert image_loss(target, target, torch.ones(32, 32), 0.2) < 1e-5


def test_image_loss_of_different_images_has_a_gradient() -> None:
    target = torch.rand(32, 32, 3)
    image = (target + 0.1).requires_grad_()
    image_loss(image, target, torch.ones(32, 32), 0.2).backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None and image.grad.abs().sum() > 0


def test_branches_of_other_phases_are_frozen(clip: Clip, portrait: Portrait) -> None:
    preset = replace(TINY, warm_up_steps=1, cycle_steps=3, cycle_count=1, joint_steps=1)
    trainer = Trainer(clip, portrait, preset, seed=0)
    for frozen in (("oral", "facial"), ("facial",), ("oral",), ("oral", "facial")):
        before = {name: value.clone() for name, value in portrait.state_dict().items()}
        trainer.step()
        for name, value in portrait.state_dict().items():
            if name.startswith(frozen):
                assert torch.equal(value, before[name]), (frozen, name)
        assert not torch.equal(portrait.colours, before["colours"])


def test_pose_refinement_reduces_errors_of_the_tracked_head_rotation(
    sample_actor: ActorFolder, portrait: Portrait
) -> None:
    clip = Clip(sample_actor, CPU)
    true = clip.poses["head_rotation"].clone()
    frequencies = torch.tensor([3.0, 4.0, 5.0])
    errors = 0.015 * torch.sin(torch.arange(clip.frame_count)[:, None] / frequencies)  # radians, smooth over time
    clip.poses["head_rotation"] = torch.stack(
        [quaternion_multiply(quaternion_from_small_rotation(e), q) for e, q in zip(errors, true, strict=True)]
    )
    frozen = LearningRates(*[0.0] * 8)  # only poses and channels train
    preset = replace(TINY, warm_up_steps=0, cycle_count=0, joint_steps=500, learning_rates=frozen)
    trainer = Trainer(clip, portrait, preset, seed=0)
    for _ in range(preset.total_steps):
        trainer.step()
    indices = clip.train_frame_indices.tolist()
    with torch.no_grad():
        refined = torch.stack(
            [trainer.pose_refinement.refine_pose(pose_from_tables(clip.poses, i), i).head_rotation for i in indices]
        )
    error_after = (refined - true[indices]).square().mean().sqrt()
    error_before = (clip.poses["head_rotation"] - true)[indices].square().mean().sqrt()
    assert error_after < 0.7 * error_before


def test_held_out_frames_do_not_influence_training(sample_actor: ActorFolder, tmp_path: Path) -> None:
    changed = tmp_path / "changed.actor"
    shutil.copytree(sample_actor.path, changed)
    frame_count = sample_actor.info.frame_count
    for index in range(first_held_out_frame(frame_count), frame_count):
        shutil.copy(changed / "frames" / "000000.jpg", changed / "frames" / f"{index:06d}.jpg")
    losses = []
    for path in (sample_actor.path, changed):
        folder = ActorFolder.open(path)
        trainer = Trainer(Clip(folder, CPU), Portrait.load(folder, CPU), TINY, seed=5)
        losses.append([trainer.step() for _ in range(6)])
    assert losses[0] == losses[1]


def test_training_from_a_checkpoint_has_the_same_state(
    clip: Clip, portrait: Portrait, empty_folder: ActorFolder
) -> None:
    trainer = Trainer(clip, portrait, TINY, seed=1)
    for _ in range(4):
        trainer.step()
    write_checkpoint(empty_folder, trainer.to_checkpoint("inputs"))
    checkpoint = read_checkpoint(empty_folder.file_path(str(CHECKPOINT_PATH)), "inputs")
    assert checkpoint is not None
    resumed = Trainer.from_checkpoint(checkpoint, clip, TINY)
    assert resumed.step_number == 4
    before, after = trainer.to_checkpoint("inputs"), resumed.to_checkpoint("inputs")
    assert before.portrait_size == after.portrait_size
    for name in ("portrait", "refinement", "seeds", "averages"):
        torch.testing.assert_close(getattr(after, name), getattr(before, name), rtol=0, atol=0)
    torch.testing.assert_close(after.moments, before.moments, rtol=0, atol=0)


def test_training_from_a_checkpoint_can_step(clip: Clip, portrait: Portrait) -> None:
    trainer = Trainer(clip, portrait, TINY, seed=1)
    trainer.step()
    resumed = Trainer.from_checkpoint(trainer.to_checkpoint(""), clip, TINY)
    assert np.isfinite(resumed.step())


def keep(checkpoint: Checkpoint, file: Path) -> None:
    """Leave the checkpoint as it is."""


def truncate_file(checkpoint: Checkpoint, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:100])


def write_text(checkpoint: Checkpoint, file: Path) -> None:
    file.write_text("not a checkpoint")


def remove_means(checkpoint: Checkpoint, file: Path) -> None:
    del checkpoint.portrait["means"]
    write_checkpoint(ActorFolder.open(file.parents[1], must_be_complete=False), checkpoint)


def exceed_steps(checkpoint: Checkpoint, file: Path) -> None:
    write_checkpoint(
        ActorFolder.open(file.parents[1], must_be_complete=False), replace(checkpoint, step=TINY.total_steps)
    )


@pytest.mark.parametrize(
    ("change", "inputs", "reason"),
    [
        (keep, "other inputs", "the checkpoint belongs to other footage or settings."),
        (truncate_file, "inputs", "the checkpoint is damaged."),
        (write_text, "inputs", "the checkpoint is damaged."),
        (remove_means, "inputs", "the checkpoint does not fit this model."),
        (exceed_steps, "inputs", "the checkpoint does not fit this model."),
    ],
)
def test_unusable_checkpoint_is_replaced_with_one_note_that_says_why(
    clip: Clip,
    portrait: Portrait,
    empty_folder: ActorFolder,
    change: Callable[[Checkpoint, Path], None],
    inputs: str,
    reason: str,
) -> None:
    trainer = Trainer(clip, portrait, TINY, seed=0)
    trainer.step()
    file, checkpoint = empty_folder.file_path(str(CHECKPOINT_PATH)), trainer.to_checkpoint("inputs")
    write_checkpoint(empty_folder, checkpoint)
    change(checkpoint, file)
    reporter = CancellingReporter()
    with pytest.raises(Cancelled):
        train_portrait(empty_folder, clip, portrait, TINY, 0, reporter, inputs)
    assert reporter.notes == [f"Training starts from the beginning: {reason}"]
    written = read_checkpoint(file, inputs)
    assert written is not None and written.step == 0


def test_training_without_a_checkpoint_starts_without_a_note(
    clip: Clip, portrait: Portrait, empty_folder: ActorFolder
) -> None:
    reporter = CancellingReporter()
    with pytest.raises(Cancelled):
        train_portrait(empty_folder, clip, portrait, TINY, 0, reporter, "inputs")
    assert reporter.notes == []


def test_moving_average_replaces_the_parameters_after_the_last_step() -> None:
    module, steps = torch.nn.Linear(1, 1), 3 * 500
    average = ExponentialMovingAverage(module, steps)
    for done in range(1, steps + 1):
        weight = (1.0 if done // 5 % 2 else 3.0) if done > steps / 2 else 100.0
        with torch.no_grad():
            module.weight.fill_(weight)
        average.update(done)
        assert done == steps or module.weight.item() == pytest.approx(weight)
    assert module.weight.item() == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize(("phase", "low", "high"), [(FACIAL_PHASE, 0.2, 0.4), (JOINT_PHASE, 0.0, None)])
def test_rare_frames_are_more_frequent_in_their_phase_only(
    clip: Clip, portrait: Portrait, phase: str, low: float, high: float | None
) -> None:
    trainer = Trainer(clip, portrait, TINY, seed=3)
    usable = clip.train_frame_indices
    trainer.rare_frames = {FACIAL_PHASE: usable[:2]}
    share = np.isin([trainer._next_frame_index(phase) for _ in range(4 * len(usable))], usable[:2]).mean()
    assert low <= share <= (3 / len(usable) if high is None else high)


def test_frames_with_channel_above_are_usable_training_frames_with_that_channel(clip: Clip) -> None:
    eyelids = clip.poses["channels"][:, [CHANNEL_INDEX["eyeBlinkLeft"], CHANNEL_INDEX["eyeBlinkRight"]]].amax(1)
    expected = [index for index in clip.train_frame_indices.tolist() if eyelids[index] > 0.5]
    assert clip.frames_with_channel_above("eyeBlink", 0.5).tolist() == expected


def test_neck_consistency_is_zero_when_all_move_together_and_positive_when_the_torso_moves_apart(
    portrait: Portrait,
) -> None:
    consistency = NeckConsistency(portrait)
    assert len(consistency.first_indices) > 20
    rest = portrait.means.detach()
    together = rest + torch.tensor([0.01, 0.02, 0.0])
    assert consistency.loss(rest, together) < 1e-6
    apart = rest + torch.where(portrait.label[:, None] == TORSO, 0.01, 0.0) * torch.rand(len(rest), 1)
    assert consistency.loss(rest, apart) > 1e-3


def test_tiny_preset_reaches_the_quality_floor_on_the_sample_actor(sample_actor: ActorFolder) -> None:
    figures = evaluate_actor(sample_actor, CPU, Reporter())
    tracked = figures["tracked"]
    assert tracked["portrait"]["psnr"] > 22 and tracked["face"]["psnr"] > 23, tracked
    assert tracked["whole"]["ssim"] > 0.8 and tracked["jitter_ratio"] < 3
    assert set(figures) >= {"tracked", "train_seconds", "render_fps", "peak_memory_mb", "device"}
    assert sample_actor.info.complete
