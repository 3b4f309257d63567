"""Tracking against exact truth: made by projecting a rig, and on the sample actor's clip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.contract.actor_folder import ActorFolder, ActorInfo
from backend.contract.channels import CHANNEL_INDEX, FACIAL_CHANNELS, ORAL_CHANNELS
from backend.contract.geometry import (
    FLIP_YZ,
    matrix_from_quaternion,
    matrix_from_rotation_vector,
    project_points,
    rotation_angle_degrees,
)
from backend.contract.progress import Reporter
from backend.dataset.crops import CropBox, write_crops
from backend.pipeline.prepare import track_segment
from backend.pipeline.scan import scan_footage
from backend.synthetic import GroundTruth, ground_truth_path
from backend.tracking.detection import topology as topo
from backend.tracking.face.blendshape_fit import ChannelFitOptions, fit_channels, unproject_landmarks
from backend.tracking.face.blendshape_rig import UNMEASURABLE_CHANNELS, BlendshapeRig, build_rig
from backend.tracking.pose.initial_pose import fit_poses
from backend.tracking.pose.mean_shape import OUTER_EYE_DISTANCE, estimate_mean_shape, fit_similarity
from backend.tracking.pose.patch_tracker import rasterize_triangles
from backend.tracking.storage import load_track
from backend.tracking.tracker import pinhole_intrinsics

CAMERA = pinhole_intrinsics(700.0, (128.0, 128.0))


@pytest.fixture(scope="module")
def rig(sample_actor: ActorFolder) -> BlendshapeRig:
    """The anatomical rig on a real neutral mesh."""
    return build_rig(load_track(sample_actor).rig.neutral)


def rotation_errors(ours: NDArray[Any], truth: NDArray[Any]) -> NDArray[Any]:
    """(T,) degrees, after the one constant turn by which the two define "straight ahead"."""
    relative = matrix_from_quaternion(truth).transpose(0, 2, 1) @ matrix_from_quaternion(ours)
    u, _, vt = np.linalg.svd(relative.mean(0))
    return rotation_angle_degrees(np.swapaxes(relative, 1, 2) @ (u @ vt))


def poses(count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(1)
    turn = matrix_from_rotation_vector(rng.uniform(-0.3, 0.3, (count, 3))) @ FLIP_YZ
    return turn, np.array([0.02, -0.03, 1.2]) + rng.uniform(-0.03, 0.03, (count, 3))


def test_pose_is_recovered_exactly_and_survives_outliers(rig: BlendshapeRig) -> None:
    rotation, translation = poses(20)
    pixels = project_points(rig.neutral, rotation, translation, CAMERA)
    weight = np.ones(topo.LANDMARK_COUNT)
    found, shift, error = fit_poses(pixels, rig.neutral, weight, CAMERA)
    assert rotation_angle_degrees(np.swapaxes(found, 1, 2) @ rotation).max() < 0.01
    assert np.abs(shift - translation).max() < 1e-4
    assert error.max() < 1e-3
    spoilt = pixels.copy()
    spoilt[:, ::12] += 25.0
    found, _, _ = fit_poses(spoilt, rig.neutral, weight, CAMERA, iterations=60)
    assert rotation_angle_degrees(np.swapaxes(found, 1, 2) @ rotation).max() < 1.0


def test_mean_shape_is_the_person_s_in_head_space(rig: BlendshapeRig) -> None:
    rotation, _ = poses(15)
    cloud = (rig.neutral @ np.swapaxes(rotation, 1, 2)) * 900 + 200  # weak perspective, as MediaPipe gives it
    shape = estimate_mean_shape(cloud)
    assert np.isclose(np.linalg.norm(shape[263] - shape[33]), OUTER_EYE_DISTANCE)
    scale, turn, shift = fit_similarity(shape[None], rig.neutral, np.ones(topo.LANDMARK_COUNT))
    assert abs(scale[0] - 1) < 0.02 and rotation_angle_degrees(turn[0]) < 3  # "straight ahead" hangs on few landmarks
    assert np.abs(scale[0] * shape @ turn[0].T + shift[0] - rig.neutral).max() < 1e-4


def test_channels_are_recovered_from_their_own_landmarks(rig: BlendshapeRig) -> None:
    rng = np.random.default_rng(2)
    rotation, translation = poses(30)
    channels = np.zeros((30, 52))
    for name in ("jawOpen", "mouthSmileLeft", "eyeBlinkRight", "browInnerUp", "eyeLookInLeft"):
        channels[:, CHANNEL_INDEX[name]] = rng.uniform(0, 1, 30)
    vertices = rig.neutral + np.einsum("tk,kpc->tpc", channels, rig.shapes)
    pixels = np.stack(
        [project_points(v, r, t, CAMERA) for v, r, t in zip(vertices, rotation, translation, strict=True)]
    )
    xy, slope = unproject_landmarks(pixels, rig.neutral[:, 2], rotation, translation, CAMERA)
    options = ChannelFitOptions(sparsity=1e-4, smoothness=0.0, fast_smoothness=0.0)
    found = fit_channels(xy, slope, rig, options)
    assert (found >= 0).all() and (found <= 1).all()
    for name in ("jawOpen", "mouthSmileLeft", "eyeBlinkRight", "browInnerUp", "eyeLookInLeft"):
        assert np.abs(found[:, CHANNEL_INDEX[name]] - channels[:, CHANNEL_INDEX[name]]).mean() < 0.08, name
    rebuilt = rig.neutral + np.einsum("tk,kpc->tpc", found, rig.shapes)
    assert np.sqrt(((rebuilt - vertices)[..., :2] ** 2).sum(-1).mean()) < 4e-4


def test_rig_decouples_mouth_and_eyes(rig: BlendshapeRig) -> None:
    lids = [i for eye in topo.EYES.values() for i in (*eye.upper_lid, *eye.lower_lid)]
    for name in ORAL_CHANNELS:
        assert np.abs(rig.shapes[CHANNEL_INDEX[name]][lids]).max() < 5e-4, name
    for name in FACIAL_CHANNELS:
        assert np.abs(rig.shapes[CHANNEL_INDEX[name]][list(topo.LIPS)]).max() < 5e-4, name
        assert name in UNMEASURABLE_CHANNELS or np.abs(rig.shapes[CHANNEL_INDEX[name]]).max() > 1e-3, name


def test_left_channels_move_the_actor_s_left(rig: BlendshapeRig) -> None:
    for left in (n for n in CHANNEL_INDEX if n.endswith("Left") and n not in ("jawLeft", "mouthLeft")):
        size = np.linalg.norm(rig.shapes[CHANNEL_INDEX[left]], axis=1)
        assert (size * rig.neutral[:, 0]).sum() > 0, left


def test_a_blink_closes_the_lids_and_jaw_open_parts_the_lips(rig: BlendshapeRig) -> None:
    for side, eye in topo.EYES.items():
        shut = rig.neutral + rig.shapes[CHANNEL_INDEX[f"eyeBlink{side}"]]
        gap = shut[list(eye.upper_lid), 1] - shut[list(eye.lower_lid), 1]
        before = rig.neutral[list(eye.upper_lid), 1] - rig.neutral[list(eye.lower_lid), 1]
        assert gap.max() < 0.15 * before.max()
    opened = rig.neutral + rig.shapes[CHANNEL_INDEX["jawOpen"]]
    assert opened[13, 1] - opened[14, 1] > 0.012


def test_triangles_face_outwards(rig: BlendshapeRig) -> None:
    faces = topo.mesh_triangles(rig.neutral)
    assert len(faces) > 840 and faces.max() < topo.MESH_VERTEX_COUNT
    corners = rig.neutral[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normal[:, 2] > 0).mean() > 0.85


def test_rasterised_triangles_carry_barycentric_coordinates(rig: BlendshapeRig) -> None:
    faces = topo.mesh_triangles(rig.neutral)
    view = project_points(rig.neutral, FLIP_YZ, np.array([0, 0, 1.2]), CAMERA)
    face, weights = rasterize_triangles(view, faces, -rig.neutral[:, 2], 256)
    inside = face >= 0
    assert inside.sum() > 3000
    again = np.einsum("pk,pkc->pc", weights[inside], view[faces[face[inside]]])
    y, x = np.nonzero(inside)
    assert np.abs(again - np.stack([x + 0.5, y + 0.5], 1)).max() < 1e-3


def test_head_and_torso_of_the_sample_actor_are_steady(sample_clip: Path, tmp_path: Path) -> None:
    truth = GroundTruth.load(ground_truth_path(sample_clip), should_load_images=False).performance
    reporter, size = Reporter(), 256
    info, found, chosen = scan_footage(sample_clip, None, reporter)
    folder = ActorFolder.create(tmp_path / "steady.actor", ActorInfo(name="steady", fps=info.fps, size=size))
    box = replace(CropBox.from_landmarks(chosen.landmarks, found.frame_size, size), crop_size=size)
    write_crops(sample_clip, folder, chosen, box, reporter)
    track = track_segment(folder, chosen, box, reporter)
    head = rotation_errors(track.head_rotation, truth.head_rotation)
    assert head.mean() < 0.4 and head.max() < 1.2
    assert rotation_errors(track.torso_rotation, truth.torso_rotation).mean() < 1.0
    assert np.sqrt((track.reprojection**2).mean()) * 512 / size < 1.5


def test_sample_actor_is_tracked_within_the_bounds(sample_actor: ActorFolder, sample_clip: Path) -> None:
    truth = GroundTruth.load(ground_truth_path(sample_clip), should_load_images=False).performance
    track = load_track(sample_actor)
    assert len(track.channels) == len(truth)  # the face was found in every frame
    assert rotation_errors(track.head_rotation, truth.head_rotation).mean() < 1.5
    relative = matrix_from_quaternion(truth.head_rotation).transpose(0, 2, 1) @ matrix_from_quaternion(
        track.head_rotation
    )
    assert rotation_angle_degrees(relative).mean() < 3.0  # the constant between two ideas of "straight ahead" is small
    for name, floor in (("jawOpen", 0.85), ("eyeBlinkLeft", 0.85), ("eyeBlinkRight", 0.85)):
        ours, theirs = track.channels[:, CHANNEL_INDEX[name]], truth.channels[:, CHANNEL_INDEX[name]]
        assert np.corrcoef(ours, theirs)[0, 1] > floor, name
