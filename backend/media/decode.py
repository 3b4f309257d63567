"""Footage in: any video file as upright, deinterlaced, square-pixel RGB frames at a constant rate, one at a time.

Memory holds a few frames however long the clip is. Time 0 is the first picture; `VideoInfo.audio_start` says where the
sound begins on that clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import av.error
import numpy as np
from av.container import InputContainer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.reformatter import (
    ColorPrimaries,
    ColorRange,
    Colorspace,
    ColorTrc,
    Interpolation,
    VideoReformatter,
)
from av.video.stream import VideoStream

from ..contract.arrays import Image
from ..contract.errors import UserError
from ..contract.performance import MAX_FPS, MAX_FRAMES
from .timing import (
    add_frame_times,
    count_grid_frames,
    detect_frame_rate,
    is_variable_rate,
    read_packet_times,
    resample_to_constant_rate,
)

NoteCallback = Callable[[str], None]

# Only real containers: ffmpeg would also open play lists that name other files, and text as terminal art.
VIDEO_FORMATS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg,mxf,dv,mjpeg"
AUDIO_FORMATS = (
    f"{VIDEO_FORMATS},wav,w64,aiff,au,caf,voc,mp3,aac,loas,flac,ac3,eac3,dts,truehd,amr,ape,wv,tta,tak,mpc,mpc8"
)
SCALING_FLAGS = int(Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND)

# Codes of ITU-T H.273, as frames carry them.
UNSPECIFIED = 2
BT470BG, SMPTE170M, BT2020_NCL, BT2020_CL = 5, 6, 9, 10
HDR_TRANSFERS = (16, 18)  # PQ and HLG

MAX_FILL_RATIO = 1000  # frames on the grid to each that is stored, on average
TAIL_TOLERANCE_SECONDS = 0.5  # seconds by which a file may end before what its header says


@dataclass(frozen=True)
class VideoInfo:
    """What `probe` finds without decoding the whole clip.

    Attributes:
        width, height: of the frames that `frames` yields: upright, square pixels.
        fps: the constant rate that `frames` yields by default; the usual rate of a clip whose rate varies.
        frame_count: how many frames that makes.
        duration: seconds.
        has_audio: whether there is a sound track.
        rotation: degrees clockwise by which the stored picture is turned to stand upright: 0, 90, 180 or 270.
        codec: e.g. "h264".
        variable: whether the stored frames do not lie on the grid of `fps`.
        interlaced: whether the first frame is two fields.
        audio_start: seconds from the first picture to the first sound; negative when the sound begins earlier.
    """

    width: int
    height: int
    fps: float
    frame_count: int
    duration: float
    has_audio: bool
    rotation: int
    codec: str
    is_variable_rate: bool = False
    is_interlaced: bool = False
    audio_start: float = 0.0


def probe_video(path: Path) -> VideoInfo:
    """What the video at `path` is. Reads the file once without decoding more than its first picture.

    Raises:
        UserError: missing_file, empty_file, unreadable_file, not_a_video, no_frames, bad_times.
    """
    with _open_video(path) as (container, stream):
        times = read_packet_times(container, stream)
    with _open_video(path) as (container, stream):
        first = next(_decode_frames(container, stream), None)
        if first is None:
            raise _no_frames_error(path)
        layout = _FrameLayout(first, stream)
        rate = detect_frame_rate(times, stream)
        fps = float(rate)
        count = count_grid_frames(float(times[-1] - times[0]), fps) if len(times) else 1
        if not 0 < fps <= MAX_FPS or count > min(MAX_FRAMES, MAX_FILL_RATIO * max(len(times), 1)):
            raise UserError(
                "bad_times",
                f"The times of {path.name}'s frames make no sense.",
                "Convert the video to MP4 and try again.",
            )
        sound = container.streams.audio[0] if container.streams.audio else None
        audio_start = 0.0
        if sound is not None and sound.start_time is not None and sound.time_base is not None and len(times):
            audio_start = float(sound.start_time * sound.time_base) - float(times[0])
        return VideoInfo(
            width=layout.width,
            height=layout.height,
            fps=fps,
            frame_count=count,
            duration=count / fps,
            has_audio=sound is not None,
            rotation=layout.rotation,
            codec=stream.codec_context.name,
            is_variable_rate=is_variable_rate(times, fps),
            is_interlaced=first.interlaced_frame,
            audio_start=audio_start,
        )


def read_frames(
    path: Path, fps: float | None = None, on_note: NoteCallback | None = None, max_side: int | None = None
) -> Iterator[tuple[int, float, Image]]:
    """Yield (index from 0, seconds index / fps, (H, W, 3) uint8 display RGB) of each frame.

    Each grid time gets the stored frame nearest to it: a clip at exactly `fps` is yielded frame by frame, and gaps are
    filled with a neighbouring frame, so that the frames never drift from the sound.

    Args:
        path: the video.
        fps: frames per second to yield; None: the clip's own, see `VideoInfo.fps`.
        on_note: receives a sentence when a part of the file could not be read.
        max_side: pixels of the longer side at most, for a quick scan of large footage.

    Raises:
        UserError: as `probe_video`.
    """
    rate = fps if fps is not None else probe_video(path).fps
    if not 0 < rate <= MAX_FPS:
        raise UserError("bad_frame_rate", f"{rate} frames per second is not possible.", "Choose a rate from 1 to 1000.")
    with _open_video(path) as (container, stream):
        layout: _FrameLayout | None = None
        whole = _deinterlace(_decode_frames(container, stream, on_note), stream)
        for index, frame in resample_to_constant_rate(add_frame_times(whole, stream), rate):
            layout = layout or _FrameLayout(frame, stream, max_side)
            yield index, index / rate, layout.to_upright_rgb(frame)
        if layout is None:
            raise _no_frames_error(path)


def check_readable_file(path: Path) -> None:
    """Passes when `path` is a file with something in it.

    Raises:
        UserError: missing_file, empty_file, unreadable_file.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise UserError("missing_file", f"{path} is not a file.", "Choose a file.")
        with path.open("rb") as file:
            file.read(1)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError("missing_file", f"There is no file at {path}.", "Choose another file.") from error
    except OSError as error:
        raise UserError(
            "unreadable_file", f"{path} cannot be read ({error.strerror}).", "Check its permissions and the disk."
        ) from error
    if size == 0:
        raise UserError("empty_file", f"{path.name} is empty.", "Copy or export the file again.")


def open_media(path: Path, formats: str) -> InputContainer:
    """The file as one of the container formats; nothing but that file is read, whatever it says.

    Labels such as the title need not be UTF-8: bytes that are not appear as U+FFFD.

    Raises:
        av.error.FFmpegError, ValueError: it is none of those.
    """
    # The prefix keeps ffmpeg from reading a name like "concat:a" as an instruction.
    options = {"format_whitelist": formats, "protocol_whitelist": "file"}
    return av.open(f"file:{path.resolve()}", options=options, metadata_errors="replace")


class _FrameLayout:
    """How a stored frame becomes the upright picture: target size, colour conversion, turn and flips.

    One per stream: its reformatter builds the tables of a conversion once. For HDR they cost seconds.
    """

    def __init__(self, frame: VideoFrame, stream: VideoStream, max_side: int | None = None) -> None:
        aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio or Fraction(1)
        if not Fraction(1, 8) <= aspect <= 8:  # nonsense in the header
            aspect = Fraction(1)
        # Pixels are squared by enlarging, so that none are thrown away.
        self.stored_width = round(frame.width * max(aspect, Fraction(1)))
        self.stored_height = round(frame.height / min(aspect, Fraction(1)))
        side = max(self.stored_width, self.stored_height)
        self.is_downscaled = max_side is not None and side > max_side
        if max_side is not None and side > max_side:
            self.stored_width = max(1, round(self.stored_width * max_side / side))
            self.stored_height = max(1, round(self.stored_height * max_side / side))
        self.is_transposed, self.flip_x, self.flip_y = _orientation(frame)
        size = self.stored_width, self.stored_height
        self.width, self.height = size[::-1] if self.is_transposed else size
        self.reformatter = VideoReformatter()

    @property
    def rotation(self) -> int:
        """Degrees clockwise, ignoring a mirror."""
        if self.is_transposed:
            return 90 if self.flip_x else 270
        return 180 if self.flip_y else 0

    def to_upright_rgb(self, frame: VideoFrame) -> Image:
        """(H, W, 3) display RGB of a decoded frame."""
        hdr = frame.color_trc in HDR_TRANSFERS
        rgb = self.reformatter.reformat(
            frame,
            width=self.stored_width,
            height=self.stored_height,
            format="rgb24",
            src_colorspace=_ycbcr_matrix(frame),
            src_color_range=ColorRange.JPEG if _is_full_range(frame) else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            dst_color_trc=ColorTrc.IEC61966_2_1 if hdr else None,
            dst_color_primaries=ColorPrimaries.BT709 if hdr else None,
            interpolation=Interpolation.AREA if self.is_downscaled else SCALING_FLAGS,
        )
        picture = np.asarray(rgb.to_ndarray(), np.uint8)
        if self.is_transposed:
            picture = picture.transpose(1, 0, 2)
        if self.flip_x:
            picture = picture[:, ::-1]
        if self.flip_y:
            picture = picture[::-1]
        return np.ascontiguousarray(picture)


def _orientation(frame: VideoFrame) -> tuple[bool, bool, bool]:
    """(transpose, then flip in x, then flip in y) that the frame's display matrix asks for.

    The matrix is 3×3 of 16.16 numbers; x' = a·x + c·y and y' = b·x + d·y with (a, b) its first and (c, d) its second
    row (ISO/IEC 14496-12, 8.2.2). Turns other than quarter turns are rounded to the nearest one.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, False, False
    (a, b, _), (c, d, _), _ = np.frombuffer(bytes(cast(bytes, data)), np.int32).reshape(3, 3).tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


def _ycbcr_matrix(frame: VideoFrame) -> int:
    """The YCbCr matrix to decode with. Files that do not say follow the players' habit: BT.709 for HD, else BT.601."""
    space = int(frame.colorspace)
    if space == UNSPECIFIED:
        return int(Colorspace.ITU709 if max(frame.height, frame.width * 9 // 16) >= 720 else Colorspace.ITU601)
    if space in (BT470BG, SMPTE170M):
        return int(Colorspace.ITU601)
    if space in (BT2020_NCL, BT2020_CL):
        return int(Colorspace.BT2020)
    return space if space in (Colorspace.FCC, Colorspace.SMPTE240M) else int(Colorspace.ITU709)


def _is_full_range(frame: VideoFrame) -> bool:
    return frame.color_range == ColorRange.JPEG or frame.format.name.startswith(("yuvj", "rgb", "bgr", "gbr", "pal8"))


@contextmanager
def _open_video(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    check_readable_file(path)
    not_a_video = UserError(
        "not_a_video", f"{path.name} is not a video that can be read.", "Choose an MP4, MOV, MKV, WebM or AVI file."
    )
    try:
        container = open_media(path, VIDEO_FORMATS)
    except (av.error.FFmpegError, ValueError) as error:
        raise not_a_video from error
    with container:
        films = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not films:
            raise UserError("not_a_video", f"{path.name} holds no moving picture.", "Choose a video, not a sound file.")
        stream = films[0]
        if stream.codec_context is None or not stream.codec_context.width:
            raise not_a_video
        stream.thread_type = "AUTO"
        yield container, stream


def _decode_frames(
    container: InputContainer, stream: VideoStream, on_note: NoteCallback | None = None
) -> Iterator[VideoFrame]:
    """Decoded frames in the order of showing. Damaged ones are left out; a broken tail ends the stream, and is told."""
    lost = 0
    reached = 0.0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                break
            if packet.pts is not None:
                end = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                reached = max(reached, end)
            batch = packet.decode()
        except av.error.InvalidDataError:
            lost += 1
            continue
        except av.error.FFmpegError:
            break  # the reader cannot go on: what follows is as lost as a missing tail, and told below
        for frame in batch:
            if not isinstance(frame, VideoFrame) or frame.is_corrupt:
                lost += 1
            else:
                yield frame
    if on_note is None:
        return
    promised = float((stream.duration or 0) * (stream.time_base or 0))
    start = float((stream.start_time or 0) * (stream.time_base or 0))
    if reached - start < promised - TAIL_TOLERANCE_SECONDS:
        on_note(f"The video breaks off after {reached - start:.1f} of {promised:.1f} seconds; the rest cannot be read.")
    elif lost:
        on_note(f"{lost} frames of the video are damaged and were left out.")


def _deinterlace(frames_in: Iterator[VideoFrame], stream: VideoStream) -> Iterator[VideoFrame]:
    """Passes frames through; from the first interlaced one on through a deinterlacer, which leaves whole ones alone."""
    graph: Graph | None = None
    for frame in frames_in:
        if graph is None and frame.interlaced_frame:
            graph = _build_deinterlacer(frame, stream)
        if graph is None:
            yield frame
        else:
            graph.vpush(frame)
            yield from _pull_frames(graph)
    if graph is not None:
        graph.vpush(None)
        yield from _pull_frames(graph)


def _build_deinterlacer(frame: VideoFrame, stream: VideoStream) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or stream.time_base
    )
    # One frame out for one frame in, field order from the frame, only frames marked as interlaced.
    graph.link_nodes(source, graph.add("yadif", "mode=0:parity=-1:deint=1"), graph.add("buffersink")).configure()
    return graph


def _pull_frames(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            frame = graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield frame


def _no_frames_error(path: Path) -> UserError:
    return UserError(
        "no_frames", f"No picture of {path.name} can be read.", "Convert the video to MP4 (H.264) and try again."
    )
