"""Tracking against exact truth: a projected rig, and the sample actor's clip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.contract.actor_folder import ActorFolder, ActorInfo
from backend.contract.arrays import F64, Floats
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
from backend.tracking.pose.poses import Poses
from backend.tracking.pose.triangles import rasterize_triangles
from backend.tracking.storage import load_tracking
from backend.tracking.tracker import align_to_head_space, pinhole_intrinsics

CAMERA = pinhole_intrinsics(700.0, (128.0, 128.0))


@pytest.fixture(scope="module")
def rig(sample_actor: ActorFolder) -> BlendshapeRig:
    """The anatomical rig on a real neutral mesh."""
    return build_rig(load_tracking(sample_actor).rig.neutral)


def rotation_errors(ours: Floats, truth: Floats) -> F64:
    """Degrees (T,), after the one constant turn by which the two define "straight ahead"."""
    relative = matrix_from_quaternion(truth).transpose(0, 2, 1) @ matrix_from_quaternion(ours)
    u, _, vt = np.linalg.svd(relative.mean(0))
    return rotation_angle_degrees(np.swapaxes(relative, 1, 2) @ (u @ vt))


def random_poses(count: int) -> Poses:
    """Heads that look about by up to 17 degrees, 1.2 m from the camera."""
    rng = np.random.default_rng(1)
    turn = matrix_from_rotation_vector(rng.uniform(-0.3, 0.3, (count, 3))) @ FLIP_YZ
    return Poses(turn, np.array([0.02, -0.03, 1.2]) + rng.uniform(-0.03, 0.03, (count, 3)))


def project_rigid(rig: BlendshapeRig, poses: Poses) -> F64:
    """The landmarks (T, 478, 2) of a face at rest."""
    return project_points(rig.neutral, poses.rotation, poses.translation, CAMERA)


def assert_same_rotations(found: Poses, true: Poses, max_degrees: float) -> None:
    """Fail where a rotation differs by more than this."""
    assert rotation_angle_degrees(np.swapaxes(found.rotation, 1, 2) @ true.rotation).max() < max_degrees


def test_poses_are_recovered_exactly_from_exact_landmarks(rig: BlendshapeRig) -> None:
    true = random_poses(20)
    found, error = fit_poses(project_rigid(rig, true), rig.neutral, np.ones(topo.LANDMARK_COUNT), CAMERA)
    assert_same_rotations(found, true, 0.01)
    assert np.abs(found.translation - true.translation).max() < 1e-4
    assert error.max() < 1e-3


def test_poses_survive_outliers_in_the_landmarks(rig: BlendshapeRig) -> None:
    true = random_poses(20)
    pixels = project_rigid(rig, true)
    pixels[:, ::12] += 25.0
    found, _ = fit_poses(pixels, rig.neutral, np.ones(topo.LANDMARK_COUNT), CAMERA, iterations=60)
    assert_same_rotations(found, true, 1.0)


def test_mean_shape_of_turned_clouds_is_the_neutral_mesh(rig: BlendshapeRig) -> None:
    rotation = random_poses(15).rotation
    cloud = (rig.neutral @ np.swapaxes(rotation, 1, 2)) * 900 + 200  # weak perspective, as MediaPipe gives it
    shape = estimate_mean_shape(cloud)
    assert np.isclose(np.linalg.norm(shape[263] - shape[33]), OUTER_EYE_DISTANCE)
    scale, turn, shift = fit_similarity(shape[None], rig.neutral, np.ones(topo.LANDMARK_COUNT))
    # Few landmarks define "straight ahead", so the axes agree to some degrees only.
    assert abs(scale[0] - 1) < 0.02 and rotation_angle_degrees(turn[0]) < 3
    assert np.abs(scale[0] * shape @ turn[0].T + shift[0] - rig.neutral).max() < 1e-4


def test_mesh_and_poses_brought_into_head_space_show_the_same_image(rig: BlendshapeRig) -> None:
    eye_distance = np.linalg.norm(rig.neutral[topo.EYE_OUTER_LEFT] - rig.neutral[topo.EYE_OUTER_RIGHT])
    reference = rig.neutral * OUTER_EYE_DISTANCE / eye_distance
    turn = matrix_from_rotation_vector(np.array([0.02, 0.05, -0.03]))
    reshaped, poses = 1.1 * reference @ turn.T + [0.01, -0.02, 0.005], random_poses(3)
    neutral, aligned = align_to_head_space(reshaped, reference, poses)
    assert np.allclose(neutral, reference, atol=1e-6)
    before = project_points(reshaped, poses.rotation, poses.translation, CAMERA)
    assert np.allclose(project_points(neutral, aligned.rotation, aligned.translation, CAMERA), before, atol=1e-6)


def test_channels_are_recovered_from_their_own_landmarks(rig: BlendshapeRig) -> None:
    rng = np.random.default_rng(2)
    poses, moving = random_poses(30), ("jawOpen", "mouthSmileLeft", "eyeBlinkRight", "browInnerUp", "eyeLookInLeft")
    channels = np.zeros((30, 52))
    for name in moving:
        channels[:, CHANNEL_INDEX[name]] = rng.uniform(0, 1, 30)
    vertices = rig.neutral + np.einsum("tk,kpc->tpc", channels, rig.shapes)
    pixels = project_points(vertices, poses.rotation, poses.translation, CAMERA)
    xy, slope = unproject_landmarks(pixels, rig.neutral[:, 2], poses.rotation, poses.translation, CAMERA)
    options = ChannelFitOptions(sparsity=1e-4, smoothness=0.0, fast_smoothness=0.0)
    found = fit_channels(xy, slope, rig, options)
    assert (found >= 0).all() and (found <= 1).all()
    for name in moving:
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


def test_left_channels_move_the_left_of_the_actor(rig: BlendshapeRig) -> None:
    for left in (n for n in CHANNEL_INDEX if n.endswith("Left") and n not in ("jawLeft", "mouthLeft")):
        size = np.linalg.norm(rig.shapes[CHANNEL_INDEX[left]], axis=1)
        assert (size * rig.neutral[:, 0]).sum() > 0, left


def test_a_blink_closes_the_lids(rig: BlendshapeRig) -> None:
    for side, eye in topo.EYES.items():
        closed = rig.neutral + rig.shapes[CHANNEL_INDEX[f"eyeBlink{side}"]]
        gap = closed[list(eye.upper_lid), 1] - closed[list(eye.lower_lid), 1]
        gap_at_rest = rig.neutral[list(eye.upper_lid), 1] - rig.neutral[list(eye.lower_lid), 1]
        assert gap.max() < 0.15 * gap_at_rest.max(), side


def test_jaw_open_parts_the_lips(rig: BlendshapeRig) -> None:
    opened = rig.neutral + rig.shapes[CHANNEL_INDEX["jawOpen"]]
    assert opened[13, 1] - opened[14, 1] > 0.012


def test_mesh_triangles_face_outwards(rig: BlendshapeRig) -> None:
    faces = topo.mesh_triangles(rig.neutral)
    assert len(faces) > 840 and faces.max() < topo.MESH_VERTEX_COUNT
    corners = rig.neutral[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normal[:, 2] > 0).mean() > 0.85


def test_barycentric_coordinates_of_rasterized_triangles_give_the_pixel_back(rig: BlendshapeRig) -> None:
    faces = topo.mesh_triangles(rig.neutral)
    view = project_points(rig.neutral, FLIP_YZ, np.array([0, 0, 1.2]), CAMERA)
    face, weights = rasterize_triangles(view, faces, -rig.neutral[:, 2], 256)
    inside = face >= 0
    assert inside.sum() > 3000
    found = np.einsum("pk,pkc->pc", weights[inside], view[faces[face[inside]]])
    y, x = np.nonzero(inside)
    assert np.abs(found - np.stack([x + 0.5, y + 0.5], 1)).max() < 1e-3


def test_poses_of_the_sample_at_full_size_are_near_the_truth(sample_clip: Path, tmp_path: Path) -> None:
    truth = GroundTruth.load(ground_truth_path(sample_clip), should_load_images=False).performance
    reporter, size = Reporter(), 256
    info, scan, selection = scan_footage(sample_clip, None, reporter)
    folder = ActorFolder.create(tmp_path / "steady.actor", ActorInfo(name="steady", fps=info.fps, size=size))
    box = replace(CropBox.from_landmarks(selection.landmarks, scan.frame_size, size), crop_size=size)
    write_crops(sample_clip, folder, selection, box, reporter)
    tracking = track_segment(folder, selection, box, reporter)
    head = rotation_errors(tracking.head_rotation, truth.head_rotation)
    assert head.mean() < 0.4 and head.max() < 1.2
    assert rotation_errors(tracking.torso_rotation, truth.torso_rotation).mean() < 1.0
    assert np.sqrt((tracking.reprojection**2).mean()) * 512 / size < 1.5


def test_the_face_of_the_sample_is_found_in_every_frame(sample_actor: ActorFolder, sample_clip: Path) -> None:
    truth = GroundTruth.load(ground_truth_path(sample_clip), should_load_images=False).performance
    assert len(load_tracking(sample_actor).channels) == len(truth)


def test_head_poses_of_the_sample_actor_are_near_the_truth(sample_actor: ActorFolder, sample_clip: Path) -> None:
    truth = GroundTruth.load(ground_truth_path(sample_clip), should_load_images=False).performance
    found = load_tracking(sample_actor).head_rotation
    assert rotation_errors(found, truth.head_rotation).mean() < 1.5
    relative = np.swapaxes(matrix_from_quaternion(truth.head_rotation), 1, 2) @ matrix_from_quaternion(found)
    assert rotation_angle_degrees(relative).mean() < 3.0, '"straight ahead" differs by little'


@pytest.mark.parametrize("name", ["jawOpen", "eyeBlinkLeft", "eyeBlinkRight"])
def test_channels_of_the_sample_actor_follow_the_truth(sample_actor: ActorFolder, sample_clip: Path, name: str) -> None:
    truth = GroundTruth.load(ground_truth_path(sample_clip), should_load_images=False).performance
    found = load_tracking(sample_actor).channels[:, CHANNEL_INDEX[name]]
    assert np.corrcoef(found, truth.channels[:, CHANNEL_INDEX[name]])[0, 1] > 0.85
