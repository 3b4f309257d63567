"""Quality of mattes: errors against the sample actor's truth, and flicker on real clips."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from backend.contract.actor_folder import ActorFolder, ActorInfo
from backend.contract.arrays import F32, U8, Floats
from backend.contract.progress import Reporter
from backend.dataset.crops import CropBox, write_crops
from backend.dataset.frame_store import MATTE_HAIR, MATTE_HEAD, MATTE_MOUTH, MATTE_PERSON, FrameStore
from backend.matting.person import PersonSegmenter
from backend.media.decode import probe_video
from backend.pipeline.scan import scan_footage
from backend.synthetic import GroundTruth, SampleOptions, ground_truth_path, make_sample
from backend.tracking.detection.selection import SegmentSelection
from benchmarks._matte_metrics import alpha_error, edge_band, fill_columns, flicker, gradient_error

SIZE = 512  # pixels; side of the sample's frames, and of crops at most
SAMPLE_SECONDS = 2.4
SAMPLE_NOISE = 0.01  # of the sensor, in display values
SEEDS = (0, 1, 2)
MAX_FRAMES = 300  # of a real clip
ERROR_INTERVAL = 2  # errors are measured in every second frame, flicker in all
# A real image stands still where it changes by less than this many gray levels, mean of a 5 × 5 window.
MAX_STILL_DIFFERENCE = 3
SOFT_ALPHA_MARGIN = 0.05  # of the share of soft pixels on real clips
CLIPS = (
    "train_obama_pd_20s", "train_anchor_de_20s", "train_lieu_256px_60s", "extra_woman_aoc_8s",
    "extra_woman_256px_30fps_18s", "extra_vertical_1080x1920_smallface_20s", "hard_noaudio_1080p_2997fps",
)  # fmt: skip
CLIPS_FOLDER = Path(
    os.environ.get("PORTRAIT_ACTOR_CLIPS", str(Path(__file__).resolve().parents[2] / "shared" / "data"))
)


@dataclass
class MattedClip:
    """Crops and mattes of a clip.

    Attributes:
        store: the crops and mattes.
        count: number of frames.
        plate_edge_share: share 0–1 of the person's edge that the plate decided.
        frame_ms: milliseconds that one frame took.
    """

    store: FrameStore
    count: int
    plate_edge_share: float
    frame_ms: float

    def read_alphas(self) -> Iterator[F32]:
        """Read the person's alpha of one frame after the other."""
        for t in range(self.count):
            yield self.store.read_matte(t, use_cache=False)[..., MATTE_PERSON]


def run() -> dict[str, float]:
    """Measure the figures `mattes.sample.*`, and `mattes.CLIP.*` of the clips that are available."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        samples = [sample_figures(folder, "talk", seed) for seed in SEEDS]
        for key in samples[0]:
            figures[f"mattes.sample.{key}"] = float(np.mean([sample[key] for sample in samples]))
        still = sample_figures(folder, "still_head", 0)
        figures["mattes.sample.still_flicker"] = still["flicker"]
        figures["mattes.sample.still_raw_flicker"] = still["raw_flicker"]
        for name in CLIPS:
            for path in sorted(CLIPS_FOLDER.rglob(f"{name}.*")):
                figures |= {f"mattes.{name}.{key}": value for key, value in clip_figures(path, folder).items()}
    return figures


def sample_figures(folder: Path, motion: str, seed: int) -> dict[str, float]:
    """Measure errors on the sample actor with strands and noise, from true landmarks.

    Args:
        folder: for the sample's files.
        motion: of the sample.
        seed: of the sample.
    """
    clip = folder / f"{motion}{seed}.mp4"
    options = SampleOptions(SAMPLE_SECONDS, SIZE, seed=seed, has_loose_hairs=True, noise=SAMPLE_NOISE, motion=motion)
    make_sample(clip, options)
    truth = GroundTruth.load(ground_truth_path(clip))
    box = CropBox(0.0, 0.0, float(SIZE), SIZE, (SIZE, SIZE))
    matted = matte_clip(clip, truth.landmarks, box, folder / f"{motion}{seed}.actor")
    rows: list[dict[str, float]] = []
    previous: tuple[F32, F32, F32] | None = None
    with PersonSegmenter() as segmenter:
        for t in range(matted.count):
            matte, true_alpha = matted.store.read_matte(t, use_cache=False), np.clip(truth.person_alpha(t), 0, 1)
            small_mask = segmenter.segment(matted.store.read_frame(t, use_cache=False))
            mask = np.asarray(cv2.resize(small_mask, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.float32)
            row = frame_errors(matte, mask, true_alpha, truth, t) if t % ERROR_INTERVAL == 0 else {}
            if previous is not None:
                row["flicker"] = flicker(previous[0], matte[..., MATTE_PERSON], previous[2], true_alpha)
                row["raw_flicker"] = flicker(previous[1], mask, previous[2], true_alpha)
            previous = matte[..., MATTE_PERSON], mask, true_alpha
            rows.append(row)
    keys = sorted(set().union(*rows))
    result = {key: float(np.nanmean([row[key] for row in rows if key in row])) for key in keys}
    result["gradient_gain_percent"] = 100 * (1 - result["gradient_error"] / result["raw_gradient_error"])
    return result | {"edge_by_plate": matted.plate_edge_share, "frame_ms": matted.frame_ms}


def frame_errors(matte: F32, mask: F32, true_alpha: F32, truth: GroundTruth, frame_index: int) -> dict[str, float]:
    """Measure the errors of one frame's mattes (H, W, 4) and of its rough mask (H, W).

    Args:
        matte: (H, W, 4) mattes.
        mask: (H, W) rough mask.
        true_alpha: (H, W) the person's alpha.
        truth: of the sample.
        frame_index: of the frame.
    """
    assert truth.mattes is not None
    alpha = matte[..., MATTE_PERSON]
    head, hair, torso, mouth = truth.mattes[frame_index].astype(np.float32) / 255
    parts = {
        "head": (alpha * matte[..., MATTE_HEAD], head), "hair": (alpha * matte[..., MATTE_HAIR], hair),
        "torso": (alpha * (1 - matte[..., MATTE_HEAD]), torso), "mouth": (matte[..., MATTE_MOUTH], fill_columns(mouth)),
    }  # fmt: skip
    errors = {f"{name}_mean_abs": float(np.abs(estimate - true).mean()) for name, (estimate, true) in parts.items()}
    return errors | {
        "edge_mean_abs": alpha_error(alpha, true_alpha),
        "raw_edge_mean_abs": alpha_error(mask, true_alpha),
        "gradient_error": gradient_error(alpha, true_alpha),
        "raw_gradient_error": gradient_error(mask, true_alpha),
    }


def clip_figures(video: Path, folder: Path) -> dict[str, float]:
    """Measure what needs no truth: flicker of the edge where the image stands still, softness and speed."""
    _, scan, selection = scan_footage(video, None, Reporter())
    box = CropBox.from_landmarks(selection.landmarks, scan.frame_size, SIZE)
    matted = matte_clip(video, selection.landmarks, box, folder / f"{video.stem}.actor", selection.first)
    changes, soft_shares = [], []
    previous: tuple[F32, U8] | None = None
    for t, alpha in enumerate(matted.read_alphas()):
        image = matted.store.read_frame(t, use_cache=False)
        if previous is not None:
            difference = cv2.blur(cv2.absdiff(image, previous[1]).max(2), (5, 5))
            is_still = edge_band(alpha) & (difference < MAX_STILL_DIFFERENCE)
            changes.append(float(np.abs(alpha - previous[0])[is_still].mean()) if is_still.any() else np.nan)
        soft_shares.append(float(((alpha > SOFT_ALPHA_MARGIN) & (alpha < 1 - SOFT_ALPHA_MARGIN)).mean()))
        previous = alpha, image
    return {
        "flicker": float(np.nanmean(changes)) if np.isfinite(changes).any() else 0.0,
        "soft_percent": 100 * float(np.mean(soft_shares)), "edge_by_plate": matted.plate_edge_share,
        "frame_ms": matted.frame_ms, "real_time_share": matted.frame_ms / 1000 * probe_video(video).fps,
    }  # fmt: skip


def matte_clip(video: Path, landmarks: Floats, box: CropBox, actor: Path, first_frame: int = 0) -> MattedClip:
    """Write crops and mattes of at most `MAX_FRAMES` frames of a clip.

    Args:
        video: the clip.
        landmarks: (T, 478, ≥2) pixels of the clip, from `first_frame` on.
        box: the part of the frames to crop.
        actor: folder to create.
        first_frame: of the clip.
    """
    count = min(len(landmarks), MAX_FRAMES)
    points = np.asarray(landmarks[:count], np.float32)
    if points.shape[2] == 2:
        points = np.dstack([points, np.zeros_like(points[..., 0])])
    folder = ActorFolder.create(actor, ActorInfo(name="matted", size=box.crop_size))
    selection = SegmentSelection(first_frame, first_frame + count - 1, points)
    started = time.perf_counter()
    plate_share = write_crops(video, folder, selection, box, Reporter())
    seconds = time.perf_counter() - started
    return MattedClip(FrameStore(folder), count, plate_share, 1000 * seconds / count)
