"""Training: phases, losses, what may be seen, resuming, and a quality floor on the sample actor."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.compute.rotations import quaternion_multiply, small_rotation
from backend.contract.actor_folder import ActorFolder
from backend.contract.channels import INDEX
from backend.contract.progress import Reporter
from backend.dataset.clip import Clip
from backend.dataset.split import held_out_start
from backend.evaluation.evaluate import evaluate
from backend.portrait.model import Portrait
from backend.training.config import FACIAL, JOINT, ORAL, POSE, PRESETS, WARM_UP, Preset, Rates, phase
from backend.training.ema import Average
from backend.training.losses import picture_loss
from backend.training.pose_refinement import tracked_pose
from backend.training.regularizers import NeckPairs
from backend.training.trainer import Trainer

CPU = torch.device("cpu")


def test_phases_follow_the_schedule() -> None:
    preset = Preset(warm_up=10, cycles=2, cycle=30, joint=5)
    parts = [phase(preset, s) for s in range(preset.steps)]
    once = [ORAL] * 10 + [FACIAL] * 10 + [POSE] * 10
    assert parts == [WARM_UP] * 10 + once * 2 + [JOINT] * 5


def test_loss_is_zero_for_the_same_picture_and_has_a_gradient() -> None:
    target = torch.rand(32, 32, 3)
    assert picture_loss(target, target, torch.ones(32, 32), 0.2) < 1e-5
    picture = (target + 0.1).requires_grad_()
    picture_loss(picture, target, torch.ones(32, 32), 0.2).backward()  # type: ignore[no-untyped-call]
    assert picture.grad is not None and picture.grad.abs().sum() > 0


@pytest.fixture(scope="module")
def clip(sample_actor: ActorFolder) -> Clip:
    return Clip(sample_actor, CPU)


def test_only_the_phase_s_own_parts_learn(clip: Clip, sample_actor: ActorFolder) -> None:
    portrait = Portrait.load(sample_actor, CPU)
    trainer = Trainer(clip, portrait, replace(PRESETS["tiny"], warm_up=1, cycle=3, cycles=1, joint=1), seed=0)
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
    wrong = 0.015 * torch.sin(torch.arange(clip.count)[:, None] / torch.tensor([3.0, 4.0, 5.0]))  # radians; smooth
    clip.poses["head_rotation"] = torch.stack(
        [quaternion_multiply(small_rotation(w), q) for w, q in zip(wrong, true, strict=True)]
    )
    still = Rates(*[0.0] * 8)  # only the corrections learn
    preset = replace(PRESETS["tiny"], warm_up=0, cycles=0, joint=500, rates=still)
    trainer = Trainer(clip, Portrait.load(sample_actor, CPU), preset, seed=0)
    for _ in range(preset.steps):
        trainer.step()
    rows = clip.train_rows.tolist()
    with torch.no_grad():
        found = [trainer.corrections.apply_to(tracked_pose(clip.poses, row), row).head_rotation for row in rows]
    after = (torch.stack(found) - true[rows]).square().mean().sqrt()
    before = (clip.poses["head_rotation"] - true)[rows].square().mean().sqrt()
    assert after < 0.7 * before


def test_held_out_frames_never_touch_the_model(sample_actor: ActorFolder, tmp_path: Path) -> None:
    spoilt = tmp_path / "spoilt.actor"
    shutil.copytree(sample_actor.path, spoilt)
    count = sample_actor.info.frame_count
    for row in range(held_out_start(count), count):
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
    file = sample_actor.file("checkpoints/training.safetensors")
    assert Trainer.resumed(file, clip, PRESETS["tiny"], "another face") is None
    again = Trainer.resumed(file, clip, PRESETS["tiny"], "this face")
    assert again is not None and again.step_number == 4
    for name, value in trainer.portrait.state_dict().items():
        assert torch.equal(value, again.portrait.state_dict()[name]), name
    assert np.isfinite(again.step())
    file.write_bytes(file.read_bytes()[:100])
    assert Trainer.resumed(file, clip, PRESETS["tiny"], "this face") is None
    file.unlink()


def test_the_end_is_the_average_of_the_last_steps() -> None:
    module, steps = torch.nn.Linear(1, 1), 3 * 500
    average = Average(module, steps)
    for done in range(1, steps + 1):
        seen = (1.0 if done // 5 % 2 else 3.0) if done > steps / 2 else 100.0
        with torch.no_grad():
            module.weight.fill_(seen)
        average.look(done)
        assert done == steps or module.weight.item() == pytest.approx(seen)
    assert module.weight.item() == pytest.approx(2, abs=0.1)


def test_rare_frames_are_drawn_more_often_in_their_phase(clip: Clip, sample_actor: ActorFolder) -> None:
    trainer = Trainer(clip, Portrait.load(sample_actor, CPU), PRESETS["tiny"], seed=3)
    rare = clip.train_rows[:2]
    trainer.rare = {FACIAL: rare}
    rounds = 4 * len(clip.train_rows)
    for part, least, most in ((FACIAL, 0.2, 0.4), (JOINT, 0.0, 3 / len(clip.train_rows))):
        share = np.isin([trainer._next_frame(part) for _ in range(rounds)], rare).mean()
        assert least <= share <= most, part
    shut = clip.rows_beyond("eyeBlink", 0.5)
    blinks = clip.poses["channels"][:, [INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]].amax(1)
    assert set(shut) <= set(clip.train_rows) and all(blinks[row] > 0.5 for row in shut)


def test_neck_strain_is_zero_for_one_rigid_body_and_not_for_two(sample_actor: ActorFolder) -> None:
    portrait = Portrait.load(sample_actor, CPU)
    pairs = NeckPairs(portrait)
    assert len(pairs.first) > 20
    rest = portrait.means.detach()
    shifted = rest + torch.tensor([0.01, 0.02, 0.0])
    assert pairs.strain(rest, shifted) < 1e-6
    torn = rest + torch.where(portrait.label[:, None] == 3, 0.01, 0.0) * torch.rand(len(rest), 1)
    assert pairs.strain(rest, torn) > 1e-3


def test_quality_floor_of_the_tiny_preset(sample_actor: ActorFolder) -> None:
    figures = evaluate(sample_actor, CPU, Reporter())
    tracked = figures["tracked"]
    assert tracked["portrait"]["psnr"] > 22 and tracked["face"]["psnr"] > 23, tracked
    assert tracked["whole"]["ssim"] > 0.8 and tracked["jitter_ratio"] < 3
    assert set(figures) >= {"tracked", "train_seconds", "render_fps", "peak_memory_mb", "device"}
    assert sample_actor.info.complete
