"""An actor folder made by code: a grid bent like a face, with shapes, camera, performance and sound by formula."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from backend.contract.actor_folder import ActorFolder, ActorInfo, FootageCamera
from backend.contract.arrays import F32, F64, I32
from backend.contract.channels import CHANNEL_INDEX, CHANNELS
from backend.contract.performance import Performance

FPS = 25.0
FRAMES = 40  # of the footage
GRID_SIDE = 13  # vertices along a side of the face
UNMEASURED = ("tongueOut", "cheekPuff")  # channels that the footage does not show


def write_actor(path: Path) -> Path:
    """Write the actor into the folder `path` and return it."""
    info = ActorInfo(
        name="Nora", preset="tiny", size=128, fps=FPS, frame_count=FRAMES, segments=[[0, FRAMES - 1]],
        camera=make_camera(), has_audio=True, complete=True,
    )  # fmt: skip
    table = make_performance()
    info.channel_ranges = {
        name: [float(column.min()), float(column.max())]
        for name, column in zip(CHANNELS, table.channels.T, strict=True)
        if name not in UNMEASURED
    }
    folder = ActorFolder.create(path, info)
    mesh = make_face(len(CHANNELS))
    folder.save_arrays("proxy.npz", **mesh)
    table.save(folder.file_path("footage.npz"))
    write_tone(folder.file_path("audio.wav"), FRAMES / FPS)
    return path


def make_camera() -> FootageCamera:
    """Return a camera of a wide picture, 0.8 m in front of the face, a little above and turned."""
    turn, tilt = np.radians(12.0), np.radians(-7.0)
    yaw = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    pitch = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    view = np.eye(4)
    view[:3, :3] = np.diag([1.0, -1, -1]) @ pitch @ yaw  # actor y up, z to the viewer → OpenCV y down, z away
    view[:3, 3] = 0.03, -0.02, 0.8
    return FootageCamera(320, 240, 410.0, view.tolist(), (40.0, 0.0, 240.0))


def make_face(channels: int) -> dict[str, F32 | I32]:
    """Return the arrays of proxy.npz: a grid of 0.16 × 0.22 m, nearest to the viewer in its middle."""
    x, y = np.meshgrid(np.linspace(-0.08, 0.08, GRID_SIDE), np.linspace(-0.14, 0.08, GRID_SIDE))
    z = 0.06 - 6 * x**2 - 3 * y**2
    vertices = np.stack([x, y, z], -1).reshape(-1, 3)
    corner = (np.arange(GRID_SIDE - 1)[:, None] * GRID_SIDE + np.arange(GRID_SIDE - 1)).reshape(-1, 1)
    faces = np.concatenate(
        [corner + np.array(triangle) for triangle in ((0, 1, GRID_SIDE + 1), (0, GRID_SIDE + 1, GRID_SIDE))]
    )
    random = np.random.default_rng(5)
    center = vertices[random.integers(0, len(vertices), channels)]
    near = np.exp(-np.sum((vertices - center[:, None]) ** 2, -1) / 0.03**2)
    shapes = 0.01 * near[..., None] * random.normal(size=(channels, 1, 3))
    colors = 0.2 + 0.6 * (vertices - vertices.min(0)) / np.ptp(vertices, axis=0)
    head = np.clip((vertices[:, 1] + 0.14) / 0.05, 0, 1)
    return {
        "vertices": vertices.astype(np.float32), "faces": faces.astype(np.int32), "shapes": shapes.astype(np.float32),
        "colors": colors.astype(np.float32), "head_weight": head.astype(np.float32),
    }  # fmt: skip


def make_performance() -> Performance:
    """Return a lively performance. Quaternions change their sign on the way, as a tracker's may."""
    t = np.arange(FRAMES) / FPS
    head_rotation = quaternion_from_rotation_vector(0.3 * np.sin(5 * t), 0.4 * np.sin(3 * t + 1), 0.2 * np.cos(4 * t))
    head_rotation[15:25] *= -1
    channels = 0.5 + 0.5 * np.sin(4 * t[:, None] + np.arange(len(CHANNELS)))
    for name in UNMEASURED:
        channels[:, CHANNEL_INDEX[name]] = 0
    channels[7, CHANNEL_INDEX["jawOpen"]] = 1.2  # trackers overshoot
    torso_rotation = quaternion_from_rotation_vector(0.05 * np.sin(2 * t), 0.1 * np.sin(t), 0.03 * np.cos(t))
    table = Performance(
        fps=FPS,
        frames=np.arange(FRAMES),
        head_rotation=head_rotation.astype(np.float32),
        head_translation=np.stack([0.02 * np.sin(2 * t), 0.01 * np.cos(3 * t), 0.015 * np.sin(t)], -1).astype(
            np.float32
        ),
        torso_rotation=torso_rotation.astype(np.float32),
        torso_translation=np.stack([0.01 * np.sin(t), 0.002 * np.cos(t), 0.01 * np.cos(2 * t)], -1).astype(np.float32),
        channels=channels.astype(np.float32),
    )
    return table.check()


def quaternion_from_rotation_vector(x: F64, y: F64, z: F64) -> F64:
    """Return (T, 4) quaternions wxyz of rotation vectors."""
    vector = np.stack([x, y, z], -1)
    angle = np.linalg.norm(vector, axis=-1, keepdims=True)
    return np.concatenate([np.cos(angle / 2), vector * np.sinc(angle / 2 / np.pi) / 2], -1)


def write_tone(path: Path, seconds: float) -> None:
    """Write a tone of 220 Hz, 16 kHz mono."""
    samples = 8000 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * 16000)) / 16000)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.astype("<i2").tobytes())
