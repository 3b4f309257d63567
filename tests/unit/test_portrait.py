"""The portrait: identity before training, separate branches, poses and files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from backend.contract.actor_folder import ActorFolder
from backend.contract.channels import CHANNEL_INDEX, CHANNELS, ORAL_CHANNELS
from backend.contract.errors import UserError
from backend.dataset.clip import Clip
from backend.portrait.branch import Branch
from backend.portrait.labels import LABEL_NAMES, MOUTH
from backend.portrait.model import MODEL_VERSION, Portrait, Pose, RenderedFrame
from backend.tracking.detection import topology as topo
from backend.tracking.face.blendshape_rig import UNMEASURABLE_CHANNELS
from backend.training.pose_refinement import PoseRefinement, pose_from_tables

CPU = torch.device("cpu")
UPPER_LIP_TOP = 0  # landmark


@pytest.fixture(scope="module")
def portrait(sample_actor: ActorFolder) -> Portrait:
    return Portrait.load(sample_actor, CPU)


@pytest.fixture(scope="module")
def clip(sample_actor: ActorFolder) -> Clip:
    return Clip(sample_actor, CPU)


@pytest.fixture
def pose(clip: Clip) -> Pose:
    return pose_from_tables(clip.poses, 0)


def render_with_channels(portrait: Portrait, clip: Clip, **changes: float) -> RenderedFrame:
    """The first frame with some channels changed."""
    pose = pose_from_tables(clip.poses, 0)
    channels = pose.channels.clone()
    for name, value in changes.items():
        channels[CHANNEL_INDEX[name]] = value
    return portrait.render(pose._replace(channels=channels), clip.camera)


def test_branch_offsets_are_zero_before_training() -> None:
    branch = Branch(6, 4, 8, torch.arange(10), torch.ones(10))
    assert torch.equal(branch(torch.rand(6)), torch.zeros(10, 7))


def test_branch_offsets_are_zero_at_rest_after_training() -> None:
    branch = Branch(6, 4, 8, torch.arange(10), torch.ones(10))
    torch.nn.init.normal_(branch.basis)
    assert torch.equal(branch(torch.zeros(6)), torch.zeros(10, 7))
    assert branch(torch.rand(6)).abs().max() > 0


def test_jaw_channel_changes_the_mouth_and_not_the_eyes(portrait: Portrait, clip: Clip) -> None:
    closed, opened = (render_with_channels(portrait, clip, jawOpen=value).rgb for value in (0.0, 0.8))
    change = (opened - closed).abs().amax(2)
    eye_row, nose_row = int(clip.landmarks[0][[159, 386], 1].min()) - 2, int(clip.landmarks[0][topo.NOSE_BASE, 1])
    assert change[nose_row:].max() > 0.15
    assert change[:eye_row].max() < 0.02


def test_blink_channels_change_the_eyes_and_not_the_mouth(portrait: Portrait, clip: Clip) -> None:
    opened, closed = (
        render_with_channels(portrait, clip, eyeBlinkLeft=value, eyeBlinkRight=value, jawOpen=0.0).rgb
        for value in (0.0, 1.0)
    )
    change = (closed - opened).abs().amax(2)
    nose_row, lip_row = (int(clip.landmarks[0][landmark, 1]) for landmark in (topo.NOSE_BASE, UPPER_LIP_TOP))
    assert change[:nose_row].max() > 0.10
    assert change[lip_row:].max() < 0.02


def test_every_measurable_channel_moves_gaussians(portrait: Portrait, pose: Pose) -> None:
    rest = torch.zeros(len(CHANNELS))
    rest_means = portrait.deform(pose._replace(channels=rest)).means
    unmoved = []
    for name in CHANNELS:
        channels = rest.clone()
        channels[CHANNEL_INDEX[name]] = 1.0
        distance = (portrait.deform(pose._replace(channels=channels)).means - rest_means).norm(dim=1).max()
        if distance <= 5e-4:
            unmoved.append(name)
    assert set(unmoved) <= set(UNMEASURABLE_CHANNELS)


def test_turning_the_head_moves_the_head_and_not_the_chest(portrait: Portrait, pose: Pose) -> None:
    turned = torch.nn.functional.normalize(pose.head_rotation + torch.tensor([0.0, 0.0, 0.12, 0.0]), dim=0)
    before, after = portrait.deform(pose).means, portrait.deform(pose._replace(head_rotation=turned)).means
    head_weight = torch.sigmoid(portrait.skin_logits)
    distance = (after - before).norm(dim=1)
    assert distance[head_weight > 0.99].median() > 0.004
    assert distance[head_weight < 0.02].median() < 0.002


def test_quaternion_and_its_negative_give_the_same_gaussians(portrait: Portrait, pose: Pose) -> None:
    positive, negative = portrait.deform(pose), portrait.deform(pose._replace(head_rotation=-pose.head_rotation))
    assert torch.allclose(positive.means, negative.means, atol=1e-6)
    assert torch.allclose(positive.quats.abs(), negative.quats.abs(), atol=1e-5)


def test_mattes_sum_to_alpha(portrait: Portrait, clip: Clip) -> None:
    frame = render_with_channels(portrait, clip)
    assert frame.mattes.shape == (clip.crop_size, clip.crop_size, len(LABEL_NAMES))
    assert torch.allclose(frame.mattes.sum(2), frame.alpha, atol=1e-4)


def test_rendered_depth_lies_around_the_distance_of_the_head(portrait: Portrait, clip: Clip) -> None:
    frame = render_with_channels(portrait, clip)
    is_solid = frame.alpha > 0.99
    depth = frame.depth[is_solid] / frame.alpha[is_solid]
    head_distance = float(clip.camera.view[2, 3])
    assert head_distance - 0.2 < depth.min()
    assert depth.max() < head_distance + 0.35


def test_rendered_frame_has_only_finite_values(portrait: Portrait, clip: Clip) -> None:
    assert all(torch.isfinite(plane).all() for plane in render_with_channels(portrait, clip))


def test_opening_the_jaw_shows_the_mouth_interior(portrait: Portrait, clip: Clip) -> None:
    closed = render_with_channels(portrait, clip, jawOpen=0.0).mattes[..., MOUTH].sum()
    opened = render_with_channels(portrait, clip, jawOpen=0.7, mouthClose=0.0).mattes[..., MOUTH].sum()
    assert opened > 2 * closed
    assert opened > 10


def test_pose_refinement_is_the_identity_before_training(clip: Clip) -> None:
    pose = pose_from_tables(clip.poses, 3)
    for refined, tracked in zip(PoseRefinement(clip.frame_count).refine_pose(pose, 3), pose, strict=True):
        assert torch.allclose(refined, tracked, atol=1e-6)


def test_pose_refinement_learns_slow_errors_and_leaves_other_frames() -> None:
    refinement, rng = PoseRefinement(60), np.random.default_rng(0)
    error = torch.zeros(60, 6)
    error[:40] = 0.02 * torch.sin(torch.arange(40) / 8)[:, None]
    for frame_index in np.concatenate([rng.permutation(40) for _ in range(12)]).tolist():
        refinement.zero_grad()
        noise = 0.01 * torch.from_numpy(rng.normal(size=6)).float()
        loss = (refinement.head[frame_index] - error[frame_index] - noise).square().sum()
        torch.autograd.backward(loss + 0 * refinement.torso.sum() + 0 * refinement.channels.sum())
        refinement.update_frame(frame_index, {"head": 1e-3, "torso": 1e-3, "channels": 1e-2})
    assert (refinement.head[:40] - error[:40]).square().mean() < 0.15 * error[:40].square().mean()
    assert (refinement.head[44:] == 0).all()
    assert (refinement.torso == 0).all() and (refinement.channels == 0).all()


def test_pose_refinement_without_a_gradient_changes_nothing() -> None:
    refinement = PoseRefinement(10)
    with torch.no_grad():
        refinement.head.add_(0.1)
    before = refinement.head.clone()
    refinement.update_frame(3, {"head": 1.0, "torso": 1.0, "channels": 1.0})
    assert torch.equal(refinement.head, before)


def test_loaded_portrait_renders_the_same_image(portrait: Portrait, clip: Clip, sample_actor: ActorFolder) -> None:
    portrait.save(sample_actor, "copy.safetensors")
    loaded = Portrait.load(sample_actor, CPU, "copy.safetensors")
    assert torch.equal(render_with_channels(loaded, clip).rgb, render_with_channels(portrait, clip).rgb)


def test_stored_portrait_is_a_quarter_as_large_and_renders_nearly_the_same(
    clip: Clip, sample_actor: ActorFolder
) -> None:
    portrait = Portrait.load(sample_actor, CPU)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():  # a loaded portrait has been rounded already
        for values in (portrait.prior, *(b.basis for b in (portrait.oral, portrait.facial, portrait.rigid))):
            values *= 1 + 0.3 * torch.rand(values.shape, generator=generator)
    portrait.save(sample_actor, "copy.safetensors")
    loaded = Portrait.load(sample_actor, CPU, "copy.safetensors")
    error = (render_with_channels(loaded, clip).rgb - render_with_channels(portrait, clip).rgb).square().mean()
    assert error < 2e-6  # a hundredth of the error after training
    file_size = sample_actor.file_path("copy.safetensors").stat().st_size
    assert file_size < 0.25 * sum(value.numel() * value.element_size() for value in portrait.state_dict().values())


@pytest.mark.parametrize("damage", ["empty", "cut", "no version", "size"])
def test_damaged_model_file_is_refused(
    portrait: Portrait, sample_actor: ActorFolder, tmp_path: Path, damage: str
) -> None:
    from safetensors.torch import save_file

    folder = ActorFolder(tmp_path, sample_actor.info)
    portrait.save(folder)
    file = tmp_path / "model.safetensors"
    data = file.read_bytes()
    if damage == "empty":
        file.write_bytes(b"")
    elif damage == "cut":
        file.write_bytes(data[: len(data) // 2])
    else:
        size = json.dumps({"gaussians": 10**12} if damage == "size" else vars(portrait.size))
        version = str(MODEL_VERSION) if damage == "size" else "?"
        save_file({"x": torch.zeros(1)}, file, metadata={"version": version, "size": size})
    with pytest.raises(UserError, match="damaged"):
        Portrait.load(folder, CPU)


def test_model_of_another_version_is_refused_with_a_remedy(
    sample_actor: ActorFolder, tmp_path: Path, portrait: Portrait, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ActorFolder(tmp_path, sample_actor.info)
    with monkeypatch.context() as context:
        context.setattr("backend.portrait.model.MODEL_VERSION", MODEL_VERSION - 1)
        portrait.save(folder)
    with pytest.raises(UserError, match="trained by another version") as refusal:
        Portrait.load(folder, CPU)
    assert "only training runs again" in refusal.value.remedy


def test_oral_channels_are_the_first_channels() -> None:
    assert CHANNELS[: len(ORAL_CHANNELS)] == ORAL_CHANNELS


def test_branch_ignores_controls_beyond_the_range_of_the_footage(sample_actor: ActorFolder) -> None:
    branch = Portrait.load(sample_actor, CPU).oral
    highest = branch.high.clone()
    assert (branch.low <= 0).all()
    assert (highest >= 0).all() and highest.max() <= 1.5
    assert torch.equal(branch(highest), branch(highest + 0.5))
    assert not torch.equal(branch(highest), branch(highest * 0.5))
