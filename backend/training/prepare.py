"""Preparation: the footage becomes crops, mattes, plate, sound and tracking in the actor folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..actor import ActorFolder, Camera, Proxy
from ..audio.sound import is_silent, load_sound, save_wav
from ..performance import Performance
from ..progress import Reporter
from ..protocol import UserError
from ..tracking import topology as topo
from ..tracking.expression import channel_ranges
from ..tracking.landmarks import Scan, scan
from ..tracking.rig import Rig
from ..tracking.selection import Selection, check_faces, face_regions, select
from ..tracking.solve import Track, rough_yaw, solve
from ..video.decode import VideoInfo, frames, probe
from .crops import to_crop
from .frames import FrameStore

SOUND_RATE = 16000


def scan_footage(video: Path, face: int | None, reporter: Reporter) -> tuple[VideoInfo, Scan, Selection]:
    """Looks at the whole clip and chooses the part to learn from.

    Args:
        face: which face, counted from 1 at the left, when several are shown.

    Raises:
        UserError: the clip cannot be used; the sentence says why and what to do.
    """
    info = probe(video)
    found = scan(reporter.track(frames(video, note=reporter.note), "look at the footage", info.frame_count))
    if face is not None:
        regions = face_regions(found)
        if not 1 <= face <= len(regions):
            raise UserError(
                "no_such_face", f"There is no face number {face}.", f"Choose --face from 1 to {max(len(regions), 1)}."
            )
        if len(regions) > 1:
            region = regions[face - 1]
            again = frames(video, note=reporter.note)
            found = scan(reporter.track(again, "look at the chosen face", info.frame_count), region)
    else:
        check_faces(found)
    return info, found, select(found, rough_yaw(found.landmarks), info.fps)


def write_sound(video: Path, folder: ActorFolder, selection: Selection, info: VideoInfo, reporter: Reporter) -> bool:
    """Writes `audio.wav` of the chosen stretch; False, and a note, when the clip has no usable sound."""
    if not info.has_audio:
        reporter.note("The video has no sound: the actor can be keyed and rendered, but it cannot learn to speak.")
        return False
    samples = load_sound(video, SOUND_RATE)
    start = round(selection.first / info.fps * SOUND_RATE)
    length = round((selection.last - selection.first + 1) / info.fps * SOUND_RATE)
    part = np.zeros(length, np.float32)
    piece = samples[start : start + length]
    part[: len(piece)] = piece
    if is_silent(part):
        reporter.note("The video's sound is silent: the actor can be keyed and rendered, but it cannot learn to speak.")
        return False
    with folder.replacing("audio.wav") as temporary:
        save_wav(temporary, part, SOUND_RATE)
    return True


def track_stretch(
    folder: ActorFolder,
    selection: Selection,
    box: tuple[float, float, float],
    size: int,
    footage: tuple[int, int],
    reporter: Reporter,
) -> Track:
    """Solves poses and channels and writes `tracking.npz`, `footage.npz` and `proxy.npz`."""
    store = FrameStore(folder)
    x, y, side = box
    centre = (footage[0] / 2 - x) * size / side, (footage[1] / 2 - y) * size / side
    landmarks = to_crop(selection.landmarks, box, size)
    track = solve(landmarks, store.frame, store.torso, size, centre, reporter)
    f32 = np.float32
    folder.write_arrays(
        "tracking.npz",
        landmarks=landmarks[:, :, :2].astype(f32),
        intrinsics=track.intrinsics, view=track.view,
        head_rotation=track.head_rotation.astype(f32), head_translation=track.head_translation.astype(f32),
        torso_rotation=track.torso_rotation.astype(f32), torso_translation=track.torso_translation.astype(f32),
        channels=track.channels.astype(f32),
        neutral=track.rig.neutral, shapes=track.rig.shapes, reprojection=track.reprojection.astype(f32),
    )  # fmt: skip
    info = folder.info
    info.camera = Camera(
        footage[0], footage[1], float(track.intrinsics[0, 0]) * side / size, track.view.tolist(), (x, y, side)
    )
    info.channel_ranges = channel_ranges(track.channels)
    footage_performance(track, info.fps).save(folder.file("footage.npz"))
    write_proxy(folder, track, landmarks, store)
    return track


def load_track(folder: ActorFolder) -> Track:
    """Reads `tracking.npz` back.

    Raises:
        UserError: missing or damaged.
    """
    table = {k: np.asarray(v, np.float64) for k, v in folder.arrays("tracking.npz").items()}
    rig = Rig(table.pop("neutral"), table.pop("shapes"))
    table.pop("landmarks")
    return Track(rig=rig, **table)


def footage_performance(track: Track, fps: float) -> Performance:
    """The footage's own performance, frames numbered from 0."""
    f32 = np.float32
    return Performance(
        fps, np.arange(len(track.channels), dtype=np.int64),
        track.head_rotation.astype(f32), track.head_translation.astype(f32),
        track.torso_rotation.astype(f32), track.torso_translation.astype(f32), track.channels.astype(f32),
    )  # fmt: skip


def write_proxy(folder: ActorFolder, track: Track, landmarks: NDArray[np.float64], store: FrameStore) -> None:
    """Writes the face mesh that Blender shows, coloured from the footage."""
    neutral = track.rig.neutral[: topo.MESH]
    colours = vertex_colours(landmarks, store)[: topo.MESH]
    proxy = Proxy(
        vertices=neutral.astype(np.float32),
        faces=topo.triangles(track.rig.neutral),
        shapes=track.rig.shapes[:, : topo.MESH].astype(np.float32),
        colors=colours.astype(np.float32),
        head_weight=np.ones(topo.MESH, np.float32),
    )
    folder.write_arrays("proxy.npz", **vars(proxy))


def vertex_colours(landmarks: NDArray[np.float64], store: FrameStore) -> NDArray[np.float64]:
    """(478, 3) median colour of each landmark over up to 60 frames, 0–1."""
    chosen = np.unique(np.linspace(0, len(landmarks) - 1, min(len(landmarks), 60)).astype(int))
    seen = []
    for t in chosen:
        at = np.ascontiguousarray(landmarks[t, None, :, :2].astype(np.float32)) - 0.5
        seen.append(cv2.remap(store.frame(int(t)), at, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0])
    return np.median(np.stack(seen).astype(np.float64), 0) / 255
