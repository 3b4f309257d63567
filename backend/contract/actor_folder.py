"""The actor folder on disk (`jane.actor/`): open, check, write. numpy only, so that Blender reads it as well.

    actor.json        what the actor is: this module's `ActorInfo`
    audio.wav         the clip's sound, 16 kHz mono (absent when the clip has none)
    frames/           the square crops that training sees, 000000.jpg …
    mattes/           soft alphas of those crops, 000000.png …: R person, G head, B mouth interior
    plate.png         the background without the person
    tracking.npz      landmarks, poses and channels per used frame
    proxy.npz         the face mesh that Blender shows: see `Proxy`
    footage.npz       the footage's own performance
    landmarker.npz    channels of the own fit and of the face landmarker that was provided, to compare (else absent)
    overlay.mp4       the crops with what tracking and matting found drawn over them, and the clip's sound
    report.html       one page to read; needs nothing but itself, and overlay.mp4 when the clip is long
    model.safetensors, speech.safetensors, checkpoints/ (while it is trained)

Every file is written under a temporary name and renamed. `actor.json` lists the stages that are complete with the
fingerprint of what went in, so a crashed run goes on where it stopped; `complete` is set last of all.
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
from .performance import MAX_FPS, MAX_FRAMES, MAX_QUATERNION_NORM_ERROR, Performance
from .safe_io import ArrayLayout, has_valid_fields, matches_layout, matches_type, read_arrays, read_json

FORMAT_VERSION = 1
ACTOR_SUFFIX = ".actor"
MAX_FOOTAGE_SIDE = 65536  # pixels of footage
MAX_CROP_SIDE = 4096  # pixels of what is kept of it
MAX_INFO_BYTES = 16 * 2**20  # bytes of actor.json


@dataclass
class FootageCamera:
    """The footage's camera, OpenCV convention: x right, y down, z forward; pixel centres at +0.5.

    Attributes:
        width, height: the whole footage frame in pixels, upright (rotation metadata applied).
        focal: focal length in pixels of that frame; pixels are square and the principal point is the frame's centre.
        world_to_camera: 4×4, actor space → camera; row-major nested lists.
        crop: x, y, side in footage pixels of the square that training sees.
    """

    width: int
    height: int
    focal: float
    world_to_camera: list[list[float]]
    crop: tuple[float, float, float]

    def is_valid(self) -> bool:
        """Whether a picture can be seen through it."""
        view = self.view()
        sides = (self.width, self.height, self.crop[2])
        return view.shape == (4, 4) and self.focal > 0 and all(0 < side <= MAX_FOOTAGE_SIDE for side in sides)

    def view(self) -> F64:
        """(4, 4) actor space → OpenCV camera."""
        return np.asarray(self.world_to_camera, np.float64)

    def intrinsics(self) -> F64:
        """(3, 3) intrinsics of the whole footage frame, pixels."""
        return np.array([[self.focal, 0, self.width / 2], [0, self.focal, self.height / 2], [0, 0, 1]], np.float64)

    def crop_intrinsics(self, size: int) -> F64:
        """(3, 3) intrinsics of the crop when it is resized to `size`×`size` pixels."""
        x, y, side = self.crop
        scale = size / side
        k = self.intrinsics()
        k[0, 2] -= x
        k[1, 2] -= y
        k[:2] *= scale
        return k


@dataclass
class ActorInfo:
    """Everything in `actor.json`.

    Attributes:
        name: what the artist calls the actor.
        preset: "draft", "standard" or "final" (or "tiny", for tests).
        size: side of the training crops in pixels.
        fps: frames per second of the used footage.
        frame_count: how many footage frames are used (= rows of tracking.npz and footage.npz).
        segments: [first, last] source frames (inclusive) that are used.
        excluded: [first, last, reason] of source frames (inclusive) that the portrait is not trained on, in their
            order; those inside a segment are tracked all the same. Empty in actors of earlier versions.
        camera: the footage's camera.
        channel_ranges: measured [low, high] per channel name; channels not listed could not be measured.
        channel_report: per channel name "measured", "weak" or "not measurable"; empty in actors of earlier versions,
            whose `channel_ranges` tell what was measured.
        has_audio: whether audio.wav exists (an actor without it cannot learn to speak).
        source: {"name", "sha256", "bytes"} of the footage, and once it was looked at {"frames", "width", "height"}.
        consent: {"who", "statement", "date"}: who is shown and with whose consent.
        notes: plain statements about what was left out, for the person.
        stages: finished stage → fingerprint of its inputs.
        figures: what was measured on the way, for the report.
        complete: all stages are done: the actor can be used.
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
        """Whether every field holds what it should, within its range."""
        stretches: list[Any] = [*self.segments, *(stretch[:2] for stretch in self.excluded)]
        counts = [self.source.get(name, 0) for name in ("bytes", "frames", "width", "height")]
        return (
            has_valid_fields(self)
            and 0 < self.fps <= MAX_FPS
            and 0 < self.size <= MAX_CROP_SIDE
            and 0 <= self.frame_count <= MAX_FRAMES
            and all(len(s) == 2 and matches_type(s, list[int]) and 0 <= s[0] <= s[1] for s in stretches)
            and all(len(stretch) == 3 and isinstance(stretch[2], str) for stretch in self.excluded)
            and all(len(span) == 2 for span in self.channel_ranges.values())
            and matches_type(counts, list[int])
            and matches_type(self.figures.get("seconds", {}), dict[str, float])
        )


RENDER_FILES = ("actor.json", "model.safetensors", "plate.png", "proxy.npz", "footage.npz")  # what a farm needs of it


@dataclass
class Proxy:
    """The face mesh that an animator sees, in rest pose and actor space.

    Attributes:
        vertices: (V, 3) float32, metres.
        faces: (F, 3) int32, counter-clockwise seen from outside.
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
# Landmarks in pixels of the crop; intrinsics of the crop; view: actor space → camera; poses and channels as in a
# performance; the rig's neutral face and shapes, metres; reprojection: RMS distance per frame, pixels.
TRACKING_LAYOUT: ArrayLayout = {
    "landmarks": ("T", 478, 2), "intrinsics": (3, 3), "view": (4, 4),
    "head_rotation": ("T", 4), "head_translation": ("T", 3), "torso_rotation": ("T", 4), "torso_translation": ("T", 3),
    "channels": ("T", len(CHANNELS)), "neutral": (478, 3), "shapes": (len(CHANNELS), 478, 3), "reprojection": ("T",),
}  # fmt: skip


class ActorFolder:
    """One actor on disk. Opening checks it; nothing is changed by reading."""

    def __init__(self, path: Path, info: ActorInfo) -> None:
        self.path, self.info = path, info

    @classmethod
    def create(cls, path: Path, info: ActorInfo) -> ActorFolder:
        """A new folder, or the unfinished one that is there already.

        Raises:
            UserError: the place cannot be written, or holds something that is not an actor.
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
        """The actor at `path`.

        Raises:
            UserError: missing, damaged, of a newer format, or (when asked) not finished.
        """
        file = path / "actor.json"
        try:
            check_no_foreign_links(path)
            data = read_json(file, MAX_INFO_BYTES)
            version = data.pop("format_version")
            if not matches_type(version, int) or version < 1:
                raise ValueError("format_version")
            if version > FORMAT_VERSION:
                raise UserError(
                    "newer_format",
                    f"{path.name} was made by a newer Portrait Actor (format {version}).",
                    "Update the extension to open it.",
                )
            camera = data.pop("camera")
            known = {k: v for k, v in data.items() if k in ActorInfo.__dataclass_fields__}
            info = ActorInfo(**known)
            if not info.is_valid():
                raise ValueError("a field has the wrong type or range")
            if camera is not None:
                info.camera = FootageCamera(**{**camera, "crop": tuple(camera["crop"])})
                if not has_valid_fields(info.camera) or not info.camera.is_valid():
                    raise ValueError("camera")
        except UserError:
            raise
        except FileNotFoundError as error:
            raise UserError(
                "no_actor", f"There is no actor at {path}.", "Create it first, or choose its folder."
            ) from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise UserError(
                "damaged_actor", f"{file} is damaged.", "Restore it from a backup or create the actor again."
            ) from error
        if must_be_complete and not info.complete:
            raise UserError(
                "unfinished_actor",
                f"{path.name} is not finished.",
                "Run Create Actor again: it goes on where it stopped.",
            )
        return cls(path, info)

    def file_path(self, name: str) -> Path:
        """Where the file `name` of this actor is."""
        return self.path / name

    def save(self) -> None:
        """Writes `actor.json`."""
        with self.write_atomically("actor.json") as part:
            text = json.dumps({"format_version": FORMAT_VERSION, **asdict(self.info)}, indent=1, ensure_ascii=False)
            part.write_text(text, encoding="utf-8")

    def make_folder(self, name: str) -> None:
        """Makes the folder `name` in it; the actor's own is not made again when it was moved away.

        Raises:
            UserError: it cannot be made.
        """
        try:
            self.file_path(name).mkdir(exist_ok=True)
        except OSError as error:
            raise error_from_failed_write(self.file_path(name), error) from error

    @contextmanager
    def write_atomically(self, name: str) -> Iterator[Path]:
        """A temporary path that takes the place of file `name` when the block ends well.

        Raises:
            UserError: the disk is full or the folder cannot be written.
        """
        with write_atomically(self.path / name) as part:
            yield part

    def is_stage_done(self, stage: str, fingerprint: str) -> bool:
        """Whether `stage` was finished with the same inputs."""
        return self.info.stages.get(stage) == fingerprint

    def mark_stage_done(self, stage: str, fingerprint: str) -> None:
        """Records that `stage` is finished."""
        self.info.stages[stage] = fingerprint
        self.save()

    def load_arrays(self, name: str, layout: ArrayLayout) -> dict[str, NDArray[Any]]:
        """The arrays of the `.npz` file `name` that `layout` asks for.

        Raises:
            UserError: missing, damaged, or of another layout.
        """
        try:
            table = read_arrays(self.path / name, layout)
        except (OSError, ValueError) as error:
            raise damaged_file_error(self.path / name) from error
        if not matches_layout(table, layout):
            raise damaged_file_error(self.path / name)
        return table

    def save_arrays(self, name: str, **arrays: NDArray[Any]) -> None:
        """Writes the arrays as the `.npz` file `name`."""
        with self.write_atomically(name) as part, part.open("wb") as file:
            np.savez_compressed(file, **arrays)  # type: ignore[arg-type]

    def load_proxy(self) -> Proxy:
        """The face mesh for Blender, checked.

        Raises:
            UserError: missing or damaged.
        """
        table = self.load_arrays("proxy.npz", PROXY_LAYOUT)
        faces, count = table["faces"], len(table["vertices"])
        whole = faces.dtype.kind == "i" and faces.size > 0
        if not whole or not 0 <= int(faces.min()) <= int(faces.max()) < count:
            raise damaged_file_error(self.path / "proxy.npz")
        vertices, shapes, colors, weight = (
            table[name].astype(np.float32) for name in ("vertices", "shapes", "colors", "head_weight")
        )
        return Proxy(vertices, faces.astype(np.int32), shapes, colors, weight)

    def load_tracking(self) -> dict[str, NDArray[Any]]:
        """The arrays of `tracking.npz`, checked: see `TRACKING`.

        Raises:
            UserError: missing or damaged.
        """
        table = self.load_arrays("tracking.npz", TRACKING_LAYOUT)
        turns = np.concatenate([table["head_rotation"], table["torso_rotation"]])
        if not len(turns) or np.abs(np.linalg.norm(turns, axis=1) - 1).max() > MAX_QUATERNION_NORM_ERROR:
            raise damaged_file_error(self.path / "tracking.npz")
        return table

    def load_footage_performance(self) -> Performance:
        """The footage's own performance."""
        return Performance.load(self.path / "footage.npz")


def check_no_foreign_links(folder: Path) -> None:
    """Passes when all that an actor's folder holds lies in it. What a link leads to would be read, and copied to a
    farm, as if it were the actor's. The folder itself may be a link.

    Raises:
        UserError: it holds a link that leads out. OSError: it cannot be read, or holds something else than files.
    """
    home = folder.resolve()
    with os.scandir(folder) as entries:
        for entry in entries:
            if not Path(entry).resolve().is_relative_to(home):
                raise foreign_link_error(Path(entry))
            if not (entry.is_file() or entry.is_dir()):
                raise OSError(f"{entry.path} is neither file nor folder")


def foreign_link_error(file: Path) -> UserError:
    """The error for a link within an actor's folder."""
    return UserError(
        "foreign_link",
        f"{file} is a link to something outside of the actor's folder.",
        "Put what it leads to in its place, or link the whole folder.",
    )


def damaged_file_error(file: Path) -> UserError:
    """The error for a file of an actor that is missing or cannot be read."""
    return UserError(
        "damaged_actor", f"{file} is missing or damaged.", "Restore it from a backup or create the actor again."
    )


def fingerprint(*parts: object) -> str:
    """A short hash over values that a stage depends on; stable between runs."""
    return hashlib.sha256(json.dumps([str(p) for p in parts]).encode()).hexdigest()[:16]
