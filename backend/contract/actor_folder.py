"""The actor folder on disk (`jane.actor/`): open, check and write it. Needs only numpy, so Blender reads it as well.

    actor.json        the actor's properties: this module's `ActorInfo`
    audio.wav         the clip's audio, 16 kHz mono (absent when the clip has none)
    frames/           the square crops used for training, 000000.jpg …
    mattes/           soft alphas of those crops, 000000.png …: R person, G head, B mouth interior
    plate.png         the background without the person
    tracking.npz      landmarks, poses and channels of each used frame
    proxy.npz         the face mesh that Blender shows: see `Proxy`
    footage.npz       the performance in the footage
    landmarker.npz    channels of the blendshape fit and of the user's face landmarker, for comparison (else absent)
    overlay.mp4       the crops with mattes, mesh and axes drawn over them, with the clip's audio
    report.html       a self-contained page; for long clips it plays overlay.mp4 from beside it
    model.safetensors, speech.safetensors, checkpoints/ (during training)

Every file is written under a temporary name and then renamed. `actor.json` lists the completed stages with the
fingerprints of their inputs, so an interrupted run continues where it stopped. `complete` is set last.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import F32, F64, I32
from .atomic_write import error_from_failed_write, write_atomically
from .channels import CHANNELS
from .errors import UserError
from .geometry import intrinsics_matrix
from .performance import MAX_FPS, MAX_FRAMES, MAX_QUATERNION_NORM_ERROR, Performance
from .safe_io import ArrayLayout, has_valid_fields, matches_layout, matches_type, read_arrays, read_json

FORMAT_VERSION = 1
ACTOR_SUFFIX = ".actor"
# Limits for files that may be damaged or hostile, far above what the program writes itself.
MAX_FOOTAGE_SIDE = 65536  # pixels, either side of the footage
MAX_CROP_SIDE = 4096  # pixels, side of a crop
MAX_INFO_BYTES = 16 * 2**20  # size of actor.json


@dataclass
class FootageCamera:
    """The footage's camera, OpenCV convention: x right, y down, z forward; pixel centres at +0.5.

    Attributes:
        width: width of the whole footage frame in pixels, upright (rotation metadata applied).
        height: height of that frame in pixels.
        focal: focal length in pixels of that frame. Pixels are square; the principal point is the frame's centre.
        world_to_camera: 4×4, actor space → camera; row-major nested lists.
        crop: x, y, side of the training crop in footage pixels.
    """

    width: int
    height: int
    focal: float
    world_to_camera: list[list[float]]
    crop: tuple[float, float, float]

    def is_valid(self) -> bool:
        """Whether it can project: a 4×4 view, a focal length above 0 and sides within range."""
        view = self.view()
        sides = (self.width, self.height, self.crop[2])
        return view.shape == (4, 4) and self.focal > 0 and all(0 < side <= MAX_FOOTAGE_SIDE for side in sides)

    def view(self) -> F64:
        """Return the (4, 4) matrix actor space → OpenCV camera."""
        return np.asarray(self.world_to_camera, np.float64)

    def intrinsics(self) -> F64:
        """Return the (3, 3) intrinsics of the whole footage frame in pixels."""
        return intrinsics_matrix(self.focal, self.focal, self.width / 2, self.height / 2)

    def crop_intrinsics(self, size: int) -> F64:
        """Return the (3, 3) intrinsics of the crop when it is resized to `size`×`size` pixels."""
        x, y, side = self.crop
        scale = size / side
        k = self.intrinsics()
        k[0, 2] -= x
        k[1, 2] -= y
        k[:2] *= scale
        return k


@dataclass
class ActorInfo:
    """The content of `actor.json`.

    Attributes:
        name: the actor's name in the interface.
        preset: one of `PRESET_NAMES`.
        size: side of the training crops in pixels.
        fps: frames per second of the used footage.
        frame_count: number of used footage frames (= rows of tracking.npz and footage.npz).
        segments: [first, last] source frames (inclusive) that are used.
        excluded: [first, last, reason] of source frames (inclusive) that training does not use, in order. Those inside
            a segment are tracked nevertheless. Empty in actors of earlier versions.
        camera: the footage's camera.
        channel_ranges: measured [low, high] per channel name; a missing channel could not be measured.
        channel_report: "measured", "weak" or "not measurable" per channel name. Empty in actors of earlier versions,
            whose measured channels are those in `channel_ranges`.
        has_audio: whether audio.wav exists (an actor without it cannot learn to speak).
        source: {"name", "sha256", "bytes"} of the footage, and after the scan {"frames", "width", "height"}.
        consent: {"who", "statement", "date"}: the person in the footage and their consent.
        notes: statements for the user about what was left out.
        stages: completed stage → fingerprint of its inputs.
        figures: measurements of the stages, for the report.
        complete: whether all stages are done, so that the actor can be used.
    """

    name: str = ""
    preset: str = "draft"
    size: int = 256
    fps: float = 25.0
    frame_count: int = 0
    segments: list[list[int]] = field(default_factory=list)
    excluded: list[list[int | str]] = field(default_factory=list)
    camera: FootageCamera | None = None
    channel_ranges: dict[str, list[float]] = field(default_factory=dict)
    channel_report: dict[str, str] = field(default_factory=dict)
    has_audio: bool = False
    source: dict[str, Any] = field(default_factory=dict)
    consent: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stages: dict[str, str] = field(default_factory=dict)
    figures: dict[str, Any] = field(default_factory=dict)
    complete: bool = False

    def is_valid(self) -> bool:
        """Whether every field has the right type and a value within its range."""
        spans: list[Any] = [*self.segments, *(entry[:2] for entry in self.excluded)]
        counts = [self.source.get(name, 0) for name in ("bytes", "frames", "width", "height")]
        return (
            has_valid_fields(self)
            and 0 < self.fps <= MAX_FPS
            and 0 < self.size <= MAX_CROP_SIDE
            and 0 <= self.frame_count <= MAX_FRAMES
            and all(len(span) == 2 and matches_type(span, list[int]) and 0 <= span[0] <= span[1] for span in spans)
            and all(len(entry) == 3 and isinstance(entry[2], str) for entry in self.excluded)
            and all(len(limits) == 2 for limits in self.channel_ranges.values())
            and matches_type(counts, list[int])
            and matches_type(self.figures.get("seconds", {}), dict[str, float])
        )


# The files that a render farm needs.
RENDER_FILES = ("actor.json", "model.safetensors", "plate.png", "proxy.npz", "footage.npz")


@dataclass
class Proxy:
    """The face mesh that Blender shows, in rest pose and actor space.

    Attributes:
        vertices: (V, 3) float32, metres.
        faces: (F, 3) int32 vertex indices, counter-clockwise seen from outside.
        shapes: (52, V, 3) float32 offsets of the vertices at channel value 1, in the order of `CHANNELS`.
        colors: (V, 3) float32 display-referred sRGB 0–1, from the footage.
        head_weight: (V,) float32 0–1: how much a vertex follows the head bone; the rest follows the torso.
    """

    vertices: F32
    faces: I32
    shapes: F32
    colors: F32
    head_weight: F32


PROXY_LAYOUT: ArrayLayout = {
    "vertices": ("V", 3), "faces": ("F", 3), "shapes": (len(CHANNELS), "V", 3), "colors": ("V", 3),
    "head_weight": ("V",),
}  # fmt: skip
# landmarks: crop pixels; intrinsics: of the crop; view: actor space → camera; poses and channels as in a performance;
# neutral, shapes: the rig's neutral face and blend shapes in metres; reprojection: RMS error per frame in pixels.
TRACKING_LAYOUT: ArrayLayout = {
    "landmarks": ("T", 478, 2), "intrinsics": (3, 3), "view": (4, 4),
    "head_rotation": ("T", 4), "head_translation": ("T", 3), "torso_rotation": ("T", 4), "torso_translation": ("T", 3),
    "channels": ("T", len(CHANNELS)), "neutral": (478, 3), "shapes": (len(CHANNELS), 478, 3), "reprojection": ("T",),
}  # fmt: skip


class ActorFolder:
    """One actor on disk. `open` checks it; reading changes nothing."""

    def __init__(self, path: Path, info: ActorInfo) -> None:
        self.path, self.info = path, info

    @classmethod
    def create(cls, path: Path, info: ActorInfo) -> ActorFolder:
        """Make a new folder, or take over the unfinished one at `path`.

        Raises:
            UserError: `path` cannot be written, or exists and is not an actor.
        """
        if path.exists() and not (path / "actor.json").exists() and (not path.is_dir() or any(path.iterdir())):
            raise UserError("not_an_actor", f"{path} exists and is not an actor folder.", "Choose another name.")
        try:
            path.mkdir(parents=True, exist_ok=True)
            folder = cls(path, info)
            folder.save()
        except OSError as error:
            raise error_from_failed_write(path, error) from error
        return folder

    @classmethod
    def open(cls, path: Path, *, must_be_complete: bool = True) -> ActorFolder:
        """Open and check the actor at `path`.

        Args:
            path: the actor folder.
            must_be_complete: whether an unfinished actor is an error.

        Raises:
            UserError: it is missing, damaged, of a newer format or unfinished.
        """
        file = path / "actor.json"
        try:
            check_no_foreign_links(path)
            info = _parse_info(read_json(file, MAX_INFO_BYTES), path.name)
        except FileNotFoundError as error:
            raise UserError(
                "no_actor", f"There is no actor at {path}.", "Create it first, or choose its folder."
            ) from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                "damaged_actor", f"{file} is damaged.", "Restore it from a backup or create the actor again."
            ) from error
        if must_be_complete and not info.complete:
            message = f"{path.name} is not finished."
            raise UserError("unfinished_actor", message, "Run Create Actor again: it goes on where it stopped.")
        return cls(path, info)

    def file_path(self, name: str) -> Path:
        """Return the path of the file `name` in the folder."""
        return self.path / name

    def require_camera(self) -> FootageCamera:
        """Return the footage's camera.

        Raises:
            UserError: actor.json has none.
        """
        if self.info.camera is None:
            raise damaged_file_error(self.file_path("actor.json"))
        return self.info.camera

    def save(self) -> None:
        """Write `actor.json`."""
        with self.write_atomically("actor.json") as part:
            text = json.dumps({"format_version": FORMAT_VERSION, **asdict(self.info)}, indent=1, ensure_ascii=False)
            part.write_text(text, encoding="utf-8")

    def make_folder(self, name: str) -> None:
        """Make the subfolder `name`. The actor folder itself must exist: it is not made again after it was moved away.

        Raises:
            UserError: the subfolder cannot be made.
        """
        try:
            self.file_path(name).mkdir(exist_ok=True)
        except OSError as error:
            raise error_from_failed_write(self.file_path(name), error) from error

    @contextmanager
    def write_atomically(self, name: str) -> Iterator[Path]:
        """Yield a temporary path that replaces the file `name` when the block ends without an exception.

        Raises:
            UserError: the disk is full or the folder cannot be written.
        """
        with write_atomically(self.path / name) as part:
            yield part

    def is_stage_done(self, stage: str, fingerprint: str) -> bool:
        """Whether `stage` was completed with the same inputs."""
        return self.info.stages.get(stage) == fingerprint

    def mark_stage_done(self, stage: str, fingerprint: str) -> None:
        """Record that `stage` is complete."""
        self.info.stages[stage] = fingerprint
        self.save()

    def load_arrays(self, name: str, layout: ArrayLayout) -> dict[str, NDArray[Any]]:
        """Load the arrays in `layout` from the `.npz` file `name`.

        Raises:
            UserError: the file is missing, damaged or has another layout.
        """
        try:
            table = read_arrays(self.path / name, layout)
        except (OSError, ValueError) as error:
            raise damaged_file_error(self.path / name) from error
        if not matches_layout(table, layout):
            raise damaged_file_error(self.path / name)
        return table

    def save_arrays(self, name: str, **arrays: NDArray[Any]) -> None:
        """Write the arrays as the `.npz` file `name`."""
        with self.write_atomically(name) as part, part.open("wb") as file:
            np.savez_compressed(file, **arrays)

    def load_proxy(self) -> Proxy:
        """Load and check the face mesh for Blender.

        Raises:
            UserError: the file is missing or damaged.
        """
        table = self.load_arrays("proxy.npz", PROXY_LAYOUT)
        faces, count = table["faces"], len(table["vertices"])
        has_integer_faces = faces.dtype.kind == "i" and faces.size > 0
        if not has_integer_faces or not 0 <= int(faces.min()) <= int(faces.max()) < count:
            raise damaged_file_error(self.path / "proxy.npz")
        vertices, shapes, colors, weight = (
            table[name].astype(np.float32) for name in ("vertices", "shapes", "colors", "head_weight")
        )
        return Proxy(vertices, faces.astype(np.int32), shapes, colors, weight)

    def load_tracking(self) -> dict[str, NDArray[Any]]:
        """Load and check the arrays of `tracking.npz`: see `TRACKING_LAYOUT`.

        Raises:
            UserError: the file is missing or damaged.
        """
        table = self.load_arrays("tracking.npz", TRACKING_LAYOUT)
        rotations = np.concatenate([table["head_rotation"], table["torso_rotation"]])
        if not len(rotations) or np.abs(np.linalg.norm(rotations, axis=1) - 1).max() > MAX_QUATERNION_NORM_ERROR:
            raise damaged_file_error(self.path / "tracking.npz")
        return table

    def load_footage_performance(self) -> Performance:
        """Load the performance in the footage."""
        return Performance.load(self.path / "footage.npz")


def _parse_info(data: dict[str, Any], folder_name: str) -> ActorInfo:
    """Check the content of `actor.json`; unknown keys are ignored."""
    version = data.pop("format_version")
    if not matches_type(version, int) or version < 1:
        raise ValueError("format_version")
    if version > FORMAT_VERSION:
        message = f"{folder_name} was made by a newer Portrait Actor (format {version})."
        raise UserError("newer_format", message, "Update the extension to open it.")
    camera = data.pop("camera")
    info = ActorInfo(**{name: value for name, value in data.items() if name in ActorInfo.__dataclass_fields__})
    if not info.is_valid():
        raise ValueError("a field has the wrong type or range")
    if camera is not None:
        info.camera = FootageCamera(**{**camera, "crop": tuple(camera["crop"])})
        if not has_valid_fields(info.camera) or not info.camera.is_valid():
            raise ValueError("camera")
    return info


def check_no_foreign_links(folder: Path) -> None:
    """Check that nothing in an actor folder links to a file outside it; the folder itself may be a link.

    The target of such a link would be read, and copied to a farm, as if it belonged to the actor.

    Raises:
        UserError: an entry links to something outside the folder.
        OSError: the folder cannot be read, or has an entry that is neither a file nor a folder.
    """
    root = folder.resolve()
    with os.scandir(folder) as entries:
        for entry in entries:
            if not Path(entry).resolve().is_relative_to(root):
                raise foreign_link_error(Path(entry))
            if not (entry.is_file() or entry.is_dir()):
                raise OSError(f"{entry.path} is neither file nor folder")


def foreign_link_error(file: Path) -> UserError:
    """Return the error for a link in an actor folder that leads out of it."""
    return UserError(
        "foreign_link",
        f"{file} is a link to something outside the actor's folder.",
        "Replace the link by a copy of its target, or link the whole folder.",
    )


def damaged_file_error(file: Path) -> UserError:
    """Return the error for an actor's file that is missing or unreadable."""
    return UserError(
        "damaged_actor", f"{file} is missing or damaged.", "Restore it from a backup or create the actor again."
    )


def fingerprint(*parts: object) -> str:
    """Return a short hash of the values that a stage depends on; it is the same in every run."""
    return hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).hexdigest()[:16]
