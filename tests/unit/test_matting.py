"""Mattes and plate: on pictures made for the purpose, and on the sample actor, whose alphas are known."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from backend.contract.actor_folder import ActorFolder, ActorInfo
from backend.contract.arrays import F32, U8
from backend.contract.errors import Cancelled, UserError
from backend.contract.progress import Reporter
from backend.dataset.crops import CropBox, write_crops
from backend.dataset.frame_store import MATTE_HEAD, MATTE_PERSON, FrameStore
from backend.matting.clip import ClipMatting
from backend.matting.edges import EdgeRefiner, apply_guided_filter, remove_islands
from backend.matting.foreground import estimate_foreground
from backend.matting.hair import HairModel
from backend.matting.metrics import alpha_error, edge_band, fill_columns, flicker, gradient_error
from backend.matting.person import PersonSegmenter, fill_mask_holes
from backend.matting.plate import Plate, PlateEstimator, estimate_fill_error, fill_unknown
from backend.matting.regions import head_mask, mouth_mask
from backend.matting.temporal_filter import TemporalFilter
from backend.media.decode import read_frames
from backend.media.srgb import linear_from_srgb_codes, srgb_from_linear
from backend.synthetic import GroundTruth, SampleOptions, ground_truth_path, make_sample
from backend.tracking.detection import topology as topo
from backend.tracking.detection.selection import SegmentSelection


def test_person_mask_lies_on_the_sample_actor(sample_clip: Path) -> None:
    truth = GroundTruth.load(ground_truth_path(sample_clip))
    with PersonSegmenter() as person:
        errors = [
            np.abs(person(rgb) - truth.person_alpha(i)).mean() for i, _, rgb in read_frames(sample_clip) if i % 10 == 0
        ]
    assert np.mean(errors) < 0.05


def test_small_holes_of_the_mask_are_filled_and_gaps_are_not() -> None:
    mask = np.ones((100, 100), np.float32)
    mask[40:44, 50:53] = 0.2
    mask[60:90, 20:40] = 0.0
    filled = fill_mask_holes(mask)
    assert filled[40:44, 50:53].min() == 1
    assert filled[60:90, 20:40].max() == 0


def test_what_moved_beside_the_person_is_no_part_of_the_matte_but_a_soft_strand_is() -> None:
    mask = np.zeros((100, 100), np.float32)
    mask[30:, 40:60] = 1
    alpha = mask.copy()
    alpha[10:30, 50] = 0.4  # a strand that grows from the head
    alpha[60:66, 20:26] = 0.6  # a moving logo beside it, with a faint shore
    alpha[59, 20:26] = 0.1
    cleaned = remove_islands(alpha, mask)
    assert cleaned[55:70, 15:30].max() == 0
    cleaned[55:70, 15:30] = alpha[55:70, 15:30]
    assert np.array_equal(cleaned, alpha)


def test_guided_mask_follows_the_picture_s_edge() -> None:
    rgb = np.full((96, 96, 3), 40, np.uint8)
    rgb[:, 50:] = 210
    raw = np.zeros((96, 96), np.float32)
    raw[:, 49:] = 1.0  # a pixel beside the edge, and blurred
    blurred = cv2.GaussianBlur(raw, (0, 0), 2)
    true = np.zeros_like(raw)
    true[:, 50:] = 1.0
    assert np.abs(apply_guided_filter(blurred, rgb) - true).mean() < 0.6 * np.abs(blurred - true).mean()


def disc_over(plate: U8, colour: tuple[int, int, int], size: int) -> tuple[U8, F32]:
    """A soft disc with thin spokes, like a head with strands, mixed over the plate in linear light; and its alpha."""
    large = np.zeros((size * 4, size * 4), np.uint8)
    middle = size * 2
    cv2.circle(large, (middle, middle), size, 255, -1)
    for angle in np.linspace(0, 2 * np.pi, 40):
        end = np.rint(middle + size * 1.15 * np.array([np.cos(angle), np.sin(angle)])).astype(int)
        cv2.line(large, (middle, middle), (int(end[0]), int(end[1])), 255, 2)
    alpha = cv2.resize(large, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)[..., None] / 255
    light = alpha * linear_from_srgb_codes(np.array(colour, np.uint8)) + (1 - alpha) * linear_from_srgb_codes(plate)
    return np.rint(srgb_from_linear(light) * 255).astype(np.uint8), alpha[..., 0]


def wall(size: int) -> U8:
    """A background that brightens to the right."""
    return np.broadcast_to(np.linspace(120, 190, size).astype(np.uint8)[None, :, None], (size, size, 3)).copy()


def test_edges_find_strands_before_a_known_plate() -> None:
    background = wall(160)
    rgb, alpha = disc_over(background, (60, 35, 20), 160)
    raw = np.clip(cv2.GaussianBlur((alpha > 0.5).astype(np.float32), (0, 0), 4), 0, 1)
    plate = Plate(background, np.ones((160, 160), bool), np.full((160, 160), 1.5, np.float32))
    refined = EdgeRefiner(plate)(raw, rgb, np.zeros((160, 160), np.float32))
    assert alpha_error(refined.alpha, alpha) < 0.03
    assert alpha_error(refined.alpha, alpha) < 0.25 * alpha_error(apply_guided_filter(raw, rgb), alpha)
    assert refined.plate_influence[edge_band(alpha)].mean() > 0.8


def test_edges_do_not_trust_a_doubtful_plate() -> None:
    background = wall(160)
    rgb, alpha = disc_over(background, (60, 35, 20), 160)
    raw = np.clip(cv2.GaussianBlur((alpha > 0.5).astype(np.float32), (0, 0), 4), 0, 1)
    wrong = Plate(255 - background, np.zeros((160, 160), bool), np.full((160, 160), 120, np.float32))
    refined = EdgeRefiner(wrong)(raw, rgb, np.zeros((160, 160), np.float32))
    assert refined.plate_influence.max() < 0.5
    assert np.abs(refined.alpha - apply_guided_filter(raw, rgb)).mean() < 0.03


def test_a_patch_in_the_background_s_colour_is_no_hole() -> None:
    background = wall(160)
    rgb, alpha = disc_over(background, (60, 35, 20), 160)
    rgb[80:86, 44:50] = background[80:86, 44:50]
    plate = Plate(background, np.ones((160, 160), bool), np.full((160, 160), 1.5, np.float32))
    raw = (alpha > 0.5).astype(np.float32)
    refined = EdgeRefiner(plate)(raw, rgb, np.zeros((160, 160), np.float32))
    assert refined.alpha[80:86, 44:50].min() > 0.9


def test_foreground_composites_back_and_carries_no_spill() -> None:
    background = np.full((120, 120, 3), (30, 200, 40), np.uint8)
    rgb, alpha = disc_over(background, (150, 90, 70), 120)
    colour = estimate_foreground(rgb, alpha, background)
    mix = alpha[..., None] * linear_from_srgb_codes(colour) + (1 - alpha[..., None]) * linear_from_srgb_codes(
        background
    )
    soft = (alpha > 0.05) & (alpha < 0.95)
    assert np.abs(srgb_from_linear(mix) - rgb / 255.0)[soft].mean() < 0.01
    spill = np.abs(colour.astype(float) - (150, 90, 70)).mean(2)
    before = np.abs(rgb.astype(float) - (150, 90, 70)).mean(2)
    assert spill[soft].mean() < 0.1 * before[soft].mean()


def test_plate_is_the_background_behind_a_moving_person() -> None:
    background = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    estimator = PlateEstimator(expected_frames=40, capacity=40)
    for t in range(40):
        alpha = np.zeros((64, 64), np.float32)
        alpha[20:, t : t + 12] = 1
        picture = background.copy()
        picture[alpha > 0] = 255
        estimator.add_frame(picture, alpha)
    plate = estimator.estimate_plate()
    assert plate.seen.mean() > 0.9
    assert np.array_equal(plate.color[plate.seen], background[plate.seen])
    assert plate.deviation[plate.seen].max() < 2


def test_plate_doubts_what_moves_and_what_was_never_seen() -> None:
    rng = np.random.default_rng(1)
    estimator = PlateEstimator(expected_frames=30)
    still = rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((64, 64), np.float32)
    mask[24:40, 24:40] = 1
    for _ in range(30):
        picture = still.copy()
        picture[:12] = rng.integers(0, 255, (12, 64, 3))  # leaves in the wind
        estimator.add_frame(picture, mask)
    plate = estimator.estimate_plate()
    assert plate.deviation[50:].max() < 2
    assert plate.deviation[:12].mean() > 20
    assert not plate.seen[30:34, 30:34].any()
    assert plate.deviation[30:34, 30:34].min() > 20


def test_plate_memory_does_not_grow_with_the_clip() -> None:
    estimator = PlateEstimator(expected_frames=1000, capacity=16)
    for _ in range(1000):
        estimator.add_frame(np.zeros((16, 16, 3), np.uint8), np.zeros((16, 16), np.float32))
    assert len(estimator.kept_frames()) <= 16


def test_unknown_pixels_are_filled_from_their_surroundings() -> None:
    picture = np.full((40, 40, 3), 100, np.uint8)
    known = np.ones((40, 40), bool)
    known[10:30, 10:30] = False
    picture[~known] = 0
    assert np.abs(fill_unknown(picture, known).astype(int) - 100).max() <= 1
    assert estimate_fill_error(picture, known)[15:25, 15:25].max() < 2


def test_steadier_calms_a_still_edge_and_follows_a_moving_one() -> None:
    rng = np.random.default_rng(2)
    still = rng.integers(0, 255, (40, 40, 3), dtype=np.uint8)
    steady, calm, wild = TemporalFilter(), [], []
    for _ in range(12):
        matte = np.clip(0.5 + rng.normal(0, 0.1, (40, 40, 1)), 0, 1).astype(np.float32)
        wild.append(matte)
        calm.append(steady(still, matte))
    assert np.abs(np.diff(calm[4:], axis=0)).mean() < 0.25 * np.abs(np.diff(wild[4:], axis=0)).mean()
    moved = np.ones((40, 40, 1), np.float32)
    assert np.array_equal(steady(255 - still, moved), moved)


def test_measures_are_zero_for_the_truth_and_grow_with_the_fault() -> None:
    _, alpha = disc_over(wall(128), (0, 0, 0), 128)
    blurred, coarser = cv2.GaussianBlur(alpha, (0, 0), 1), cv2.GaussianBlur(alpha, (0, 0), 4)
    for measure in (alpha_error, gradient_error):
        assert measure(alpha, alpha) == 0
        assert 0 < measure(blurred, alpha) < measure(coarser, alpha)
    assert flicker(alpha, alpha, alpha, alpha) == 0
    assert flicker(alpha, 0.9 * alpha, alpha, alpha) > 0.03


Matted = tuple[GroundTruth, list[U8], list[F32], list[F32], ClipMatting]


@pytest.fixture(scope="module")
def matted(tmp_path_factory: pytest.TempPathFactory) -> Matted:
    """A sample clip with loose hairs and noise: its truth, pictures, rough masks and mattes."""
    path = tmp_path_factory.mktemp("mattes") / "strands.mp4"
    make_sample(path, SampleOptions(seconds=1.2, size=320, seed=4, has_loose_hairs=True, noise=0.01))
    truth = GroundTruth.load(ground_truth_path(path))
    pictures = [rgb for _, _, rgb in read_frames(path)]
    clip, steadier = ClipMatting(len(pictures)), TemporalFilter()
    with PersonSegmenter() as person:
        masks = [person(rgb) for rgb in pictures]
    shots = list(zip(pictures, masks, truth.landmarks, strict=True))
    for rgb, mask, at in shots:
        clip.add_frame(rgb, mask, at)
    clip.learn()
    mattes = [steadier(rgb, clip.compute_matte(rgb, mask, at)[0]) for rgb, mask, at in shots]
    return truth, pictures, masks, mattes, clip


def test_mattes_of_the_sample_actor_are_good_at_the_edge(matted: Matted) -> None:
    truth, pictures, masks, mattes, _ = matted
    some = range(0, len(mattes), 5)
    trues = {i: np.clip(truth.person_alpha(i), 0, 1) for i in some}
    assert np.mean([alpha_error(mattes[i][..., MATTE_PERSON], trues[i]) for i in some]) < 0.06
    ours = np.mean([gradient_error(mattes[i][..., MATTE_PERSON], trues[i]) for i in some])
    size = pictures[0].shape[1], pictures[0].shape[0]
    raw = np.mean([gradient_error(cv2.resize(masks[i], size), trues[i]) for i in some])
    assert ours < 0.5 * raw
    calm = [
        flicker(
            mattes[i - 1][..., MATTE_PERSON],
            mattes[i][..., MATTE_PERSON],
            truth.person_alpha(i - 1),
            truth.person_alpha(i),
        )
        for i in range(1, len(mattes))
    ]
    assert np.nanmean(calm) < 0.03  # the head moves: only what stands still beside it is counted


def test_head_and_hair_of_the_sample_actor(matted: Matted) -> None:
    truth, _, _, mattes, clip = matted
    assert truth.mattes is not None
    assert clip.hair_model.has_hair
    for i in (5, 15, 25):
        person, head, _, hair = np.moveaxis(mattes[i], 2, 0)
        true_head, true_hair, true_torso, _ = truth.mattes[i].astype(np.float32) / 255
        assert np.abs(person * head - true_head).mean() < 0.02
        assert np.abs(person * hair - true_hair).mean() < 0.02
        assert np.abs(person * (1 - head) - true_torso).mean() < 0.02


class CancelledHalfway(Reporter):
    """The person asks to stop when half of a stage is done."""

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
        if stage == self.stage and done >= total // 2:
            raise Cancelled


def written_crops(clip: Path, folder: ActorFolder, reporter: Reporter) -> list[tuple[str, bytes]]:
    """All files of the crops of a clip's first 12 frames."""
    truth = GroundTruth.load(ground_truth_path(clip), should_load_images=False)
    landmarks = np.dstack([truth.landmarks[:12], np.zeros_like(truth.landmarks[:12, :, 0])])
    box = CropBox(0.0, 0.0, 256.0, 128, (256, 256))
    share = write_crops(clip, folder, SegmentSelection(0, 11, landmarks), box, reporter)
    assert 0 <= share <= 1
    files = sorted(p for p in folder.path.rglob("*") if p.is_file() and p.name != "actor.json")
    return [(str(path.relative_to(folder.path)), path.read_bytes()) for path in files]


def test_crops_and_mattes_are_the_same_in_every_run_even_after_one_that_was_stopped(
    sample_clip: Path, tmp_path: Path
) -> None:
    whole = ActorFolder.create(tmp_path / "whole.actor", ActorInfo(name="whole", size=128))
    first = written_crops(sample_clip, whole, Reporter())
    assert len(first) == 12 + 12 + 1
    assert FrameStore(whole).read_matte(5).shape == (128, 128, 4)
    assert written_crops(sample_clip, whole, Reporter()) == first
    for stage in ("cut out the person", "refine the mattes"):
        stopped = ActorFolder.create(tmp_path / f"{stage}.actor", ActorInfo(name="stopped", size=128))
        with pytest.raises(Cancelled):
            written_crops(sample_clip, stopped, CancelledHalfway(stage))
        assert len(list(stopped.file_path("mattes").iterdir())) > 0
        assert written_crops(sample_clip, stopped, Reporter()) == first


def test_mattes_are_stored_as_they_were_and_kept_in_memory_only_on_request(tmp_path: Path) -> None:
    folder = ActorFolder.create(tmp_path / "store.actor", ActorInfo(name="store", size=48))
    store = FrameStore(folder)
    store.make_folders()
    codes = np.random.default_rng(3).integers(0, 256, (48, 48, 4))
    codes[:20] = 0
    matte, mask = codes.astype(np.float32) / 255, codes[:24, :24, 1].astype(np.float32) / 255
    store.write_matte(0, matte)
    store.write_mask(1, mask)
    assert np.array_equal(store.read_matte(0, use_cache=False), matte)
    assert np.array_equal(store.read_mask(1), mask)
    assert np.array_equal(
        store.read_torso_alpha(0, use_cache=False), matte[..., MATTE_PERSON] * (1 - matte[..., MATTE_HEAD])
    )
    folder.file_path("mattes/000000.png").unlink()
    with pytest.raises(UserError):
        store.read_matte(0)  # nothing was kept
    store.write_matte(0, matte)
    store.read_matte(0)
    folder.file_path("mattes/000000.png").unlink()
    assert np.array_equal(store.read_matte(0), matte)


def test_no_hair_is_seen_on_a_bald_head() -> None:
    skin = np.full((128, 128, 3), (190, 140, 120), np.uint8)
    points = np.zeros((topo.LANDMARK_COUNT, 2))
    angle = np.linspace(0, 2 * np.pi, len(topo.FACE_OVAL), endpoint=False)
    points[list(topo.FACE_OVAL)] = np.stack([64 + 24 * np.sin(angle), 70 - 32 * np.cos(angle)], 1)
    mask = np.ones((128, 128), np.float32)
    model = HairModel.learn([skin], [mask], [points])
    assert not model.has_hair
    assert model(skin, points, mask).max() == 0


def test_head_and_mouth_regions_match_the_truth(sample_clip: Path) -> None:
    truth = GroundTruth.load(ground_truth_path(sample_clip))
    assert truth.mattes is not None
    frame = int(truth.mouth_opening.argmax())
    shape = truth.mattes.shape[2], truth.mattes.shape[3]
    mouth = mouth_mask(truth.landmarks[frame], shape)
    true_mouth = fill_columns(truth.mattes[frame, 3].astype(np.float32) / 255)
    assert np.minimum(mouth, true_mouth).sum() / np.maximum(mouth, true_mouth).sum() > 0.65
    assert np.maximum(mouth - true_mouth, 0).sum() < 0.2 * true_mouth.sum()  # what lies on the lips
    closed = int(truth.mouth_opening.argmin())
    assert mouth_mask(truth.landmarks[closed], shape).sum() < 0.05 * mouth.sum()
    nose = int(truth.landmarks[frame, topo.NOSE_TIP, 1])
    assert head_mask(truth.landmarks[frame], shape)[nose, shape[1] // 2] > 0.9
