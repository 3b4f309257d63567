"""Densification: the budget is kept, errors draw Gaussians, the picture stays, optimiser and checkpoint follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.contract.actor_folder import ActorFolder
from backend.dataset.clip import Clip
from backend.portrait.model import Portrait
from backend.training.config import PRESETS, LossWeights, Preset, next_gaussian_count
from backend.training.densification import accumulate_gaussian_errors, plan_densification, split_gaussians
from backend.training.pose_refinement import PoseRefinement, pose_from_tables
from backend.training.trainer import Trainer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clip(sample_actor: ActorFolder) -> Clip:
    return Clip(sample_actor, CPU)


def test_gaussians_grow_to_the_budget_in_equal_parts() -> None:
    preset = Preset(warm_up_steps=10, cycle_count=4, cycle_steps=30, joint_steps=50, max_gaussians=2000)
    count, counts = 1000, []
    for step in range(preset.total_steps):
        wanted = next_gaussian_count(preset, step, count)
        if wanted is not None:
            counts.append((step, wanted))
            count = wanted
    assert counts == [(10, 1250), (40, 1500), (70, 1750), (100, 2000)]


def test_what_is_drawn_wrong_is_charged_to_the_gaussians_that_draw_it(clip: Clip, sample_actor: ActorFolder) -> None:
    portrait = Portrait.load(sample_actor, CPU)
    still = PoseRefinement(clip.train_frame_count)
    before = accumulate_gaussian_errors(clip, portrait, still, LossWeights(), np.random.default_rng(0))
    spoilt = torch.topk(before, 200).indices[100:]
    with torch.no_grad():
        portrait.colours[spoilt] = 1 - portrait.colours[spoilt]
    after = accumulate_gaussian_errors(clip, portrait, still, LossWeights(), np.random.default_rng(0))
    assert (after[spoilt] / before[spoilt]).median() > 1.5
    assert after.sum() > before.sum()


def test_split_gaussians_draw_nearly_the_same_picture(clip: Clip, sample_actor: ActorFolder) -> None:
    portrait = Portrait.load(sample_actor, CPU)
    pose = pose_from_tables(clip.poses, 3)
    before = portrait.render(pose, clip.camera)
    count = portrait.size.gaussians
    still, rng = PoseRefinement(clip.train_frame_count), np.random.default_rng(0)
    source, halves = plan_densification(clip, portrait, still, LossWeights(), count + 300, rng)
    portrait.reindex_gaussians(source)
    split_gaussians(portrait, halves)
    assert portrait.size.gaussians == count + 300
    after = portrait.render(pose, clip.camera)
    assert (after.rgb - before.rgb).abs().mean() < 0.01
    assert (after.alpha - before.alpha).abs().mean() < 0.01


def test_what_is_transparent_goes_and_branches_follow(clip: Clip, sample_actor: ActorFolder) -> None:
    portrait = Portrait.load(sample_actor, CPU)
    pose = pose_from_tables(clip.poses, 3)
    faint = torch.arange(0, portrait.size.gaussians, 7)
    with torch.no_grad():
        portrait.opacity_logits[faint] = -12.0
        for branch in (portrait.oral, portrait.facial, portrait.rigid):  # which also change opacity
            branch.basis.view(len(branch.basis), -1, 7)[:, torch.isin(branch.members, faint), 6] = 0
    before = portrait.render(pose, clip.camera)
    still, rng = PoseRefinement(clip.train_frame_count), np.random.default_rng(0)
    source, halves = plan_densification(clip, portrait, still, LossWeights(), 0, rng)
    assert len(halves) == 0 and not torch.isin(source, faint).any()
    portrait.reindex_gaussians(source)
    after = portrait.render(pose, clip.camera)
    assert (after.rgb - before.rgb).abs().max() < 0.02


def test_training_goes_on_with_the_moments_of_those_that_stay(clip: Clip, sample_actor: ActorFolder) -> None:
    preset = replace(PRESETS["tiny"], warm_up_steps=3, cycle_steps=3, max_gaussians=4000)
    trainer = Trainer(clip, Portrait.load(sample_actor, CPU), preset, seed=1)
    for _ in range(4):  # the first cycle begins at step 3
        trainer.step()
    grown = trainer.portrait.size.gaussians
    assert grown > Portrait.load(sample_actor, CPU).size.gaussians
    for group in trainer.optimizer.param_groups:
        for parameter in group["params"]:
            for name, moment in trainer.optimizer.state[parameter].items():
                assert name == "step" or moment.shape == parameter.shape
    trainer.save_checkpoint(sample_actor)
    file = sample_actor.file_path("checkpoints/training.safetensors")
    again = Trainer.resume(file, clip, preset)
    assert again is not None
    file.unlink()
    assert again.portrait.size == trainer.portrait.size
    assert np.isfinite(again.step())
