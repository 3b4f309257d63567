"""Channels from a provided face landmarker. The model is no part of the project: PORTRAIT_ACTOR_LANDMARKER names it."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from backend.contract.actor_folder import ActorFolder
from backend.contract.channels import CHANNEL_INDEX, CHANNELS
from backend.contract.errors import Cancelled, UserError
from backend.contract.progress import Reporter
from backend.contract.safe_io import read_arrays
from backend.media.decode import read_frames
from backend.pipeline.create import CreateOptions, create_actor
from backend.report.tracked import TrackingData
from backend.tracking.landmarker import LandmarkerFile, open_landmarker, score_frames

ROOT = Path(__file__).resolve().parents[2]
FILE = Path(os.environ.get("PORTRAIT_ACTOR_LANDMARKER", ROOT.parent / "shared" / "models" / "face_landmarker.task"))
needs_model = pytest.mark.skipif(not FILE.exists(), reason=f"{FILE.name} is not here (PORTRAIT_ACTOR_LANDMARKER)")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no face landmarker at"):
        open_landmarker(tmp_path / "none.task")


def test_what_is_no_landmarker_is_refused(tmp_path: Path) -> None:
    text, bundle = tmp_path / "text.task", tmp_path / "hand_landmarker.task"
    text.write_text("hello")
    with zipfile.ZipFile(bundle, "w") as pack:
        pack.writestr("hand_landmarks_detector.tflite", "x")
    with pytest.raises(UserError, match="not a face landmarker"):
        open_landmarker(text)
    with pytest.raises(UserError, match="no model of blend shapes"):
        open_landmarker(bundle)


def test_a_bundle_with_damaged_insides_is_refused(tmp_path: Path) -> None:
    bundle = tmp_path / "face_landmarker.task"
    with zipfile.ZipFile(bundle, "w") as pack:
        pack.writestr("face_blendshapes.tflite", "x")
    with pytest.raises(UserError, match="cannot be loaded"):
        score_frames(open_landmarker(bundle), [np.zeros((64, 64, 3), np.uint8)], 25.0)


def test_a_refused_landmarker_leaves_no_folder(sample_clip: Path, tmp_path: Path) -> None:
    options = CreateOptions(preset="tiny", landmarker_file=tmp_path / "none.task")
    with pytest.raises(UserError):
        create_actor(sample_clip, tmp_path / "x.actor", options, Reporter())
    assert not (tmp_path / "x.actor").exists()


@pytest.fixture(scope="module")
def landmarker() -> LandmarkerFile:
    return open_landmarker(FILE)


@needs_model
def test_scores_follow_the_sample_s_jaw_and_lids(landmarker: LandmarkerFile, sample_clip: Path) -> None:
    scores = score_frames(landmarker, (rgb for _, _, rgb in read_frames(sample_clip)), 25.0)
    truth = np.load(sample_clip.with_suffix(".truth.npz"))["channels"]
    assert scores.values.shape == truth.shape and scores.is_found.all()
    assert scores.values.min() >= 0 and scores.values.max() <= 1
    assert (scores.values[:, CHANNEL_INDEX["tongueOut"]] == 0).all(), "it knows no tongue"
    for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight"):
        r = np.corrcoef(scores.values[:, CHANNEL_INDEX[name]], truth[:, CHANNEL_INDEX[name]])[0, 1]
        assert r > 0.8, f"{name}: {r:.2f}"


@needs_model
def test_frames_without_a_face_take_their_neighbours_values(landmarker: LandmarkerFile, sample_clip: Path) -> None:
    pictures = [rgb for _, _, rgb in read_frames(sample_clip)][:20]
    pictures[8:11] = [np.zeros_like(pictures[0])] * 3
    scores = score_frames(landmarker, pictures, 25.0)
    assert not scores.is_found[8:11].any() and scores.is_found[:8].all()
    between = np.sort(scores.values[[7, np.flatnonzero(scores.is_found[11:])[0] + 11]], axis=0)
    assert (scores.values[9] >= between[0] - 1e-9).all() and (scores.values[9] <= between[1] + 1e-9).all()


@needs_model
def test_footage_without_a_face_is_told(landmarker: LandmarkerFile) -> None:
    with pytest.raises(UserError, match="only 0 of 5 frames"):
        score_frames(landmarker, [np.zeros((96, 96, 3), np.uint8)] * 5, 25.0)


class UntilTraining(Reporter):
    def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
        if stage == "train the actor":
            raise Cancelled


@needs_model
def test_its_scores_become_the_actor_s_channels(sample_actor: ActorFolder, sample_clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "again.actor"
    shutil.copytree(sample_actor.path, path)
    options = CreateOptions(preset="tiny", device="cpu", landmarker_file=FILE)
    with pytest.raises(Cancelled):
        create_actor(sample_clip, path, options, UntilTraining())
    folder = ActorFolder.open(path, must_be_complete=False)
    sources, tracked = read_arrays(folder.file_path("landmarker.npz")), TrackingData.load(folder)
    assert np.array_equal(tracked.channels.astype(np.float32), sources["scores"])
    assert np.array_equal(folder.load_footage_performance().channels, sources["scores"])
    own = TrackingData.load(sample_actor)
    assert np.allclose(sources["fitted"], own.channels, atol=1e-5), "the own fit is kept beside it"
    assert FILE.name in folder.info.figures["tracker"]
    # the rig was fitted to the scores: it lies about as near to the landmarks, which without it it does not
    unfitted = own
    unfitted.channels = tracked.channels
    assert tracked.reconstruction_error().mean() < 0.8 * unfitted.reconstruction_error().mean()
    page = folder.file_path("report.html").read_text(encoding="utf-8")
    assert "Two sources of the channels" in page and all(name in page for name in CHANNELS)

    # and back to the own fit, with which the actor was trained already
    create_actor(sample_clip, path, CreateOptions(preset="tiny", device="cpu"), UntilTraining())
    assert not (path / "landmarker.npz").exists()
    assert "Two sources" not in folder.file_path("report.html").read_text(encoding="utf-8")
    figures = json.loads((path / "actor.json").read_text())["figures"]
    assert FILE.name not in figures["tracker"] and "landmarker" not in figures
