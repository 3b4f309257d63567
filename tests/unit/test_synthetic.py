"""The synthetic actor: the sample clip's ground truth, sound and images."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from backend.contract.arrays import F64, U8
from backend.contract.channels import CHANNEL_INDEX, CHANNELS, ORAL_CHANNELS
from backend.contract.errors import Cancelled, UserError
from backend.contract.geometry import matrix_from_quaternion
from backend.contract.performance import Performance
from backend.contract.progress import Reporter
from backend.media.decode import read_frames
from backend.synthetic import (
    GroundTruth,
    SampleOptions,
    ground_truth_path,
    make_sample,
    make_speech_line,
    motion,
    phones,
    voice,
)
from backend.synthetic.hair import build_hair
from backend.synthetic.render import PinholeCamera, SampleFrame, SampleRenderer
from backend.synthetic.texture import paint_atlas

SIZE = 256
FPS = 25.0


Clip = tuple[Path, list[U8], GroundTruth]


def load_clip(path: Path) -> tuple[list[U8], GroundTruth]:
    """The frames and the ground truth of a sample clip."""
    return [rgb for _, _, rgb in read_frames(path)], GroundTruth.load(ground_truth_path(path))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    path = tmp_path_factory.mktemp("sample") / "sample.mp4"
    make_sample(path, SampleOptions(seconds=2.4, size=SIZE, fps=FPS, depth=True))
    frames, truth = load_clip(path)
    return path, frames, truth


@pytest.fixture(scope="module")
def renderer() -> SampleRenderer:
    return SampleRenderer(PinholeCamera.head_and_shoulders(SIZE), 0, False, 2)


@pytest.fixture(scope="module")
def timeline() -> list[phones.TimedPhone]:
    return phones.schedule_phones(
        [text for _, text in phones.FOOTAGE_LINES],
        np.random.default_rng(0),
        lead_seconds=0.6,
        pause_seconds=0.4,
        min_seconds=0,
    )


def render_pose(renderer: SampleRenderer, **channels: float) -> SampleFrame:
    """A frame at the rest pose with these channels."""
    performance = Performance.rest_pose(1, FPS)
    for name, value in channels.items():
        performance.channels[0, CHANNEL_INDEX[name]] = value
    return renderer.render(performance, 0)


def test_same_seed_gives_same_clip(tmp_path: Path, renderer: SampleRenderer) -> None:
    options = SampleOptions(seconds=0.4, size=64, noise=0.02)
    for name in ("a.mp4", "b.mp4"):
        make_sample(tmp_path / name, options)
    (first, truth), (second, second_truth) = load_clip(tmp_path / "a.mp4"), load_clip(tmp_path / "b.mp4")
    assert np.abs(np.array(first, float) - second).mean() < 2, "only the film's compression may differ"
    assert truth.mattes is not None and second_truth.mattes is not None
    assert np.array_equal(truth.landmarks, second_truth.landmarks)
    assert np.array_equal(truth.mattes, second_truth.mattes)
    assert np.array_equal(truth.performance.channels, second_truth.performance.channels)
    assert np.array_equal(render_pose(renderer, jawOpen=0.3).image, render_pose(renderer, jawOpen=0.3).image)
    assert np.array_equal(build_hair(3, True).vertices, build_hair(3, True).vertices)
    assert np.array_equal(paint_atlas(renderer.mesh.cage, 0), renderer.mesh.atlas)


def test_another_seed_changes_motion_and_voice(timeline: list[phones.TimedPhone]) -> None:
    first, second = (motion.create_performance("talk", 50, FPS, timeline, seed) for seed in (0, 1))
    assert np.abs(first.head_rotation - second.head_rotation).max() > 0.01
    assert not np.array_equal(voice.synthesize_speech(timeline, 0), voice.synthesize_speech(timeline, 1))


def test_clip_and_ground_truth_have_the_same_frames(clip: Clip) -> None:
    _, frames, truth = clip
    assert len(frames) == len(truth) == len(truth.landmarks) == len(truth.mouth_opening) == 60
    assert frames[0].shape == (SIZE, SIZE, 3)
    truth.performance.check()
    assert truth.mattes is not None and truth.mattes.shape == (60, 4, SIZE, SIZE)


def test_clip_starts_at_rest_pose_and_then_moves(clip: Clip) -> None:
    performance = clip[2].performance
    assert np.abs(performance.head_rotation[:5] - [1, 0, 0, 0]).max() < 1e-3
    assert np.abs(performance.head_translation[:5]).max() < 1e-3
    assert np.abs(performance.head_rotation[20:] - [1, 0, 0, 0]).max() > 0.02


def test_true_landmarks_lie_on_painted_features(clip: Clip) -> None:
    _, frames, truth = clip
    lids = truth.performance.channels[:, [CHANNEL_INDEX["eyeBlinkLeft"], CHANNEL_INDEX["eyeBlinkRight"]]].max(1)
    for frame in (0, 12, 30, 55):
        rgb = frames[frame].astype(float)

        def color_at(landmark: int, rgb: F64 = rgb, frame: int = frame) -> F64:
            x, y = np.floor(truth.landmarks[frame, landmark]).astype(int)
            return np.asarray(rgb[y - 1 : y + 2, x - 1 : x + 2].mean((0, 1)))

        skin = (color_at(50) + color_at(280)) / 2
        if lids[frame] < 0.1:
            for iris in (468, 473):
                assert color_at(iris).mean() < 0.55 * skin.mean(), "the pupil is dark"
        lip = (color_at(11) + color_at(16) + color_at(85) + color_at(315)) / 4
        assert lip[0] / lip[1] > 1.15 * skin[0] / skin[1], "the lips are redder than the cheeks"
        for brow in ((105, 52), (334, 282)):
            x, y = np.floor(truth.landmarks[frame, brow].mean(0)).astype(int)
            assert rgb[y - 2 : y + 3, x - 1 : x + 2].mean((1, 2)).min() < 0.85 * skin.mean(), "the brows are dark"


def test_true_poses_project_rigid_landmarks_to_their_pixels(clip: Clip, renderer: SampleRenderer) -> None:
    truth = clip[2]
    rest = (renderer.mesh.subdivision_matrix @ renderer.mesh.cage.vertices)[:468]
    assert np.allclose((rest[33] + rest[263]) / 2, 0, atol=1e-3), "the origin lies between the outer eye corners"
    assert np.linalg.norm(rest[33] - rest[263]) == pytest.approx(0.09, abs=1.5e-3)
    rigid = [127, 356, 195, 197]
    for frame in range(0, 60, 7):
        turn = matrix_from_quaternion(truth.performance.head_rotation[frame])
        points = rest[rigid] @ turn.T + truth.performance.head_translation[frame]
        seen = points @ truth.view[:3, :3].T + truth.view[:3, 3]
        pixels = seen @ truth.intrinsics.T
        assert np.abs(pixels[:, :2] / pixels[:, 2:] - truth.landmarks[frame, rigid]).max() < 0.6


def test_mattes_separate_regions_with_soft_edges(clip: Clip) -> None:
    truth = clip[2]
    assert truth.mattes is not None
    head, hair, torso, mouth = truth.mattes.astype(int).transpose(1, 0, 2, 3)
    assert (head + torso).max() <= 256 and (hair <= head + 1).all() and (mouth <= head + 1).all()
    assert 0.15 < truth.person_alpha(0).mean() < 0.8
    partial = (truth.person_alpha(0) > 0.05) & (truth.person_alpha(0) < 0.95)
    assert partial.sum() > 100, "the outline is soft"
    opening = truth.mouth_opening
    mouth_area = mouth.reshape(len(mouth), -1).sum(1)
    assert mouth_area[opening.argmax()] > 20 * 255 and mouth_area[opening.argmin()] < 0.1 * mouth_area[opening.argmax()]


def test_depth_is_nearer_at_nose_than_at_cheek(clip: Clip) -> None:
    truth = clip[2]
    assert truth.depth is not None
    x, y = np.floor(truth.landmarks[0, 4]).astype(int)
    nose = float(truth.depth[0, y, x])
    x, y = np.floor(truth.landmarks[0, 454]).astype(int)
    assert 0.85 < nose < 0.95 and float(truth.depth[0, y, x - 3]) > nose + 0.03


def test_lip_closures_and_pauses_close_the_lips(renderer: SampleRenderer, timeline: list[phones.TimedPhone]) -> None:
    end = timeline[-1].end
    performance = motion.create_performance("still_head", int(end * FPS), FPS, timeline, 0)
    lower, upper = renderer.mesh.cage.mouth_bag[0][15], renderer.mesh.cage.mouth_bag[0][5]
    points = renderer.mesh.cage.vertices + np.tensordot(performance.channels.astype(float), renderer.mesh.shapes, 1)
    opening = np.linalg.norm((points[:, upper] - points[:, lower])[:, 1:], axis=1)
    assert opening.max() > 0.012, "it does open its mouth"
    time = np.arange(len(performance)) / FPS
    for phone in timeline:
        if phones.PHONES[phone.name].closure == "lips" and phone.end < time[-1]:
            inside = np.abs(time - phone.middle) <= 0.5 / FPS + 1e-9
            assert opening[inside].min() < 0.0007, f"{phone.name} at {phone.middle:.2f} s"
        if phone.name == "SIL" and phone.end - phone.start > 0.35:
            quiet = (time > phone.start + 0.12) & (time < phone.end - 0.12)
            assert opening[quiet].max(initial=0) < 0.0015


def test_mouth_close_closes_lips_at_any_jaw_opening(renderer: SampleRenderer) -> None:
    for jaw in (0.0, 0.2, 0.6):
        assert render_pose(renderer, jawOpen=jaw, mouthClose=jaw).mouth_opening < 0.0005
        if jaw:
            assert render_pose(renderer, jawOpen=jaw).mouth_opening > 0.03 * jaw


@pytest.mark.parametrize(
    ("channel", "landmarks", "reach"),
    [
        ("jawOpen", (13, 14, 152, 172, 397), 0.14),
        ("mouthSmileLeft", (291, 13, 425), 0.10),
        ("mouthPucker", (61, 291, 0, 17), 0.09),
        ("mouthLowerDownRight", (87, 61), 0.08),
        ("eyeBlinkLeft", (386, 374), 0.06),
        ("eyeBlinkRight", (159, 145), 0.06),
        ("eyeLookInLeft", (473,), 0.05),
        ("eyeLookUpRight", (468,), 0.07),
        ("browInnerUp", (107, 336, 66, 296), 0.10),
        ("browOuterUpRight", (63, 70, 105), 0.08),
        ("browDownLeft", (336, 296, 334), 0.09),
        ("noseSneerRight", (129, 48, 40), 0.09),
        ("cheekPuff", (205, 425, 207, 427), 0.14),
    ],
)
def test_channel_changes_image_only_near_its_landmarks(
    renderer: SampleRenderer, channel: str, landmarks: tuple[int, ...], reach: float
) -> None:
    rest, moved = render_pose(renderer), render_pose(renderer, **{channel: 1.0})
    change = np.abs(moved.image.astype(float) - rest.image).sum(2)
    change[change < 20] = 0
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    places = np.concatenate([rest.landmarks[list(landmarks)], moved.landmarks[list(landmarks)]])
    near = np.min([np.hypot(x - px, y - py) for px, py in places], axis=0) < reach * SIZE
    assert change[near].sum() > 3000, "something moves there"
    assert change[~near].sum() < 0.06 * change.sum(), "and nowhere else"


def test_left_and_right_shapes_are_mirror_images(renderer: SampleRenderer) -> None:
    skin, side = renderer.mesh.cage.vertices, renderer.mesh.cage.mirror_index
    for name, index in CHANNEL_INDEX.items():
        if name.endswith("Left") and not name.startswith("eyeLook"):
            left, right = renderer.mesh.shapes[index], renderer.mesh.shapes[CHANNEL_INDEX[name[:-4] + "Right"]]
            assert np.allclose(left[side] * [-1, 1, 1], right, atol=1e-9), name
            if not name.startswith(("jaw", "mouthLeft")):
                moved = np.linalg.norm(left, axis=1)
                assert moved[skin[:, 0] > 0.01].sum() > 2 * moved[skin[:, 0] < -0.01].sum(), name


def test_loudness_follows_mouth_opening_without_lag(timeline: list[phones.TimedPhone]) -> None:
    count = int(timeline[-1].end * FPS)
    samples = voice.synthesize_speech(timeline, 0, count / FPS)
    assert len(samples) == round(count / FPS * voice.SAMPLE_RATE) and 0.3 < np.abs(samples).max() <= 1
    per_frame = int(voice.SAMPLE_RATE / FPS)
    loud = np.array(
        [np.sqrt((samples[max(0, i * per_frame - 480) : i * per_frame + 480] ** 2).mean()) for i in range(count)]
    )
    channels = motion.create_performance("talk", count, FPS, timeline, 0).channels
    open_mouth = channels[:, CHANNEL_INDEX["jawOpen"]] - channels[:, CHANNEL_INDEX["mouthClose"]]
    lags = range(-4, 5)
    correlation = [np.corrcoef(loud[5:-5], np.roll(open_mouth, lag)[5:-5])[0, 1] for lag in lags]
    assert max(correlation) > 0.6
    assert abs(lags[int(np.argmax(correlation))]) <= 1


def test_blinks_have_human_length_and_frequency(timeline: list[phones.TimedPhone]) -> None:
    channels = motion.create_performance("talk", 1500, FPS, timeline, 0).channels
    left, right = channels[:, CHANNEL_INDEX["eyeBlinkLeft"]], channels[:, CHANNEL_INDEX["eyeBlinkRight"]]
    shut = np.maximum(left, right)
    starts = np.flatnonzero((shut[1:] > 0.02) & (shut[:-1] <= 0.02))
    ends = np.flatnonzero((shut[1:] <= 0.02) & (shut[:-1] > 0.02))
    lengths = ends[: len(starts)] - starts[: len(ends)]
    assert 5 <= np.median(lengths) <= 9
    gaps = np.diff(starts) / FPS
    assert gaps.min() > 1.9 and gaps.max() < 5.2
    assert (np.abs(left - right) > 0.8).any(), "now and then a wink"


def test_head_and_torso_turn_together_and_smoothly(timeline: list[phones.TimedPhone]) -> None:
    performance = motion.create_performance("talk", 300, FPS, timeline, 0)
    head, torso = (
        2 * np.arccos(np.clip(q[:, 0], -1, 1)) for q in (performance.head_rotation, performance.torso_rotation)
    )
    assert 0.25 < torso.max() / head.max() < 0.4
    assert np.degrees(head.max()) < 24
    step = np.degrees(2 * np.linalg.norm(np.diff(performance.head_rotation[:, 1:], axis=0), axis=1))
    assert step.max() < 3, "degrees between two frames"
    still = motion.create_performance("still_head", 60, FPS, timeline, 0)
    assert np.abs(still.head_rotation - [1, 0, 0, 0]).max() < 1e-6 and np.abs(still.head_translation).max() < 1e-6
    wide = motion.create_performance("range", 300, FPS, timeline, 0).head_rotation
    yaw = np.degrees(2 * np.arctan2(wide[:, 2], wide[:, 0]))
    assert yaw.max() > 17 and yaw.min() < -17


def test_parts_sweeps_one_channel_after_the_other(timeline: list[phones.TimedPhone]) -> None:
    seconds = motion.SWEEP_LEAD_SECONDS + len(motion.SWEPT_CHANNELS) * motion.SWEEP_SECONDS
    performance = motion.create_performance("parts", int(seconds * FPS), FPS, timeline, 0)
    moving = performance.channels > 0.05
    assert not performance.channels[: int(motion.SWEEP_LEAD_SECONDS * FPS)].any(), "it starts at rest"
    together = {tuple(np.array(CHANNELS)[row]) for row in moving if row.any()}
    assert len(together) == len(motion.SWEPT_CHANNELS), "never two parts at once"
    assert all(len({n.removesuffix("Left").removesuffix("Right") for n in names}) <= 2 for names in together)
    moved = np.flatnonzero(moving.any(0))
    assert np.all(performance.channels[:, moved].max(0) > 0.95), "each goes all the way"
    oral = moving[:, : len(ORAL_CHANNELS)].any(1)
    assert 0.3 < oral.sum() / moving.any(1).sum() < 0.7
    turn = np.degrees(2 * np.arccos(np.clip(performance.head_rotation[:, 0], -1, 1)))
    assert 0.5 < turn.max() < 5, "the head is nearly still"


def test_noise_option_adds_noise(tmp_path: Path) -> None:
    for name, noise in (("clean.mp4", 0.0), ("noisy.mp4", 0.08)):
        make_sample(tmp_path / name, SampleOptions(seconds=0.2, size=64, noise=noise, mattes=False))
    clean, noisy = ([rgb for _, _, rgb in read_frames(tmp_path / n)] for n in ("clean.mp4", "noisy.mp4"))
    corner = (slice(0, 12), slice(0, 12))
    assert noisy[1][corner].std() > clean[1][corner].std() + 5
    assert GroundTruth.load(ground_truth_path(tmp_path / "clean.mp4")).mattes is None


def test_speech_lines_are_not_spoken_in_the_footage(tmp_path: Path) -> None:
    words = [make_speech_line(tmp_path / f"{seed}.wav", seed) for seed in range(3)]
    assert len(set(words)) == 3 and not set(words) & {line for line, _ in phones.FOOTAGE_LINES}
    with wave.open(str(tmp_path / "0.wav")) as file:
        assert file.getnchannels() == 1 and 1.5 < file.getnframes() / file.getframerate() < 6


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (SampleOptions(seconds=0), "0 s has no frame"),
        (SampleOptions(size=8), "8 pixels"),
        (SampleOptions(motion="dance"), "no motion dance"),
        (SampleOptions(subsamples=9), "9 subsamples"),
        (SampleOptions(fps=0), "0 frames per second"),
    ],
)
def test_option_out_of_range_is_refused_and_writes_nothing(
    tmp_path: Path, options: SampleOptions, problem: str
) -> None:
    with pytest.raises(UserError, match=problem):
        make_sample(tmp_path / "x.mp4", options)
    assert not list(tmp_path.iterdir())


def test_missing_or_damaged_ground_truth_raises_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no ground truth"):
        GroundTruth.load(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"not a zip")
    with pytest.raises(UserError, match="not a readable ground truth"):
        GroundTruth.load(tmp_path / "bad.npz")


def test_cancelled_clip_leaves_no_file(tmp_path: Path) -> None:
    class CancellingReporter(Reporter):
        def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
            self.is_cancelled = done >= 2
            super().progress(stage, done, total, message)

    with pytest.raises(Cancelled):
        make_sample(tmp_path / "x.mp4", SampleOptions(seconds=1, size=64), CancellingReporter())
    assert not list(tmp_path.iterdir())
