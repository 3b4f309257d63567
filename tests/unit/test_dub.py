"""Dubbing: only the lower face changes, it speaks the line, and its colours meet the footage's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from backend.contract.actor_folder import ActorFolder
from backend.contract.arrays import F64, U8
from backend.contract.errors import UserError
from backend.contract.progress import Reporter
from backend.media.audio_io import SAMPLE_RATE, load_audio
from backend.media.decode import probe_video, read_frames
from backend.media.timing import ping_pong_indices
from backend.pipeline.blending import ColorMatch, lower_face_matte
from backend.pipeline.dub import DubOptions, dub
from backend.pipeline.footage import FootageReader
from backend.speech.delivery import Delivery
from backend.synthetic import make_speech_line
from backend.tracking.detection import topology as topo

EAR_RIGHT, EAR_LEFT = 132, 361  # landmarks at the ends of the jaw


class NoteRecorder(Reporter):
    """Keeps the notes."""

    def __init__(self) -> None:
        super().__init__()
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("line") / "line.wav"
    make_speech_line(path, 3)
    return path


def run_dub(folder: ActorFolder, line: Path, out: Path, **options: Any) -> tuple[dict[str, Any], list[str]]:
    """The result and the notes of a dub."""
    reporter = NoteRecorder()
    return dub(folder, line, Delivery(), DubOptions(out, device="cpu", **options), reporter), reporter.notes


def read_pngs(folder: Path) -> list[U8]:
    images = (cv2.imread(str(file), cv2.IMREAD_COLOR) for file in sorted(folder.glob("*.png")))
    return [np.asarray(image[..., ::-1], np.uint8) for image in images if image is not None]


def load_landmarks(folder: ActorFolder, scale: float) -> F64:
    return np.asarray(folder.load_tracking()["landmarks"], np.float64) * scale


def test_only_the_lower_face_of_the_footage_changes(
    sample_actor: ActorFolder, sample_clip: Path, line: Path, tmp_path: Path
) -> None:
    data, _ = run_dub(sample_actor, line, tmp_path / "frames", footage=sample_clip, start_seconds=0.4)
    frames, originals = read_pngs(tmp_path / "frames"), [image for _, _, image in read_frames(sample_clip)]
    info = sample_actor.info
    assert info.camera is not None and data["count"] == len(frames)
    first = info.segments[0][0] + round(0.4 * info.fps)
    x, y, side = info.camera.crop
    faces = load_landmarks(sample_actor, side / info.size)[first - info.segments[0][0] :] + [x, y]
    changed_mouths = 0
    for frame, original, face in zip(frames, originals[first:], faces, strict=False):
        assert frame.shape == original.shape
        change = np.abs(frame.astype(int) - original).max(-1)
        height = np.linalg.norm(face[topo.FOREHEAD] - face[topo.CHIN])
        rows, columns = np.nonzero(change)
        assert rows.min() > face[topo.NOSE_TIP, 1] and rows.max() < face[topo.CHIN, 1] + 0.4 * height
        assert columns.min() > face[EAR_RIGHT, 0] - 0.1 * height
        assert columns.max() < face[EAR_LEFT, 0] + 0.1 * height
        lips = face[list(topo.LIPS)]
        low, high = lips.min(0).astype(int), lips.max(0).astype(int)
        changed_mouths += int(change[low[1] : high[1], low[0] : high[0]].max() > 25)
    assert changed_mouths > 0.8 * min(len(frames), len(faces))


def test_film_is_as_long_as_the_line_and_has_its_audio(
    sample_actor: ActorFolder, sample_clip: Path, line: Path, tmp_path: Path
) -> None:
    data, _ = run_dub(sample_actor, line, tmp_path / "new" / "dub.mp4", footage=sample_clip)
    film, seconds = probe_video(Path(data["file"])), len(load_audio(line)) / SAMPLE_RATE
    assert film.has_audio and film.fps == pytest.approx(sample_actor.info.fps)
    assert film.frame_count == data["count"] == int(np.ceil(seconds * film.fps - 1e-3))
    assert (film.width, film.height) == (256, 256)
    film_audio, line_audio = load_audio(Path(data["file"])), load_audio(line)
    count = min(len(film_audio), len(line_audio))
    assert np.corrcoef(film_audio[:count], line_audio[:count])[0, 1] > 0.95


def test_line_longer_than_the_footage_is_dubbed_in_full_with_a_note(
    sample_actor: ActorFolder, line: Path, tmp_path: Path
) -> None:
    start = sample_actor.info.frame_count / sample_actor.info.fps - 1
    data, notes = run_dub(sample_actor, line, tmp_path / "dub.mp4", start_seconds=start)
    assert probe_video(Path(data["file"])).frame_count == data["count"]
    assert any("plays forwards and backwards" in note for note in notes)


@pytest.mark.parametrize(
    ("start", "count", "total", "expected"),
    [(3, 9, 5, [3, 4, 3, 2, 1, 0, 1, 2, 3]), (0, 3, 1, [0, 0, 0])],
)
def test_ping_pong_indices_turn_at_both_ends(start: int, count: int, total: int, expected: list[int]) -> None:
    assert ping_pong_indices(start, count, total) == expected


def test_footage_in_any_order_has_the_same_images_as_forwards(sample_actor: ActorFolder, sample_clip: Path) -> None:
    footage = FootageReader(sample_actor, sample_clip)
    forwards = dict(zip(range(1, 5), footage.read_images([1, 2, 3, 4]), strict=True))
    indices = [3, 4, 3, 2, 1]
    for index, image in zip(indices, footage.read_images(indices), strict=True):
        np.testing.assert_array_equal(image, forwards[index])


def test_footage_of_another_size_is_rejected_and_writes_nothing(
    sample_actor: ActorFolder, line: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.mp4"
    run_dub(sample_actor, line, other)  # as large as the crops, and shorter than the footage
    with pytest.raises(UserError) as caught:
        run_dub(sample_actor, line, tmp_path / "a.mp4", footage=other)
    assert caught.value.code == "other_footage"
    assert [file.name for file in tmp_path.iterdir()] == ["other.mp4"]


@pytest.mark.parametrize(
    ("code", "name", "options"),
    [
        ("bad_start", "a.mp4", {"start_seconds": 100.0}),
        ("bad_start", "a.mp4", {"start_seconds": -1.0}),
        ("bad_format", "a.mov", {}),
        ("missing_file", "a.mp4", {"footage": Path("none.mp4")}),
    ],
)
def test_dub_with_a_wrong_option_is_rejected_and_writes_nothing(
    sample_actor: ActorFolder, line: Path, tmp_path: Path, code: str, name: str, options: dict[str, Any]
) -> None:
    with pytest.raises(UserError) as caught:
        run_dub(sample_actor, line, tmp_path / name, **options)
    assert caught.value.code == code
    assert not list(tmp_path.iterdir())


def test_lower_face_matte_covers_both_jaws_and_fades(sample_actor: ActorFolder) -> None:
    closed = load_landmarks(sample_actor, 512 / sample_actor.info.size)[0]
    opened = closed.copy()
    jaw = list(topo.LIP_INNER_LOWER + topo.LIP_OUTER_LOWER) + [topo.CHIN, 148, 176, 377, 400]
    opened[jaw, 1] += 30
    for faces in ([closed, opened], [opened, closed]):
        matte = lower_face_matte(faces, (512, 512))
        for face in faces:
            for landmark in (*topo.LIPS, topo.CHIN):
                x, y = face[landmark].astype(int)
                assert matte[y, x] > (0.6 if landmark in topo.LIP_OUTER_UPPER else 0.8)
        for landmark in (topo.NOSE_TIP, topo.EYE_OUTER_LEFT, topo.FOREHEAD, topo.EYE_INNER_RIGHT):
            x, y = closed[landmark].astype(int)
            assert matte[y, x] == 0
        slope = max(np.abs(np.diff(matte, axis=axis)).max() for axis in (0, 1))
        assert slope < 0.15  # from 0 to 1 in more than seven pixels, in a face 250 pixels high


def test_color_match_removes_a_color_cast_at_the_seam_and_keeps_an_open_mouth() -> None:
    rng = np.random.default_rng(0)
    original = np.full((200, 200, 3), 0.5, np.float32) + rng.normal(0, 0.01, (200, 200, 3)).astype(np.float32)
    darker_and_redder_to_the_left = np.linspace(0.12, 0.02, 200, dtype=np.float32)[None, :, None]
    rendered = original + darker_and_redder_to_the_left * np.array([-0.5, -1, -1], np.float32)
    rendered[95:105, 80:120] = 0.1  # an open mouth
    distance = np.hypot(*np.mgrid[-100:100, -100:100])
    matte = np.clip((80 - distance) / 20, 0, 1).astype(np.float32)
    matched = ColorMatch()(rendered, original, matte, np.ones_like(matte), 150.0)
    skin = (matte > 0) & ~(np.abs(distance) < 45)
    assert np.abs(matched - original)[skin].mean() < 0.25 * np.abs(rendered - original)[skin].mean()
    assert np.abs(matched - original)[(matte > 0) & (matte < 0.5)].max() < 0.05
    assert matched[100, 100].mean() < 0.25
