"""The actor's picture: identity at the start, decoupled branches, poses, files."""

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
from backend.training.pose_refinement import PoseRefinement, pose_from_tables

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def portrait(sample_actor: ActorFolder) -> Portrait:
    return Portrait.load(sample_actor, CPU)


@pytest.fixture(scope="module")
def clip(sample_actor: ActorFolder) -> Clip:
    return Clip(sample_actor, CPU)


def draw(portrait: Portrait, clip: Clip, row: int = 0, **changes: float) -> RenderedFrame:
    pose = pose_from_tables(clip.poses, row)
    channels = pose.channels.clone()
    for name, value in changes.items():
        channels[CHANNEL_INDEX[name]] = value
    return portrait.render(pose._replace(channels=channels), clip.camera)


def test_a_branch_starts_as_the_identity_and_rests_at_rest() -> None:
    branch = Branch(6, 4, 8, torch.arange(10), torch.ones(10))
    assert torch.equal(branch(torch.rand(6)), torch.zeros(10, 7))
    torch.nn.init.normal_(branch.basis)
    assert torch.equal(branch(torch.zeros(6)), torch.zeros(10, 7))
    assert branch(torch.rand(6)).abs().max() > 0


def test_editing_an_oral_channel_leaves_the_eyes_alone_and_the_other_way_round(portrait: Portrait, clip: Clip) -> None:
    before = draw(portrait, clip, eyeBlinkLeft=0, eyeBlinkRight=0, jawOpen=0).rgb
    landmarks = clip.landmarks[0]
    eye_line, nose = int(landmarks[[159, 386], 1].min()) - 2, int(landmarks[2, 1])
    jaw = (draw(portrait, clip, eyeBlinkLeft=0, eyeBlinkRight=0, jawOpen=0.8).rgb - before).abs().amax(2)
    blink = (draw(portrait, clip, eyeBlinkLeft=1, eyeBlinkRight=1, jawOpen=0).rgb - before).abs().amax(2)
    assert jaw[nose:].max() > 0.15 and jaw[:eye_line].max() < 0.02
    assert blink[:nose].max() > 0.10 and blink[int(landmarks[0, 1]) :].max() < 0.02


def test_every_channel_that_footage_can_measure_moves_the_picture(portrait: Portrait, clip: Clip) -> None:
    rest = torch.zeros(len(CHANNELS))
    pose = pose_from_tables(clip.poses, 0)
    still = portrait.deform(Pose(*pose[:4], rest)).means
    from backend.tracking.face.blendshape_rig import UNMEASURABLE_CHANNELS

    for name in CHANNELS:
        channels = rest.clone()
        channels[CHANNEL_INDEX[name]] = 1.0
        moved = (portrait.deform(Pose(*pose[:4], channels)).means - still).norm(dim=1).max()
        assert name in UNMEASURABLE_CHANNELS or moved > 5e-4, name


def test_turning_the_head_moves_the_head_and_not_the_chest(portrait: Portrait, clip: Clip) -> None:
    pose = pose_from_tables(clip.poses, 0)
    turned = torch.nn.functional.normalize(pose.head_rotation + torch.tensor([0.0, 0.0, 0.12, 0.0]), dim=0)
    before = portrait.deform(pose).means
    after = portrait.deform(pose._replace(head_rotation=turned)).means
    share = torch.sigmoid(portrait.skin_logits)
    distance = (after - before).norm(dim=1)
    assert distance[share > 0.99].median() > 0.004
    assert distance[share < 0.02].median() < 0.002


def test_mattes_add_up_to_the_alpha_and_nothing_is_nan(portrait: Portrait, clip: Clip) -> None:
    frame = draw(portrait, clip)
    assert frame.mattes.shape == (clip.crop_size, clip.crop_size, len(LABEL_NAMES))
    assert torch.allclose(frame.mattes.sum(2), frame.alpha, atol=1e-4)
    assert all(torch.isfinite(part).all() for part in frame)
    inside = frame.alpha > 0.99
    depth = frame.depth[inside] / frame.alpha[inside]
    middle = float(clip.camera.view[2, 3])
    assert middle - 0.2 < depth.min() and depth.max() < middle + 0.35


def test_the_mouth_s_interior_shows_when_the_jaw_opens(portrait: Portrait, clip: Clip) -> None:
    shut = draw(portrait, clip, jawOpen=0.0).mattes[..., MOUTH].sum()
    opened = draw(portrait, clip, jawOpen=0.7, mouthClose=0.0).mattes[..., MOUTH].sum()
    assert opened > 2 * shut and opened > 10


def test_corrections_start_as_the_identity(clip: Clip) -> None:
    pose = pose_from_tables(clip.poses, 3)
    for ours, theirs in zip(PoseRefinement(clip.frame_count).refine_pose(pose, 3), pose, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-6)


def test_corrections_learn_an_error_that_changes_slowly_and_leave_far_frames_alone() -> None:
    made, random = PoseRefinement(60), np.random.default_rng(0)
    error = torch.zeros(60, 6)
    error[:40] = 0.02 * torch.sin(torch.arange(40) / 8)[:, None]
    for row in np.concatenate([random.permutation(40) for _ in range(12)]).tolist():
        made.zero_grad()
        noise = 0.01 * torch.from_numpy(random.normal(size=6)).float()
        (
            (made.head[row] - error[row] - noise).square().sum() + 0 * made.torso.sum() + 0 * made.channels.sum()
        ).backward()
        made.update_frame(row, {"head": 1e-3, "torso": 1e-3, "channels": 1e-2})
    assert (made.head[:40] - error[:40]).square().mean() < 0.15 * error[:40].square().mean()
    assert (made.head[44:] == 0).all() and (made.torso == 0).all() and (made.channels == 0).all()
    before = made.head.clone()
    made.update_frame(
        3, {"head": 1.0, "torso": 1.0, "channels": 1.0}
    )  # after a step on tracked poses: nothing was learned
    assert torch.equal(made.head, before)


def test_saved_and_loaded_draws_the_same_picture(portrait: Portrait, clip: Clip, sample_actor: ActorFolder) -> None:
    portrait.save(sample_actor, "copy.safetensors")
    again = Portrait.load(sample_actor, CPU, "copy.safetensors")
    assert torch.equal(draw(again, clip).rgb, draw(portrait, clip).rgb)


def test_what_is_stored_is_small_and_looks_the_same(clip: Clip, sample_actor: ActorFolder) -> None:
    portrait = Portrait.load(sample_actor, CPU)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():  # what was loaded has been rounded already
        for values in (portrait.prior, *(b.basis for b in (portrait.oral, portrait.facial, portrait.rigid))):
            values *= 1 + 0.3 * torch.rand(values.shape, generator=noise)
    portrait.save(sample_actor, "copy.safetensors")
    again = Portrait.load(sample_actor, CPU, "copy.safetensors")
    assert (draw(again, clip).rgb - draw(portrait, clip).rgb).square().mean() < 2e-6  # a hundredth of training's error
    written = sample_actor.file_path("copy.safetensors").stat().st_size
    assert written < 0.25 * sum(v.numel() * v.element_size() for v in portrait.state_dict().values())


@pytest.mark.parametrize("spoil", ["empty", "cut", "no version", "size"])
def test_a_damaged_model_is_refused_in_one_sentence(
    portrait: Portrait, sample_actor: ActorFolder, tmp_path: Path, spoil: str
) -> None:
    from safetensors.torch import save_file

    folder = ActorFolder(tmp_path, sample_actor.info)
    portrait.save(folder)
    file = tmp_path / "model.safetensors"
    data = file.read_bytes()
    if spoil == "empty":
        file.write_bytes(b"")
    elif spoil == "cut":
        file.write_bytes(data[: len(data) // 2])
    else:
        size = json.dumps({"gaussians": 10**12} if spoil == "size" else vars(portrait.size))
        version = str(MODEL_VERSION) if spoil == "size" else "?"
        save_file({"x": torch.zeros(1)}, file, metadata={"version": version, "size": size})
    with pytest.raises(UserError, match="damaged"):
        Portrait.load(folder, CPU)


def test_a_model_of_another_version_says_what_to_do(
    sample_actor: ActorFolder, tmp_path: Path, portrait: Portrait, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ActorFolder(tmp_path, sample_actor.info)
    with monkeypatch.context() as earlier:
        earlier.setattr("backend.portrait.model.MODEL_VERSION", MODEL_VERSION - 1)
        portrait.save(folder)
    with pytest.raises(UserError, match="trained by another version") as refused:
        Portrait.load(folder, CPU)
    assert "only training runs anew" in refused.value.remedy


def test_oral_channels_come_first_as_the_model_assumes() -> None:
    assert CHANNELS[: len(ORAL_CHANNELS)] == ORAL_CHANNELS
    assert np.isclose(len(CHANNELS), 52)


def test_channels_beyond_the_footage_move_with_the_prior_alone(sample_actor: ActorFolder) -> None:
    branch = Portrait.load(sample_actor, CPU).oral
    top = branch.high.clone()
    assert (branch.low <= 0).all() and (top >= 0).all() and top.max() <= 1.5
    assert torch.equal(branch(top), branch(top + 0.5))
    assert not torch.equal(branch(top), branch(top * 0.5))


def test_a_quaternion_and_its_negative_are_one_pose(sample_actor: ActorFolder) -> None:
    portrait, clip = Portrait.load(sample_actor, CPU), Clip(sample_actor, CPU)
    pose = pose_from_tables(clip.poses, 0)
    moved, same = portrait.deform(pose), portrait.deform(pose._replace(head_rotation=-pose.head_rotation))
    assert torch.allclose(moved.means, same.means, atol=1e-6)
    assert torch.allclose(moved.quats.abs(), same.quats.abs(), atol=1e-5)
