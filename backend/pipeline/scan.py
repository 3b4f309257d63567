"""The first look at the footage: which part an actor is learned from, and that part's sound."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..contract.actor_folder import ActorFolder
from ..contract.errors import UserError
from ..contract.progress import Reporter
from ..media.audio_io import is_silent, load_sound, save_wav
from ..media.decode import VideoInfo, frames, probe
from ..media.prefetch import ahead
from ..speech.av_sync import LONGEST, SoundOffset, measure_offset
from ..speech.features import analyse
from ..tracking.detection.landmarks import Scan, scan
from ..tracking.detection.selection import Selection, check_faces, face_regions, select
from ..tracking.detection.visibility import rough_yaw

F32 = NDArray[np.float32]

SOUND_RATE = 16000
LOOK_SIDE = 1280  # pixels: larger footage is shrunk while it is decoded; the crops come from its full size
AROUND = 1.0  # seconds of sound before and after the stretch in which its offset is looked for
UNRELATED = 0.2  # correlation below which mouth and sound seem to have nothing to do with each other
UNSTEADY = 0.75  # share of agreeing draws below which the same


def scan_footage(video: Path, face: int | None, reporter: Reporter) -> tuple[VideoInfo, Scan, Selection]:
    """Looks at the whole clip and chooses the part to learn from.

    Args:
        face: which face, counted from 1 at the left, when several are shown.

    Raises:
        UserError: the clip cannot be used; the sentence says why and what to do.
    """
    info = probe(video)
    found = _scan(video, info, None, "look at the footage", reporter)
    if face is not None:
        regions = face_regions(found)
        if not 1 <= face <= len(regions):
            raise UserError(
                "no_such_face", f"There is no face number {face}.", f"Choose --face from 1 to {max(len(regions), 1)}."
            )
        if len(regions) > 1:
            found = _scan(video, info, regions[face - 1], "look at the chosen face", reporter)
    else:
        check_faces(found)
    return info, found, select(found, rough_yaw(found.landmarks), info.fps)


def list_faces(video: Path, reporter: Reporter) -> list[tuple[int, int, int, int]]:
    """Where the faces are between which the person chooses: x, y, width, height in footage pixels, left to right.

    Raises:
        UserError: the video cannot be read.
    """
    return face_regions(_scan(video, probe(video), None, "look at the footage", reporter))


def _scan(
    video: Path, info: VideoInfo, region: tuple[int, int, int, int] | None, stage: str, reporter: Reporter
) -> Scan:
    with closing(ahead(frames(video, note=reporter.note, longest=LOOK_SIDE))) as pictures:
        return scan(reporter.track(pictures, stage, info.frame_count), region, (info.width, info.height))


def write_sound(video: Path, folder: ActorFolder, selection: Selection, info: VideoInfo, reporter: Reporter) -> bool:
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
        samples = load_sound(video, SOUND_RATE)
    except UserError as error:
        reporter.note(f"{error.message.rstrip('.')}: {keyed}")
        return False
    first, count = selection.first / info.fps, (selection.last - selection.first + 1) / info.fps
    if is_silent(_piece(samples, first, count)):
        reporter.note(f"The video's sound is silent: {keyed}")
        return False
    offset = sound_offset(samples, selection, info.fps)
    folder.info.figures["sound_offset_corrected"] = offset.sure
    if np.isfinite(offset.lag):
        folder.info.figures["sound_offset_ms"] = round(1000 * offset.seconds)
        if offset.sure:
            way = "late" if offset.seconds > 0 else "early"
            reporter.note(f"The sound came {abs(1000 * offset.seconds):.0f} ms too {way} and was moved to the mouth.")
        elif offset.correlation < UNRELATED and offset.steady < UNSTEADY:
            reporter.note(
                "The mouth does not follow the sound, as if somebody else spoke or noise covered the voice: "
                "the actor will not learn to speak well."
            )
    with folder.replacing("audio.wav") as temporary:
        moved = _piece(samples, first + (offset.seconds if offset.sure else 0.0), count)
        save_wav(temporary, moved, SOUND_RATE)
    return True


def sound_offset(samples: F32, selection: Selection, fps: float) -> SoundOffset:
    """How the sound of a whole clip, at `SOUND_RATE`, lies against the mouth in the chosen stretch."""
    first, count = selection.first / fps, (selection.last - selection.first + 1) / fps
    part = _piece(samples, first - AROUND, min(count, LONGEST) + 2 * AROUND)
    return measure_offset(analyse(part), selection.landmarks, fps, AROUND)


def _piece(samples: F32, first: float, seconds: float) -> F32:
    """`seconds` of sound from second `first` on; silence where there is none."""
    start, length = round(first * SOUND_RATE), round(seconds * SOUND_RATE)
    result = np.zeros(length, np.float32)
    begin, end = max(start, 0), min(start + length, len(samples))
    if begin < end:
        result[begin - start : end - start] = samples[begin:end]
    return result
