"""Reading the sound of any audio or video file, and writing it."""

from __future__ import annotations

import wave
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition

from ..contract.arrays import F32
from ..contract.errors import UserError
from .decode import AUDIO_FORMATS, open_media

SAMPLE_RATE = 16000  # samples per second, what the speech features work at
MAX_SECONDS = 3 * 3600.0  # a longer sound is cut here: memory stays bounded
SILENCE_RMS = 3e-4  # −70 dB of full scale: below it a track carries nothing that can be heard
MAX_TIMESTAMP_GAP_SECONDS = (
    0.05  # seconds by which time stamps may stray before samples are moved to where the stamps say
)


def load_audio(path: Path, rate: int = SAMPLE_RATE) -> F32:
    """The first sound track of a file, mono; sample 0 is the time of the video's first frame where there is a video.

    Sound that starts later than the video is padded with silence, sound that starts earlier is cut.

    Args:
        path: any container and codec that FFmpeg reads.
        rate: samples per second of the result.

    Returns:
        (S,) float32 in −1..1.

    Raises:
        UserError: ``missing_file``, ``empty_file``, ``not_a_sound`` (unreadable) or ``no_sound`` (no sound track).
    """
    if not path.is_file():
        raise UserError("missing_file", f"There is no file at {path}.", "Choose another file.")
    if path.stat().st_size == 0:
        raise UserError("empty_file", f"{path.name} is empty.", "Choose another file.")
    try:
        with open_media(path, AUDIO_FORMATS) as container:
            if not container.streams.audio:
                raise UserError("no_sound", f"{path.name} has no sound track.", "Choose a file with sound.")
            start = _video_start(container)
        with open_media(path, AUDIO_FORMATS) as container:
            samples = _decode_audio(container, start, rate)
    except (av.FFmpegError, ValueError) as error:
        raise _unreadable_error(path) from error
    if samples is None:
        raise _unreadable_error(path)
    return samples


def is_silent(samples: F32) -> bool:
    """Whether nothing can be heard: the loudest 50 ms (at `RATE`) stay below `SILENCE_RMS`."""
    size = SAMPLE_RATE // 20
    power = np.asarray(samples, np.float64) ** 2
    power = np.pad(power, (0, -len(power) % size))
    return not len(power) or float(power.reshape(-1, size).mean(1).max()) < SILENCE_RMS**2


def save_wav(path: Path, samples: F32, rate: int = SAMPLE_RATE) -> None:
    """Writes mono 16-bit PCM; values beyond −1..1 are clipped.

    Raises:
        OSError: the file cannot be written.
    """
    pcm = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")
    with path.open("wb") as file, wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(pcm.tobytes())


def _unreadable_error(path: Path) -> UserError:
    return UserError("not_a_sound", f"The sound of {path.name} cannot be read.", "Convert it to WAV and try again.")


def _video_start(container: av.container.InputContainer) -> float | None:
    """Time in seconds of the first picture; None where there is no video, or only a cover picture."""
    for stream in container.streams.video:
        if stream.disposition & Disposition.attached_pic:
            continue
        try:
            frame = next(container.decode(stream), None)
        except av.FFmpegError:
            return None  # the pictures are damaged, the sound may not be: it keeps its own time
        return None if frame is None or frame.time is None else float(frame.time)
    return None


def _decode_audio(container: av.container.InputContainer, start: float | None, rate: int) -> F32 | None:
    """Samples from time `start` on (from the sound's own start when None); None when nothing could be decoded.

    Every run of frames whose time stamps follow each other is resampled by itself and laid where its first stamp says.
    """
    stream = container.streams.audio[0]
    runs: list[tuple[float, list[F32]]] = []
    resampler = av.AudioResampler(format="flt", rate=rate)
    expected = 0.0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.InvalidDataError:
            continue  # a damaged packet leaves a gap, the rest can be heard
        for frame in frames:
            time = expected if frame.time is None else float(frame.time)
            if not runs or abs(time - expected) > MAX_TIMESTAMP_GAP_SECONDS:
                if runs:
                    runs[-1][1].extend(_downmix(resampler, None))
                    resampler = av.AudioResampler(format="flt", rate=rate)
                runs.append((time, []))
                expected = time
            runs[-1][1].extend(_downmix(resampler, frame))
            expected += frame.samples / frame.sample_rate
            if expected - runs[0][0] > MAX_SECONDS:
                return _join_runs(runs, start, rate)
    if not runs:
        return None
    runs[-1][1].extend(_downmix(resampler, None))
    return _join_runs(runs, start, rate)


def _downmix(resampler: av.AudioResampler, frame: av.AudioFrame | None) -> list[F32]:
    """The mean of the channels: FFmpeg's own downmix of equal channels is louder than either and would clip.

    They come interleaved: PyAV crashes on eight channels or more in planes of their own.
    """
    heard = resampler.resample(frame)
    return [np.asarray(out.to_ndarray(), np.float32).reshape(-1, out.layout.nb_channels).mean(1) for out in heard]


def _join_runs(runs: list[tuple[float, list[F32]]], start: float | None, rate: int) -> F32:
    """Lays runs of (time in seconds, pieces) on one line that begins at `start`."""
    origin = runs[0][0] if start is None else start
    pieces = [(round((time - origin) * rate), np.concatenate(run)) for time, run in runs if run]
    length = min(max((at + len(piece) for at, piece in pieces), default=0), round(MAX_SECONDS * rate))
    line = np.zeros(max(length, 0), np.float32)
    for at, piece in pieces:
        first, last = max(at, 0), min(at + len(piece), length)
        if first < last:
            line[first:last] = piece[first - at : last - at]
    return np.clip(line, -1, 1)
