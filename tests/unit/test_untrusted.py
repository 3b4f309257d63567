"""Files are untrusted: a damaged file of an actor is read, or refused with a UserError."""

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


def load_and_render(folder: ActorFolder) -> None:
    """Load the model and render it: a damaged file must not crash the compiled kernels either."""
    portrait = Portrait.load(folder, CPU)
    camera = footage_camera_path(folder.require_camera(), 32).check()
    one, zero = torch.tensor([1.0, 0, 0, 0]), torch.zeros(3)
    with torch.inference_mode():
        portrait.render(Pose(one, zero, one, zero, torch.zeros(52)), CameraView.from_path(camera, 0, CPU))


def load_clip(folder: ActorFolder) -> None:
    """Read everything that training and evaluation need of the footage."""
    clip = Clip(folder, CPU)
    for frame_index in (0, clip.frame_count - 1):
        clip.load_training_frame(frame_index, PixelWeights())
        pose_from_tables(clip.poses, frame_index)
    clip.face_box(0)


READERS: dict[str, Callable[[ActorFolder], object]] = {
    "actor.json": lambda folder: ActorFolder.open(folder.path),
    "proxy.npz": lambda folder: folder.load_proxy(),
    "footage.npz": lambda folder: folder.load_footage_performance(),
    "tracking.npz": load_clip,
    "plate.png": load_clip,
    "frames/000000.jpg": load_clip,
    "mattes/000000.png": load_clip,
    "model.safetensors": load_and_render,
    "speech.safetensors": SpeechModel.load,
    "audio.wav": lambda folder: load_audio(folder.file_path("audio.wav")),
    "scan.npz": lambda folder: folder.load_arrays("scan.npz", SCAN_LAYOUT),
}


@st.composite
def file_damages(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """Damage to a file: truncated, emptied, some bytes changed, a part removed or repeated."""
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
def copied_actor(sample_actor: ActorFolder, tmp_path_factory: pytest.TempPathFactory) -> ActorFolder:
    """A copy of the sample actor that tests may damage."""
    path = tmp_path_factory.mktemp("copy") / "copy.actor"
    shutil.copytree(sample_actor.path, path)
    return ActorFolder.open(path)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(damage=file_damages())
def test_damaged_file_is_read_or_refused(
    copied_actor: ActorFolder, name: str, damage: Callable[[bytes], bytes]
) -> None:
    file = copied_actor.file_path(name)
    whole = file.read_bytes()
    try:
        file.write_bytes(damage(whole))
        damaged = file.read_bytes()
        try:
            READERS[name](copied_actor)
        except UserError as error:
            assert error.message and error.remedy
        assert file.read_bytes() == damaged, "reading must change nothing"
    finally:
        file.write_bytes(whole)
    READERS[name](copied_actor)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(damage=file_damages())
def test_damaged_camera_is_read_or_refused(
    copied_actor: ActorFolder, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    file = tmp_path / "camera.json"
    footage_camera_path(copied_actor.require_camera(), 64).save(file)
    file.write_bytes(damage(file.read_bytes()))
    try:
        CameraPath.load(file).check()
    except UserError as error:
        assert error.message and error.remedy
