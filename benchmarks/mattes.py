"""How good mattes and plate are: against the sample actor's truth, and by what can be seen on real clips."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from backend.contract.actor_folder import ActorFolder, ActorInfo
from backend.contract.arrays import F32, U8
from backend.contract.progress import Reporter
from backend.dataset.crops import CropBox, write_crops
from backend.dataset.frame_store import MATTE_HAIR, MATTE_HEAD, MATTE_MOUTH, MATTE_PERSON, FrameStore
from backend.matting.metrics import alpha_error, edge_band, fill_columns, flicker, gradient_error
from backend.matting.person import PersonSegmenter
from backend.media.decode import probe_video
from backend.pipeline.scan import scan_footage
from backend.synthetic import GroundTruth, SampleOptions, ground_truth_path, make_sample
from backend.tracking.detection.selection import SegmentSelection

SIZE, SECONDS, SEEDS = 512, 2.4, (0, 1, 2)
CLIPS = (
    "train_obama_pd_20s", "train_anchor_de_20s", "train_lieu_256px_60s", "extra_woman_aoc_8s",
    "extra_woman_256px_30fps_18s", "extra_vertical_1080x1920_smallface_20s", "hard_noaudio_1080p_2997fps",
)  # fmt: skip
MAX_STILL_DIFFERENCE = 3  # grey levels by which a picture that stands still changes at most
CLIPS_FOLDER = Path(
    os.environ.get("PORTRAIT_ACTOR_CLIPS", str(Path(__file__).resolve().parents[2] / "shared" / "data"))
)


@dataclass
class MattedClip:
    """Crops and mattes of a clip, and how long one frame of it took."""

    store: FrameStore
    count: int
    plate_edge_share: float
    frame_ms: float

    def iterate_alphas(self) -> Iterator[F32]:
        """The person's alpha of one frame after the other."""
        for t in range(self.count):
            yield self.store.read_matte(t, use_cache=False)[..., MATTE_PERSON]


def run() -> dict[str, float]:
    """Figures under `mattes.sample.*`, and under `mattes.CLIP.*` of the clips that are there."""
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        talks = [sample_figures(place, "talk", seed) for seed in SEEDS]
        for key in talks[0]:
            figures[f"mattes.sample.{key}"] = float(np.mean([talk[key] for talk in talks]))
        still = sample_figures(place, "still_head", 0)
        figures["mattes.sample.still_flicker"] = still["flicker"]
        figures["mattes.sample.still_raw_flicker"] = still["raw_flicker"]
        for name in CLIPS:
            for path in sorted(CLIPS_FOLDER.rglob(f"{name}.*")):
                figures |= {f"mattes.{name}.{k}": v for k, v in clip_figures(path, place).items()}
    return figures


def sample_figures(folder: Path, motion: str, seed: int) -> dict[str, float]:
    """Errors of the sample actor with strands and noise; landmarks are the true ones: tracking has its own figures."""
    clip = folder / f"{motion}{seed}.mp4"
    make_sample(clip, SampleOptions(SECONDS, SIZE, seed=seed, has_loose_hairs=True, noise=0.01, motion=motion))
    truth = GroundTruth.load(ground_truth_path(clip))
    box = CropBox(0.0, 0.0, float(SIZE), SIZE, (SIZE, SIZE))
    made = matte_clip(clip, truth.landmarks, box, folder / f"{motion}{seed}.actor")
    rows: list[dict[str, float]] = []
    before: tuple[F32, F32, F32] | None = None
    with PersonSegmenter() as person:
        for t in range(made.count):
            matte, true = made.store.read_matte(t, use_cache=False), np.clip(truth.person_alpha(t), 0, 1)
            rough = cv2.resize(
                person(made.store.read_frame(t, use_cache=False)), (SIZE, SIZE), interpolation=cv2.INTER_LINEAR
            )
            row = frame_errors(matte, rough, true, truth, t) if t % 2 == 0 else {}
            if before is not None:
                row["flicker"] = flicker(before[0], matte[..., MATTE_PERSON], before[2], true)
                row["raw_flicker"] = flicker(before[1], rough, before[2], true)
            before = matte[..., MATTE_PERSON], rough, true
            rows.append(row)
    keys = sorted(set().union(*rows))
    result = {key: float(np.nanmean([row[key] for row in rows if key in row])) for key in keys}
    result["gradient_gain_percent"] = 100 * (1 - result["gradient_error"] / result["raw_gradient_error"])
    return result | {"edge_by_plate": made.plate_edge_share, "frame_ms": made.frame_ms}


def frame_errors(matte: F32, mask: F32, true_matte: F32, truth: GroundTruth, frame_index: int) -> dict[str, float]:
    """Errors of one frame's mattes (H, W, 4) and of its rough mask (H, W)."""
    assert truth.mattes is not None
    alpha = matte[..., MATTE_PERSON]
    head, hair, torso, mouth = truth.mattes[frame_index].astype(np.float32) / 255
    parts = {
        "head": (alpha * matte[..., MATTE_HEAD], head), "hair": (alpha * matte[..., MATTE_HAIR], hair),
        "torso": (alpha * (1 - matte[..., MATTE_HEAD]), torso), "mouth": (matte[..., MATTE_MOUTH], fill_columns(mouth)),
    }  # fmt: skip
    errors = {f"{name}_mean_abs": float(np.abs(ours - theirs).mean()) for name, (ours, theirs) in parts.items()}
    return errors | {
        "edge_mean_abs": alpha_error(alpha, true_matte),
        "raw_edge_mean_abs": alpha_error(mask, true_matte),
        "gradient_error": gradient_error(alpha, true_matte),
        "raw_gradient_error": gradient_error(mask, true_matte),
    }


def clip_figures(video: Path, folder: Path) -> dict[str, float]:
    """What can be measured without a truth: how much the edge trembles where the picture rests, and the speed."""
    _, found, chosen = scan_footage(video, None, Reporter())
    box = CropBox.from_landmarks(chosen.landmarks, found.frame_size, SIZE)
    made = matte_clip(video, chosen.landmarks, box, folder / f"{video.stem}.actor", chosen.first)
    changes, widths = [], []
    before: tuple[F32, U8] | None = None
    for t, alpha in enumerate(made.iterate_alphas()):
        picture = made.store.read_frame(t, use_cache=False)
        if before is not None:
            rests = edge_band(alpha) & (cv2.blur(cv2.absdiff(picture, before[1]).max(2), (5, 5)) < MAX_STILL_DIFFERENCE)
            changes.append(float(np.abs(alpha - before[0])[rests].mean()) if rests.any() else np.nan)
        widths.append(float(((alpha > 0.05) & (alpha < 0.95)).mean()))
        before = alpha, picture
    flickering = float(np.nanmean(changes)) if np.isfinite(changes).any() else 0.0
    return {
        "flicker": flickering, "soft_percent": 100 * float(np.mean(widths)), "edge_by_plate": made.plate_edge_share,
        "frame_ms": made.frame_ms, "real_time_share": made.frame_ms / 1000 * probe_video(video).fps,
    }  # fmt: skip


def matte_clip(
    video: Path, landmarks: NDArray[np.floating], box: CropBox, actor: Path, first_frame: int = 0
) -> MattedClip:
    """Crops and mattes of frames of a clip, landmarks (T, 478, ≥2) in its pixels."""
    count = min(len(landmarks), 300)
    if landmarks.shape[2] == 2:
        landmarks = np.dstack([landmarks, np.zeros_like(landmarks[..., 0])])
    folder = ActorFolder.create(actor, ActorInfo(name="matted", size=box.crop_size))
    started = time.perf_counter()
    selection = SegmentSelection(first_frame, first_frame + count - 1, landmarks[:count])
    by_plate = write_crops(video, folder, selection, box, Reporter())
    spent = time.perf_counter() - started
    return MattedClip(FrameStore(folder), count, by_plate, 1000 * spent / count)
