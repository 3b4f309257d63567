"""Every reader of outside data, with a small sound file for each: what the fuzz tests and the harness begin from."""

from __future__ import annotations

import csv
import io
import json
import sys
import wave
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from safetensors.numpy import save as save_numpy
from safetensors.torch import save as save_torch

from backend.cli.preview_service import Shot
from backend.contract import errors, protocol
from backend.contract.actor_folder import PROXY, TRACKING, ActorFolder, ActorInfo, Camera
from backend.contract.camera import CameraPath, footage_camera
from backend.contract.errors import UserError
from backend.contract.live_link import SHAPES, read_live_link
from backend.contract.performance import Performance
from backend.contract.protocol import Request
from backend.dataset.frame_store import FrameStore, quick_png
from backend.media.audio_io import load_sound
from backend.media.decode import probe
from backend.pipeline.create import SCANNED
from backend.portrait.model import MODEL_VERSION, Portrait, PortraitSize
from backend.portrait.storage import pack
from backend.rendering.frame_cache import Ledger
from backend.report.sources import compare
from backend.report.tracked import Tracked
from backend.speech.external_features import load_plugged
from backend.speech.features import feature_count
from backend.speech.model import LAYOUT as SPEECH
from backend.speech.model import SPEECH_VERSION, VERSION_KEY, Speaker
from backend.synthetic.ground_truth import FORMAT as TRUTH_FORMAT
from backend.synthetic.ground_truth import LAYOUT as TRUTH
from backend.synthetic.ground_truth import Truth
from backend.tracking.landmarker import BLENDSHAPES, open_landmarker

SIDE, FRAMES = 16, 3
CPU = torch.device("cpu")
VIEW = np.diag([1.0, -1, -1, 1])
VIEW[2, 3] = 0.7
INFO = ActorInfo(
    "Jane", size=SIDE, frame_count=FRAMES, segments=[[0, 2]], excluded=[[1, 1, "blurred"]], complete=True,
    camera=Camera(64, 48, 70.0, VIEW.tolist(), (8.0, 0.0, 48.0)), channel_ranges={"jawOpen": [0.0, 1.0]},
    source={"name": "jane.mp4", "sha256": "0", "bytes": 9, "frames": 3, "width": 64, "height": 48},
    consent={"who": "Jane", "date": "2026-11-22"}, figures={"seconds": {"scan": 1.0}, "reprojection_px_512": 1.2},
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """file: the name of what is read. seed: its bytes, sound. read: takes the file in an otherwise sound actor."""

    file: str
    seed: Callable[[], bytes]
    read: Callable[[Path], object]


def npz(arrays: dict[str, Any]) -> bytes:
    """An `.npz` with these arrays."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def of_layout(layout: dict[str, tuple[int | str, ...]]) -> dict[str, Any]:
    """Arrays of a layout; rotations are the identity."""
    arrays = {name: np.zeros([n if isinstance(n, int) else FRAMES for n in shape]) for name, shape in layout.items()}
    for name in arrays:
        if name.endswith("rotation"):
            arrays[name][:, 0] = 1
    return arrays


def performance() -> dict[str, Any]:
    """The columns of a performance."""
    rest = Performance.rest(FRAMES, 25.0)
    return {"format": np.array("portrait_actor.performance.1"), **asdict(rest)}


def truth() -> dict[str, Any]:
    """The arrays of a sample's truth."""
    extra = {"format": np.array(TRUTH_FORMAT), "fps": np.array(25.0), "phones": np.array(["AA"] * FRAMES)}
    return {**of_layout(dict(TRUTH)), **extra, "mattes": np.zeros((FRAMES, 4, 8, 8), np.uint8)}


def proxy() -> dict[str, Any]:
    """A triangle."""
    return {**of_layout(dict(PROXY)), "faces": np.array([[0, 1, 2]] * FRAMES, np.int32)}


def capture() -> bytes:
    """Four frames of Live Link Face."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["Timecode", "BlendshapeCount", *SHAPES, "HeadYaw", "HeadPitch", "HeadRoll"])
    for second in range(4):
        writer.writerow([f"00:00:0{second}:02.5", 61, *[0.25] * len(SHAPES), 0.1, 0, 0])
    return text.getvalue().encode()


def camera() -> bytes:
    """The footage's camera as a file."""
    assert INFO.camera is not None
    path = footage_camera(INFO.camera, SIDE)
    entry = {"frame": 1, "world_to_camera": path.views[0].tolist(), "intrinsics": path.intrinsics[0].tolist()}
    data = {"format": "portrait_actor.camera.1", "width": SIDE, "height": SIDE, "border": [0, 0, 8, 8]}
    return json.dumps({**data, "frames": [entry]}).encode()


def model() -> dict[str, torch.Tensor]:
    """The tensors of a portrait of a few Gaussians, as they are stored."""
    portrait = Portrait(PortraitSize(12, facial_members=6, oral_members=6))
    with torch.no_grad():
        portrait.means.copy_(torch.linspace(-0.05, 0.05, 36).view(12, 3))
        portrait.log_scales.fill_(-4.5)
    return {name: value.contiguous() for name, value in pack(dict(portrait.state_dict())).items()}


def model_file(state: dict[str, torch.Tensor], size: object = None) -> bytes:
    """`model.safetensors` with this state."""
    sizes = asdict(PortraitSize(12, facial_members=6, oral_members=6)) if size is None else size
    return save_torch(state, metadata={"version": str(MODEL_VERSION), "size": json.dumps(sizes)})


def speech() -> dict[str, Any]:
    """The arrays of `speech.safetensors`."""
    lengths = {"D": feature_count(0), "P": 0, "C": 0}
    shapes = {name: [lengths.get(str(n), n if isinstance(n, int) else 2) for n in s] for name, s in SPEECH.items()}
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def speech_file(arrays: dict[str, Any]) -> bytes:
    """`speech.safetensors` with these arrays."""
    return save_numpy(arrays, metadata={VERSION_KEY: str(SPEECH_VERSION)})


def sound() -> bytes:
    """A tenth of a second of a tone."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes((8000 * np.sin(np.arange(1600) / 8)).astype("<i2").tobytes())
    return file.getvalue()


def video(stamps: Sequence[int] = (0, 40, 80)) -> bytes:
    """Small frames at these milliseconds."""
    file = io.BytesIO()
    with av.open(file, "w", "matroska") as out:
        stream = out.add_stream("mpeg4", 25, width=32, height=32)
        grey = [av.VideoFrame.from_ndarray(np.full((32, 32, 3), 60 * i, np.uint8)) for i in range(len(stamps))]
        packets = [packet for frame in [*grey, None] for packet in stream.encode(frame)]
        for packet, stamp in zip(packets, stamps, strict=True):
            packet.pts = packet.dts = stamp
            packet.time_base = Fraction(1, 1000)
            out.mux(packet)
    return file.getvalue()


def bundle() -> bytes:
    """A zip that a landmarker's file could be."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        out.writestr(BLENDSHAPES, b"model")
    return file.getvalue()


def jpeg() -> bytes:
    """A grey crop."""
    return bytes(cv2.imencode(".jpg", np.full((SIDE, SIDE, 3), 90, np.uint8))[1])


def request() -> bytes:
    """A protocol line that asks for a picture."""
    turn, place = [1.0, 0, 0, 0], [0.0, 0, 0]
    data = {"head_rotation": turn, "head_translation": place, "channels": [0.0] * 52, "view": VIEW.tolist()}
    data |= {"intrinsics": [70, 70, 8, 8], "width": SIDE, "height": SIDE, "frame": 4, "footage": 1, "cut_out": True}
    return protocol.encode(Request("1", "frame", data)).encode()


def drawn(folder: ActorFolder) -> None:
    """Loads the model and draws it: a damaged file may not crash the compiled kernels either."""
    portrait = Portrait.load(folder, CPU)
    assert INFO.camera is not None
    view, intrinsics = (torch.as_tensor(m, dtype=torch.float32) for m in footage_camera(INFO.camera, SIDE).at(0))
    one, zero = torch.tensor([1.0, 0, 0, 0]), torch.zeros(3)
    with torch.inference_mode():
        portrait.render(one, zero, one, zero, torch.full((52,), 0.5), view, intrinsics, SIDE, SIDE)


def said(path: Path) -> None:
    """Every line of a conversation as either side reads it."""
    pieces = iter([path.read_bytes(), b""])
    for line in protocol.lines(lambda: next(pieces)):
        try:
            message = protocol.decode(line.decode("utf-8", "replace"))
        except ValueError:
            continue
        if isinstance(message, Request):
            Shot.of(message, home(path))


def home(path: Path) -> ActorFolder:
    """The actor whose file it is."""
    return ActorFolder(path.parent if path.parent.name not in ("frames", "mattes") else path.parent.parent, INFO)


def matte() -> bytes:
    """A matte that is all person."""
    return quick_png(np.full((SIDE, SIDE, 4), 255, np.uint8))


def info() -> bytes:
    """`actor.json`."""
    return json.dumps({"format_version": 1, **asdict(INFO)}).encode()


READERS = {
    "actor": Reader("actor.json", info, lambda p: ActorFolder.open(p.parent)),
    "camera": Reader("camera.json", camera, CameraPath.load),
    "proxy": Reader("proxy.npz", lambda: npz(proxy()), lambda p: home(p).proxy()),
    "performance": Reader("footage.npz", lambda: npz(performance()), Performance.load),
    "tracking": Reader("tracking.npz", lambda: npz(of_layout(dict(TRACKING))), lambda p: Tracked.load(home(p))),
    "scan": Reader("scan.npz", lambda: npz(of_layout(dict(SCANNED))), lambda p: home(p).arrays(p.name, SCANNED)),
    "sources": Reader(
        "landmarker.npz", lambda: npz({n: np.zeros((4, 52)) for n in ("fitted", "scores")}), lambda p: compare(home(p))
    ),
    "truth": Reader("clip.truth.npz", lambda: npz(truth()), Truth.load),
    "features": Reader(
        "features.npz",
        lambda: npz({"features": np.ones((50, 4), np.float32)}),
        lambda p: load_plugged(p, 1.0, 100, 100),
    ),
    "model": Reader("model.safetensors", lambda: model_file(model()), lambda p: drawn(home(p))),
    "speech": Reader("speech.safetensors", lambda: speech_file(speech()), lambda p: Speaker.load(home(p))),
    "frame": Reader("frames/000000.jpg", jpeg, lambda p: FrameStore(home(p)).frame(0)),
    "matte": Reader("mattes/000000.png", matte, lambda p: FrameStore(home(p)).matte(0)),
    "capture": Reader("capture.csv", capture, read_live_link),
    "ledger": Reader(".jane.exr.jsonl", lambda: b'\n{"file": "a_0001.exr", "inputs": "b"}', lambda p: Ledger(p).marks),
    "landmarker": Reader("face_landmarker.task", bundle, open_landmarker),
    "messages": Reader("said.jsonl", request, said),
    "sound": Reader("line.wav", sound, load_sound),
    "video": Reader("clip.mkv", video, probe),
}


def place(reader: Reader, folder: Path) -> Path:
    """Writes the reader's seed where it is read, in an otherwise sound actor; returns its path."""
    path = folder / reader.file
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "actor.json").write_bytes(info())
    path.write_bytes(reader.seed())
    return path


def outcome(reader: Reader, path: Path) -> object:
    """What it reads, or the sentence; anything else is a finding."""
    try:
        return reader.read(path)
    except errors.UserError as error:
        assert error.message and error.remedy, f"{error.code} says nothing"
        sys.stdout.flush()
        return error


def refused(reader: Reader, path: Path, data: bytes) -> UserError:
    """The sentence with which the reader refuses these bytes."""
    path.write_bytes(data)
    found = outcome(reader, path)
    assert isinstance(found, UserError), f"{reader.file} was read"
    return found
