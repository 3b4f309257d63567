"""Mattes and plate, on synthetic images and on the sample actor, whose alphas are known."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.contract.actor_folder import ActorFolder, ActorInfo
from backend.contract.arrays import F32, U8, Mask
from backend.contract.errors import Cancelled, UserError
from backend.contract.progress import Reporter
from backend.dataset.crops import CropBox, write_crops
from backend.dataset.frame_store import MATTE_HEAD, MATTE_PERSON, FrameStore
from backend.matting.clip import ClipMatting
from backend.matting.edges import EdgeRefiner, apply_guided_filter, remove_islands
from backend.matting.foreground import estimate_foreground
from backend.matting.hair import HairModel
from backend.matting.person import PersonSegmenter, fill_mask_holes
from backend.matting.plate import Plate, PlateEstimator, estimate_fill_error, fill_unknown
from backend.matting.regions import head_mask, mouth_mask
from backend.matting.temporal_filter import TemporalFilter
from backend.media.decode import read_frames
from backend.media.srgb import linear_from_srgb_codes, srgb_from_linear
from backend.synthetic import GroundTruth, SampleOptions, ground_truth_path, make_sample
from backend.tracking.detection import topology as topo
from backend.tracking.detection.selection import SegmentSelection
from benchmarks._matte_metrics import alpha_error, edge_band, fill_columns, flicker, gradient_error


def test_rough_mask_covers_the_sample_actor(sample_clip: Path) -> None:
    truth = GroundTruth.load(ground_truth_path(sample_clip))
    with PersonSegmenter() as segmenter:
        errors = [
            np.abs(segmenter.segment(rgb) - truth.person_alpha(i)).mean()
            for i, _, rgb in read_frames(sample_clip)
            if i % 10 == 0
        ]
    assert np.mean(errors) < 0.05


def test_small_holes_of_the_mask_are_filled_and_large_ones_stay() -> None:
    mask = np.ones((100, 100), np.float32)
    mask[40:44, 50:53] = 0.2
    mask[60:90, 20:40] = 0.0
    filled = fill_mask_holes(mask)
    assert filled[40:44, 50:53].min() == 1
    assert filled[60:90, 20:40].max() == 0


def test_islands_beside_the_person_are_removed_and_connected_strands_stay() -> None:
    mask = np.zeros((100, 100), np.float32)
    mask[30:, 40:60] = 1
    alpha = mask.copy()
    alpha[10:30, 50] = 0.4  # a strand that grows from the head
    alpha[60:66, 20:26] = 0.6  # a moving logo beside it, with a faint border
    alpha[59, 20:26] = 0.1
    cleaned = remove_islands(alpha, mask)
    assert cleaned[55:70, 15:30].max() == 0
    cleaned[55:70, 15:30] = alpha[55:70, 15:30]
    assert np.array_equal(cleaned, alpha)


def test_guided_mask_follows_the_edge_of_the_image() -> None:
    rgb = np.full((96, 96, 3), 40, np.uint8)
    rgb[:, 50:] = 210
    shifted = np.zeros((96, 96), np.float32)
    shifted[:, 49:] = 1.0  # a pixel beside the edge
    blurred = np.asarray(cv2.GaussianBlur(shifted, (0, 0), 2), np.float32)
    true_mask = np.zeros_like(shifted)
    true_mask[:, 50:] = 1.0
    assert np.abs(apply_guided_filter(blurred, rgb) - true_mask).mean() < 0.6 * np.abs(blurred - true_mask).mean()


def render_disc(plate: U8, color: tuple[int, int, int], size: int) -> tuple[U8, F32]:
    """Composites a soft disc with thin spokes, like a head with strands, over the plate; returns image and alpha."""
    large = np.zeros((size * 4, size * 4), np.uint8)
    middle = size * 2
    cv2.circle(large, (middle, middle), size, 255, -1)
    for angle in np.linspace(0, 2 * np.pi, 40):
        end = np.rint(middle + size * 1.15 * np.array([np.cos(angle), np.sin(angle)])).astype(int)
        cv2.line(large, (middle, middle), (int(end[0]), int(end[1])), 255, 2)
    alpha = cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
    linear = alpha * linear_from_srgb_codes(np.array(color, np.uint8)) + (1 - alpha) * linear_from_srgb_codes(plate)
    return np.rint(srgb_from_linear(linear) * 255).astype(np.uint8), alpha[..., 0]


def make_wall(size: int) -> U8:
    """A background that brightens to the right."""
    return np.broadcast_to(np.linspace(120, 190, size).astype(np.uint8)[None, :, None], (size, size, 3)).copy()


def blur_mask(mask: Mask) -> F32:
    """A mask as soft as the segmenter's."""
    return np.asarray(np.clip(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 4), 0, 1), np.float32)


def test_strands_are_found_in_front_of_a_known_plate() -> None:
    background = make_wall(160)
    rgb, alpha = render_disc(background, (60, 35, 20), 160)
    rough = blur_mask(alpha > 0.5)
    plate = Plate(background, np.ones((160, 160), bool), np.full((160, 160), 1.5, np.float32))
    refined = EdgeRefiner(plate).refine(rough, rgb, np.zeros((160, 160), np.float32))
    assert alpha_error(refined.alpha, alpha) < 0.03
    assert alpha_error(refined.alpha, alpha) < 0.25 * alpha_error(apply_guided_filter(rough, rgb), alpha)
    assert refined.plate_influence[edge_band(alpha)].mean() > 0.8


def test_uncertain_plate_leaves_the_guided_mask() -> None:
    background = make_wall(160)
    rgb, alpha = render_disc(background, (60, 35, 20), 160)
    rough = blur_mask(alpha > 0.5)
    uncertain = Plate(np.invert(background), np.zeros((160, 160), bool), np.full((160, 160), 120, np.float32))
    refined = EdgeRefiner(uncertain).refine(rough, rgb, np.zeros((160, 160), np.float32))
    assert refined.plate_influence.max() < 0.5
    assert np.abs(refined.alpha - apply_guided_filter(rough, rgb)).mean() < 0.03


def test_patch_in_the_color_of_the_background_leaves_no_hole() -> None:
    background = make_wall(160)
    rgb, alpha = render_disc(background, (60, 35, 20), 160)
    rgb[80:86, 44:50] = background[80:86, 44:50]
    plate = Plate(background, np.ones((160, 160), bool), np.full((160, 160), 1.5, np.float32))
    rough = (alpha > 0.5).astype(np.float32)
    refined = EdgeRefiner(plate).refine(rough, rgb, np.zeros((160, 160), np.float32))
    assert refined.alpha[80:86, 44:50].min() > 0.9


def test_foreground_composites_back_into_the_image_without_spill() -> None:
    background = np.full((120, 120, 3), (30, 200, 40), np.uint8)
    rgb, alpha = render_disc(background, (150, 90, 70), 120)
    color = estimate_foreground(rgb, alpha, background)
    mix = alpha[..., None] * linear_from_srgb_codes(color) + (1 - alpha[..., None]) * linear_from_srgb_codes(background)
    soft = (alpha > 0.05) & (alpha < 0.95)
    assert np.abs(srgb_from_linear(mix) - rgb / 255.0)[soft].mean() < 0.01
    spill = np.abs(color.astype(float) - (150, 90, 70)).mean(2)
    before = np.abs(rgb.astype(float) - (150, 90, 70)).mean(2)
    assert spill[soft].mean() < 0.1 * before[soft].mean()


def test_plate_shows_the_background_behind_a_moving_person() -> None:
    background = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    estimator = PlateEstimator(expected_frames=40, capacity=40)
    for t in range(40):
        alpha = np.zeros((64, 64), np.float32)
        alpha[20:, t : t + 12] = 1
        image = background.copy()
        image[alpha > 0] = 255
        estimator.add_frame(image, alpha)
    plate = estimator.estimate_plate()
    assert plate.seen.mean() > 0.9
    assert np.array_equal(plate.color[plate.seen], background[plate.seen])
    assert plate.deviation[plate.seen].max() < 2


def test_plate_is_uncertain_where_it_moves_or_was_never_seen() -> None:
    rng = np.random.default_rng(1)
    estimator = PlateEstimator(expected_frames=30)
    still = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((64, 64), np.float32)
    mask[24:40, 24:40] = 1
    for _ in range(30):
        image = still.copy()
        image[:12] = rng.integers(0, 255, (12, 64, 3))  # leaves in the wind
        estimator.add_frame(image, mask)
    plate = estimator.estimate_plate()
    assert plate.deviation[50:].max() < 2
    assert plate.deviation[:12].mean() > 20
    assert not plate.seen[30:34, 30:34].any()
    assert plate.deviation[30:34, 30:34].min() > 20


def test_plate_keeps_at_most_its_capacity_of_frames() -> None:
    estimator = PlateEstimator(expected_frames=1000, capacity=16)
    for _ in range(1000):
        estimator.add_frame(np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), np.float32))
    assert len(estimator.kept_frames()) <= 16


def test_unknown_pixels_are_filled_from_their_surroundings() -> None:
    image = np.full((40, 40, 3), 100, np.uint8)
    known = np.ones((40, 40), bool)
    known[10:30, 10:30] = False
    image[~known] = 0
    assert np.abs(fill_unknown(image, known).astype(int) - 100).max() <= 1
    assert estimate_fill_error(image, known)[15:25, 15:25].max() < 2


def test_temporal_filter_calms_still_images_and_follows_moving_ones() -> None:
    rng = np.random.default_rng(2)
    still = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
    temporal_filter, filtered, noisy = TemporalFilter(), [], []
    for _ in range(12):
        matte = np.clip(0.5 + rng.normal(0, 0.1, (40, 40, 1)), 0, 1).astype(np.float32)
        noisy.append(matte)
        filtered.append(temporal_filter.filter(still, matte))
    assert np.abs(np.diff(filtered[4:], axis=0)).mean() < 0.25 * np.abs(np.diff(noisy[4:], axis=0)).mean()
    new_matte = np.ones((40, 40, 1), np.float32)
    assert np.array_equal(temporal_filter.filter(np.invert(still), new_matte), new_matte)


def test_matte_errors_are_zero_for_the_truth_and_grow_with_the_blur() -> None:
    _, alpha = render_disc(make_wall(128), (0, 0, 0), 128)
    slight, strong = (np.asarray(cv2.GaussianBlur(alpha, (0, 0), sigma), np.float32) for sigma in (1, 4))
    for error in (alpha_error, gradient_error):
        assert error(alpha, alpha) == 0
        assert 0 < error(slight, alpha) < error(strong, alpha)


def test_flicker_counts_changes_only_where_the_truth_stands_still() -> None:
    _, alpha = render_disc(make_wall(128), (0, 0, 0), 128)
    assert flicker(alpha, alpha, alpha, alpha) == 0
    assert np.isnan(flicker(alpha, 0.9 * alpha, alpha + 0.5, alpha))
    assert flicker(alpha, 0.9 * alpha, alpha, alpha) > 0.03


@dataclass
class MattedSample:
    """A sample clip with loose hairs and noise: its truth, images, rough masks and filtered mattes."""

    truth: GroundTruth
    images: list[U8]
    masks: list[F32]
    mattes: list[F32]
    matting: ClipMatting


@pytest.fixture(scope="module")
def matted(tmp_path_factory: pytest.TempPathFactory) -> MattedSample:
    path = tmp_path_factory.mktemp("mattes") / "strands.mp4"
    make_sample(path, SampleOptions(seconds=0.8, size=320, seed=4, has_loose_hairs=True, noise=0.01))
    truth = GroundTruth.load(ground_truth_path(path))
    images = [rgb for _, _, rgb in read_frames(path)]
    with PersonSegmenter() as segmenter:
        masks = [segmenter.segment(rgb) for rgb in images]
    matting, temporal_filter = ClipMatting(len(images)), TemporalFilter()
    frames = list(zip(images, masks, truth.landmarks, strict=True))
    for frame in frames:
        matting.add_frame(*frame)
    matting.learn()
    mattes = [temporal_filter.filter(frame[0], matting.compute_matte(*frame)[0]) for frame in frames]
    return MattedSample(truth, images, masks, mattes, matting)


def test_edge_of_the_sample_actor_is_found_better_than_by_the_rough_mask(matted: MattedSample) -> None:
    size = matted.images[0].shape[1], matted.images[0].shape[0]
    errors, gradient_errors, rough_gradient_errors = [], [], []
    for i in range(0, len(matted.mattes), 5):
        alpha, true_alpha = matted.mattes[i][..., MATTE_PERSON], np.clip(matted.truth.person_alpha(i), 0, 1)
        rough = np.asarray(cv2.resize(matted.masks[i], size), np.float32)
        errors.append(alpha_error(alpha, true_alpha))
        gradient_errors.append(gradient_error(alpha, true_alpha))
        rough_gradient_errors.append(gradient_error(rough, true_alpha))
    assert np.mean(errors) < 0.06
    assert np.mean(gradient_errors) < 0.5 * np.mean(rough_gradient_errors)


def test_matte_of_the_sample_actor_does_not_flicker_where_it_stands_still(matted: MattedSample) -> None:
    alphas = [matte[..., MATTE_PERSON] for matte in matted.mattes]
    true_alphas = [matted.truth.person_alpha(i) for i in range(len(alphas))]
    pairs = zip(pairwise(alphas), pairwise(true_alphas), strict=True)
    assert np.nanmean([flicker(*ours, *true) for ours, true in pairs]) < 0.03


def test_head_hair_and_torso_of_the_sample_actor_match_the_truth(matted: MattedSample) -> None:
    assert matted.truth.mattes is not None
    assert matted.matting.hair_model.has_hair
    for i in (3, 10, 17):
        person, head, _, hair = np.moveaxis(matted.mattes[i], 2, 0)
        true_head, true_hair, true_torso, _ = matted.truth.mattes[i].astype(np.float32) / 255
        assert np.abs(person * head - true_head).mean() < 0.02
        assert np.abs(person * hair - true_hair).mean() < 0.02
        assert np.abs(person * (1 - head) - true_torso).mean() < 0.02


class CancelledHalfway(Reporter):
    """Cancels when half of a stage is done."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
        if stage == self.stage and done >= total // 2:
            raise Cancelled


def write_and_read_crops(clip: Path, folder: ActorFolder, reporter: Reporter) -> list[tuple[str, bytes]]:
    """Writes the crops of a clip's first 12 frames; returns the path and content of every file."""
    truth = GroundTruth.load(ground_truth_path(clip), should_load_images=False)
    landmarks = np.dstack([truth.landmarks[:12], np.zeros_like(truth.landmarks[:12, :, 0])])
    box = CropBox(0.0, 0.0, 256.0, 128, (256, 256))
    share = write_crops(clip, folder, SegmentSelection(0, 11, landmarks), box, reporter)
    assert 0 <= share <= 1
    files = sorted(p for p in folder.path.rglob("*") if p.is_file() and p.name != "actor.json")
    return [(str(path.relative_to(folder.path)), path.read_bytes()) for path in files]


def test_crops_are_the_same_in_every_run_even_after_a_cancelled_one(sample_clip: Path, tmp_path: Path) -> None:
    complete = ActorFolder.create(tmp_path / "complete.actor", ActorInfo(name="complete", size=128))
    first = write_and_read_crops(sample_clip, complete, Reporter())
    assert len(first) == 12 + 12 + 1
    assert FrameStore(complete).read_matte(5).shape == (128, 128, 4)
    assert write_and_read_crops(sample_clip, complete, Reporter()) == first
    for stage in ("cut out the person", "refine the mattes"):
        cancelled = ActorFolder.create(tmp_path / f"{stage}.actor", ActorInfo(name="cancelled", size=128))
        with pytest.raises(Cancelled):
            write_and_read_crops(sample_clip, cancelled, CancelledHalfway(stage))
        assert len(list(cancelled.file_path("mattes").iterdir())) > 0
        assert write_and_read_crops(sample_clip, cancelled, Reporter()) == first


def make_matte() -> F32:
    """Random mattes (48, 48, 4) of 8-bit codes, empty at the top."""
    codes = np.random.default_rng(3).integers(0, 256, (48, 48, 4))
    codes[:20] = 0
    return codes.astype(np.float32) / 255


def make_store(folder: Path) -> FrameStore:
    store = FrameStore(ActorFolder.create(folder / "store.actor", ActorInfo(name="store", size=48)))
    store.make_folders()
    return store


def test_mattes_and_masks_are_read_as_they_were_written(tmp_path: Path) -> None:
    store, matte = make_store(tmp_path), make_matte()
    mask = matte[:24, :24, 1].copy()
    store.write_matte(0, matte)
    store.write_mask(1, mask)
    assert np.array_equal(store.read_matte(0, use_cache=False), matte)
    assert np.array_equal(store.read_mask(1), mask)
    torso_alpha = matte[..., MATTE_PERSON] * (1 - matte[..., MATTE_HEAD])
    assert np.array_equal(store.read_torso_alpha(0, use_cache=False), torso_alpha)


@pytest.mark.parametrize("use_cache", [True, False])
def test_matte_stays_in_memory_only_when_the_cache_is_used(tmp_path: Path, use_cache: bool) -> None:
    store, matte = make_store(tmp_path), make_matte()
    store.write_matte(0, matte)
    store.read_matte(0, use_cache=use_cache)
    (tmp_path / "store.actor" / "mattes" / "000000.png").unlink()
    if use_cache:
        assert np.array_equal(store.read_matte(0), matte)
    else:
        with pytest.raises(UserError):
            store.read_matte(0)


def test_bald_head_has_no_hair() -> None:
    skin = np.full((128, 128, 3), (190, 140, 120), np.uint8)
    points = np.zeros((topo.LANDMARK_COUNT, 2))
    angle = np.linspace(0, 2 * np.pi, len(topo.FACE_OVAL), endpoint=False)
    points[list(topo.FACE_OVAL)] = np.stack([64 + 24 * np.sin(angle), 70 - 32 * np.cos(angle)], 1)
    mask = np.ones((128, 128), np.float32)
    model = HairModel.learn([skin], [mask], [points])
    assert not model.has_hair
    assert model.predict(skin, points, mask).max() == 0


def test_head_and_mouth_regions_match_the_truth(sample_clip: Path) -> None:
    truth = GroundTruth.load(ground_truth_path(sample_clip))
    assert truth.mattes is not None
    frame = int(truth.mouth_opening.argmax())
    shape = truth.mattes.shape[2], truth.mattes.shape[3]
    mouth = mouth_mask(truth.landmarks[frame], shape)
    true_mouth = fill_columns(truth.mattes[frame, 3].astype(np.float32) / 255)
    assert np.minimum(mouth, true_mouth).sum() / np.maximum(mouth, true_mouth).sum() > 0.65
    assert np.maximum(mouth - true_mouth, 0).sum() < 0.2 * true_mouth.sum()  # pixels on the lips
    closed = int(truth.mouth_opening.argmin())
    assert mouth_mask(truth.landmarks[closed], shape).sum() < 0.05 * mouth.sum()
    nose = int(truth.landmarks[frame, topo.NOSE_TIP, 1])
    assert head_mask(truth.landmarks[frame], shape)[nose, shape[1] // 2] > 0.9
