"""The scan of the footage: the segment that an actor is trained on, and that segment's audio."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from ..contract.actor_folder import ActorFolder
from ..contract.arrays import F32
from ..contract.errors import UserError
from ..contract.progress import Reporter
from ..media.audio_io import SAMPLE_RATE, is_silent, load_audio, save_wav
from ..media.decode import VideoInfo, probe_video, read_frames
from ..media.prefetch import prefetch
from ..speech.av_sync import MAX_SECONDS, AudioOffset, measure_audio_offset
from ..speech.features import analyze_speech
from ..tracking.detection.landmarks import Scan, scan_frames
from ..tracking.detection.selection import SegmentSelection, find_face_regions, require_single_face, select_segment
from ..tracking.detection.visibility import estimate_yaw

# Larger footage is shrunk to this side in pixels while it is decoded for the scan: smaller is faster, but small faces
# are missed. The crops come from the full size. Not tuned.
MAX_SCAN_SIDE_PIXELS = 1280
# Seconds of audio before and after the segment that are searched for its offset: the largest offset that can be found.
OFFSET_MARGIN_SECONDS = 1.0
# Below both of these, mouth and audio seem unrelated, and a note says so: the correlation between audio and mouth, and
# the share of resampled clips that find the same offset. Not tuned.
MIN_AUDIO_CORRELATION = 0.2
MIN_AUDIO_STABILITY = 0.75

WITHOUT_AUDIO = "the actor can be keyed and rendered, but it cannot learn to speak."


def scan_footage(video: Path, face_number: int | None, reporter: Reporter) -> tuple[VideoInfo, Scan, SegmentSelection]:
    """Scan the whole footage and select the segment to train on.

    Args:
        video: the footage.
        face_number: which face, counted from 1 at the left, if several are shown.
        reporter: gets progress and notes.

    Raises:
        UserError: the footage cannot be used.
    """
    info = probe_video(video)
    scan = _scan_video(video, info, None, "look at the footage", reporter)
    if face_number is not None:
        regions = find_face_regions(scan)
        if not 1 <= face_number <= len(regions):
            raise UserError(
                "no_such_face",
                f"There is no face number {face_number}.",
                f"Choose --face from 1 to {max(len(regions), 1)}.",
            )
        if len(regions) > 1:
            scan = _scan_video(video, info, regions[face_number - 1], "look at the chosen face", reporter)
    else:
        require_single_face(scan)
    return info, scan, select_segment(scan, estimate_yaw(scan.landmarks), info.fps)


def _scan_video(
    video: Path, info: VideoInfo, region: tuple[int, int, int, int] | None, stage: str, reporter: Reporter
) -> Scan:
    with closing(prefetch(read_frames(video, on_note=reporter.note, max_side=MAX_SCAN_SIDE_PIXELS))) as frames:
        return scan_frames(reporter.report_items(frames, stage, info.frame_count), region, (info.width, info.height))


def write_audio(
    video: Path, folder: ActorFolder, selection: SegmentSelection, info: VideoInfo, reporter: Reporter
) -> bool:
    """Write `audio.wav` of the segment, with the offset against the picture removed where it is certain.

    The actor's figures get `sound_offset_ms` (positive: the audio was late; absent where it cannot be measured) and
    `sound_offset_corrected`.

    Returns:
        False, with a note, if the footage has no usable audio.
    """
    samples = _load_usable_audio(video, selection, info, reporter)
    if samples is None:
        return False
    offset = measure_selection_offset(samples, selection, info.fps)
    folder.info.figures["sound_offset_corrected"] = offset.is_certain
    if np.isfinite(offset.lag):
        folder.info.figures["sound_offset_ms"] = round(1000 * offset.seconds)
        _note_offset(offset, reporter)
    start, seconds = _segment_seconds(selection, info.fps)
    segment = _cut_audio(samples, start + (offset.seconds if offset.is_certain else 0.0), seconds)
    with folder.write_atomically("audio.wav") as temporary:
        save_wav(temporary, segment, SAMPLE_RATE)
    return True


def _load_usable_audio(video: Path, selection: SegmentSelection, info: VideoInfo, reporter: Reporter) -> F32 | None:
    """Return the footage's samples at `SAMPLE_RATE`, or None, with a note, if the segment has no usable audio."""
    if not info.has_audio:
        reporter.note(f"The video has no sound: {WITHOUT_AUDIO}")
        return None
    try:
        samples = load_audio(video, SAMPLE_RATE)
    except UserError as error:
        reporter.note(f"{error.message.rstrip('.')}: {WITHOUT_AUDIO}")
        return None
    if is_silent(_cut_audio(samples, *_segment_seconds(selection, info.fps))):
        reporter.note(f"The video's sound is silent: {WITHOUT_AUDIO}")
        return None
    return samples


def _note_offset(offset: AudioOffset, reporter: Reporter) -> None:
    """Tell the user about a corrected offset, or about audio that seems unrelated to the mouth."""
    if offset.is_certain:
        direction = "late" if offset.seconds > 0 else "early"
        reporter.note(f"The sound came {abs(1000 * offset.seconds):.0f} ms too {direction} and was moved to the mouth.")
    elif offset.correlation < MIN_AUDIO_CORRELATION and offset.stability < MIN_AUDIO_STABILITY:
        reporter.note(
            "The mouth does not follow the sound, as if somebody else spoke or noise covered the voice: "
            "the actor will not learn to speak well."
        )


def measure_selection_offset(samples: F32, selection: SegmentSelection, fps: float) -> AudioOffset:
    """Measure the offset of the footage's audio, at `SAMPLE_RATE`, against the mouth in the segment."""
    start, seconds = _segment_seconds(selection, fps)
    part = _cut_audio(samples, start - OFFSET_MARGIN_SECONDS, min(seconds, MAX_SECONDS) + 2 * OFFSET_MARGIN_SECONDS)
    return measure_audio_offset(analyze_speech(part), selection.landmarks, fps, OFFSET_MARGIN_SECONDS)


def _segment_seconds(selection: SegmentSelection, fps: float) -> tuple[float, float]:
    """Return start and length of the segment in seconds of the footage."""
    return selection.first / fps, (selection.last - selection.first + 1) / fps


def _cut_audio(samples: F32, start_seconds: float, seconds: float) -> F32:
    """Return part of the samples, with silence before their start and after their end."""
    start, length = round(start_seconds * SAMPLE_RATE), round(seconds * SAMPLE_RATE)
    result = np.zeros(length, np.float32)
    begin, end = max(start, 0), min(start + length, len(samples))
    if begin < end:
        result[begin - start : end - start] = samples[begin:end]
    return result
