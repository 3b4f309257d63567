"""Preparation: crops become poses, channels and the mesh that Blender shows."""

from __future__ import annotations

import numpy as np

from ..contract.actor_folder import ActorFolder, FootageCamera, Proxy
from ..contract.arrays import F32, F64
from ..contract.performance import Performance
from ..contract.progress import Reporter
from ..dataset.crops import to_crop_space
from ..dataset.frame_store import MATTE_HEAD, MATTE_PERSON, FrameStore
from ..dataset.landmark_colors import median_vertex_colors
from ..tracking.channel_report import classify_channels
from ..tracking.detection import topology as topo
from ..tracking.detection.selection import SegmentSelection
from ..tracking.face.blendshape_fit import channel_ranges
from ..tracking.landmarker import LandmarkerFile, apply_scores, score_frames
from ..tracking.storage import write_tracking
from ..tracking.tracker import TrackingResult, track_clip


def track_segment(
    folder: ActorFolder,
    selection: SegmentSelection,
    box: tuple[float, float, float],
    crop_size: int,
    footage_size: tuple[int, int],
    reporter: Reporter,
    landmarker: LandmarkerFile | None = None,
) -> TrackingResult:
    """Solves poses and channels and writes `tracking.npz`, `footage.npz` and `proxy.npz`.

    Args:
        landmarker: the source of the channels, in place of the own fit.
    """
    store = FrameStore(folder)
    x, y, side = box
    centre = (footage_size[0] / 2 - x) * crop_size / side, (footage_size[1] / 2 - y) * crop_size / side
    landmarks = to_crop_space(selection.landmarks, box, crop_size)

    def head(index: int) -> F32:
        matte = store.read_matte(index)
        return np.asarray(matte[..., MATTE_PERSON] * matte[..., MATTE_HEAD], np.float32)

    track = track_clip(landmarks, store.read_frame, head, store.read_torso_alpha, crop_size, centre, reporter)
    if landmarker is not None:
        track = apply_landmarker(folder, landmarker, track, landmarks, store, reporter)
    write_tracking(folder, track, landmarks)
    info = folder.info
    info.camera = FootageCamera(
        footage_size[0],
        footage_size[1],
        float(track.intrinsics[0, 0]) * side / crop_size,
        track.view.tolist(),
        (x, y, side),
    )
    info.channel_ranges = channel_ranges(track.channels)
    info.channel_report = classify_channels(track, landmarks[:, :, :2])
    performance_from_track(track, info.fps).save(folder.file_path("footage.npz"))
    write_proxy(folder, track, landmarks, store)
    return track


def apply_landmarker(
    folder: ActorFolder,
    landmarker: LandmarkerFile,
    track: TrackingResult,
    landmarks: F64,
    store: FrameStore,
    reporter: Reporter,
) -> TrackingResult:
    """The track with the landmarker's scores for channels; both sources go to `landmarker.npz`, to be compared."""
    count = len(landmarks)
    pictures = (store.read_frame(t) for t in range(count))
    scores = score_frames(
        landmarker, reporter.report_items(pictures, "read the face landmarker", count), folder.info.fps
    )
    folder.save_arrays(
        "landmarker.npz",
        fitted=track.channels.astype(np.float32), scores=scores.values.astype(np.float32), found=scores.is_found,
    )  # fmt: skip
    folder.info.figures["landmarker"] = {"missing": int((~scores.is_found).sum())}
    return apply_scores(track, landmarks[:, :, :2], scores.values)


def performance_from_track(track: TrackingResult, fps: float) -> Performance:
    """The footage's own performance, frames numbered from 0."""
    f32 = np.float32
    return Performance(
        fps, np.arange(len(track.channels), dtype=np.int64),
        track.head_rotation.astype(f32), track.head_translation.astype(f32),
        track.torso_rotation.astype(f32), track.torso_translation.astype(f32), track.channels.astype(f32),
    )  # fmt: skip


def write_proxy(folder: ActorFolder, track: TrackingResult, landmarks: F64, store: FrameStore) -> None:
    """Writes the face mesh that Blender shows, coloured from the footage."""
    neutral = track.rig.neutral[: topo.MESH_VERTEX_COUNT]
    colours = median_vertex_colors(landmarks, store)[: topo.MESH_VERTEX_COUNT]
    proxy = Proxy(
        vertices=neutral.astype(np.float32),
        faces=topo.mesh_triangles(track.rig.neutral),
        shapes=track.rig.shapes[:, : topo.MESH_VERTEX_COUNT].astype(np.float32),
        colors=colours.astype(np.float32),
        head_weight=np.ones(topo.MESH_VERTEX_COUNT, np.float32),
    )
    folder.save_arrays("proxy.npz", **vars(proxy))
