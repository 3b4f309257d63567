"""Densification: number of Gaussians, their share of the error, splits, pruning, and Adam's moments afterwards."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.contract.actor_folder import ActorFolder
from backend.dataset.clip import Clip
from backend.portrait.branch import OFFSET_COMPONENTS
from backend.portrait.model import Portrait
from backend.training.config import PRESETS, LossWeights, Preset, next_gaussian_count
from backend.training.densification import accumulate_gaussian_errors, plan_densification, split_gaussians
from backend.training.pose_refinement import PoseRefinement, pose_from_tables
from backend.training.trainer import Trainer

CPU = torch.device("cpu")
OPACITY_OFFSET = 6  # component of a branch's offsets
FRAME_INDEX = 3  # the frame that is rendered


@pytest.fixture(scope="module")
def clip(sample_actor: ActorFolder) -> Clip:
    return Clip(sample_actor, CPU)


@pytest.fixture
def portrait(sample_actor: ActorFolder) -> Portrait:
    return Portrait.load(sample_actor, CPU)


@pytest.fixture
def no_refinement(clip: Clip) -> PoseRefinement:
    return PoseRefinement(clip.train_frame_count)


def test_gaussian_count_grows_to_the_maximum_in_equal_parts() -> None:
    preset = Preset(warm_up_steps=10, cycle_count=4, cycle_steps=30, joint_steps=50, max_gaussians=2000)
    count, counts = 1000, []
    for step in range(preset.total_steps):
        next_count = next_gaussian_count(preset, step, count)
        if next_count is not None:
            counts.append((step, next_count))
            count = next_count
    assert counts == [(10, 1250), (40, 1500), (70, 1750), (100, 2000)]


def test_gaussians_with_wrong_colors_have_larger_errors(
    clip: Clip, portrait: Portrait, no_refinement: PoseRefinement
) -> None:
    before = accumulate_gaussian_errors(clip, portrait, no_refinement, LossWeights(), np.random.default_rng(0))
    changed = torch.topk(before, 200).indices[100:]
    with torch.no_grad():
        portrait.colours[changed] = 1 - portrait.colours[changed]
    after = accumulate_gaussian_errors(clip, portrait, no_refinement, LossWeights(), np.random.default_rng(0))
    assert (after[changed] / before[changed]).median() > 1.5
    assert after.sum() > before.sum()


def test_split_gaussians_render_nearly_the_same_image(
    clip: Clip, portrait: Portrait, no_refinement: PoseRefinement
) -> None:
    pose = pose_from_tables(clip.poses, FRAME_INDEX)
    before = portrait.render(pose, clip.camera)
    count, rng = portrait.size.gaussians, np.random.default_rng(0)
    source_indices, split_pairs = plan_densification(
        clip, portrait, no_refinement, LossWeights(), max_gaussians=count + 300, rng=rng
    )
    portrait.reindex_gaussians(source_indices)
    split_gaussians(portrait, split_pairs)
    assert portrait.size.gaussians == count + 300
    after = portrait.render(pose, clip.camera)
    assert (after.rgb - before.rgb).abs().mean() < 0.01
    assert (after.alpha - before.alpha).abs().mean() < 0.01


def test_transparent_gaussians_are_removed_and_the_image_stays(
    clip: Clip, portrait: Portrait, no_refinement: PoseRefinement
) -> None:
    pose = pose_from_tables(clip.poses, FRAME_INDEX)
    transparent = torch.arange(0, portrait.size.gaussians, 7)
    with torch.no_grad():
        portrait.opacity_logits[transparent] = -12.0
        for branch in (portrait.oral, portrait.facial, portrait.rigid):  # branches also change opacity
            offsets = branch.basis.view(len(branch.basis), -1, OFFSET_COMPONENTS)
            offsets[:, torch.isin(branch.members, transparent), OPACITY_OFFSET] = 0
    before = portrait.render(pose, clip.camera)
    source_indices, split_pairs = plan_densification(
        clip, portrait, no_refinement, LossWeights(), max_gaussians=0, rng=np.random.default_rng(0)
    )
    assert len(split_pairs) == 0 and not torch.isin(source_indices, transparent).any()
    portrait.reindex_gaussians(source_indices)
    after = portrait.render(pose, clip.camera)
    assert (after.rgb - before.rgb).abs().max() < 0.02


def test_adam_moments_and_checkpoints_fit_the_gaussians_after_densification(clip: Clip, portrait: Portrait) -> None:
    preset = replace(PRESETS["tiny"], warm_up_steps=3, cycle_steps=3, max_gaussians=4000)
    count_before = portrait.size.gaussians
    trainer = Trainer(clip, portrait, preset, seed=1)
    for _ in range(4):  # the first cycle begins at step 3
        trainer.step()
    assert trainer.portrait.size.gaussians > count_before
    for group in trainer.optimizer.param_groups:
        for parameter in group["params"]:
            for name, moment in trainer.optimizer.state[parameter].items():
                assert name == "step" or moment.shape == parameter.shape
    resumed = Trainer.from_checkpoint(trainer.to_checkpoint(""), clip, preset)
    assert resumed.portrait.size == trainer.portrait.size
    assert np.isfinite(resumed.step())
