"""What keeps the face together in expressions that the footage never showed."""

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


def test_neighbours_that_move_alike_cost_nothing_and_one_that_leaves_does(portrait: Portrait) -> None:
    moves = portrait.oral.basis.data.view(len(portrait.oral.basis), -1, OFFSET_COMPONENTS)
    portrait.facial.basis.data.zero_()
    moves[:] = torch.rand(len(moves), 1, OFFSET_COMPONENTS)
    restraint = OffsetRegularizer(portrait, LossWeights(offset_magnitude=0))
    assert restraint.loss() < 1e-12
    moves[0, 7, 1] += 0.5
    assert restraint.loss() > 1e-6
    moves[0, 7, 1] -= 0.5
    moves[0, 7, 4] += 0.5  # a colour of its own is no tear
    assert restraint.loss() < 1e-12


def test_the_gradient_that_is_added_is_that_of_the_cost(portrait: Portrait) -> None:
    restraint = OffsetRegularizer(portrait, LossWeights(offset_magnitude=0.3, offset_coherence=0.2))
    bases = [branch.basis for branch in (portrait.oral, portrait.facial, portrait.rigid)]
    portrait.rigid.basis.data.normal_(generator=torch.Generator().manual_seed(0))
    expected = torch.autograd.grad(restraint.loss(), bases)
    portrait.facial.basis.requires_grad_(False)
    portrait.oral.basis.grad = torch.ones_like(portrait.oral.basis)
    restraint.add_gradient()
    assert torch.allclose(portrait.oral.basis.grad, expected[0] + 1, atol=1e-6)
    assert portrait.facial.basis.grad is None
    assert portrait.rigid.basis.grad is not None and torch.allclose(portrait.rigid.basis.grad, expected[2], atol=1e-9)


def test_gaussians_grow_with_the_skin_they_lie_on(sample_actor: ActorFolder) -> None:
    rig = load_tracking(sample_actor).rig
    faces = topo.mesh_triangles(rig.neutral)
    wide = rig.__class__(rig.neutral, np.zeros_like(rig.shapes))
    wide.shapes[CHANNEL_INDEX["cheekPuff"]] = 0.5 * rig.neutral  # half as large again in every direction
    growth = skin_growth(wide, faces)
    assert growth[CHANNEL_INDEX["cheekPuff"]] == pytest.approx(np.log(1.5), abs=1e-6)
    assert np.abs(np.delete(growth, CHANNEL_INDEX["cheekPuff"], 0)).max() < 1e-9
    real = skin_growth(rig, faces)
    assert (
        real.shape == (len(CHANNELS), len(faces))
        and real.min() >= LOG_GROWTH_RANGE[0]
        and real.max() <= LOG_GROWTH_RANGE[1]
    )
    assert real[CHANNEL_INDEX["jawOpen"]].max() > 0.05  # cheeks stretch
    seeds = seed_face_mesh(rig, faces, np.full((topo.LANDMARK_COUNT, 3), 0.5), 0.004, np.random.default_rng(0))
    assert seeds.growth.shape == (len(CHANNELS), len(seeds.means))


def test_an_eye_lies_behind_its_closed_lid_and_stays_when_the_other_one_closes(sample_actor: ActorFolder) -> None:
    rig = load_tracking(sample_actor).rig
    seeds = seed_eyes(rig, 0.002, EyeColors(iris=np.zeros(3), sclera=np.ones(3)))
    left = seeds.means[:, 0] > 0  # the actor's left is +x
    for side, own in (("Left", left), ("Right", ~left)):
        back = seeds.prior[CHANNEL_INDEX[f"eyeBlink{side}"], :, 2]
        assert (back[own] == -LID_CLEARANCE_METERS).all() and (back[~own] == 0).all()


def test_none_leaves_the_skin_or_the_mouth_and_only_these_are_pulled(portrait: Portrait) -> None:
    home, rest, label = SeedAnchor(portrait), portrait.means.detach().clone(), portrait.label
    with torch.no_grad():
        portrait.means += torch.tensor([0.01, 0.0, 0.02])
        portrait.colours += 0.1
    for parameter in (portrait.means, portrait.colours):
        parameter.grad = torch.zeros_like(parameter)
    home.add_gradient()
    assert portrait.colours.grad is not None and portrait.means.grad is not None
    own = (label == FACE) | (label == MOUTH)
    assert torch.allclose(portrait.colours.grad[own], torch.tensor(0.1 * ANCHOR_GRADIENTS["colours"]), rtol=1e-3)
    assert (portrait.means.grad[own, 2] > portrait.means.grad[own, 0]).all()
    assert (portrait.colours.grad[~own] == 0).all() and (portrait.means.grad[~own] == 0).all()
    home.limit_displacement()
    moved = portrait.means.detach() - rest
    for kind, reach in MAX_DISPLACEMENT_METERS.items():
        assert moved[label == kind].norm(dim=1) == pytest.approx(reach, rel=1e-3)
    assert moved[label == MOUTH, 2].max() < MAX_MOUTH_ADVANCE_METERS + 1e-6
    assert torch.allclose(moved[~own], torch.tensor([0.01, 0.0, 0.02]), atol=1e-6)


def test_home_goes_with_its_gaussian(portrait: Portrait) -> None:
    home, source = SeedAnchor(portrait), torch.tensor([5, 3, 3])
    before = home.seed_parameters["means"].clone()
    portrait.reindex_gaussians(source)
    home.reindex_gaussians(source)
    assert torch.equal(home.seed_parameters["means"], before[source])
    home.limit_displacement()
    assert torch.allclose(portrait.means, before[source], atol=1e-7)
