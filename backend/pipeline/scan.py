"""The first look at the footage: which part an actor is learned from, and that part's sound."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from ..contract.actor_folder import ActorFolder
from ..contract.arrays import F32
from ..contract.errors import UserError
from ..contract.progress import Reporter
from ..media.audio_io import is_silent, load_audio, save_wav
from ..media.decode import VideoInfo, probe_video, read_frames
from ..media.prefetch import prefetch
from ..speech.av_sync import MAX_SECONDS, AudioOffset, measure_audio_offset
from ..speech.features import analyze_speech
from ..tracking.detection.landmarks import Scan, scan_frames
from ..tracking.detection.selection import SegmentSelection, find_face_regions, require_single_face, select_segment
from ..tracking.detection.visibility import estimate_yaw

AUDIO_SAMPLE_RATE = 16000
MAX_SCAN_SIDE_PIXELS = 1280  # pixels: larger footage is shrunk while it is decoded; the crops come from its full size
OFFSET_MARGIN_SECONDS = 1.0  # seconds of sound before and after the stretch in which its offset is looked for
MIN_AUDIO_CORRELATION = 0.2  # correlation below which mouth and sound seem to have nothing to do with each other
MIN_AUDIO_AGREEMENT = 0.75  # share of agreeing draws below which the same


def scan_footage(video: Path, face_number: int | None, reporter: Reporter) -> tuple[VideoInfo, Scan, SegmentSelection]:
    """Looks at the whole clip and chooses the part to learn from.

    Args:
        face: which face, counted from 1 at the left, when several are shown.

    Raises:
        UserError: the clip cannot be used; the sentence says why and what to do.
    """
    info = probe_video(video)
    found = _scan_video(video, info, None, "look at the footage", reporter)
    if face_number is not None:
        regions = find_face_regions(found)
        if not 1 <= face_number <= len(regions):
            raise UserError(
                "no_such_face",
                f"There is no face number {face_number}.",
                f"Choose --face from 1 to {max(len(regions), 1)}.",
            )
        if len(regions) > 1:
            found = _scan_video(video, info, regions[face_number - 1], "look at the chosen face", reporter)
    else:
        require_single_face(found)
    return info, found, select_segment(found, estimate_yaw(found.landmarks), info.fps)


def list_faces(video: Path, reporter: Reporter) -> list[tuple[int, int, int, int]]:
    """Where the faces are between which the person chooses: x, y, width, height in footage pixels, left to right.

    Raises:
        UserError: the video cannot be read.
    """
    return find_face_regions(_scan_video(video, probe_video(video), None, "look at the footage", reporter))


def _scan_video(
    video: Path, info: VideoInfo, region: tuple[int, int, int, int] | None, stage: str, reporter: Reporter
) -> Scan:
    with closing(prefetch(read_frames(video, on_note=reporter.note, max_side=MAX_SCAN_SIDE_PIXELS))) as pictures:
        return scan_frames(reporter.report_items(pictures, stage, info.frame_count), region, (info.width, info.height))


def write_audio(
    video: Path, folder: ActorFolder, selection: SegmentSelection, info: VideoInfo, reporter: Reporter
) -> bool:
    """Writes `audio.wav` of the chosen stretch, moved to the picture where it was surely shifted against it.

    `figures` get `sound_offset_ms` (positive: the sound was late; absent where the mouth does not tell) and
    `sound_offset_corrected`.

    Returns:
        False, with a note, when the clip has no usable sound.
    """
    keyed = "the actor can be keyed and rendered, but it cannot learn to speak."
    if not info.has_audio:
        reporter.note(f"The video has no sound: {keyed}")
        return False
    try:
        samples = load_audio(video, AUDIO_SAMPLE_RATE)
    except UserError as error:
        reporter.note(f"{error.message.rstrip('.')}: {keyed}")
        return False
    first, count = selection.first / info.fps, (selection.last - selection.first + 1) / info.fps
    if is_silent(_cut_audio(samples, first, count)):
        reporter.note(f"The video's sound is silent: {keyed}")
        return False
    offset = measure_selection_offset(samples, selection, info.fps)
    folder.info.figures["sound_offset_corrected"] = offset.is_certain
    if np.isfinite(offset.lag):
        folder.info.figures["sound_offset_ms"] = round(1000 * offset.seconds)
        if offset.is_certain:
            way = "late" if offset.seconds > 0 else "early"
            reporter.note(f"The sound came {abs(1000 * offset.seconds):.0f} ms too {way} and was moved to the mouth.")
        elif offset.correlation < MIN_AUDIO_CORRELATION and offset.stability < MIN_AUDIO_AGREEMENT:
            reporter.note(
                "The mouth does not follow the sound, as if somebody else spoke or noise covered the voice: "
                "the actor will not learn to speak well."
            )
    with folder.write_atomically("audio.wav") as temporary:
        moved = _cut_audio(samples, first + (offset.seconds if offset.is_certain else 0.0), count)
        save_wav(temporary, moved, AUDIO_SAMPLE_RATE)
    return True


def measure_selection_offset(samples: F32, selection: SegmentSelection, fps: float) -> AudioOffset:
    """How the sound of a whole clip, at `SOUND_RATE`, lies against the mouth in the chosen stretch."""
    first, count = selection.first / fps, (selection.last - selection.first + 1) / fps
    part = _cut_audio(samples, first - OFFSET_MARGIN_SECONDS, min(count, MAX_SECONDS) + 2 * OFFSET_MARGIN_SECONDS)
    return measure_audio_offset(analyze_speech(part), selection.landmarks, fps, OFFSET_MARGIN_SECONDS)


def _cut_audio(samples: F32, start_seconds: float, seconds: float) -> F32:
    """`seconds` of sound from second `first` on; silence where there is none."""
    start, length = round(start_seconds * AUDIO_SAMPLE_RATE), round(seconds * AUDIO_SAMPLE_RATE)
    result = np.zeros(length, np.float32)
    begin, end = max(start, 0), min(start + length, len(samples))
    if begin < end:
        result[begin - start : end - start] = samples[begin:end]
    return result
