"""Training: phases, losses, what may be seen, resuming, and a quality floor on the sample actor."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.compute.rotations import quaternion_from_small_rotation, quaternion_multiply
from backend.contract.actor_folder import ActorFolder
from backend.contract.channels import CHANNEL_INDEX
from backend.contract.progress import Reporter
from backend.dataset.clip import Clip
from backend.dataset.split import first_held_out_frame
from backend.evaluation.evaluate import evaluate_actor
from backend.portrait.model import Portrait
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
from backend.training.trainer import Trainer

CPU = torch.device("cpu")


def test_phases_follow_the_schedule() -> None:
    preset = Preset(warm_up_steps=10, cycle_count=2, cycle_steps=30, joint_steps=5)
    parts = [phase_at_step(preset, s) for s in range(preset.total_steps)]
    once = [ORAL_PHASE] * 10 + [FACIAL_PHASE] * 10 + [POSE_PHASE] * 10
    assert parts == [WARM_UP_PHASE] * 10 + once * 2 + [JOINT_PHASE] * 5


def test_loss_is_zero_for_the_same_picture_and_has_a_gradient() -> None:
    target = torch.rand(32, 32, 3)
    assert image_loss(target, target, torch.ones(32, 32), 0.2) < 1e-5
    picture = (target + 0.1).requires_grad_()
    image_loss(picture, target, torch.ones(32, 32), 0.2).backward()  # type: ignore[no-untyped-call]
    assert picture.grad is not None and picture.grad.abs().sum() > 0


@pytest.fixture(scope="module")
def clip(sample_actor: ActorFolder) -> Clip:
    return Clip(sample_actor, CPU)


def test_only_the_phase_s_own_parts_learn(clip: Clip, sample_actor: ActorFolder) -> None:
    portrait = Portrait.load(sample_actor, CPU)
    trainer = Trainer(
        clip, portrait, replace(PRESETS["tiny"], warm_up_steps=1, cycle_steps=3, cycle_count=1, joint_steps=1), seed=0
    )
    for frozen in (("oral", "facial"), ("facial",), ("oral",), ("oral", "facial")):
        before = {k: v.clone() for k, v in portrait.state_dict().items()}
        trainer.step()
        for name, value in portrait.state_dict().items():
            if name.startswith(frozen):
                assert torch.equal(value, before[name]), (frozen, name)
        assert not torch.equal(portrait.colours, before["colours"])


def test_refinement_finds_back_heads_that_were_tracked_wrongly(sample_actor: ActorFolder) -> None:
    clip = Clip(sample_actor, CPU)
    true = clip.poses["head_rotation"].clone()
    wrong = 0.015 * torch.sin(
        torch.arange(clip.frame_count)[:, None] / torch.tensor([3.0, 4.0, 5.0])
    )  # radians; smooth
    clip.poses["head_rotation"] = torch.stack(
        [quaternion_multiply(quaternion_from_small_rotation(w), q) for w, q in zip(wrong, true, strict=True)]
    )
    still = LearningRates(*[0.0] * 8)  # only the corrections learn
    preset = replace(PRESETS["tiny"], warm_up_steps=0, cycle_count=0, joint_steps=500, learning_rates=still)
    trainer = Trainer(clip, Portrait.load(sample_actor, CPU), preset, seed=0)
    for _ in range(preset.total_steps):
        trainer.step()
    rows = clip.train_frame_indices.tolist()
    with torch.no_grad():
        found = [
            trainer.pose_refinement.refine_pose(pose_from_tables(clip.poses, row), row).head_rotation for row in rows
        ]
    after = (torch.stack(found) - true[rows]).square().mean().sqrt()
    before = (clip.poses["head_rotation"] - true)[rows].square().mean().sqrt()
    assert after < 0.7 * before


def test_held_out_frames_never_touch_the_model(sample_actor: ActorFolder, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt.actor"
    shutil.copytree(sample_actor.path, spoilt)
    count = sample_actor.info.frame_count
    for row in range(first_held_out_frame(count), count):
        shutil.copy(spoilt / "frames" / "000000.jpg", spoilt / "frames" / f"{row:06d}.jpg")
    results = []
    for path in (sample_actor.path, spoilt):
        folder = ActorFolder.open(path)
        trainer = Trainer(Clip(folder, CPU), Portrait.load(folder, CPU), PRESETS["tiny"], seed=5)
        results.append([trainer.step() for _ in range(6)])
    assert results[0] == results[1]


def test_a_checkpoint_brings_back_everything(clip: Clip, sample_actor: ActorFolder) -> None:
    trainer = Trainer(clip, Portrait.load(sample_actor, CPU), PRESETS["tiny"], seed=1)
    for _ in range(4):
        trainer.step()
    trainer.save_checkpoint(sample_actor, "this face")
    file = sample_actor.file_path("checkpoints/training.safetensors")
    assert Trainer.resume(file, clip, PRESETS["tiny"], "another face") is None
    again = Trainer.resume(file, clip, PRESETS["tiny"], "this face")
    assert again is not None and again.step_number == 4
    for name, value in trainer.portrait.state_dict().items():
        assert torch.equal(value, again.portrait.state_dict()[name]), name
    assert np.isfinite(again.step())
    file.write_bytes(file.read_bytes()[:100])
    assert Trainer.resume(file, clip, PRESETS["tiny"], "this face") is None
    file.unlink()


def test_the_end_is_the_average_of_the_last_steps() -> None:
    module, steps = torch.nn.Linear(1, 1), 3 * 500
    average = ExponentialMovingAverage(module, steps)
    for done in range(1, steps + 1):
        seen = (1.0 if done // 5 % 2 else 3.0) if done > steps / 2 else 100.0
        with torch.no_grad():
            module.weight.fill_(seen)
        average.update(done)
        assert done == steps or module.weight.item() == pytest.approx(seen)
    assert module.weight.item() == pytest.approx(2, abs=0.1)


def test_rare_frames_are_drawn_more_often_in_their_phase(clip: Clip, sample_actor: ActorFolder) -> None:
    trainer = Trainer(clip, Portrait.load(sample_actor, CPU), PRESETS["tiny"], seed=3)
    rare = clip.train_frame_indices[:2]
    trainer.rare_frames = {FACIAL_PHASE: rare}
    rounds = 4 * len(clip.train_frame_indices)
    for part, least, most in ((FACIAL_PHASE, 0.2, 0.4), (JOINT_PHASE, 0.0, 3 / len(clip.train_frame_indices))):
        share = np.isin([trainer._next_frame_index(part) for _ in range(rounds)], rare).mean()
        assert least <= share <= most, part
    shut = clip.frames_with_channel_above("eyeBlink", 0.5)
    blinks = clip.poses["channels"][:, [CHANNEL_INDEX["eyeBlinkLeft"], CHANNEL_INDEX["eyeBlinkRight"]]].amax(1)
    assert set(shut) <= set(clip.train_frame_indices) and all(blinks[row] > 0.5 for row in shut)


def test_neck_strain_is_zero_for_one_rigid_body_and_not_for_two(sample_actor: ActorFolder) -> None:
    portrait = Portrait.load(sample_actor, CPU)
    pairs = NeckConsistency(portrait)
    assert len(pairs.first_indices) > 20
    rest = portrait.means.detach()
    shifted = rest + torch.tensor([0.01, 0.02, 0.0])
    assert pairs.loss(rest, shifted) < 1e-6
    torn = rest + torch.where(portrait.label[:, None] == 3, 0.01, 0.0) * torch.rand(len(rest), 1)
    assert pairs.loss(rest, torn) > 1e-3


def test_quality_floor_of_the_tiny_preset(sample_actor: ActorFolder) -> None:
    figures = evaluate_actor(sample_actor, CPU, Reporter())
    tracked = figures["tracked"]
    assert tracked["portrait"]["psnr"] > 22 and tracked["face"]["psnr"] > 23, tracked
    assert tracked["whole"]["ssim"] > 0.8 and tracked["jitter_ratio"] < 3
    assert set(figures) >= {"tracked", "train_seconds", "render_fps", "peak_memory_mb", "device"}
    assert sample_actor.info.complete
