"""The live preview as Blender feels it: from a request on the pipe to pixels in the mapped file, in a real process."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from backend.actor import ActorFolder, ActorInfo, Camera
from backend.channels import CHANNELS, INDEX
from backend.model.portrait import Portrait, PortraitSize
from backend.protocol import Preview, Progress, Request, decode, encode

ROOT = Path(__file__).resolve().parents[1]
GAUSSIANS = 20_000
SIZES = (256, 512)
REQUESTS = 40


def run() -> dict[str, float]:
    """Median, shortest and 95th percentile of a frame's way there and back, seconds until the service is ready, and
    frames per second of drawing alone, from channels to pixels (`*.render_fps`)."""
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
    return figures


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
