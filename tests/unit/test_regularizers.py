"""Regularizers and seeds that keep the face together in expressions that the footage does not show."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backend.contract.actor_folder import ActorFolder
from backend.contract.channels import CHANNEL_INDEX, CHANNELS
from backend.portrait.anatomy.eyes import LID_CLEARANCE_METERS, EyeColors, seed_eyes
from backend.portrait.anatomy.face import LOG_GROWTH_RANGE, seed_face_mesh, skin_growth
from backend.portrait.branch import OFFSET_COMPONENTS
from backend.portrait.labels import FACE, MOUTH
from backend.portrait.model import Portrait
from backend.tracking.detection import topology as topo
from backend.tracking.storage import load_tracking
from backend.training.config import LossWeights
from backend.training.regularizers import (
    ANCHOR_GRADIENTS,
    MAX_DISPLACEMENT_METERS,
    MAX_MOUTH_ADVANCE_METERS,
    OffsetRegularizer,
    SeedAnchor,
)

CPU = torch.device("cpu")


@pytest.fixture
def portrait(sample_actor: ActorFolder) -> Portrait:
    return Portrait.load(sample_actor, CPU)


def test_offset_regularizer_penalizes_different_positions_of_neighbours_only(portrait: Portrait) -> None:
    offsets = portrait.oral.basis.data.view(len(portrait.oral.basis), -1, OFFSET_COMPONENTS)
    portrait.facial.basis.data.zero_()
    offsets[:] = torch.rand(len(offsets), 1, OFFSET_COMPONENTS)
    regularizer = OffsetRegularizer(portrait, LossWeights(offset_magnitude=0))
    assert regularizer.loss() < 1e-12
    offsets[0, 7, 1] += 0.5  # a position
    assert regularizer.loss() > 1e-6
    offsets[0, 7, 1] -= 0.5
    offsets[0, 7, 4] += 0.5  # a colour
    assert regularizer.loss() < 1e-12


def test_offset_regularizer_adds_the_gradient_of_its_loss(portrait: Portrait) -> None:
    regularizer = OffsetRegularizer(portrait, LossWeights(offset_magnitude=0.3, offset_coherence=0.2))
    bases = [branch.basis for branch in (portrait.oral, portrait.facial, portrait.rigid)]
    portrait.rigid.basis.data.normal_(generator=torch.Generator().manual_seed(0))
    expected = torch.autograd.grad(regularizer.loss(), bases)
    portrait.facial.basis.requires_grad_(False)
    portrait.oral.basis.grad = torch.ones_like(portrait.oral.basis)
    regularizer.add_gradient()
    assert torch.allclose(portrait.oral.basis.grad, expected[0] + 1, atol=1e-6)
    assert portrait.facial.basis.grad is None
    assert portrait.rigid.basis.grad is not None and torch.allclose(portrait.rigid.basis.grad, expected[2], atol=1e-9)


def test_skin_growth_is_the_logarithm_of_the_skin_s_stretch(sample_actor: ActorFolder) -> None:
    rig = load_tracking(sample_actor).rig
    faces = topo.mesh_triangles(rig.neutral)
    enlarged = rig.__class__(rig.neutral, np.zeros_like(rig.shapes))
    enlarged.shapes[CHANNEL_INDEX["cheekPuff"]] = 0.5 * rig.neutral  # 1.5 times as large in every direction
    growth = skin_growth(enlarged, faces)
    assert growth[CHANNEL_INDEX["cheekPuff"]] == pytest.approx(np.log(1.5), abs=1e-6)
    assert np.abs(np.delete(growth, CHANNEL_INDEX["cheekPuff"], 0)).max() < 1e-9


def test_skin_growth_of_a_tracked_rig_is_limited_and_stretches_with_the_jaw(sample_actor: ActorFolder) -> None:
    rig = load_tracking(sample_actor).rig
    faces = topo.mesh_triangles(rig.neutral)
    growth = skin_growth(rig, faces)
    assert growth.shape == (len(CHANNELS), len(faces))
    assert growth.min() >= LOG_GROWTH_RANGE[0] and growth.max() <= LOG_GROWTH_RANGE[1]
    assert growth[CHANNEL_INDEX["jawOpen"]].max() > 0.05  # the cheeks stretch


def test_face_seeds_have_a_growth_per_channel(sample_actor: ActorFolder) -> None:
    rig = load_tracking(sample_actor).rig
    colors = np.full((topo.LANDMARK_COUNT, 3), 0.5)
    seeds = seed_face_mesh(rig, topo.mesh_triangles(rig.neutral), colors, 0.004, np.random.default_rng(0))
    assert seeds.growth.shape == (len(CHANNELS), len(seeds.means))


def test_eye_moves_back_when_its_own_lid_closes_only(sample_actor: ActorFolder) -> None:
    rig = load_tracking(sample_actor).rig
    seeds = seed_eyes(rig, 0.002, EyeColors(iris=np.zeros(3), sclera=np.ones(3)))
    is_left = seeds.means[:, 0] > 0  # the actor's left is +x
    for side, is_own in (("Left", is_left), ("Right", ~is_left)):
        depth = seeds.prior[CHANNEL_INDEX[f"eyeBlink{side}"], :, 2]
        assert (depth[is_own] == -LID_CLEARANCE_METERS).all() and (depth[~is_own] == 0).all()


def test_seed_anchor_adds_gradients_to_face_and_mouth_only(portrait: Portrait) -> None:
    anchor = SeedAnchor(portrait)
    is_anchored = (portrait.label == FACE) | (portrait.label == MOUTH)
    with torch.no_grad():
        portrait.means.add_(torch.tensor([0.01, 0.0, 0.02]))
        portrait.colours.add_(0.1)
    for parameter in (portrait.means, portrait.colours):
        parameter.grad = torch.zeros_like(parameter)
    anchor.add_gradient()
    assert portrait.colours.grad is not None and portrait.means.grad is not None
    expected = torch.tensor(0.1 * ANCHOR_GRADIENTS["colours"])
    assert torch.allclose(portrait.colours.grad[is_anchored], expected, rtol=1e-3)
    assert (portrait.means.grad[is_anchored, 2] > portrait.means.grad[is_anchored, 0]).all()
    assert (portrait.colours.grad[~is_anchored] == 0).all() and (portrait.means.grad[~is_anchored] == 0).all()


def test_seed_anchor_limits_displacement_by_label(portrait: Portrait) -> None:
    anchor, rest, label = SeedAnchor(portrait), portrait.means.detach().clone(), portrait.label
    displacement = torch.tensor([0.01, 0.0, 0.02])
    with torch.no_grad():
        portrait.means.add_(displacement)
    anchor.limit_displacement()
    limited = portrait.means.detach() - rest
    for kind, limit in MAX_DISPLACEMENT_METERS.items():
        assert limited[label == kind].norm(dim=1) == pytest.approx(limit, rel=1e-3)
    assert limited[label == MOUTH, 2].max() < MAX_MOUTH_ADVANCE_METERS + 1e-6
    is_free = (label != FACE) & (label != MOUTH)
    assert torch.allclose(limited[is_free], displacement, atol=1e-6)


def test_seed_anchor_keeps_each_gaussian_s_seed_after_reindexing(portrait: Portrait) -> None:
    anchor, source_indices = SeedAnchor(portrait), torch.tensor([5, 3, 3])
    before = anchor.seed_parameters["means"].clone()
    portrait.reindex_gaussians(source_indices)
    anchor.reindex_gaussians(source_indices)
    assert torch.equal(anchor.seed_parameters["means"], before[source_indices])
    anchor.limit_displacement()
    assert torch.allclose(portrait.means, before[source_indices], atol=1e-7)
