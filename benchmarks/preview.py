"""The live preview as Blender feels it: from a request on the pipe to pixels in the mapped file, in a real process; and
what it costs Blender itself, where Blender is at hand as a Python module."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from backend.contract.actor_folder import ActorFolder, ActorInfo, FootageCamera
from backend.contract.channels import CHANNEL_INDEX, CHANNELS
from backend.contract.performance import Performance
from backend.contract.protocol import Preview, Progress, Request, decode_message, encode_message
from backend.portrait.model import Portrait, PortraitSize, Pose
from backend.rasterizer import CameraView
from backend.setup.install import environment_python
from tools import package

ROOT = Path(__file__).resolve().parents[1]
GAUSSIANS = 20_000
SIZES = (256, 512)
REQUESTS = 40
BLENDER = "5.0"
PLAYED_FRAMES = 100  # frames of the performance that Blender plays
PROXY_GRID_SIDE = 22  # the proxy's vertices across and along: 484, as many as a tracked face has


def run() -> dict[str, float]:
    """`latency_ms`: from a request to the picture at 256². `frame_change_ms`: by what the preview makes a change of
    frame slower in Blender. `proxy_fps`: how many frames a second Blender evaluates with the proxy alone.

    In detail: median, shortest and 95th percentile of a frame's way there and back, seconds until the service is ready,
    and frames per second of drawing alone, from channels to pixels (`*.render_fps`).
    """
    with tempfile.TemporaryDirectory() as place:
        actor = write_ball_actor(Path(place) / "head.actor")
        figures = {f"{size}.render_fps": measure_render_fps(actor, size) for size in SIZES}
        command = [sys.executable, "-m", "backend", "serve", str(actor.path)]
        started = time.perf_counter()
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            while not (
                isinstance(said := decode_message(process.stdout.readline()), Progress) and said.done == said.total
            ):
                pass
            figures["ready_s"] = time.perf_counter() - started
            for size in SIZES:
                taken = [measure_latency_ms(process, size, i) for i in range(REQUESTS)][3:]
                figures[f"{size}.frame_ms_median"] = statistics.median(taken)
                figures[f"{size}.frame_ms_min"] = min(taken)
                figures[f"{size}.frame_ms_p95"] = float(np.percentile(taken, 95))
            process.stdin.close()
        figures["latency_ms"] = figures["256.frame_ms_median"]
        return figures | measure_in_blender(actor, Path(place))


def measure_in_blender(actor: ActorFolder, folder: Path) -> dict[str, float]:
    """The figures of `_preview_in_blender`; none, with a word why, on a machine without Blender as a module."""
    python = environment_python(ROOT / f".venv-bpy-{BLENDER}")
    if not python.exists():
        print(
            f"preview.frame_change_ms and preview.proxy_fps are not measured: there is no Blender {BLENDER} as a Python"
            f" module here. `python3 build.py test blender --bpy {BLENDER}` sets it up.",
            file=sys.stderr,
        )
        return {}
    write_playback_data(actor)
    script, archive, out = (
        Path(__file__).with_name("_preview_in_blender.py"),
        package.build_archive(folder),
        folder / "out.json",
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    environment["BLENDER_USER_RESOURCES"] = str(folder / "user")
    command = [python, script, archive, actor.path, sys.executable, out]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, timeout=600)
    figures: dict[str, float] = json.loads(out.read_text(encoding="utf-8"))
    return figures


def write_playback_data(actor: ActorFolder) -> None:
    """Gives the actor what Blender imports: a proxy of a face's size and a performance in which everything moves."""
    x, y = np.meshgrid(np.linspace(-0.08, 0.08, PROXY_GRID_SIDE), np.linspace(-0.14, 0.08, PROXY_GRID_SIDE))
    vertices = np.stack([x, y, 0.06 - 6 * x**2 - 3 * y**2], -1).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(PROXY_GRID_SIDE - 1)[:, None] * PROXY_GRID_SIDE + np.arange(PROXY_GRID_SIDE - 1)).reshape(-1, 1)
    faces = np.concatenate(
        [corner + np.array(three) for three in ((0, 1, PROXY_GRID_SIDE + 1), (0, PROXY_GRID_SIDE + 1, PROXY_GRID_SIDE))]
    )
    shapes = np.random.default_rng(1).normal(0, 0.002, (len(CHANNELS), len(vertices), 3)).astype(np.float32)
    actor.save_arrays(
        "proxy.npz", vertices=vertices, faces=faces.astype(np.int32), shapes=shapes,
        colors=np.full(vertices.shape, 0.5, np.float32), head_weight=np.ones(len(vertices), np.float32),
    )  # fmt: skip
    table, phase = (
        Performance.rest_pose(PLAYED_FRAMES, 25),
        np.arange(PLAYED_FRAMES)[:, None] / 9 + np.arange(len(CHANNELS)),
    )
    table.channels = (0.3 + 0.3 * np.sin(phase)).astype(np.float32)
    turn = 0.1 * np.sin(phase[:, 0])
    table.head_rotation[:, 0], table.head_rotation[:, 2] = np.cos(turn), np.sin(turn)
    table.save(actor.file_path("footage.npz"))


def measure_render_fps(actor: ActorFolder, size: int) -> float:
    """Frames per second from channels to pixels in this process; the best of three rounds."""
    portrait = Portrait.load(actor, torch.device("cpu"))
    still, view = torch.tensor([1.0, 0, 0, 0]), torch.diag(torch.tensor([1.0, -1, -1, 1]))
    view[2, 3] = 0.9
    focal = 900 * size / 512
    intrinsics = torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    camera = CameraView(view, intrinsics, size, size)
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        for index in range(REQUESTS):
            channels = torch.zeros(len(CHANNELS))
            channels[CHANNEL_INDEX["jawOpen"]] = index % 10 / 10
            portrait.render(Pose(still, torch.zeros(3), still, torch.zeros(3), channels), camera, with_mattes=False)
        best = max(best, REQUESTS / (time.perf_counter() - start))
    return best


def measure_latency_ms(process: subprocess.Popen[str], size: int, frame_index: int) -> float:
    """Milliseconds of one frame, with a moving jaw."""
    assert process.stdin is not None and process.stdout is not None
    request = Request(
        str(frame_index), "frame", {"width": size, "height": size, "channels": {"jawOpen": frame_index % 10 / 10}}
    )
    start = time.perf_counter()
    process.stdin.write(encode_message(request) + "\n")
    process.stdin.flush()
    answer = decode_message(process.stdout.readline())
    assert isinstance(answer, Preview) and answer.width == size
    np.memmap(answer.path, np.uint8, "r", shape=(size, size, 4)).sum()
    return (time.perf_counter() - start) * 1000


def write_ball_actor(path: Path) -> ActorFolder:
    """An actor of the size of a draft: a ball for a head over a bar for a torso, every branch at work."""
    rng = np.random.default_rng(0)
    half = GAUSSIANS // 2
    ball = rng.normal(size=(half, 3))
    ball *= 0.1 / np.linalg.norm(ball, axis=1, keepdims=True)
    bar = rng.uniform((-0.2, -0.3, -0.05), (0.2, -0.12, 0.05), (GAUSSIANS - half, 3))
    portrait = Portrait(PortraitSize(GAUSSIANS, facial_members=half // 2, oral_members=half // 4))
    with torch.no_grad():
        portrait.means.copy_(torch.from_numpy(np.concatenate([ball, bar])))
        portrait.log_scales.fill_(np.log(0.002))
        portrait.opacity_logits.fill_(2.0)
        portrait.colours.copy_(torch.from_numpy(rng.uniform(0.2, 0.9, (GAUSSIANS, 3))))
        portrait.skin_logits[:half] = 9
        portrait.skin_logits[half:] = -9
        portrait.prior[CHANNEL_INDEX["jawOpen"], : half * 3 : 3] = 0.01
    view = np.diag([1.0, -1, -1, 1])
    view[2, 3] = 0.9
    camera = FootageCamera(512, 512, 900.0, view.tolist(), (0.0, 0.0, 512.0))
    folder = ActorFolder.create(path, ActorInfo("Head", size=256, camera=camera, complete=True))
    portrait.save(folder)
    return folder
