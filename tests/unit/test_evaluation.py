"""The measures of an actor: refined drive, holes, edges, made-up backgrounds, ablation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from backend.compute.rotations import quaternion_from_small_rotation, quaternion_multiply
from backend.contract.actor_folder import ActorFolder
from backend.contract.progress import Reporter
from backend.dataset.clip import Clip, PixelWeights
from backend.evaluation.ablate import ABLATION_VARIANTS, ablate_method
from backend.evaluation.evaluate import composite_head_over_footage, edge_alpha_error, render_comparison
from backend.evaluation.metrics import lip_landmark_distance, weighted_mse
from backend.evaluation.refine import fit_held_out_poses
from backend.evaluation.stretch import measure_holes
from backend.portrait.model import Portrait
from backend.tracking.detection import topology as topo
from backend.training.config import PRESETS
from backend.training.extrapolated_poses import PoseExtrapolator, count_hole_pixels, hole_loss
from backend.training.pose_refinement import pose_from_tables

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clip(sample_actor: ActorFolder) -> Clip:
    return Clip(sample_actor, CPU)


@pytest.fixture(scope="module")
def portrait(sample_actor: ActorFolder) -> Portrait:
    return Portrait.load(sample_actor, CPU)


def test_refining_finds_back_a_head_that_was_turned_away(clip: Clip, portrait: Portrait) -> None:
    row = clip.train_frame_count
    turned = dict(clip.poses)
    turned["head_rotation"] = clip.poses["head_rotation"].clone()
    turn = quaternion_from_small_rotation(torch.tensor([0.0, 0.03, 0.02]))
    turned["head_rotation"][row] = quaternion_multiply(turn, turned["head_rotation"][row])
    away, clip.poses = clip.poses, turned
    weights = [p.clone() for p in portrait.parameters()]
    try:
        refined = fit_held_out_poses(clip, portrait, [row], Reporter())
    finally:
        clip.poses = away
    errors = []
    for poses in (turned, refined):
        shown = render_comparison(clip, portrait, pose_from_tables(poses, row), row)
        errors.append(weighted_mse(shown.image, shown.target, shown.person_alpha))
    assert errors[1] < 0.7 * errors[0]
    assert all(torch.equal(a, b) for a, b in zip(weights, portrait.parameters(), strict=True))
    assert torch.equal(refined["channels"][0], clip.poses["channels"][0])  # the others are left as they were


def test_holes_are_counted_inside_the_outline_only() -> None:
    alpha = np.zeros((96, 96), np.float32)
    alpha[20:, 20:76] = 1
    assert count_hole_pixels(alpha) == 0
    alpha[21:, 18:20] = 0.6  # a soft edge
    assert count_hole_pixels(alpha) == 0
    alpha[40:44, 40:45] = 0.3
    alpha[90:96, 50:52] = 0.2  # at the picture's lower edge, which is no outline of the person
    assert count_hole_pixels(alpha) == 20


def test_what_is_not_solid_inside_the_outline_costs_and_nothing_else() -> None:
    values = torch.zeros(96, 96)
    values[20:, 20:76] = 1
    values[40:44, 40:45] = 0.6
    values[50:, 18:20] = 0.6  # a soft edge
    alpha = values.requires_grad_(True)
    (gradient,) = torch.autograd.grad(hole_loss(alpha), alpha)
    hole = torch.zeros(96, 96)
    hole[40:44, 40:45] = -1 / 96**2
    assert torch.allclose(gradient, hole)


def test_the_actor_holds_together_beyond_the_footage(clip: Clip, portrait: Portrait) -> None:
    far = PoseExtrapolator(clip).farthest_poses(24)
    usual = clip.poses["head_rotation"][torch.as_tensor(clip.train_frame_indices)]
    middle = torch.nn.functional.normalize(usual.mean(0), dim=0)

    def widest(rotations: torch.Tensor) -> float:
        """The largest turn away from the footage's middle, squared but for a factor."""
        return float((1 - (rotations @ middle).abs()).max())

    assert widest(torch.stack([p.head_rotation for p in far])) > 1.5 * widest(usual)
    assert measure_holes(clip, portrait)["pixels_mean"] < 1500  # at 512²; 50 of the crop


def test_edge_difference_looks_at_edges_only() -> None:
    matte = torch.tensor([[0.0, 0.5, 1.0]])
    assert edge_alpha_error(torch.tensor([[1.0, 0.5, 0.0]]), matte) == 0
    assert edge_alpha_error(torch.tensor([[0.0, 0.8, 1.0]]), matte) == pytest.approx(0.3)


def test_the_mouth_is_measured_by_its_shape_not_by_where_the_head_stands() -> None:
    lips = np.random.default_rng(0).uniform(0, 100, (3, topo.LANDMARK_COUNT, 2))
    assert lip_landmark_distance(lips + [5.0, -3.0], lips, 256) == pytest.approx(0)
    assert lip_landmark_distance(lips + [3.0, -4.0], lips, 256, in_place=True) == pytest.approx(10)  # at 512²
    lost = np.full((1, topo.LANDMARK_COUNT, 2), np.nan)
    middle = lips[:, list(topo.LIPS)].mean(1, keepdims=True)
    larger, away = 1.1 * lips, np.linalg.norm(lips - middle, axis=-1)[:, list(topo.LIPS)].mean()
    measured = lip_landmark_distance(np.concatenate([larger, lost]), np.concatenate([lips, lost]), 256)
    assert measured == pytest.approx(0.1 * away * 2)  # at 512²


def test_a_made_up_background_stands_behind_the_person_only(clip: Clip) -> None:
    sample = clip.load_training_frame(2, PixelWeights())
    green = torch.tensor([0.0, 1.0, 0.0]).expand(clip.crop_size, clip.crop_size, 3)
    changed = clip.replace_background(sample, green)
    inside, outside = sample.person_alpha > 0.999, sample.person_alpha < 0.001
    assert torch.allclose(changed.image[inside], sample.image[inside], atol=0.01)
    assert torch.allclose(changed.image[outside], green[outside])
    assert torch.equal(changed.plate, green)


def test_the_pasted_frame_is_the_footage_where_there_is_no_head(clip: Clip, portrait: Portrait) -> None:
    row = clip.train_frame_count
    pose = pose_from_tables(clip.poses, row)
    pasted, footage = (
        composite_head_over_footage(clip, portrait, pose, row),
        clip.load_training_frame(row, PixelWeights()).image,
    )
    assert (pasted - footage)[-8:].abs().mean() < 0.01  # the chest
    assert (pasted - footage).abs().mean() > 1e-4  # the head is ours


def test_ablation_leaves_each_part_out_once_and_the_actor_alone(sample_actor: ActorFolder) -> None:
    before = sample_actor.file_path("model.safetensors").read_bytes()
    brief = replace(PRESETS["tiny"], warm_up_steps=6, cycle_count=1, cycle_steps=6, joint_steps=100)
    figures = ablate_method(sample_actor, CPU, brief, 0, Reporter())
    assert (
        list(figures)
        == list(ABLATION_VARIANTS)
        == ["full", "no_alternation", "no_consistency", "no_refinement", "no_prior"]
    )
    values = [f["tracked"]["portrait"]["psnr"] for f in figures.values()]
    assert len(set(values)) == len(values) and min(values) > 10
    assert sample_actor.file_path("model.safetensors").read_bytes() == before
