"""A performance: the actor's poses and channels frame by frame, a table in one `.npz`. Needs only numpy.

Poses are in *actor space*: right-handed, metres, x to the actor's left, y up, z to the front. Actor space is head space
in the rest pose (origin between the outer eye corners, projected into the head). A pose (q, t) moves a rest point to
``p_actor = R(q) p_rest + t``; the identity is the rest pose. Head and torso are both relative to actor space, not to
each other.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .arrays import F32, I64
from .atomic_write import write_atomically
from .channels import CHANNELS
from .errors import UserError
from .safe_io import read_arrays

PERFORMANCE_FORMAT = "portrait_actor.performance.1"
MAX_FRAMES = 1_000_000  # limit for files that may be damaged or hostile
MAX_FPS = 1000.0  # frames per second, likewise
MAX_QUATERNION_NORM_ERROR = 1e-2  # | |q| − 1 |; allows for float32 and files written with few digits
MAX_CHANNEL_VALUE = 1.5  # animators may exaggerate beyond 1; larger values would tear the face; not tuned
POSE_FIELDS = ("head_rotation", "head_translation", "torso_rotation", "torso_translation")  # fields of `Performance`


@dataclass
class Performance:
    """T frames of head pose, torso pose and channels.

    Attributes:
        fps: frames per second, > 0.
        frames: (T,) int frame numbers, increasing.
        head_rotation: (T, 4) unit quaternions wxyz, rest → actor space.
        head_translation: (T, 3) metres.
        torso_rotation: (T, 4) unit quaternions wxyz, rest → actor space.
        torso_translation: (T, 3) metres.
        channels: (T, 52) in 0–1, columns in the order of `CHANNELS`.
        names: the names of those columns.
    """

    fps: float
    frames: I64
    head_rotation: F32
    head_translation: F32
    torso_rotation: F32
    torso_translation: F32
    channels: F32
    names: tuple[str, ...] = field(default=CHANNELS)

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def rest_pose(cls, count: int, fps: float, first_frame: int = 0) -> Performance:
        """Return `count` frames of the rest pose with all channels at 0."""
        rotation = np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1))
        translation = np.zeros((count, 3), np.float32)
        frames = np.arange(first_frame, first_frame + count, dtype=np.int64)
        channels = np.zeros((count, len(CHANNELS)), np.float32)
        return cls(fps, frames, rotation, translation, rotation.copy(), translation.copy(), channels)

    def check(self, source: str = "performance") -> Performance:
        """Return the performance itself when it is valid; channels are clipped to 0–`MAX_CHANNEL_VALUE`.

        Args:
            source: its name in the error.

        Raises:
            UserError: bad_performance, with what is wrong.
        """
        if problem := self._find_problem():
            raise UserError(
                "bad_performance", f"The performance {source} cannot be used: {problem}.", "Export it again."
            )
        self.channels = np.clip(self.channels, 0, MAX_CHANNEL_VALUE)
        return self

    def _find_problem(self) -> str:
        """Return what makes the performance unusable, or an empty string."""
        count = self.frames.size
        if not 0 < self.fps <= MAX_FPS:
            return f"its frame rate is {self.fps}, not above 0 and at most {MAX_FPS:g}"
        if not 0 < count <= MAX_FRAMES:
            return f"it has {count} frames, not 1 to {MAX_FRAMES}"
        if tuple(self.names) != CHANNELS:
            return f"its channel names are not the {len(CHANNELS)} of this version"
        shapes = {
            "frames": (count,),
            "head_rotation": (count, 4), "head_translation": (count, 3),
            "torso_rotation": (count, 4), "torso_translation": (count, 3),
            "channels": (count, len(CHANNELS)),
        }  # fmt: skip
        for name, shape in shapes.items():
            values = getattr(self, name)
            if values.shape != shape:
                return f"{name} has the shape {values.shape} instead of {shape}"
            if not np.isfinite(values).all():
                return f"{name} contains values that are not finite numbers"
            if name.endswith("rotation") and _max_norm_error(values) > MAX_QUATERNION_NORM_ERROR:
                return f"{name} contains quaternions that are not of unit length"
        return "its frame numbers do not increase" if np.any(np.diff(self.frames) <= 0) else ""

    def save(self, path: Path) -> None:
        """Write `path` (.npz).

        Raises:
            UserError: the disk is full or the folder cannot be written.
        """
        with write_atomically(path) as part, part.open("wb") as file:
            np.savez_compressed(
                file, format=np.array(PERFORMANCE_FORMAT), fps=np.float64(self.fps), frames=self.frames,
                head_rotation=self.head_rotation, head_translation=self.head_translation,
                torso_rotation=self.torso_rotation, torso_translation=self.torso_translation,
                channels=self.channels, names=np.array(self.names),
            )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Performance:
        """Read and check a `.npz` that `save` wrote.

        Raises:
            UserError: the file is missing, damaged or not a performance.
        """
        try:
            table = read_arrays(path, (*POSE_FIELDS, "channels", "names", "fps", "frames", "format"))
            if str(table["format"]) != PERFORMANCE_FORMAT:
                raise ValueError("unknown format")
            with np.errstate(over="ignore"):  # values too large for float32 become infinite, which `check` refuses
                columns = {name: np.asarray(table[name], np.float32) for name in (*POSE_FIELDS, "channels")}
            names = tuple(str(name) for name in table["names"])
            fps, frames = float(table["fps"].item()), table["frames"]
            if frames.dtype.kind not in "iu":
                raise ValueError("frame numbers are not integers")
        except FileNotFoundError as error:
            raise UserError("missing_file", f"There is no performance at {path}.", "Choose another file.") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                "bad_performance", f"{path.name} is not a readable performance.", "Export or speak it again."
            ) from error
        return cls(fps=fps, frames=frames.astype(np.int64), names=names, **columns).check(path.name)


def _max_norm_error(quaternions: F32) -> float:
    return float(np.abs(np.linalg.norm(quaternions, axis=1) - 1).max())
