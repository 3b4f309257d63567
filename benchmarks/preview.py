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

from backend.contract.actor_folder import ActorFolder, ActorInfo, Camera
from backend.contract.channels import CHANNELS, INDEX
from backend.contract.performance import Performance
from backend.contract.protocol import Preview, Progress, Request, decode, encode
from backend.portrait.model import Portrait, PortraitSize
from backend.setup.install import python_of
from tools import package

ROOT = Path(__file__).resolve().parents[1]
GAUSSIANS = 20_000
SIZES = (256, 512)
REQUESTS = 40
BLENDER = "5.0"
PLAYED = 100  # frames of the performance that Blender plays
SIDE = 22  # the proxy's vertices across and along: 484, as many as a tracked face has


def run() -> dict[str, float]:
    """`latency_ms`: from a request to the picture at 256². `frame_change_ms`: by what the preview makes a change of
    frame slower in Blender. `proxy_fps`: how many frames a second Blender evaluates with the proxy alone.

    In detail: median, shortest and 95th percentile of a frame's way there and back, seconds until the service is ready,
    and frames per second of drawing alone, from channels to pixels (`*.render_fps`).
    """
    with tempfile.TemporaryDirectory() as place:
        actor = head(Path(place) / "head.actor")
        figures = {f"{size}.render_fps": render_fps(actor, size) for size in SIZES}
        command = [sys.executable, "-m", "backend", "serve", str(actor.path)]
        started = time.perf_counter()
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as process:
            assert process.stdin is not None and process.stdout is not None
            while not (isinstance(said := decode(process.stdout.readline()), Progress) and said.done == said.total):
                pass
            figures["ready_s"] = time.perf_counter() - started
            for size in SIZES:
                taken = [ask(process, size, i) for i in range(REQUESTS)][3:]
                figures[f"{size}.frame_ms_median"] = statistics.median(taken)
                figures[f"{size}.frame_ms_min"] = min(taken)
                figures[f"{size}.frame_ms_p95"] = float(np.percentile(taken, 95))
            process.stdin.close()
        figures["latency_ms"] = figures["256.frame_ms_median"]
        return figures | in_blender(actor, Path(place))


def in_blender(actor: ActorFolder, place: Path) -> dict[str, float]:
    """The figures of `_preview_in_blender`; none, with a word why, on a machine without Blender as a module."""
    python = python_of(ROOT / f".venv-bpy-{BLENDER}")
    if not python.exists():
        print(
            f"preview.frame_change_ms and preview.proxy_fps are not measured: there is no Blender {BLENDER} as a Python"
            f" module here. `python3 build.py test blender --bpy {BLENDER}` sets it up.",
            file=sys.stderr,
        )
        return {}
    play_something(actor)
    script, archive, out = Path(__file__).with_name("_preview_in_blender.py"), package.build(place), place / "out.json"
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    environment["BLENDER_USER_RESOURCES"] = str(place / "user")
    command = [python, script, archive, actor.path, sys.executable, out]
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL, timeout=600)
    figures: dict[str, float] = json.loads(out.read_text(encoding="utf-8"))
    return figures


def play_something(actor: ActorFolder) -> None:
    """Gives the actor what Blender imports: a proxy of a face's size and a performance in which everything moves."""
    x, y = np.meshgrid(np.linspace(-0.08, 0.08, SIDE), np.linspace(-0.14, 0.08, SIDE))
    vertices = np.stack([x, y, 0.06 - 6 * x**2 - 3 * y**2], -1).reshape(-1, 3).astype(np.float32)
    corner = (np.arange(SIDE - 1)[:, None] * SIDE + np.arange(SIDE - 1)).reshape(-1, 1)
    faces = np.concatenate([corner + np.array(three) for three in ((0, 1, SIDE + 1), (0, SIDE + 1, SIDE))])
    shapes = np.random.default_rng(1).normal(0, 0.002, (len(CHANNELS), len(vertices), 3)).astype(np.float32)
    actor.write_arrays(
        "proxy.npz", vertices=vertices, faces=faces.astype(np.int32), shapes=shapes,
        colors=np.full(vertices.shape, 0.5, np.float32), head_weight=np.ones(len(vertices), np.float32),
    )  # fmt: skip
    table, phase = Performance.rest(PLAYED, 25), np.arange(PLAYED)[:, None] / 9 + np.arange(len(CHANNELS))
    table.channels = (0.3 + 0.3 * np.sin(phase)).astype(np.float32)
    turn = 0.1 * np.sin(phase[:, 0])
    table.head_rotation[:, 0], table.head_rotation[:, 2] = np.cos(turn), np.sin(turn)
    table.save(actor.file("footage.npz"))


def render_fps(actor: ActorFolder, size: int) -> float:
    """Frames per second from channels to pixels in this process; the best of three rounds."""
    portrait = Portrait.load(actor, torch.device("cpu"))
    still, view = torch.tensor([1.0, 0, 0, 0]), torch.diag(torch.tensor([1.0, -1, -1, 1]))
    view[2, 3] = 0.9
    focal = 900 * size / 512
    intrinsics = torch.tensor([[focal, 0, size / 2], [0, focal, size / 2], [0, 0, 1]])
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        for index in range(REQUESTS):
            channels = torch.zeros(len(CHANNELS))
            channels[INDEX["jawOpen"]] = index % 10 / 10
            portrait.render(
                still, torch.zeros(3), still, torch.zeros(3), channels, view, intrinsics, size, size, mattes=False
            )
        best = max(best, REQUESTS / (time.perf_counter() - start))
    return best


def ask(process: subprocess.Popen[str], size: int, index: int) -> float:
    """Milliseconds of one frame, with a moving jaw."""
    assert process.stdin is not None and process.stdout is not None
    request = Request(str(index), "frame", {"width": size, "height": size, "channels": {"jawOpen": index % 10 / 10}})
    start = time.perf_counter()
    process.stdin.write(encode(request) + "\n")
    process.stdin.flush()
    answer = decode(process.stdout.readline())
    assert isinstance(answer, Preview) and answer.width == size
    np.memmap(answer.path, np.uint8, "r", shape=(size, size, 4)).sum()
    return (time.perf_counter() - start) * 1000


def head(path: Path) -> ActorFolder:
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
        portrait.prior[INDEX["jawOpen"], : half * 3 : 3] = 0.01
    view = np.diag([1.0, -1, -1, 1])
    view[2, 3] = 0.9
    camera = Camera(512, 512, 900.0, view.tolist(), (0.0, 0.0, 512.0))
    folder = ActorFolder.create(path, ActorInfo("Head", size=256, camera=camera, complete=True))
    portrait.save(folder)
    return folder
