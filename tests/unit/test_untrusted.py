"""Files are untrusted: whatever is cut, flipped or emptied in an actor's folder, it is read, or one sentence tells."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backend.contract.actor_folder import ActorFolder
from backend.contract.camera import CameraPath, footage_camera_path
from backend.contract.errors import UserError
from backend.dataset.clip import Clip, PixelWeights
from backend.media.audio_io import load_audio
from backend.pipeline.create import SCAN_LAYOUT
from backend.portrait.model import Portrait, Pose
from backend.rasterizer import CameraView
from backend.speech.model import SpeechModel
from backend.training.pose_refinement import pose_from_tables

CPU = torch.device("cpu")


def drawn(folder: ActorFolder) -> None:
    """Loads the model and draws it: a damaged file may not crash the compiled kernels either."""
    portrait = Portrait.load(folder, CPU)
    camera = footage_camera_path(folder.info.camera, 32).check()
    one, zero = torch.tensor([1.0, 0, 0, 0]), torch.zeros(3)
    with torch.inference_mode():
        portrait.render(Pose(one, zero, one, zero, torch.zeros(52)), CameraView.from_path(camera, 0, CPU))


def evaluated(folder: ActorFolder) -> None:
    """Everything that training and evaluation read of the footage, and one frame of it compared."""
    clip = Clip(folder, CPU)
    for row in (0, clip.frame_count - 1):
        clip.load_training_frame(row, PixelWeights())
        pose_from_tables(clip.poses, row)
    clip.face_box(0)


READERS: dict[str, Callable[[ActorFolder], object]] = {
    "actor.json": lambda folder: ActorFolder.open(folder.path),
    "proxy.npz": lambda folder: folder.load_proxy(),
    "footage.npz": lambda folder: folder.load_footage_performance(),
    "tracking.npz": evaluated,
    "plate.png": evaluated,
    "frames/000000.jpg": evaluated,
    "mattes/000000.png": evaluated,
    "model.safetensors": drawn,
    "speech.safetensors": SpeechModel.load,
    "audio.wav": lambda folder: load_audio(folder.file_path("audio.wav")),
    "scan.npz": lambda folder: folder.load_arrays("scan.npz", SCAN_LAYOUT),
}


@st.composite
def damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Something that may happen to a file: cut off, emptied, a few bytes changed, a piece lost or said twice."""
    kind = draw(st.sampled_from(["cut", "empty", "flip", "lose", "repeat"]))
    where = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=6))
    byte = draw(st.integers(1, 255))

    def damage(data: bytes) -> bytes:
        places = sorted(int(w * len(data)) for w in where)
        first, last = places[0], places[-1]
        if kind == "cut":
            return data[:first]
        if kind == "empty":
            return b""
        if kind == "lose":
            return data[:first] + data[last:]
        if kind == "repeat":
            return data[:last] + data[first:]
        changed = bytearray(data)
        for place in places:
            changed[place] ^= byte
        return bytes(changed)

    return damage


@pytest.fixture(scope="module")
def spare(sample_actor: ActorFolder, tmp_path_factory: pytest.TempPathFactory) -> ActorFolder:
    """A copy of the sample actor, to be damaged."""
    path = tmp_path_factory.mktemp("spare") / "spare.actor"
    shutil.copytree(sample_actor.path, path)
    return ActorFolder.open(path)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(damage=damages())
def test_a_damaged_file_is_read_or_told(spare: ActorFolder, name: str, damage: Callable[[bytes], bytes]) -> None:
    file = spare.file_path(name)
    whole = file.read_bytes()
    try:
        file.write_bytes(damage(whole))
        damaged = file.read_bytes()
        try:
            READERS[name](spare)
        except UserError as error:
            assert error.message and error.remedy
        assert file.read_bytes() == damaged, "reading changes nothing"
    finally:
        file.write_bytes(whole)
    READERS[name](spare)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(damage=damages())
def test_a_damaged_camera_is_read_or_told(spare: ActorFolder, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    file = tmp_path / "camera.json"
    assert spare.info.camera is not None
    footage_camera_path(spare.info.camera, 64).save(file)
    file.write_bytes(damage(file.read_bytes()))
    try:
        CameraPath.load(file).check()
    except UserError as error:
        assert error.message and error.remedy
