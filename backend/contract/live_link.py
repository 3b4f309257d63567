"""Live Link Face `.csv`: reads and writes performances captured with ARKit. Needs only numpy, so Blender can use it.

A file has a header `Timecode,BlendshapeCount,EyeBlinkLeft,…,TongueOut,HeadYaw,HeadPitch,HeadRoll,LeftEyeYaw,…`, then
a row per captured frame. Blend shapes are 0–1 under ARKit's names. Timecodes are `HH:MM:SS:FF.fff` with frames of the
capture's rate. Head angles are radians: yaw about the vertical axis, pitch about the axis from ear to ear, roll about
the axis of the nose. Phones held sideways, and other programs, count some angles in the opposite direction; `signs`
reverses them.
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

from .arrays import F64, Mask
from .atomic_write import write_atomically
from .channels import CHANNEL_INDEX, CHANNELS, FACIAL_CHANNELS, ORAL_CHANNELS
from .errors import UserError
from .geometry import matrix_from_quaternion, quaternion_from_yaw_pitch_roll, yaw_pitch_roll_degrees
from .performance import MAX_FPS, MAX_FRAMES, Performance
from .safe_io import open_regular_file

# ARKit's order, in which the app writes; the columns of a file are found by its header, in any order.
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
COMMON_FPS = (24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 120.0)  # frame rates that are guessed from timecodes
TIMECODE_PATTERN = re.compile(r"(\d{1,2}):(\d{1,2}):(\d{1,2})[:;](\d{1,3}(?:\.\d+)?)")
MAX_CAPTURE_BYTES = 512 * 2**20  # limit for damaged or hostile files; an hour at 60 fps is about 130 MB
MAX_FRAMES_PER_CAPTURED_FRAME = 1000  # on average; more means that timecodes or frame rate are wrong
HEAD_PIVOT = np.array([0.0, -0.08, -0.09])  # metres in actor space, the neck joint; an anatomical estimate, not tuned
MAX_ANGLE_RADIANS = np.pi  # larger angles are probably degrees
NEUTRAL_RADIUS_SECONDS = 0.1  # frames this close to the neutral time are averaged, against the noise of one frame
MIN_CHANNEL_RANGE = 0.1  # of a channel above its neutral value; smaller would amplify noise more than tenfold
HALF_DAY_SECONDS = 43200  # a larger step backwards means that the clock passed midnight
FRAME_TOLERANCE = 1e-6  # frames; absorbs rounding when times are converted to whole frames


@dataclass(frozen=True)
class CaptureOptions:
    """How a capture becomes a performance.

    Attributes:
        fps: frames per second of the performance; None keeps the capture's rate.
        capture_fps: frames per second of the timecodes; None guesses them from the timecodes.
        signs: 1 or −1 for yaw (positive then turns to the actor's left), pitch (down) and roll (to the right shoulder).
        neutral_seconds: time in the capture of a relaxed face that looks straight ahead; its values are subtracted.
        has_head_motion: whether the head moves, too, and not only the face.
    """

    fps: float | None = None
    capture_fps: float | None = None
    signs: tuple[int, int, int] = (1, 1, 1)
    neutral_seconds: float | None = None
    has_head_motion: bool = True


def read_live_link(path: Path, options: CaptureOptions | None = None) -> Performance:
    """Read the performance in a capture. Its first frame is 0; missing frames are interpolated.

    Raises:
        UserError: ``missing_file``, or ``bad_capture`` with what is wrong.
    """
    options = options or CaptureOptions()
    values, seconds, frames = _read_table(path)
    channels, angles = values[:, : len(CHANNELS)], values[:, len(CHANNELS) :]
    if np.abs(angles).max(initial=0) > MAX_ANGLE_RADIANS:
        raise _bad_capture_error(path, "its head angles exceed half a turn, so they are not radians")
    rate = _capture_fps(path, seconds, frames, options.capture_fps)
    times = _unwrap_midnight(path, seconds + frames / rate)
    fps = options.fps or rate
    if not 0 < fps <= MAX_FPS or times[-1] * fps >= min(MAX_FRAMES, MAX_FRAMES_PER_CAPTURED_FRAME * len(times)):
        raise _bad_capture_error(path, f"at {fps:g} frames per second it has an implausible length")
    new_times = np.arange(int(np.floor(times[-1] * fps + FRAME_TOLERANCE)) + 1) / fps
    channels, angles = (_resample(new_times, times, values) for values in (channels, angles))
    if options.neutral_seconds is not None:
        is_neutral = np.abs(new_times - options.neutral_seconds) <= max(NEUTRAL_RADIUS_SECONDS, 0.5 / fps)
        if not is_neutral.any():
            raise _bad_capture_error(
                path, f"it has no frame at {options.neutral_seconds:g} s, the time given for the neutral face"
            )
        channels, angles = _subtract_neutral(channels, angles, is_neutral)
    result = Performance.rest_pose(len(new_times), fps)
    result.channels = np.clip(channels, 0, None).astype(np.float32)
    if options.has_head_motion:
        rotation = quaternion_from_yaw_pitch_roll(*(angles * options.signs).T)
        result.head_rotation = rotation.astype(np.float32)
        result.head_translation = (HEAD_PIVOT - matrix_from_quaternion(rotation) @ HEAD_PIVOT).astype(np.float32)
    return result.check(path.name)


def _subtract_neutral(channels: F64, angles: F64, is_neutral: Mask) -> tuple[F64, F64]:
    """Subtract the mean neutral face and stretch what remains of each channel's range to 0–1."""
    neutral = channels[is_neutral].mean(0)
    channels = np.clip((channels - neutral) / np.maximum(1 - neutral, MIN_CHANNEL_RANGE), 0, None)
    return channels, angles - angles[is_neutral].mean(0)


def write_live_link(performance: Performance, path: Path, signs: tuple[int, int, int] = (1, 1, 1)) -> None:
    """Write a performance as the app would.

    Head angles are relative to the torso. Eye angles are zero: the gaze is in the EyeLook shapes. A fractional frame
    rate gets timecodes of the next whole rate.

    Args:
        performance: what to write.
        path: the .csv file.
        signs: see `CaptureOptions`.

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
        eye_angles = [0.0] * len(EYE_ANGLE_COLUMNS)
        for frame, values, head_angles in zip(performance.frames, performance.channels[:, order], angles, strict=True):
            numbers = [f"{value:.6f}" for value in (*values, *head_angles, *eye_angles)]
            writer.writerow([_format_timecode(int(frame), performance.fps), count, *numbers])


def _read_table(path: Path) -> tuple[F64, F64, F64]:
    """Return (T, 55) channels and head angles, and (T,) whole seconds and (T,) frames of the timecodes.

    Rows become numbers as they are read, so the table is never in memory as text. A last row that a crash of the phone
    cut off is ignored.
    """
    try:
        with (
            open_regular_file(path, MAX_CAPTURE_BYTES) as data,
            io.TextIOWrapper(data, "utf-8-sig", newline="") as file,
        ):
            rows = (row for row in csv.reader(file) if row)
            header = [name.strip().lower() for name in next(rows, [])]
            first = next(rows, None)
            if first is None:
                raise _bad_capture_error(path, "it has no frames")
            timecode_column, *columns = _find_columns(path, header)
            values, times = array("d"), array("d")
            for row in chain([first], rows):
                if len(row) < len(header) and times and not any(rows):
                    break
                if len(row) != len(header) or len(times) >= 2 * MAX_FRAMES:
                    raise _bad_capture_error(path, "its rows do not fit its header")
                values.extend(_parse_number(path, row, column) for column in columns)
                times.extend(_parse_timecode(path, row[timecode_column or 0]))
    except FileNotFoundError as error:
        raise UserError("missing_file", f"There is no capture at {path}.", "Choose another file.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _bad_capture_error(path, "it is not a readable table") from error
    except ValueError as error:
        raise _bad_capture_error(path, f"it is larger than {MAX_CAPTURE_BYTES // 2**20} MiB") from error
    table, (seconds, frames) = np.array(values).reshape(-1, len(columns)), np.array(times).reshape(-1, 2).T
    if not np.isfinite(table).all():
        raise _bad_capture_error(path, "it contains values that are not numbers")
    return table, seconds, frames


def _find_columns(path: Path, header: list[str]) -> list[int | None]:
    """Return the columns of timecode, channels and head angles; None for a missing one."""
    names = ("timecode", *CHANNELS, *HEAD_ANGLE_COLUMNS)
    columns = [header.index(name.lower()) if name.lower() in header else None for name in names]
    missing = columns[1 : len(CHANNELS) + 1].count(None)
    if missing > len(CHANNELS) // 2:
        raise _bad_capture_error(path, f"it has only {len(CHANNELS) - missing} of ARKit's {len(CHANNELS)} blend shapes")
    if columns[0] is None:
        raise _bad_capture_error(path, "it has no column Timecode")
    return columns


def _parse_number(path: Path, row: list[str], column: int | None) -> float:
    try:
        return float(row[column] or 0) if column is not None else 0.0
    except ValueError as error:
        raise _bad_capture_error(path, "it contains text instead of numbers") from error


def _parse_timecode(path: Path, timecode: str) -> tuple[float, float]:
    """Return the whole seconds and the frames of a timecode."""
    match = TIMECODE_PATTERN.fullmatch(timecode.strip())
    if match is None:
        raise _bad_capture_error(path, "its timecodes are not of the form 10:59:36:02.5")
    hours, minutes, seconds, frames = map(float, match.groups())
    return hours * 3600 + minutes * 60 + seconds, frames


def _capture_fps(path: Path, seconds: F64, frames: F64, capture_fps: float | None) -> float:
    """Return the frames per second that the timecodes' frames (T,) count."""
    if capture_fps is None and len(np.unique(seconds)) < 2:
        raise _bad_capture_error(path, "it is too short to guess its frame rate, which must be given")
    rate = capture_fps or next((fps for fps in COMMON_FPS if fps > frames.max()), 0.0)
    if not np.floor(frames.max()) < rate <= MAX_FPS:
        raise _bad_capture_error(path, f"its timecodes count up to {frames.max():.0f} frames a second")
    return rate


def _unwrap_midnight(path: Path, day_seconds: F64) -> F64:
    """Return increasing seconds (T,) since the first frame from seconds of the day (T,)."""
    times: F64 = day_seconds - day_seconds[0]
    times[times < -HALF_DAY_SECONDS] += 2 * HALF_DAY_SECONDS
    if (np.diff(times) < 0).any():
        raise _bad_capture_error(path, "its timecodes run backwards")
    return times


def _resample(new_times: F64, times: F64, values: F64) -> F64:
    """Interpolate the columns of (T, C) values linearly at new times."""
    resampled: F64 = np.stack([np.interp(new_times, times, column) for column in values.T], 1)
    return resampled


def _format_timecode(frame: int, fps: float) -> str:
    rate = int(np.ceil(fps - FRAME_TOLERANCE))
    seconds = frame / fps
    whole = int(np.floor(seconds + FRAME_TOLERANCE))
    part = max(0.0, (seconds - whole) * rate)
    minutes, hours = whole // 60, whole // 3600 % 24
    return f"{hours:02d}:{minutes % 60:02d}:{whole % 60:02d}:{part:06.3f}"


def _bad_capture_error(path: Path, problem: str) -> UserError:
    return UserError(
        "bad_capture", f"The capture {path.name} cannot be used: {problem}.", "Export it from Live Link Face again."
    )
