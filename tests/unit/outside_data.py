"""Every reader of outside data with a small valid file for each; the fuzz tests and tests/fuzz start from them."""

from __future__ import annotations

import csv
import io
import json
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

from backend.cli.preview_service import PreviewRequest
from backend.contract import errors, protocol
from backend.contract.actor_folder import PROXY_LAYOUT, TRACKING_LAYOUT, ActorFolder, ActorInfo, FootageCamera
from backend.contract.camera import CameraPath, footage_camera_path
from backend.contract.errors import UserError
from backend.contract.live_link import BLEND_SHAPE_COLUMNS, read_live_link
from backend.contract.performance import Performance
from backend.contract.protocol import Request
from backend.dataset.frame_store import FrameStore, encode_png_fast
from backend.media.audio_io import load_audio
from backend.media.decode import probe_video
from backend.pipeline.create import SCAN_LAYOUT
from backend.portrait.model import MODEL_VERSION, Portrait, PortraitSize, Pose
from backend.portrait.storage import pack_state
from backend.rasterizer import CameraView
from backend.rendering.frame_cache import FrameCache
from backend.report.sources import compare_sources
from backend.report.tracked import TrackingData
from backend.speech.external_features import load_external_features
from backend.speech.features import context_window_size
from backend.speech.model import SPEECH_LAYOUT, SPEECH_VERSION, SPEECH_VERSION_KEY, SpeechModel
from backend.synthetic.ground_truth import GROUND_TRUTH_FORMAT, GROUND_TRUTH_LAYOUT, GroundTruth
from backend.tracking.landmarker import BLENDSHAPE_MODEL_FILE, open_landmarker

IMAGE_SIDE, FRAME_COUNT = 16, 3
CPU = torch.device("cpu")
VIEW = np.diag([1.0, -1, -1, 1])
VIEW[2, 3] = 0.7
INFO = ActorInfo(
    "Jane", size=IMAGE_SIDE, frame_count=FRAME_COUNT, segments=[[0, 2]], excluded=[[1, 1, "blurred"]], complete=True,
    camera=FootageCamera(64, 48, 70.0, VIEW.tolist(), (8.0, 0.0, 48.0)), channel_ranges={"jawOpen": [0.0, 1.0]},
    source={"name": "jane.mp4", "sha256": "0", "bytes": 9, "frames": 3, "width": 64, "height": 48},
    consent={"who": "Jane", "date": "2026-11-22"}, figures={"seconds": {"scan": 1.0}, "reprojection_px_512": 1.2},
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """A kind of file and how it is read.

    Attributes:
        file: its name in the actor folder.
        make_valid_bytes: returns valid content.
        read: reads the file of an otherwise valid actor.
    """

    file: str
    make_valid_bytes: Callable[[], bytes]
    read: Callable[[Path], object]


def npz_bytes(arrays: dict[str, Any]) -> bytes:
    """Return an `.npz` with these arrays."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def arrays_from_layout(layout: dict[str, tuple[int | str, ...]]) -> dict[str, Any]:
    """Return arrays of a layout; rotations are the identity."""
    arrays = {
        name: np.zeros([n if isinstance(n, int) else FRAME_COUNT for n in shape]) for name, shape in layout.items()
    }
    for name in arrays:
        if name.endswith("rotation"):
            arrays[name][:, 0] = 1
    return arrays


def performance_arrays() -> dict[str, Any]:
    """Return the arrays of a performance file."""
    rest = Performance.rest_pose(FRAME_COUNT, 25.0)
    return {"format": np.array("portrait_actor.performance.1"), **asdict(rest)}


def ground_truth_arrays() -> dict[str, Any]:
    """Return the arrays of a ground truth file."""
    extra = {"format": np.array(GROUND_TRUTH_FORMAT), "fps": np.array(25.0), "phones": np.array(["AA"] * FRAME_COUNT)}
    return {
        **arrays_from_layout(dict(GROUND_TRUTH_LAYOUT)),
        **extra,
        "mattes": np.zeros((FRAME_COUNT, 4, 8, 8), np.uint8),
    }


def proxy_arrays() -> dict[str, Any]:
    """Return the arrays of a proxy of a single triangle."""
    return {**arrays_from_layout(dict(PROXY_LAYOUT)), "faces": np.array([[0, 1, 2]] * FRAME_COUNT, np.int32)}


def capture_bytes() -> bytes:
    """Return a Live Link Face capture of four frames."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["Timecode", "BlendshapeCount", *BLEND_SHAPE_COLUMNS, "HeadYaw", "HeadPitch", "HeadRoll"])
    for second in range(4):
        writer.writerow([f"00:00:0{second}:02.5", 61, *[0.25] * len(BLEND_SHAPE_COLUMNS), 0.1, 0, 0])
    return text.getvalue().encode()


def camera_bytes() -> bytes:
    """Return the footage's camera as a camera file."""
    assert INFO.camera is not None
    path = footage_camera_path(INFO.camera, IMAGE_SIDE)
    entry = {"frame": 1, "world_to_camera": path.views[0].tolist(), "intrinsics": path.intrinsics[0].tolist()}
    data = {"format": "portrait_actor.camera.1", "width": IMAGE_SIDE, "height": IMAGE_SIDE, "border": [0, 0, 8, 8]}
    return json.dumps({**data, "frames": [entry]}).encode()


def model_tensors() -> dict[str, torch.Tensor]:
    """Return the stored tensors of a portrait with 12 Gaussians."""
    portrait = Portrait(PortraitSize(12, facial_members=6, oral_members=6))
    with torch.no_grad():
        portrait.means.copy_(torch.linspace(-0.05, 0.05, 36).view(12, 3))
        portrait.log_scales.fill_(-4.5)
    return {name: value.contiguous() for name, value in pack_state(dict(portrait.state_dict())).items()}


def model_bytes(state: dict[str, torch.Tensor], size: object = None) -> bytes:
    """Return a `model.safetensors` with this state."""
    sizes = asdict(PortraitSize(12, facial_members=6, oral_members=6)) if size is None else size
    return save_torch(state, metadata={"version": str(MODEL_VERSION), "size": json.dumps(sizes)})


def speech_arrays() -> dict[str, Any]:
    """Return the arrays of `speech.safetensors`."""
    lengths = {"D": context_window_size(0), "P": 0, "C": 0}
    shapes = {
        name: [lengths.get(str(n), n if isinstance(n, int) else 2) for n in s] for name, s in SPEECH_LAYOUT.items()
    }
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def speech_bytes(arrays: dict[str, Any]) -> bytes:
    """Return a `speech.safetensors` with these arrays."""
    return save_numpy(arrays, metadata={SPEECH_VERSION_KEY: str(SPEECH_VERSION)})


def audio_bytes() -> bytes:
    """Return a tone of a tenth of a second as WAV."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes((8000 * np.sin(np.arange(1600) / 8)).astype("<i2").tobytes())
    return file.getvalue()


def video_bytes(timestamps_ms: Sequence[int] = (0, 40, 80)) -> bytes:
    """Return a video of small frames at these times."""
    file = io.BytesIO()
    with av.open(file, "w", "matroska") as out:
        stream = out.add_stream("mpeg4", 25, width=32, height=32)
        frames = [av.VideoFrame.from_ndarray(np.full((32, 32, 3), 60 * i, np.uint8)) for i in range(len(timestamps_ms))]
        packets = [packet for frame in [*frames, None] for packet in stream.encode(frame)]
        for packet, stamp in zip(packets, timestamps_ms, strict=True):
            packet.pts = packet.dts = stamp
            packet.time_base = Fraction(1, 1000)
            out.mux(packet)
    return file.getvalue()


def landmarker_bytes() -> bytes:
    """Return a zip like the file of a face landmarker."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        out.writestr(BLENDSHAPE_MODEL_FILE, b"model")
    return file.getvalue()


def jpeg_bytes() -> bytes:
    """Return a gray crop as JPEG."""
    return bytes(cv2.imencode(".jpg", np.full((IMAGE_SIDE, IMAGE_SIDE, 3), 90, np.uint8))[1])


def request_bytes() -> bytes:
    """Return the protocol line of a preview request."""
    rotation, translation = [1.0, 0, 0, 0], [0.0, 0, 0]
    data = {"head_rotation": rotation, "head_translation": translation, "channels": [0.0] * 52, "view": VIEW.tolist()}
    data |= {
        "intrinsics": [70, 70, 8, 8],
        "width": IMAGE_SIDE,
        "height": IMAGE_SIDE,
        "frame": 4,
        "footage": 1,
        "cut_out": True,
    }
    return protocol.encode_message(Request("1", "frame", data)).encode()


def load_and_render(folder: ActorFolder) -> None:
    """Load the model and render it: a damaged file must not crash the compiled kernels either."""
    portrait = Portrait.load(folder, CPU)
    assert INFO.camera is not None
    camera = CameraView.from_path(footage_camera_path(INFO.camera, IMAGE_SIDE), 0, CPU)
    one, zero = torch.tensor([1.0, 0, 0, 0]), torch.zeros(3)
    with torch.inference_mode():
        portrait.render(Pose(one, zero, one, zero, torch.full((52,), 0.5)), camera)


def read_messages(path: Path) -> None:
    """Read every line of a conversation as both sides do."""
    pieces = iter([path.read_bytes(), b""])
    for line in protocol.split_lines(lambda: next(pieces)):
        try:
            message = protocol.decode_message(line.decode("utf-8", "replace"))
        except ValueError:
            continue
        if isinstance(message, Request):
            PreviewRequest.from_request(message, actor_folder(path))


def actor_folder(path: Path) -> ActorFolder:
    """Return the actor that the file belongs to."""
    return ActorFolder(path.parent if path.parent.name not in ("frames", "mattes") else path.parent.parent, INFO)


def matte_bytes() -> bytes:
    """Return a matte in which every channel is 1 everywhere."""
    return encode_png_fast(np.full((IMAGE_SIDE, IMAGE_SIDE, 4), 255, np.uint8))


def info_bytes() -> bytes:
    """Return an `actor.json`."""
    return json.dumps({"format_version": 1, **asdict(INFO)}).encode()


READERS = {
    "actor": Reader("actor.json", info_bytes, lambda p: ActorFolder.open(p.parent)),
    "camera": Reader("camera.json", camera_bytes, CameraPath.load),
    "proxy": Reader("proxy.npz", lambda: npz_bytes(proxy_arrays()), lambda p: actor_folder(p).load_proxy()),
    "performance": Reader("footage.npz", lambda: npz_bytes(performance_arrays()), Performance.load),
    "tracking": Reader(
        "tracking.npz",
        lambda: npz_bytes(arrays_from_layout(dict(TRACKING_LAYOUT))),
        lambda p: TrackingData.load(actor_folder(p)),
    ),
    "scan": Reader(
        "scan.npz",
        lambda: npz_bytes(arrays_from_layout(dict(SCAN_LAYOUT))),
        lambda p: actor_folder(p).load_arrays(p.name, SCAN_LAYOUT),
    ),
    "sources": Reader(
        "landmarker.npz",
        lambda: npz_bytes({n: np.zeros((4, 52)) for n in ("fitted", "scores")}),
        lambda p: compare_sources(actor_folder(p)),
    ),
    "truth": Reader("clip.truth.npz", lambda: npz_bytes(ground_truth_arrays()), GroundTruth.load),
    "features": Reader(
        "features.npz",
        lambda: npz_bytes({"features": np.ones((50, 4), np.float32)}),
        lambda p: load_external_features(p, 1.0, 100, 100),
    ),
    "model": Reader(
        "model.safetensors", lambda: model_bytes(model_tensors()), lambda p: load_and_render(actor_folder(p))
    ),
    "speech": Reader(
        "speech.safetensors", lambda: speech_bytes(speech_arrays()), lambda p: SpeechModel.load(actor_folder(p))
    ),
    "frame": Reader("frames/000000.jpg", jpeg_bytes, lambda p: FrameStore(actor_folder(p)).read_frame(0)),
    "matte": Reader("mattes/000000.png", matte_bytes, lambda p: FrameStore(actor_folder(p)).read_matte(0)),
    "capture": Reader("capture.csv", capture_bytes, read_live_link),
    "ledger": Reader(
        ".jane.exr.jsonl", lambda: b'\n{"file": "a_0001.exr", "inputs": "b"}', lambda p: FrameCache(p).fingerprints
    ),
    "landmarker": Reader("face_landmarker.task", landmarker_bytes, open_landmarker),
    "messages": Reader("said.jsonl", request_bytes, read_messages),
    "sound": Reader("line.wav", audio_bytes, load_audio),
    "video": Reader("clip.mkv", video_bytes, probe_video),
}


def write_valid_file(reader: Reader, folder: Path) -> Path:
    """Write a valid file in an otherwise valid actor and return its path."""
    path = folder / reader.file
    path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "actor.json").write_bytes(info_bytes())
    path.write_bytes(reader.make_valid_bytes())
    return path


def read_or_error(reader: Reader, path: Path) -> object:
    """Return what is read, or the UserError; any other exception fails the test."""
    try:
        return reader.read(path)
    except errors.UserError as error:
        assert error.message and error.remedy, f"{error.code} has no text"
        return error


def assert_refused(reader: Reader, path: Path, data: bytes) -> UserError:
    """Return the error with which the reader refuses these bytes."""
    path.write_bytes(data)
    found = read_or_error(reader, path)
    assert isinstance(found, UserError), f"{reader.file} was not refused"
    return found
