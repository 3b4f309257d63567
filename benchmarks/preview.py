"""The live preview: latency from a request on the pipe to pixels in the mapped file, and what it costs Blender.

Blender's cost is measured only where Blender is set up as a Python module.
"""

from __future__ import annotations

import json
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
from backend.setup.environment import environment_python
from tools import package
from tools.processes import ROOT, child_environment

GAUSSIANS = 20_000  # as many as a draft has
SIZES = (256, 512)  # pixels of the frame's side
REQUESTS = 40  # per size
WARM_UP_REQUESTS = 3  # of them, which are not counted
ROUNDS = 3  # of the rendering speed, of which the best counts
BLENDER = "5.0"
BLENDER_TIMEOUT_SECONDS = 600
PLAYED_FRAMES = 100  # of the performance that Blender plays
PLAYED_FPS = 25
PROXY_GRID_SIDE = 22  # vertices across and along: 484, about as many as a tracked face has
CAMERA_DISTANCE = 0.9  # metres
FOCAL_LENGTH = 900.0  # pixels at 512²


def run() -> dict[str, float]:
    """Measure the preview.

    Returns:
        `latency_ms`: milliseconds from a request to the image at 256².
        `SIZE.frame_ms_median`, `_min`, `_p95`: the same for each size.
        `SIZE.render_fps`: frames per second of rendering alone, from channels to pixels.
        `ready_s`: seconds until the service is ready.
        `frame_change_ms`: milliseconds by which the preview slows a change of frame in Blender.
        `proxy_fps`: frames per second that Blender evaluates with the proxy alone.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        actor = write_ball_actor(folder / "head.actor")
        figures = {f"{size}.render_fps": measure_render_fps(actor, size) for size in SIZES}
        command = [sys.executable, "-m", "backend", "serve", str(actor.path)]
        started = time.perf_counter()
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdin is not None
            wait_until_ready(process)
            figures["ready_s"] = time.perf_counter() - started
            for size in SIZES:
                latencies = [measure_latency_ms(process, size, i) for i in range(REQUESTS)][WARM_UP_REQUESTS:]
                figures[f"{size}.frame_ms_median"] = statistics.median(latencies)
                figures[f"{size}.frame_ms_min"] = min(latencies)
                figures[f"{size}.frame_ms_p95"] = float(np.percentile(latencies, 95))
            process.stdin.close()
        figures["latency_ms"] = figures["256.frame_ms_median"]
        return figures | measure_in_blender(actor, folder)


def wait_until_ready(process: subprocess.Popen[str]) -> None:
    """Wait until the service has reported its last stage as done."""
    assert process.stdout is not None
    while True:
        message = decode_message(process.stdout.readline())
        if isinstance(message, Progress) and message.done == message.total:
            return


def measure_in_blender(actor: ActorFolder, folder: Path) -> dict[str, float]:
    """Return the figures of `_preview_in_blender`, or none, with a message, where Blender is not set up as a module."""
    python = environment_python(ROOT / f".venv-bpy-{BLENDER}")
    if not python.exists():
        print(
            f"preview.frame_change_ms and preview.proxy_fps are not measured: Blender {BLENDER} is not set up here as a"
            f" Python module. Run `python3 build.py test blender --bpy {BLENDER}`, which sets it up.",
            file=sys.stderr,
        )
        return {}
    write_playback_data(actor)
    script, out = Path(__file__).with_name("_preview_in_blender.py"), folder / "out.json"
    command: list[str | Path] = [
        python, script, package.build_archive(folder), actor.path, sys.executable, out,
    ]  # fmt: skip
    environment = child_environment(BLENDER_USER_RESOURCES=folder / "user")
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, timeout=BLENDER_TIMEOUT_SECONDS)
    figures: dict[str, float] = json.loads(out.read_text(encoding="utf-8"))
    return figures


def write_playback_data(actor: ActorFolder) -> None:
    """Write what Blender imports: a proxy of a face's size and a performance in which everything moves."""
    side = PROXY_GRID_SIDE
    x, y = np.meshgrid(np.linspace(-0.08, 0.08, side), np.linspace(-0.14, 0.08, side))
    vertices = np.stack([x, y, 0.06 - 6 * x**2 - 3 * y**2], -1).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(side - 1)[:, None] * side + np.arange(side - 1)).reshape(-1, 1)
    faces = np.concatenate([corner + np.array(triangle) for triangle in ((0, 1, side + 1), (0, side + 1, side))])
    shapes = np.random.default_rng(1).normal(0, 0.002, (len(CHANNELS), len(vertices), 3)).astype(np.float32)
    actor.save_arrays(
        "proxy.npz", vertices=vertices, faces=faces.astype(np.int32), shapes=shapes,
        colors=np.full(vertices.shape, 0.5, np.float32), head_weight=np.ones(len(vertices), np.float32),
    )  # fmt: skip
    performance = Performance.rest_pose(PLAYED_FRAMES, PLAYED_FPS)
    phase = np.arange(PLAYED_FRAMES)[:, None] / 9 + np.arange(len(CHANNELS))
    performance.channels = (0.3 + 0.3 * np.sin(phase)).astype(np.float32)
    turn = 0.1 * np.sin(phase[:, 0])
    performance.head_rotation[:, 0], performance.head_rotation[:, 2] = np.cos(turn), np.sin(turn)
    performance.save(actor.file_path("footage.npz"))


def measure_render_fps(actor: ActorFolder, size: int) -> float:
    """Return frames per second from channels to pixels in this process; the best of some rounds."""
    portrait = Portrait.load(actor, torch.device("cpu"))
    rotation, view = torch.tensor([1.0, 0, 0, 0]), torch.diag(torch.tensor([1.0, -1, -1, 1]))
    view[2, 3] = CAMERA_DISTANCE
    focal = FOCAL_LENGTH * size / 512
    intrinsics = torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    camera = CameraView(view, intrinsics, size, size)
    best = 0.0
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for index in range(REQUESTS):
            channels = torch.zeros(len(CHANNELS))
            channels[CHANNEL_INDEX["jawOpen"]] = index % 10 / 10
            pose = Pose(rotation, torch.zeros(3), rotation, torch.zeros(3), channels)
            portrait.render(pose, camera, with_mattes=False)
        best = max(best, REQUESTS / (time.perf_counter() - start))
    return best


def measure_latency_ms(process: subprocess.Popen[str], size: int, frame_index: int) -> float:
    """Return the milliseconds from a request to its pixels, with a moving jaw."""
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
    """Write an actor of the size of a draft: a ball as its head over a bar as its torso; every branch is used."""
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
    view[2, 3] = CAMERA_DISTANCE
    camera = FootageCamera(512, 512, FOCAL_LENGTH, view.tolist(), (0.0, 0.0, 512.0))
    folder = ActorFolder.create(path, ActorInfo("Head", size=256, camera=camera, complete=True))
    portrait.save(folder)
    return folder
