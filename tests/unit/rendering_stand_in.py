"""A stand-in for the model with known pixels, and renderings with it."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import OpenEXR
import pytest
import torch
from numpy.typing import NDArray

from backend.contract.actor_folder import ActorFolder, ActorInfo, FootageCamera
from backend.contract.camera import CameraPath
from backend.contract.channels import CHANNEL_INDEX
from backend.contract.performance import Performance
from backend.contract.progress import Reporter
from backend.portrait.model import Pose
from backend.rasterizer import CameraView
from backend.rendering.frames import render_performance
from backend.rendering.options import RenderOptions

CROP_SIZE = 32
DISC_COLOR = (0.8, 0.4, 0.2)


class StandInFrame(NamedTuple):
    """The fields of a rendered frame."""

    rgb: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor
    mattes: torch.Tensor


class DiscModel:
    """Renders a soft disc at the head's position, greener as the jaw opens; its quarters are the mattes."""

    def __init__(self) -> None:
        self.rendered_positions: list[float] = []

    def render(self, pose: Pose, camera: CameraView, *, with_mattes: bool = True) -> StandInFrame:
        """Render the disc and record the head's x."""
        assert all(value.dtype == torch.float32 for value in (*pose, camera.view, camera.intrinsics))
        self.rendered_positions.append(float(pose.head_translation[0]))
        view, intrinsics = camera.view, camera.intrinsics
        point = view[:3, :3] @ pose.head_translation + view[:3, 3]
        center = intrinsics @ point / point[2]
        y, x = torch.meshgrid(torch.arange(camera.height) + 0.5, torch.arange(camera.width) + 0.5, indexing="ij")
        distance = torch.hypot(x - center[0], y - center[1])
        alpha = (0.07 * intrinsics[0, 0] - distance).clamp(0, 4) / 4
        color = torch.tensor(DISC_COLOR) + torch.tensor([0, 0.5, 0]) * pose.channels[CHANNEL_INDEX["jawOpen"]]
        left, upper = x < center[0], y < center[1]
        rgb = _make_planar(alpha[..., None] * color)
        if not with_mattes:
            return StandInFrame(rgb, alpha, torch.zeros(0, 0), torch.zeros(0, 0, 4))
        parts = torch.stack([left & upper, ~left & upper, left & ~upper, ~left & ~upper], -1)
        return StandInFrame(rgb, alpha, alpha * point[2], _make_planar(alpha[..., None] * parts))


def _make_planar(planes: torch.Tensor) -> torch.Tensor:
    """Return the values channel by channel in memory, as a rasterizer may return them."""
    return planes.permute(2, 0, 1).contiguous().permute(1, 2, 0)


@pytest.fixture
def actor_folder(tmp_path: Path) -> ActorFolder:
    """An actor with a camera and an invalid model, which the stand-in replaces."""
    view = np.diag([1.0, -1, -1, 1])
    view[2, 3] = 0.7
    camera = FootageCamera(1920, 1080, 900.0, view.tolist(), (860.0, 440.0, 200.0))
    actor = ActorFolder.create(
        tmp_path / "jane doe.actor", ActorInfo("Jané", size=CROP_SIZE, camera=camera, complete=True)
    )
    actor.file_path("model.safetensors").write_bytes(b"the first model")
    return actor


def moving_performance(count: int = 4, first_frame: int = -1, fps: float = 25) -> Performance:
    """Return a performance in which the head moves 2 mm per frame to the actor's left."""
    moving = Performance.rest_pose(count, fps, first_frame)
    moving.head_translation[:, 0] = 0.002 * np.arange(count)
    return moving


class NoteReporter(Reporter):
    """Collects notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        """Keep a note."""
        self.notes.append(message)


class RenderRun:
    """Renders with the disc model and collects the notes."""

    def __init__(self, folder: ActorFolder, out: Path) -> None:
        self.folder, self.out = folder, out
        self.disc = DiscModel()
        self.reporter: Reporter = NoteReporter()

    def __call__(
        self, performance: Performance | None = None, camera: CameraPath | None = None, **options: Any
    ) -> dict[str, Any]:
        """Render and return the result's data."""
        self.disc.rendered_positions.clear()
        render_options = RenderOptions(self.out, device="cpu", **options)
        return render_performance(
            self.folder,
            performance if performance is not None else moving_performance(),
            camera,
            render_options,
            self.reporter,
            lambda *_: self.disc,  # type: ignore[arg-type]
        )


@pytest.fixture
def render_run(actor_folder: ActorFolder, tmp_path: Path) -> RenderRun:
    """A rendering of that actor to `out`."""
    return RenderRun(actor_folder, tmp_path / "out")


def still_camera(folder: ActorFolder, **changes: Any) -> CameraPath:
    """Return a still camera of 40×24 pixels with the footage camera's view."""
    fields = {
        "width": 40, "height": 24, "frames": np.array([0]), "views": folder.require_camera().view()[None],
        "intrinsics": np.array([[150.0, 150.0, 20.0, 12.0]]),
    }  # fmt: skip
    return CameraPath(**{**fields, **changes})


def read_exr(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the channels and the header of an EXR."""
    with OpenEXR.File(str(path), separate_channels=True) as file:
        return {name: channel.pixels for name, channel in file.channels().items()}, dict(file.header())


def write_beep(path: Path) -> Path:
    """Write a WAV of one second."""
    samples = (np.sin(np.arange(16000) * 0.2) * 20000).astype("<i2").tobytes()
    format_chunk = struct.pack("<IHHIIHH", 16, 1, 1, 16000, 32000, 2, 16)
    size = struct.pack("<I", 36 + len(samples))
    header = b"RIFF" + size + b"WAVEfmt " + format_chunk + b"data" + struct.pack("<I", len(samples))
    path.write_bytes(header + samples)
    return path


class CancellingReporter(Reporter):
    """Cancels the job after two frames."""

    def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
        self.is_cancelled = done >= 2
        super().progress(stage, done, total, message)
