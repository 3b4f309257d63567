"""A performance: what the actor does, frame by frame. A plain table in one `.npz`; numpy only, so Blender reads it too.

Poses are given in *actor space*: right-handed, metres, x to the actor's left, y up, z to the front. Actor space is
head space at the rest pose (origin between the outer eye corners, projected into the head). A pose (q, t) moves a rest
point: ``p_actor = R(q) p_rest + t``; the identity is the rest pose, and head and torso are both given in actor space
(not relative to each other), so either can be read on its own.
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

MAX_FRAMES = 1_000_000
MAX_FPS = 1000.0  # frames per second
MAX_QUATERNION_NORM_ERROR = 1e-2  # by which the length of a rotation's quaternion may differ from 1
POSE_FIELDS = ("head_rotation", "head_translation", "torso_rotation", "torso_translation")  # fields of a performance


@dataclass
class Performance:
    """T frames of head, torso and channels.

    Attributes:
        fps: frames per second, > 0.
        frames: (T,) int frame numbers, increasing.
        head_rotation, torso_rotation: (T, 4) unit quaternions wxyz, rest → actor space.
        head_translation, torso_translation: (T, 3) metres.
        channels: (T, 52) in 0–1, columns in the order of `channels.CHANNELS`.
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
        """`count` frames of the rest pose with every channel at 0."""
        turn = np.tile(np.array([1, 0, 0, 0], np.float32), (count, 1))
        zero = np.zeros((count, 3), np.float32)
        frames = np.arange(first_frame, first_frame + count, dtype=np.int64)
        return cls(fps, frames, turn, zero, turn.copy(), zero.copy(), np.zeros((count, len(CHANNELS)), np.float32))

    def check(self, source: str = "performance") -> Performance:
        """The performance itself when it is sound.

        Raises:
            UserError: a column has the wrong shape, holds NaN, or a quaternion is not of unit length.
        """
        count = self.frames.size
        shapes = {
            "frames": (count,),
            "head_rotation": (count, 4), "head_translation": (count, 3),
            "torso_rotation": (count, 4), "torso_translation": (count, 3),
            "channels": (count, len(CHANNELS)),
        }  # fmt: skip
        problem = ""
        if not 0 < self.fps <= MAX_FPS:
            problem = f"its frame rate is {self.fps}"
        elif not 0 < count <= MAX_FRAMES:
            problem = f"it has {count} frames"
        elif tuple(self.names) != CHANNELS:
            problem = "its channel names are not the 52 of this version"
        for name, shape in shapes.items():
            value = getattr(self, name)
            if problem:
                break
            if value.shape != shape:
                problem = f"{name} has shape {value.shape} instead of {shape}"
            elif not np.isfinite(value).all():
                problem = f"{name} holds values that are not numbers"
            elif (
                name.endswith("rotation")
                and np.abs(np.linalg.norm(value, axis=1) - 1).max() > MAX_QUATERNION_NORM_ERROR
            ):
                problem = f"{name} holds quaternions that are not of unit length"
        if not problem and np.any(np.diff(self.frames) <= 0):
            problem = "its frame numbers do not increase"
        if problem:
            raise UserError(
                "bad_performance", f"The performance {source} cannot be used: {problem}.", "Export it again."
            )
        self.channels = np.clip(self.channels, 0, 1.5)
        return self

    def save(self, path: Path) -> None:
        """Writes `path` (.npz).

        Raises:
            UserError: the disk is full or the folder cannot be written.
        """
        with write_atomically(path) as part, part.open("wb") as file:
            np.savez_compressed(
                file, format=np.array("portrait_actor.performance.1"), fps=np.float64(self.fps), frames=self.frames,
                head_rotation=self.head_rotation, head_translation=self.head_translation,
                torso_rotation=self.torso_rotation, torso_translation=self.torso_translation,
                channels=self.channels, names=np.array(self.names),
            )  # fmt: skip

    @classmethod
    def load(cls, path: Path) -> Performance:
        """Reads a `.npz` that `save` wrote.

        Raises:
            UserError: the file is missing, damaged, or not a performance.
        """
        try:
            table = read_arrays(path, (*POSE_FIELDS, "channels", "names", "fps", "frames", "format"))
            if str(table["format"]) != "portrait_actor.performance.1":
                raise ValueError("unknown format")
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which `check` refuses
                column = {k: np.asarray(table[k], np.float32) for k in (*POSE_FIELDS, "channels")}
            names = tuple(str(n) for n in table["names"])
            fps, frames = float(table["fps"].item()), table["frames"]
            if frames.dtype.kind not in "iu":
                raise ValueError("frame numbers that are not whole")
        except FileNotFoundError as error:
            raise UserError("missing_file", f"There is no performance at {path}.", "Choose another file.") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                "bad_performance", f"{path.name} is not a readable performance.", "Export or speak it again."
            ) from error
        return cls(fps=fps, frames=frames.astype(np.int64), names=names, **column).check(path.name)
