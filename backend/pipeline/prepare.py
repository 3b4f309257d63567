"""Tracking of the crops: poses, channels and the proxy mesh, and the files that keep them."""

from __future__ import annotations

import numpy as np

from ..contract.actor_folder import ActorFolder, FootageCamera, Proxy
from ..contract.arrays import F64
from ..contract.performance import Performance
from ..contract.progress import Reporter
from ..dataset.crops import CropBox
from ..dataset.frame_store import FrameStore
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
    box: CropBox,
    reporter: Reporter,
    landmarker: LandmarkerFile | None = None,
) -> TrackingResult:
    """Solve poses and channels and write `tracking.npz`, `footage.npz` and `proxy.npz`.

    Args:
        folder: the actor, with its crops and mattes.
        selection: the segment of the footage.
        box: the crop of the segment.
        reporter: gets progress.
        landmarker: source of the channels; by default they are fitted to the landmarks.
    """
    store = FrameStore(folder)
    landmarks = box.to_crop_space(selection.landmarks)
    track = track_clip(
        landmarks,
        store.read_frame,
        store.read_head_alpha,
        store.read_torso_alpha,
        box.principal_point,
        reporter,
    )
    if landmarker is not None:
        track = apply_landmarker(folder, landmarker, track, landmarks, store, reporter)
    write_tracking(folder, track, landmarks)
    info = folder.info
    info.camera = footage_camera(track, box)
    info.channel_ranges = channel_ranges(track.channels)
    info.channel_report = classify_channels(track, landmarks[:, :, :2])
    performance_from_track(track, info.fps).save(folder.file_path("footage.npz"))
    write_proxy(folder, track, landmarks, store)
    return track


def footage_camera(track: TrackingResult, box: CropBox) -> FootageCamera:
    """Return the camera of the whole footage frame from the crop's."""
    width, height = box.footage_size
    focal = float(track.intrinsics[0, 0]) * box.side / box.crop_size
    return FootageCamera(width, height, focal, track.view.tolist(), (box.x, box.y, box.side))


def apply_landmarker(
    folder: ActorFolder,
    landmarker: LandmarkerFile,
    track: TrackingResult,
    landmarks: F64,
    store: FrameStore,
    reporter: Reporter,
) -> TrackingResult:
    """Return the track with the landmarker's scores as channels; write both to `landmarker.npz` for comparison."""
    count = len(landmarks)
    frames = (store.read_frame(index) for index in range(count))
    scores = score_frames(landmarker, reporter.report_items(frames, "read the face landmarker", count), folder.info.fps)
    folder.save_arrays(
        "landmarker.npz",
        fitted=track.channels.astype(np.float32), scores=scores.values.astype(np.float32), found=scores.is_found,
    )  # fmt: skip
    folder.info.figures["landmarker"] = {"missing": int((~scores.is_found).sum())}
    return apply_scores(track, landmarks[:, :, :2], scores.values)


def performance_from_track(track: TrackingResult, fps: float) -> Performance:
    """Return the footage's performance with frames numbered from 0."""
    f32 = np.float32
    return Performance(
        fps, np.arange(len(track.channels), dtype=np.int64),
        track.head_rotation.astype(f32), track.head_translation.astype(f32),
        track.torso_rotation.astype(f32), track.torso_translation.astype(f32), track.channels.astype(f32),
    )  # fmt: skip


def write_proxy(folder: ActorFolder, track: TrackingResult, landmarks: F64, store: FrameStore) -> None:
    """Write the face mesh that Blender shows, with the footage's colours."""
    neutral = track.rig.neutral[: topo.MESH_VERTEX_COUNT]
    colors = median_vertex_colors(landmarks, store)[: topo.MESH_VERTEX_COUNT]
    proxy = Proxy(
        vertices=neutral.astype(np.float32),
        faces=topo.mesh_triangles(track.rig.neutral),
        shapes=track.rig.shapes[:, : topo.MESH_VERTEX_COUNT].astype(np.float32),
        colors=colors.astype(np.float32),
        head_weight=np.ones(topo.MESH_VERTEX_COUNT, np.float32),
    )
    folder.save_arrays("proxy.npz", **vars(proxy))
