"""Densification: the budget is kept, errors draw Gaussians, the picture stays, optimiser and checkpoint follow."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.contract.actor_folder import ActorFolder
from backend.dataset.clip import Clip
from backend.portrait.model import Portrait
from backend.training.config import PRESETS, Preset, Weights, growth
from backend.training.densification import charges, next_selection, split
from backend.training.pose_refinement import Corrections, tracked_pose
from backend.training.trainer import Trainer

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clip(sample_actor: ActorFolder) -> Clip:
    return Clip(sample_actor, CPU)


def test_gaussians_grow_to_the_budget_in_equal_parts() -> None:
    preset = Preset(warm_up=10, cycles=4, cycle=30, joint=50, budget=2000)
    count, counts = 1000, []
    for step in range(preset.steps):
        wanted = growth(preset, step, count)
        if wanted is not None:
            counts.append((step, wanted))
            count = wanted
    assert counts == [(10, 1250), (40, 1500), (70, 1750), (100, 2000)]


def test_what_is_drawn_wrong_is_charged_to_the_gaussians_that_draw_it(clip: Clip, sample_actor: ActorFolder) -> None:
    portrait = Portrait.load(sample_actor, CPU)
    still = Corrections(clip.train_count)
    before = charges(clip, portrait, still, Weights(), np.random.default_rng(0))
    spoilt = torch.topk(before, 200).indices[100:]
    with torch.no_grad():
        portrait.colours[spoilt] = 1 - portrait.colours[spoilt]
    after = charges(clip, portrait, still, Weights(), np.random.default_rng(0))
    assert (after[spoilt] / before[spoilt]).median() > 1.5
    assert after.sum() > before.sum()


def test_split_gaussians_draw_nearly_the_same_picture(clip: Clip, sample_actor: ActorFolder) -> None:
    portrait = Portrait.load(sample_actor, CPU)
    pose = tracked_pose(clip.poses, 3)
    before = portrait.render(*pose, clip.view, clip.intrinsics, clip.size, clip.size)
    count = portrait.size.gaussians
    still, rng = Corrections(clip.train_count), np.random.default_rng(0)
    source, halves = next_selection(clip, portrait, still, Weights(), count + 300, rng)
    portrait.reselect(source)
    split(portrait, halves)
    assert portrait.size.gaussians == count + 300
    after = portrait.render(*pose, clip.view, clip.intrinsics, clip.size, clip.size)
    assert (after.rgb - before.rgb).abs().mean() < 0.01
    assert (after.alpha - before.alpha).abs().mean() < 0.01


def test_what_is_transparent_goes_and_branches_follow(clip: Clip, sample_actor: ActorFolder) -> None:
    portrait = Portrait.load(sample_actor, CPU)
    pose = tracked_pose(clip.poses, 3)
    faint = torch.arange(0, portrait.size.gaussians, 7)
    with torch.no_grad():
        portrait.opacity_logits[faint] = -12.0
        for branch in (portrait.oral, portrait.facial, portrait.rigid):  # which also change opacity
            branch.basis.view(len(branch.basis), -1, 7)[:, torch.isin(branch.members, faint), 6] = 0
    before = portrait.render(*pose, clip.view, clip.intrinsics, clip.size, clip.size)
    still, rng = Corrections(clip.train_count), np.random.default_rng(0)
    source, halves = next_selection(clip, portrait, still, Weights(), 0, rng)
    assert len(halves) == 0 and not torch.isin(source, faint).any()
    portrait.reselect(source)
    after = portrait.render(*pose, clip.view, clip.intrinsics, clip.size, clip.size)
    assert (after.rgb - before.rgb).abs().max() < 0.02


def test_training_goes_on_with_the_moments_of_those_that_stay(clip: Clip, sample_actor: ActorFolder) -> None:
    preset = replace(PRESETS["tiny"], warm_up=3, cycle=3, budget=4000)
    trainer = Trainer(clip, Portrait.load(sample_actor, CPU), preset, seed=1)
    for _ in range(4):  # the first cycle begins at step 3
        trainer.step()
    grown = trainer.portrait.size.gaussians
    assert grown > Portrait.load(sample_actor, CPU).size.gaussians
    for group in trainer.optimiser.param_groups:
        for parameter in group["params"]:
            for name, moment in trainer.optimiser.state[parameter].items():
                assert name == "step" or moment.shape == parameter.shape
    trainer.save_checkpoint(sample_actor)
    file = sample_actor.file("checkpoints/training.safetensors")
    again = Trainer.resumed(file, clip, preset)
    assert again is not None
    file.unlink()
    assert again.portrait.size == trainer.portrait.size
    assert np.isfinite(again.step())
