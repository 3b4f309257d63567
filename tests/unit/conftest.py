"""Shared fixtures: an actor that renders in milliseconds, the sample clip, and an actor created from it."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

from backend.setup.device import configure_native_threads

configure_native_threads()  # before numpy and torch are loaded

import numpy as np
import pytest
import torch

from backend.contract.actor_folder import ActorFolder, ActorInfo, FootageCamera
from backend.contract.channels import CHANNEL_INDEX
from backend.contract.performance import Performance
from backend.contract.progress import Reporter
from backend.portrait.model import Portrait, PortraitSize
from backend.synthetic import SampleOptions, make_sample

CROP_SIZE = 48  # pixels of the training crop


@pytest.fixture
def make_actor() -> Callable[[Path], ActorFolder]:
    """`create_tiny_actor`, as a fixture."""
    return create_tiny_actor


def create_tiny_actor(path: Path) -> ActorFolder:
    """Make an actor 0.7 m from its camera: the head is a ball whose lower half follows the jaw, the torso a bar."""
    rng = np.random.default_rng(0)
    ball = rng.normal(size=(300, 3))
    ball = 0.08 * ball / np.linalg.norm(ball, axis=1, keepdims=True)
    bar = rng.uniform((-0.12, -0.22, -0.03), (0.12, -0.12, 0.03), (200, 3))
    means = np.concatenate([ball, bar]).astype(np.float32)
    head = torch.arange(500) < 300
    portrait = Portrait(PortraitSize(500, facial_members=300, oral_members=300))
    with torch.no_grad():
        portrait.means.copy_(torch.from_numpy(means))
        portrait.log_scales.fill_(np.log(0.009))
        portrait.opacity_logits.fill_(4.0)
        portrait.skin_logits.copy_(torch.where(head, 9.0, -9.0))
        portrait.colours.copy_(torch.where(head[:, None], torch.tensor([0.8, 0.5, 0.4]), torch.tensor([0.2, 0.3, 0.7])))
        portrait.label.copy_(torch.where(head, 0, 3))
        jaw = torch.zeros(500, 3)
        jaw[:, 1] = torch.where(head & (portrait.means[:, 1] < -0.02), -0.03, 0.0)
        portrait.prior[CHANNEL_INDEX["jawOpen"]] = jaw.reshape(-1)
    view = np.diag([1.0, -1, -1, 1])
    view[2, 3] = 0.7
    camera = FootageCamera(640, 480, 700.0, view.tolist(), (160.0, 80.0, 320.0))
    folder = ActorFolder.create(path, ActorInfo("Tiny", size=CROP_SIZE, frame_count=3, camera=camera, complete=True))
    portrait.save(folder)
    Performance.rest_pose(3, 25).save(folder.file_path("footage.npz"))
    return folder


@pytest.fixture(scope="session")
def sample_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of the sample clip at 256², with its ground truth beside it."""
    clip = tmp_path_factory.mktemp("sample") / "sample.mp4"
    make_sample(clip, SampleOptions(seconds=4.0, size=256, seed=3))
    return clip


@pytest.fixture(scope="session")
def sample_actor(sample_clip: Path) -> ActorFolder:
    """An actor created from the sample clip with the smallest preset."""
    from backend.pipeline.create import CreateOptions, create_actor

    path = sample_clip.with_name("sample.actor")
    return create_actor(sample_clip, path, CreateOptions(preset="tiny", device="cpu"), Reporter())


@pytest.fixture
def peak_memory_bytes() -> Iterator[Callable[[], int]]:
    """Return the peak memory of Python and numpy since the test began."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
