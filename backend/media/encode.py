"""Films out: frames and sound as an MP4 that plays everywhere (H.264, AAC), written under a temporary name first."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import av.error
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from av.video.stream import VideoStream

from ..contract.arrays import F32, U8
from ..contract.atomic_write import error_from_failed_write
from ..contract.errors import UserError
from .decode import AUDIO_FORMATS, check_readable_file, open_media
from .provenance import DIGITAL_SOURCE_TYPE, SYNTHETIC_LABEL

AUDIO_SAMPLE_RATE = 48000
MAX_SIDE = 16384  # pixels
BT709 = 1  # the code of ITU-T H.273 for primaries, transfer and matrix alike
CONVERSION_FLAGS = int(Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP)


@dataclass(frozen=True)
class CompressionSettings:
    """How a film is compressed.

    Attributes:
        crf: x264's constant rate factor: 16 cannot be told from the original, 24 is good to look at.
        preset: x264's preset: slower ones make smaller files.
        keyframes: frames between two keyframes at most; a short distance makes jumping to and fro quick.
    """

    crf: int = 16
    preset: str = "medium"
    keyframe_interval: int = 250


class VideoWriter:
    """Writes frames one by one; use it in a `with` block. The file appears under its name only when all went well.

    Args:
        path: the .mp4 to write.
        width, height: of the frames in pixels; odd sizes are padded by repeating the last row or column.
        fps: frames per second.
        sound: any file with a sound track, muxed as AAC and cut at the film's end; None for a silent film.
        metadata: MP4 tags (title, artist, …); the comment always says that the film is synthetic.
        sound_offset: seconds of the film before the sound begins; negative skips that much of the sound.
        compression: how the pictures are compressed.

    Raises:
        UserError: the sound cannot be read (`no_sound`, `missing_file`, …) or the film cannot be written.
    """

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        fps: float,
        audio: Path | None = None,
        metadata: Mapping[str, str] | None = None,
        *,
        audio_offset: float = 0.0,
        compression: CompressionSettings = CompressionSettings(),
    ) -> None:
        if not (0 < fps <= 1000 and 0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
            raise UserError(
                "bad_size",
                f"A film of {width}×{height} pixels at {fps:g} frames per second cannot be made.",
                f"Choose 1 to {MAX_SIDE} pixels and at most 1000 frames per second.",
            )
        self.path, self.width, self.height = path, width, height
        self._rate = Fraction(fps).limit_denominator(100_000)
        self._compression = compression
        self._reformatter = VideoReformatter()
        self._frame_count = 0
        self._audio_source = _AudioSource(audio, audio_offset) if audio is not None else None
        self._temporary_path = path.with_name(path.name + ".part")
        try:
            self._temporary_path.touch()  # ffmpeg opens the file at the first frame; a bad place should be told now
            self._container: OutputContainer = av.open(
                f"file:{self._temporary_path.resolve()}", "w", format="mp4", options={"movflags": "faststart"}
            )
        except OSError as error:
            self._close_audio()
            raise error_from_failed_write(path, error) from error
        self._container.metadata.update(
            {"title": path.stem, **(metadata or {}), "comment": f"{SYNTHETIC_LABEL}, {DIGITAL_SOURCE_TYPE}"}
        )
        self._video_stream = self._add_video()
        self._audio_stream = self._add_audio(self._audio_source.layout) if self._audio_source else None

    def write_frame(self, image: U8) -> None:
        """Adds one frame, (height, width, 3) display-referred sRGB.

        Raises:
            UserError: the disk is full or cannot be written.
        """
        if image.shape != (self.height, self.width, 3) or image.dtype != np.uint8:
            raise ValueError(f"frame is {image.shape} {image.dtype}, not ({self.height}, {self.width}, 3) uint8")
        even = np.pad(image, ((0, self.height % 2), (0, self.width % 2), (0, 0)), mode="edge")
        frame = self._reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=CONVERSION_FLAGS,
        )
        frame.colorspace = frame.color_primaries = frame.color_trc = BT709
        frame.color_range = ColorRange.MPEG
        frame.pts, frame.time_base = self._frame_count, 1 / self._rate
        self._encode(self._video_stream, frame)
        self._write_audio()
        self._frame_count += 1

    def close(self) -> None:
        """Writes what is left and the index, and gives the file its name.

        Raises:
            UserError: the disk is full or cannot be written, or there was no frame.
        """
        try:
            if self._frame_count == 0:
                raise UserError("no_frames", f"There is no frame to write to {self.path.name}.", "Choose some frames.")
            self._encode(self._video_stream, None)
            if self._audio_stream is not None:
                self._encode(self._audio_stream, None)
            self._container.close()
            self._temporary_path.replace(self.path)
        except OSError as error:
            raise error_from_failed_write(self.path, error) from error
        finally:
            self._discard()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._discard()

    def _add_video(self) -> VideoStream:
        chosen = self._compression
        # with its macroblock tree, x264 writes the same pictures otherwise from run to run (seen at 320²)
        options = {"crf": str(chosen.crf), "preset": chosen.preset, "mbtree": "0"}
        stream = self._container.add_stream("libx264", rate=self._rate, options=options)
        stream.gop_size = chosen.keyframe_interval
        stream.width, stream.height = self.width + self.width % 2, self.height + self.height % 2
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = ColorRange.MPEG
        return stream

    def _add_audio(self, layout: str) -> AudioStream:
        stream = self._container.add_stream("aac", rate=AUDIO_SAMPLE_RATE, layout=layout)
        stream.bit_rate = 192_000
        return stream

    def _write_audio(self) -> None:
        """The sound beside the frame that was just written, so that the file can be played while it loads."""
        if self._audio_source is None or self._audio_stream is None:
            return
        start, stop = (round(i / self._rate * AUDIO_SAMPLE_RATE) for i in (self._frame_count, self._frame_count + 1))
        frame = AudioFrame.from_ndarray(
            self._audio_source.read_samples(stop - start), format="fltp", layout=self._audio_source.layout
        )
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_SAMPLE_RATE, start, Fraction(1, AUDIO_SAMPLE_RATE)
        self._encode(self._audio_stream, frame)

    def _encode(self, stream: VideoStream | AudioStream, frame: VideoFrame | AudioFrame | None) -> None:
        try:
            for packet in stream.encode(frame):  # type: ignore[arg-type]
                self._container.mux(packet)
        except OSError as error:
            raise error_from_failed_write(self.path, error) from error

    def _discard(self) -> None:
        """Closes everything and removes the unfinished file, if it still is unfinished."""
        with contextlib.suppress(av.error.FFmpegError, OSError):  # the file is thrown away: its errors were told
            self._container.close()
        self._temporary_path.unlink(missing_ok=True)
        self._close_audio()

    def _close_audio(self) -> None:
        if self._audio_source is not None:
            self._audio_source.close()


class _AudioSource:
    """The first sound track of a file, `offset` seconds late, with silence before and after; mono or stereo.

    The sound of a video starts as late after its first picture as it does there.
    """

    def __init__(self, path: Path, offset: float) -> None:
        check_readable_file(path)
        no_sound = UserError("no_sound", f"{path.name} holds no sound that can be read.", "Choose another sound file.")
        try:
            self._container = open_media(path, AUDIO_FORMATS)
        except (av.error.FFmpegError, ValueError) as error:
            raise no_sound from error
        if not self._container.streams.audio:
            self._container.close()
            raise no_sound
        self._stream = self._container.streams.audio[0]
        self.layout = "mono" if self._stream.channels == 1 else "stereo"
        self._blocks = self._decode_blocks()
        offset += self._start_delay()
        silence = np.zeros((self.channels, max(0, round(offset * AUDIO_SAMPLE_RATE))), np.float32)
        self._buffer = silence
        self.read_samples(max(0, -round(offset * AUDIO_SAMPLE_RATE)))

    @property
    def channels(self) -> int:
        return 1 if self.layout == "mono" else 2

    def _start_delay(self) -> float:
        """Seconds from the file's first picture to its first sound; 0 for a sound file."""
        films = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic]
        if not films:
            return 0.0
        sound, film = (float((s.start_time or 0) * (s.time_base or 0)) for s in (self._stream, films[0]))
        return sound - film

    def read_samples(self, count: int) -> F32:
        """(channels, count) float32: the next samples at SOUND_RATE, silence after the end."""
        blocks, have = [self._buffer], self._buffer.shape[1]
        while have < count:
            block = next(self._blocks, None)
            if block is None:
                block = np.zeros((self.channels, count - have), np.float32)
            blocks.append(block)
            have += block.shape[1]
        samples = np.concatenate(blocks, axis=1)
        self._buffer = samples[:, count:]
        return np.ascontiguousarray(samples[:, :count])

    def close(self) -> None:
        """Closes the file."""
        self._container.close()

    def _decode_blocks(self) -> Iterator[F32]:
        resampler = AudioResampler(format="fltp", layout=self.layout, rate=AUDIO_SAMPLE_RATE)
        try:
            for frame in self._container.decode(self._stream):
                for part in resampler.resample(frame):
                    yield np.asarray(part.to_ndarray(), np.float32)
        except av.error.InvalidDataError:
            return  # a broken tail: the film goes on in silence
        for part in resampler.resample(None):
            yield np.asarray(part.to_ndarray(), np.float32)
