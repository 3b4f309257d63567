"""Tracking against exact truth: made by projecting a rig, and on the sample actor's clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backend.actor import ActorFolder
from backend.channels import FACIAL, INDEX, ORAL
from backend.geometry import FLIP, matrix_from_quaternion, matrix_from_vector, project, rotation_angle
from backend.sample import Truth, truth_path
from backend.tracking import topology as topo
from backend.tracking.expression import FitOptions, fit_channels, unpose
from backend.tracking.pose import fit_pose
from backend.tracking.rig import UNMEASURABLE, Rig, build_rig
from backend.tracking.shape import OUTER_EYE_DISTANCE, mean_shape, similarity
from backend.tracking.solve import choose_focal, pinhole
from backend.tracking.surface import Surface, rasterise
from backend.training.prepare import load_track

CAMERA = pinhole(700.0, (128.0, 128.0))


@pytest.fixture(scope="module")
def rig(sample_actor: ActorFolder) -> Rig:
    """The anatomical rig on a real neutral mesh."""
    return build_rig(load_track(sample_actor).rig.neutral)


def poses(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    turn = matrix_from_vector(rng.uniform(-0.3, 0.3, (count, 3))) @ FLIP
    return turn, np.array([0.02, -0.03, 1.2]) + rng.uniform(-0.03, 0.03, (count, 3))


def test_pose_is_recovered_exactly_and_survives_outliers(rig: Rig) -> None:
    rotation, translation = poses(20)
    pixels = project(rig.neutral, rotation, translation, CAMERA)
    weight = np.ones(topo.COUNT)
    found, shift, error = fit_pose(pixels, rig.neutral, weight, CAMERA)
    assert rotation_angle(np.swapaxes(found, 1, 2) @ rotation).max() < 0.01
    assert np.abs(shift - translation).max() < 1e-4
    assert error.max() < 1e-3
    spoilt = pixels.copy()
    spoilt[:, ::12] += 25.0
    found, _, _ = fit_pose(spoilt, rig.neutral, weight, CAMERA, iterations=60)
    assert rotation_angle(np.swapaxes(found, 1, 2) @ rotation).max() < 1.0


def test_mean_shape_is_the_person_s_in_head_space(rig: Rig) -> None:
    rotation, _ = poses(15)
    cloud = (rig.neutral @ np.swapaxes(rotation, 1, 2)) * 900 + 200  # weak perspective, as MediaPipe gives it
    shape = mean_shape(cloud)
    assert np.isclose(np.linalg.norm(shape[263] - shape[33]), OUTER_EYE_DISTANCE)
    scale, turn, shift = similarity(shape[None], rig.neutral, np.ones(topo.COUNT))
    assert abs(scale[0] - 1) < 0.02 and rotation_angle(turn[0]) < 3  # "straight ahead" hangs on few landmarks
    assert np.abs(scale[0] * shape @ turn[0].T + shift[0] - rig.neutral).max() < 1e-4


def test_channels_are_recovered_from_their_own_landmarks(rig: Rig) -> None:
    rng = np.random.default_rng(2)
    rotation, translation = poses(30)
    channels = np.zeros((30, 52))
    for name in ("jawOpen", "mouthSmileLeft", "eyeBlinkRight", "browInnerUp", "eyeLookInLeft"):
        channels[:, INDEX[name]] = rng.uniform(0, 1, 30)
    vertices = rig.neutral + np.einsum("tk,kpc->tpc", channels, rig.shapes)
    pixels = np.stack([project(v, r, t, CAMERA) for v, r, t in zip(vertices, rotation, translation, strict=True)])
    xy, slope = unpose(pixels, rig.neutral[:, 2], rotation, translation, CAMERA)
    options = FitOptions(sparsity=1e-4, smoothness=0.0, quick=0.0)
    found = fit_channels(xy, slope, rig, options)
    assert (found >= 0).all() and (found <= 1).all()
    for name in ("jawOpen", "mouthSmileLeft", "eyeBlinkRight", "browInnerUp", "eyeLookInLeft"):
        assert np.abs(found[:, INDEX[name]] - channels[:, INDEX[name]]).mean() < 0.08, name
    rebuilt = rig.neutral + np.einsum("tk,kpc->tpc", found, rig.shapes)
    assert np.sqrt(((rebuilt - vertices)[..., :2] ** 2).sum(-1).mean()) < 4e-4


def test_rig_decouples_mouth_and_eyes(rig: Rig) -> None:
    lids = [i for eye in topo.EYES.values() for i in (*eye.upper_lid, *eye.lower_lid)]
    for name in ORAL:
        assert np.abs(rig.shapes[INDEX[name]][lids]).max() < 5e-4, name
    for name in FACIAL:
        assert np.abs(rig.shapes[INDEX[name]][list(topo.LIPS)]).max() < 5e-4, name
        assert name in UNMEASURABLE or np.abs(rig.shapes[INDEX[name]]).max() > 1e-3, name


def test_left_channels_move_the_actor_s_left(rig: Rig) -> None:
    for left in (n for n in INDEX if n.endswith("Left") and n not in ("jawLeft", "mouthLeft")):
        size = np.linalg.norm(rig.shapes[INDEX[left]], axis=1)
        assert (size * rig.neutral[:, 0]).sum() > 0, left


def test_a_blink_closes_the_lids_and_jaw_open_parts_the_lips(rig: Rig) -> None:
    for side, eye in topo.EYES.items():
        shut = rig.neutral + rig.shapes[INDEX[f"eyeBlink{side}"]]
        gap = shut[list(eye.upper_lid), 1] - shut[list(eye.lower_lid), 1]
        before = rig.neutral[list(eye.upper_lid), 1] - rig.neutral[list(eye.lower_lid), 1]
        assert gap.max() < 0.15 * before.max()
    opened = rig.neutral + rig.shapes[INDEX["jawOpen"]]
    assert opened[13, 1] - opened[14, 1] > 0.012


def test_triangles_face_outwards(rig: Rig) -> None:
    faces = topo.triangles(rig.neutral)
    assert len(faces) > 840 and faces.max() < topo.MESH
    corners = rig.neutral[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normal[:, 2] > 0).mean() > 0.85


def test_rasterised_triangles_carry_barycentric_coordinates(rig: Rig) -> None:
    faces = topo.triangles(rig.neutral)
    view = project(rig.neutral, FLIP, np.array([0, 0, 1.2]), CAMERA)
    face, weights = rasterise(view, faces, -rig.neutral[:, 2], 256)
    inside = face >= 0
    assert inside.sum() > 3000
    again = np.einsum("pk,pkc->pc", weights[inside], view[faces[face[inside]]])
    y, x = np.nonzero(inside)
    assert np.abs(again - np.stack([x + 0.5, y + 0.5], 1)).max() < 1e-3


def test_flow_sees_a_shift_of_a_third_of_a_pixel() -> None:
    import cv2

    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.uniform(0, 255, (80, 80, 3)).astype(np.float32), (0, 0), 2)
    texture = cv2.normalize(noise, None, 20, 235, cv2.NORM_MINMAX).astype(np.uint8)
    y, x = np.mgrid[:80, :80].astype(np.float32) + 0.5
    frame = cv2.remap(texture, x - 0.5 - 0.33, y - 0.5, cv2.INTER_CUBIC)
    surface = Surface(np.ones((80, 80), np.float32), spacing=4)
    pixels, confidence = surface.observe(texture, frame, np.stack([x, y], -1))
    moved = pixels - (surface.samples + 0.5)
    inner = np.abs(surface.samples - 40).max(1) < 28
    assert np.abs(np.median(moved[inner], 0) - [0.33, 0]).max() < 0.1
    assert confidence[inner].mean() > 0.8


def test_focal_falls_back_to_the_usual_lens_for_a_still_head(rig: Rig) -> None:
    rotation, translation = np.tile(FLIP, (8, 1, 1)), np.tile([0, 0, 1.2], (8, 1))
    pixels = project(rig.neutral, rotation, translation, CAMERA)
    pixels = pixels + np.random.default_rng(0).normal(0, 0.3, pixels.shape)
    height = np.median(np.ptp(pixels[:, :, 1], axis=1))
    assert 3 <= choose_focal(pixels, rig.neutral, (128, 128)) / height <= 12


def test_sample_actor_is_tracked_within_the_bounds(sample_actor: ActorFolder, sample_clip: Path) -> None:
    truth = Truth.load(truth_path(sample_clip), pictures=False).performance
    track = load_track(sample_actor)
    assert len(track.channels) == len(truth)  # the face was found in every frame
    relative = np.swapaxes(matrix_from_quaternion(truth.head_rotation), 1, 2) @ matrix_from_quaternion(
        track.head_rotation
    )
    u, _, vt = np.linalg.svd(relative.mean(0))  # the constant turn between two ideas of "straight ahead"
    assert rotation_angle(np.swapaxes(relative, 1, 2) @ (u @ vt)).mean() < 1.5
    assert rotation_angle(relative).mean() < 3.0  # and the constant itself is small
    for name, floor in (("jawOpen", 0.7), ("eyeBlinkLeft", 0.6), ("eyeBlinkRight", 0.6)):
        ours, theirs = track.channels[:, INDEX[name]], truth.channels[:, INDEX[name]]
        assert np.corrcoef(ours, theirs)[0, 1] > floor, name
