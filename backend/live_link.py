"""Live Link Face `.csv`: performances captured with ARKit, read and written. numpy only, so Blender reads it too.

A file has a header `Timecode,BlendshapeCount,EyeBlinkLeft,…,TongueOut,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,…`, then
a row for each captured frame. Blend shapes are 0–1 under ARKit's names, timecodes are `HH:MM:SS:FF.fff` with frames of
the capture's rate, and head angles are radians: yaw about the vertical axis, pitch about the axis from ear to ear, roll
about the one that the nose points along. Phones held sideways, and other programs, count some angles the other way
round: `signs` turns them.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .channels import CHANNELS, FACIAL, INDEX, ORAL
from .geometry import matrix_from_quaternion, quaternion_from_turns, yaw_pitch_roll
from .performance import MAX_FRAMES, Performance
from .protocol import UserError
from .whole_file import replacing

F64 = NDArray[np.float64]

# ARKit's order, which the app writes; files are read by their header, in any order.
EYE = ("eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide")
ORDER = (
    *(f"{name}{side}" for side in ("Left", "Right") for name in EYE),
    *ORAL[:-1],
    *(name for name in FACIAL if not name.startswith("eye")),
    ORAL[-1],
)
SHAPES = tuple(name[0].upper() + name[1:] for name in ORDER)
HEAD = ("HeadYaw", "HeadPitch", "HeadRoll")
EYES = tuple(f"{side}Eye{angle}" for side in ("Left", "Right") for angle in ("Yaw", "Pitch", "Roll"))
RATES = (24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 120.0)
TIMECODE = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})[:;](\d{1,3}(?:\.\d+)?)")
MOST_BYTES = 512 * 2**20
PIVOT = np.array([0.0, -0.08, -0.09])  # metres from between the eyes to the joint on which a head turns
WIDEST = np.pi  # radians; what is beyond is written in degrees


@dataclass(frozen=True)
class Reading:
    """How a capture becomes a performance.

    Attributes:
        fps: frames per second of the performance; the capture's own when None.
        capture_fps: frames per second that timecodes count; guessed from them when None.
        signs: 1 or −1, of yaw (then + turns to the actor's left), pitch (down) and roll (to the right shoulder).
        neutral: seconds into the capture of a relaxed face that looks straight ahead: its values are taken out.
        head: whether the head moves, else only the face does.
    """

    fps: float | None = None
    capture_fps: float | None = None
    signs: tuple[int, int, int] = (1, 1, 1)
    neutral: float | None = None
    head: bool = True


def read_live_link(path: Path, how: Reading | None = None) -> Performance:
    """The performance in a capture; frame 0 is its first. Frames that the phone left out are interpolated.

    Raises:
        UserError: ``missing_file``, or ``bad_capture`` with what is wrong with it.
    """
    how = how or Reading()
    columns, rows = _table(path)
    shapes = {name.lower(): i for i, name in enumerate(columns)}
    missing = [name for name in CHANNELS if name.lower() not in shapes]
    if len(missing) > len(CHANNELS) // 2:
        raise _bad(path, f"it has {len(CHANNELS) - len(missing)} of ARKit's blend shapes")
    channels = np.stack([_numbers(path, rows, shapes.get(name.lower())) for name in CHANNELS], 1)
    angles = np.stack([_numbers(path, rows, shapes.get(name.lower())) for name in HEAD], 1)
    if np.abs(angles).max(initial=0) > WIDEST:
        raise _bad(path, "its head angles are beyond half a turn, so they are no radians")
    seconds, frames = _clock(path, columns, rows)
    rate = _capture_rate(path, seconds, frames, how.capture_fps)
    times = _times(path, seconds + frames / rate)
    fps = how.fps or rate
    if not 0 < fps <= 1000 or times[-1] * fps >= MAX_FRAMES:
        raise _bad(path, f"at {fps:g} frames per second it is no sensible length")
    at = np.arange(int(np.floor(times[-1] * fps + 1e-6)) + 1) / fps
    channels, angles = (_sampled(at, times, values) for values in (channels, angles))
    if how.neutral is not None:
        still = np.abs(at - how.neutral) <= max(0.1, 0.5 / fps)
        if not still.any():
            raise _bad(path, f"it has no frame at {how.neutral:g} s, where the neutral face should be")
        # what the neutral face already shows is no expression, and the rest of the range is stretched over
        offset = channels[still].mean(0)
        channels = np.clip((channels - offset) / np.maximum(1 - offset, 0.1), 0, None)
        angles = angles - angles[still].mean(0)
    result = Performance.rest(len(at), fps)
    result.channels = np.clip(channels, 0, None).astype(np.float32)
    if how.head:
        turn = quaternion_from_turns(*(angles * how.signs).T)
        result.head_rotation = turn.astype(np.float32)
        result.head_translation = (PIVOT - matrix_from_quaternion(turn) @ PIVOT).astype(np.float32)
    return result.check(path.name)


def write_live_link(performance: Performance, path: Path, signs: tuple[int, int, int] = (1, 1, 1)) -> None:
    """Writes a performance as the app would: the head's turn is that against the torso, eyes' angles are left at zero
    (their gaze is in the EyeLook shapes). Frame rates that are no whole number get timecodes of the next one.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    order = [INDEX[name] for name in ORDER]
    head, torso = (matrix_from_quaternion(q) for q in (performance.head_rotation, performance.torso_rotation))
    angles = np.radians(yaw_pitch_roll(np.swapaxes(torso, -1, -2) @ head)) * signs
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Timecode", "BlendshapeCount", *SHAPES, *HEAD, *EYES])
        count = len(SHAPES) + len(HEAD) + len(EYES)
        for frame, values, turn in zip(performance.frames, performance.channels[:, order], angles, strict=True):
            numbers = [f"{v:.6f}" for v in (*values, *turn, *[0.0] * len(EYES))]
            writer.writerow([_timecode(int(frame), performance.fps), count, *numbers])


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a capture; rows that a crash of the phone cut short are left out at the end."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise _bad(path, "it is larger than half a gigabyte")
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except FileNotFoundError as error:
        raise UserError("missing_file", f"There is no capture at {path}.", "Choose another file.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _bad(path, "it is no readable table") from error
    columns = [name.strip() for name in rows[0]] if rows else []
    body = rows[1:]
    while body and len(body[-1]) < len(columns):
        body.pop()
    if not body or not columns:
        raise _bad(path, "it has no frames")
    if len(body) > MAX_FRAMES or any(len(row) != len(columns) for row in body):
        raise _bad(path, "its rows do not fit its header")
    return columns, body


def _numbers(path: Path, rows: list[list[str]], column: int | None) -> F64:
    """(T,) the values of a column; zeros for one that is not there."""
    if column is None:
        return np.zeros(len(rows))
    try:
        values = np.array([float(row[column] or 0) for row in rows])
    except ValueError as error:
        raise _bad(path, "it holds words where numbers belong") from error
    if not np.isfinite(values).all():
        raise _bad(path, "it holds values that are not numbers")
    return values


def _clock(path: Path, columns: list[str], rows: list[list[str]]) -> tuple[F64, F64]:
    """(T,) whole seconds and (T,) frames of the timecodes."""
    names = [name.lower() for name in columns]
    if "timecode" not in names:
        raise _bad(path, "it has no column Timecode")
    found = [TIMECODE.fullmatch(row[names.index("timecode")].strip()) for row in rows]
    if not all(found):
        raise _bad(path, "its timecodes are not of the form 10:59:36:02.5")
    parts = np.array([[float(part) for part in match.groups()] for match in found if match])
    return parts[:, 0] * 3600 + parts[:, 1] * 60 + parts[:, 2], parts[:, 3]


def _capture_rate(path: Path, seconds: F64, frames: F64, wish: float | None) -> float:
    """What the timecodes' frames (T,) are parts of a second of."""
    if wish is None and len(np.unique(seconds)) < 2:
        raise _bad(path, "it is too short to tell its frame rate, which must be given")
    rate = wish or next((r for r in RATES if r > frames.max()), 0.0)
    if rate <= np.floor(frames.max()):
        raise _bad(path, f"its timecodes count up to {frames.max():.0f} frames a second")
    return rate


def _times(path: Path, clock: F64) -> F64:
    """(T,) increasing seconds from the first frame, of seconds of the day (T,)."""
    times = clock - clock[0]
    times[times < -43200] += 86400  # over midnight
    if (np.diff(times) < 0).any():
        raise _bad(path, "its timecodes run backwards")
    return times


def _sampled(at: F64, times: F64, values: F64) -> F64:
    return np.stack([np.interp(at, times, column) for column in values.T], 1)


def _timecode(frame: int, fps: float) -> str:
    rate = int(np.ceil(fps - 1e-6))
    seconds = frame / fps
    whole = int(np.floor(seconds + 1e-6))
    part = max(0.0, (seconds - whole) * rate)
    minutes, hours = whole // 60, whole // 3600 % 24
    return f"{hours:02d}:{minutes % 60:02d}:{whole % 60:02d}:{part:06.3f}"


def _bad(path: Path, problem: str) -> UserError:
    return UserError(
        "bad_capture", f"The capture {path.name} cannot be used: {problem}.", "Export it from Live Link Face again."
    )
