"""Preparation: crops become poses, channels and the mesh that Blender shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..contract.actor_folder import ActorFolder, Camera, Proxy
from ..contract.performance import Performance
from ..contract.progress import Reporter
from ..dataset.crops import to_crop
from ..dataset.frame_store import HEAD, PERSON, FrameStore
from ..dataset.landmark_colors import vertex_colours
from ..tracking.channel_report import channel_report
from ..tracking.detection import topology as topo
from ..tracking.detection.selection import Selection
from ..tracking.face.blendshape_fit import channel_ranges
from ..tracking.landmarker import Landmarker, drive, read_scores
from ..tracking.storage import write_tracking
from ..tracking.tracker import Track, solve


def track_stretch(
    folder: ActorFolder,
    selection: Selection,
    box: tuple[float, float, float],
    size: int,
    footage: tuple[int, int],
    reporter: Reporter,
    landmarker: Landmarker | None = None,
) -> Track:
    """Solves poses and channels and writes `tracking.npz`, `footage.npz` and `proxy.npz`.

    Args:
        landmarker: the source of the channels, in place of the own fit.
    """
    store = FrameStore(folder)
    x, y, side = box
    centre = (footage[0] / 2 - x) * size / side, (footage[1] / 2 - y) * size / side
    landmarks = to_crop(selection.landmarks, box, size)

    def head(index: int) -> NDArray[np.float32]:
        matte = store.matte(index)
        return np.asarray(matte[..., PERSON] * matte[..., HEAD], np.float32)

    track = solve(landmarks, store.frame, head, store.torso, size, centre, reporter)
    if landmarker is not None:
        track = use_landmarker(folder, landmarker, track, landmarks, store, reporter)
    write_tracking(folder, track, landmarks)
    info = folder.info
    info.camera = Camera(
        footage[0], footage[1], float(track.intrinsics[0, 0]) * side / size, track.view.tolist(), (x, y, side)
    )
    info.channel_ranges = channel_ranges(track.channels)
    info.channel_report = channel_report(track, landmarks[:, :, :2])
    footage_performance(track, info.fps).save(folder.file("footage.npz"))
    write_proxy(folder, track, landmarks, store)
    return track


def use_landmarker(
    folder: ActorFolder,
    landmarker: Landmarker,
    track: Track,
    landmarks: NDArray[np.float64],
    store: FrameStore,
    reporter: Reporter,
) -> Track:
    """The track with the landmarker's scores for channels; both sources go to `landmarker.npz`, to be compared."""
    count = len(landmarks)
    pictures = (store.frame(t) for t in range(count))
    scores = read_scores(landmarker, reporter.track(pictures, "read the face landmarker", count), folder.info.fps)
    folder.write_arrays(
        "landmarker.npz",
        fitted=track.channels.astype(np.float32), scores=scores.values.astype(np.float32), found=scores.found,
    )  # fmt: skip
    folder.info.figures["landmarker"] = {"missing": int((~scores.found).sum())}
    return drive(track, landmarks[:, :, :2], scores.values)


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
