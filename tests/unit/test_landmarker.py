"""Channels from a face landmarker that the user provides.

The model is not included: PORTRAIT_ACTOR_LANDMARKER names its file.
"""

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


def write_bundle(path: Path, member: str) -> Path:
    """A zip file with one member that holds no model."""
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr(member, "x")
    return path


def test_a_missing_landmarker_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no face landmarker at"):
        open_landmarker(tmp_path / "none.task")


def test_a_file_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text.task"
    text.write_text("hello")
    with pytest.raises(UserError, match="not a face landmarker"):
        open_landmarker(text)


def test_a_bundle_without_blend_shape_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no blend shape model"):
        open_landmarker(write_bundle(tmp_path / "hand_landmarker.task", "hand_landmarks_detector.tflite"))


def test_a_bundle_with_a_damaged_model_is_refused(tmp_path: Path) -> None:
    landmarker = open_landmarker(write_bundle(tmp_path / "face_landmarker.task", "face_blendshapes.tflite"))
    with pytest.raises(UserError, match="cannot be loaded"):
        score_frames(landmarker, [np.zeros((64, 64, 3), np.uint8)], 25.0)


def test_a_refused_landmarker_leaves_no_actor_folder(sample_clip: Path, tmp_path: Path) -> None:
    options = CreateOptions(preset="tiny", landmarker_file=tmp_path / "none.task")
    with pytest.raises(UserError):
        create_actor(sample_clip, tmp_path / "x.actor", options, Reporter())
    assert not (tmp_path / "x.actor").exists()


@pytest.fixture(scope="module")
def landmarker() -> LandmarkerFile:
    return open_landmarker(FILE)


@needs_model
def test_scores_follow_jaw_and_lids_of_the_sample(landmarker: LandmarkerFile, sample_clip: Path) -> None:
    scores = score_frames(landmarker, (rgb for _, _, rgb in read_frames(sample_clip)), 25.0)
    truth = np.load(sample_clip.with_suffix(".truth.npz"))["channels"]
    assert scores.values.shape == truth.shape and scores.is_found.all()
    assert scores.values.min() >= 0 and scores.values.max() <= 1
    assert (scores.values[:, CHANNEL_INDEX["tongueOut"]] == 0).all(), "the landmarker has no score for the tongue"
    for name in ("jawOpen", "eyeBlinkLeft", "eyeBlinkRight"):
        r = np.corrcoef(scores.values[:, CHANNEL_INDEX[name]], truth[:, CHANNEL_INDEX[name]])[0, 1]
        assert r > 0.8, f"{name}: {r:.2f}"


@needs_model
def test_scores_of_frames_without_a_face_lie_between_their_neighbors(
    landmarker: LandmarkerFile, sample_clip: Path
) -> None:
    frames = [rgb for _, _, rgb in read_frames(sample_clip)][:20]
    frames[8:11] = [np.zeros_like(frames[0])] * 3
    scores = score_frames(landmarker, frames, 25.0)
    assert not scores.is_found[8:11].any() and scores.is_found[:8].all()
    low, high = np.sort(scores.values[[7, np.flatnonzero(scores.is_found[11:])[0] + 11]], axis=0)
    assert (scores.values[9] >= low - 1e-9).all() and (scores.values[9] <= high + 1e-9).all()


@needs_model
def test_footage_without_a_face_is_refused(landmarker: LandmarkerFile) -> None:
    with pytest.raises(UserError, match="only 0 of 5 frames"):
        score_frames(landmarker, [np.zeros((96, 96, 3), np.uint8)] * 5, 25.0)


class CancelBeforeTraining(Reporter):
    """Stops a creation when all that comes before training is done."""

    def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
        if stage == "train the actor":
            raise Cancelled


def create_until_training(clip: Path, path: Path, landmarker_file: Path | None) -> None:
    """Create an actor up to its training."""
    options = CreateOptions(preset="tiny", device="cpu", landmarker_file=landmarker_file)
    with pytest.raises(Cancelled):
        create_actor(clip, path, options, CancelBeforeTraining())


@pytest.fixture(scope="module")
def scored_actor(sample_actor: ActorFolder, sample_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> ActorFolder:
    """A copy of the sample actor, created again with the landmarker up to its training."""
    path = tmp_path_factory.mktemp("scored") / "scored.actor"
    shutil.copytree(sample_actor.path, path)
    create_until_training(sample_clip, path, FILE)
    return ActorFolder.open(path, must_be_complete=False)


@needs_model
def test_the_scores_become_the_channels_of_the_actor(scored_actor: ActorFolder) -> None:
    scores = read_arrays(scored_actor.file_path("landmarker.npz"))["scores"]
    assert np.array_equal(TrackingData.load(scored_actor).channels.astype(np.float32), scores)
    assert np.array_equal(scored_actor.load_footage_performance().channels, scores)


@needs_model
def test_the_fitted_channels_are_kept_beside_the_scores(scored_actor: ActorFolder, sample_actor: ActorFolder) -> None:
    fitted = read_arrays(scored_actor.file_path("landmarker.npz"))["fitted"]
    assert np.allclose(fitted, TrackingData.load(sample_actor).channels, atol=1e-5)


@needs_model
def test_the_rig_is_fitted_to_the_scores(scored_actor: ActorFolder, sample_actor: ActorFolder) -> None:
    scored, unfitted = TrackingData.load(scored_actor), TrackingData.load(sample_actor)
    unfitted.channels = scored.channels
    assert scored.reconstruction_error().mean() < 0.8 * unfitted.reconstruction_error().mean()


@needs_model
def test_the_report_names_the_landmarker_and_compares_both_sources(scored_actor: ActorFolder) -> None:
    page = scored_actor.file_path("report.html").read_text(encoding="utf-8")
    assert FILE.name in scored_actor.info.figures["tracker"]
    assert "Two sources of the channels" in page and all(name in page for name in CHANNELS)


@needs_model
def test_creating_without_the_landmarker_restores_the_fitted_channels(
    scored_actor: ActorFolder, sample_clip: Path, tmp_path: Path
) -> None:
    path = tmp_path / "again.actor"
    shutil.copytree(scored_actor.path, path)
    # The copy holds a portrait that was trained with the fitted channels, so that no training begins.
    create_actor(sample_clip, path, CreateOptions(preset="tiny", device="cpu"), CancelBeforeTraining())
    figures = json.loads((path / "actor.json").read_text())["figures"]
    assert not (path / "landmarker.npz").exists()
    assert "Two sources" not in (path / "report.html").read_text(encoding="utf-8")
    assert FILE.name not in figures["tracker"] and "landmarker" not in figures
