"""Live Link Face `.csv`: performances captured with ARKit, read and written. numpy only, so Blender reads it too.

A file has a header `Timecode,BlendshapeCount,EyeBlinkLeft,…,TongueOut,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,…`, then
a row for each captured frame. Blend shapes are 0–1 under ARKit's names, timecodes are `HH:MM:SS:FF.fff` with frames of
the capture's rate, and head angles are radians: yaw about the vertical axis, pitch about the axis from ear to ear, roll
about the one that the nose points along. Phones held sideways, and other programs, count some angles the other way
round: `signs` turns them.
"""

from __future__ import annotations

import csv
import io
import re
from array import array
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from .arrays import F64
from .atomic_write import write_atomically
from .channels import CHANNEL_INDEX, CHANNELS, FACIAL_CHANNELS, ORAL_CHANNELS
from .errors import UserError
from .geometry import matrix_from_quaternion, quaternion_from_yaw_pitch_roll, yaw_pitch_roll_degrees
from .performance import MAX_FPS, MAX_FRAMES, Performance
from .safe_io import open_regular_file

# ARKit's order, which the app writes; files are read by their header, in any order.
EYE_CHANNELS = ("eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide")
ARKIT_ORDER = (
    *(f"{name}{side}" for side in ("Left", "Right") for name in EYE_CHANNELS),
    *ORAL_CHANNELS[:-1],
    *(name for name in FACIAL_CHANNELS if not name.startswith("eye")),
    ORAL_CHANNELS[-1],
)
BLEND_SHAPE_COLUMNS = tuple(name[0].upper() + name[1:] for name in ARKIT_ORDER)
HEAD_ANGLE_COLUMNS = ("HeadYaw", "HeadPitch", "HeadRoll")
EYE_ANGLE_COLUMNS = tuple(f"{side}Eye{angle}" for side in ("Left", "Right") for angle in ("Yaw", "Pitch", "Roll"))
COMMON_FPS = (24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 120.0)
TIMECODE_PATTERN = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})[:;](\d{1,3}(?:\.\d+)?)")
MAX_CAPTURE_BYTES = 512 * 2**20
MAX_FRAMES_PER_CAPTURED_FRAME = 1000  # frames of the performance to each of the capture, on average
HEAD_PIVOT = np.array([0.0, -0.08, -0.09])  # metres from between the eyes to the joint on which a head turns
MAX_ANGLE_RADIANS = np.pi  # radians; what is beyond is written in degrees


@dataclass(frozen=True)
class CaptureOptions:
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
    neutral_seconds: float | None = None
    has_head_motion: bool = True


def read_live_link(path: Path, options: CaptureOptions | None = None) -> Performance:
    """The performance in a capture; frame 0 is its first. Frames that the phone left out are interpolated.

    Raises:
        UserError: ``missing_file``, or ``bad_capture`` with what is wrong with it.
    """
    options = options or CaptureOptions()
    values, seconds, frames = _read_table(path)
    channels, angles = values[:, : len(CHANNELS)], values[:, len(CHANNELS) :]
    if np.abs(angles).max(initial=0) > MAX_ANGLE_RADIANS:
        raise _bad_capture_error(path, "its head angles are beyond half a turn, so they are no radians")
    rate = _capture_fps(path, seconds, frames, options.capture_fps)
    times = _unwrap_midnight(path, seconds + frames / rate)
    fps = options.fps or rate
    if not 0 < fps <= MAX_FPS or times[-1] * fps >= min(MAX_FRAMES, MAX_FRAMES_PER_CAPTURED_FRAME * len(times)):
        raise _bad_capture_error(path, f"at {fps:g} frames per second it is no sensible length")
    at = np.arange(int(np.floor(times[-1] * fps + 1e-6)) + 1) / fps
    channels, angles = (_resample(at, times, values) for values in (channels, angles))
    if options.neutral_seconds is not None:
        still = np.abs(at - options.neutral_seconds) <= max(0.1, 0.5 / fps)
        if not still.any():
            raise _bad_capture_error(
                path, f"it has no frame at {options.neutral_seconds:g} s, where the neutral face should be"
            )
        # what the neutral face already shows is no expression, and the rest of the range is stretched over
        offset = channels[still].mean(0)
        channels = np.clip((channels - offset) / np.maximum(1 - offset, 0.1), 0, None)
        angles = angles - angles[still].mean(0)
    result = Performance.rest_pose(len(at), fps)
    result.channels = np.clip(channels, 0, None).astype(np.float32)
    if options.has_head_motion:
        turn = quaternion_from_yaw_pitch_roll(*(angles * options.signs).T)
        result.head_rotation = turn.astype(np.float32)
        result.head_translation = (HEAD_PIVOT - matrix_from_quaternion(turn) @ HEAD_PIVOT).astype(np.float32)
    return result.check(path.name)


def write_live_link(performance: Performance, path: Path, signs: tuple[int, int, int] = (1, 1, 1)) -> None:
    """Writes a performance as the app would: the head's turn is that against the torso, eyes' angles are left at zero
    (their gaze is in the EyeLook shapes). Frame rates that are no whole number get timecodes of the next one.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    order = [CHANNEL_INDEX[name] for name in ARKIT_ORDER]
    head, torso = (matrix_from_quaternion(q) for q in (performance.head_rotation, performance.torso_rotation))
    angles = np.radians(yaw_pitch_roll_degrees(np.swapaxes(torso, -1, -2) @ head)) * signs
    with write_atomically(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Timecode", "BlendshapeCount", *BLEND_SHAPE_COLUMNS, *HEAD_ANGLE_COLUMNS, *EYE_ANGLE_COLUMNS])
        count = len(BLEND_SHAPE_COLUMNS) + len(HEAD_ANGLE_COLUMNS) + len(EYE_ANGLE_COLUMNS)
        for frame, values, turn in zip(performance.frames, performance.channels[:, order], angles, strict=True):
            numbers = [f"{v:.6f}" for v in (*values, *turn, *[0.0] * len(EYE_ANGLE_COLUMNS))]
            writer.writerow([_format_timecode(int(frame), performance.fps), count, *numbers])


def _read_table(path: Path) -> tuple[F64, F64, F64]:
    """(T, 55) channels and head angles, (T,) whole seconds and (T,) frames of the timecodes. Rows become numbers as
    they are read, so a table never lies in memory as text. One that a crash of the phone cut short is left out."""
    try:
        with (
            open_regular_file(path, MAX_CAPTURE_BYTES) as data,
            io.TextIOWrapper(data, "utf-8-sig", newline="") as file,
        ):
            rows = (row for row in csv.reader(file) if row)
            columns = [name.strip().lower() for name in next(rows, [])]
            first = next(rows, None)
            if first is None:
                raise _bad_capture_error(path, "it has no frames")
            clock, *places = _find_columns(path, columns)
            found, times = array("d"), array("d")
            for row in chain([first], rows):
                if len(row) < len(columns) and times and not any(rows):
                    break
                if len(row) != len(columns) or len(times) >= 2 * MAX_FRAMES:
                    raise _bad_capture_error(path, "its rows do not fit its header")
                found.extend(_parse_number(path, row, place) for place in places)
                times.extend(_parse_timecode(path, row[clock or 0]))
    except FileNotFoundError as error:
        raise UserError("missing_file", f"There is no capture at {path}.", "Choose another file.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _bad_capture_error(path, "it is no readable table") from error
    except ValueError as error:
        raise _bad_capture_error(path, "it is larger than half a gigabyte") from error
    values, (seconds, frames) = np.array(found).reshape(-1, len(places)), np.array(times).reshape(-1, 2).T
    if not np.isfinite(values).all():
        raise _bad_capture_error(path, "it holds values that are not numbers")
    return values, seconds, frames


def _find_columns(path: Path, columns: list[str]) -> list[int | None]:
    """Where timecode, channels and the head's angles stand in a row; None for what is not there."""
    names = ("timecode", *CHANNELS, *HEAD_ANGLE_COLUMNS)
    places = [columns.index(name.lower()) if name.lower() in columns else None for name in names]
    missing = places[1 : len(CHANNELS) + 1].count(None)
    if missing > len(CHANNELS) // 2:
        raise _bad_capture_error(path, f"it has {len(CHANNELS) - missing} of ARKit's blend shapes")
    if places[0] is None:
        raise _bad_capture_error(path, "it has no column Timecode")
    return places


def _parse_number(path: Path, row: list[str], column: int | None) -> float:
    try:
        return float(row[column] or 0) if column is not None else 0.0
    except ValueError as error:
        raise _bad_capture_error(path, "it holds words where numbers belong") from error


def _parse_timecode(path: Path, timecode: str) -> tuple[float, float]:
    """Whole seconds and frames of a timecode."""
    found = TIMECODE_PATTERN.fullmatch(timecode.strip())
    if found is None:
        raise _bad_capture_error(path, "its timecodes are not of the form 10:59:36:02.5")
    hours, minutes, seconds, frames = map(float, found.groups())
    return hours * 3600 + minutes * 60 + seconds, frames


def _capture_fps(path: Path, seconds: F64, frames: F64, capture_fps: float | None) -> float:
    """What the timecodes' frames (T,) are parts of a second of."""
    if capture_fps is None and len(np.unique(seconds)) < 2:
        raise _bad_capture_error(path, "it is too short to tell its frame rate, which must be given")
    rate = capture_fps or next((r for r in COMMON_FPS if r > frames.max()), 0.0)
    if not np.floor(frames.max()) < rate <= MAX_FPS:
        raise _bad_capture_error(path, f"its timecodes count up to {frames.max():.0f} frames a second")
    return rate


def _unwrap_midnight(path: Path, day_seconds: F64) -> F64:
    """(T,) increasing seconds from the first frame, of seconds of the day (T,)."""
    times = day_seconds - day_seconds[0]
    times[times < -43200] += 86400  # over midnight
    if (np.diff(times) < 0).any():
        raise _bad_capture_error(path, "its timecodes run backwards")
    return times


def _resample(new_times: F64, times: F64, values: F64) -> F64:
    return np.stack([np.interp(new_times, times, column) for column in values.T], 1)


def _format_timecode(frame: int, fps: float) -> str:
    rate = int(np.ceil(fps - 1e-6))
    seconds = frame / fps
    whole = int(np.floor(seconds + 1e-6))
    part = max(0.0, (seconds - whole) * rate)
    minutes, hours = whole // 60, whole // 3600 % 24
    return f"{hours:02d}:{minutes % 60:02d}:{whole % 60:02d}:{part:06.3f}"


def _bad_capture_error(path: Path, problem: str) -> UserError:
    return UserError(
        "bad_capture", f"The capture {path.name} cannot be used: {problem}.", "Export it from Live Link Face again."
    )
