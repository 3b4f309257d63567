"""Dubbing: outside the lower face the pictures are the original's, inside they say another line, with no seam."""

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
from backend.pipeline.blending import ColorMatch, lower_face_matte
from backend.pipeline.dub import DubOptions, dub
from backend.pipeline.footage import FootageReader, ping_pong_indices
from backend.speech.model import Delivery
from backend.synthetic import make_speech_line
from backend.tracking.detection import topology as topo


class Notes(Reporter):
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


def dubbed(folder: ActorFolder, line: Path, out: Path, **wishes: Any) -> tuple[dict[str, Any], list[str]]:
    notes = Notes()
    return dub(folder, line, Delivery(), DubOptions(out, device="cpu", **wishes), notes), notes.notes


def pngs(folder: Path) -> list[U8]:
    found = (cv2.imread(str(file), cv2.IMREAD_COLOR) for file in sorted(folder.glob("*.png")))
    return [np.asarray(picture[..., ::-1], np.uint8) for picture in found if picture is not None]


def landmarks(folder: ActorFolder, scale: float) -> F64:
    return np.asarray(folder.load_tracking()["landmarks"], np.float64) * scale


def test_only_the_lower_face_changes(sample_actor: ActorFolder, sample_clip: Path, line: Path, tmp_path: Path) -> None:
    data, _ = dubbed(sample_actor, line, tmp_path / "frames", footage=sample_clip, start_seconds=0.4)
    pictures, original = pngs(tmp_path / "frames"), [picture for _, _, picture in read_frames(sample_clip)]
    info = sample_actor.info
    assert info.camera is not None and data["count"] == len(pictures)
    first = info.segments[0][0] + round(0.4 * info.fps)
    x, y, side = info.camera.crop
    faces = landmarks(sample_actor, side / info.size)[first - info.segments[0][0] :] + [x, y]
    moved = 0
    for picture, before, face in zip(pictures, original[first:], faces, strict=False):
        assert picture.shape == before.shape
        changed = np.abs(picture.astype(int) - before).max(-1)
        height = np.linalg.norm(face[topo.FOREHEAD] - face[topo.CHIN])
        rows, columns = np.nonzero(changed)
        assert rows.min() > face[topo.NOSE_TIP, 1] and rows.max() < face[topo.CHIN, 1] + 0.4 * height
        assert columns.min() > face[132, 0] - 0.1 * height and columns.max() < face[361, 0] + 0.1 * height
        lips = face[list(topo.LIPS)]
        low, high = lips.min(0).astype(int), lips.max(0).astype(int)
        moved += int(changed[low[1] : high[1], low[0] : high[0]].max() > 25)
    assert moved > 0.8 * min(len(pictures), len(faces)), "the mouth is another one"


def test_a_film_is_as_long_as_the_line_and_has_its_sound(
    sample_actor: ActorFolder, sample_clip: Path, line: Path, tmp_path: Path
) -> None:
    data, _ = dubbed(sample_actor, line, tmp_path / "new" / "dub.mp4", footage=sample_clip)
    film, seconds = probe_video(Path(data["file"])), len(load_audio(line)) / SAMPLE_RATE
    assert film.has_audio and film.fps == pytest.approx(sample_actor.info.fps)
    assert film.frame_count == data["count"] == int(np.ceil(seconds * film.fps - 1e-3))
    assert (film.width, film.height) == (256, 256)
    heard, said = load_audio(Path(data["file"])), load_audio(line)
    count = min(len(heard), len(said))
    assert np.corrcoef(heard[:count], said[:count])[0, 1] > 0.95, "the line, in time"


def test_a_line_that_is_longer_than_the_shot(sample_actor: ActorFolder, line: Path, tmp_path: Path) -> None:
    data, notes = dubbed(sample_actor, line, tmp_path / "dub.mp4", start_seconds=sample_actor.info.frame_count / 25 - 1)
    assert probe_video(Path(data["file"])).frame_count == data["count"]
    assert any("to and fro" in note for note in notes)
    assert ping_pong_indices(3, 9, 5) == [3, 4, 3, 2, 1, 0, 1, 2, 3]
    assert ping_pong_indices(0, 3, 1) == [0, 0, 0]


def test_pictures_come_in_any_order(sample_actor: ActorFolder, sample_clip: Path) -> None:
    shot = FootageReader(sample_actor, sample_clip)
    forwards = dict(zip(range(1, 5), shot.read_images([1, 2, 3, 4]), strict=True))
    for row, picture in zip([3, 4, 3, 2, 1], shot.read_images([3, 4, 3, 2, 1]), strict=True):
        np.testing.assert_array_equal(picture, forwards[row])


def test_what_cannot_be_dubbed_is_one_sentence(
    sample_actor: ActorFolder, sample_clip: Path, line: Path, tmp_path: Path
) -> None:
    film = tmp_path / "other.mp4"
    dubbed(sample_actor, line, film)  # as large as the crops, and shorter than the clip
    wrong: list[tuple[str, Path, dict[str, Any]]] = [
        ("other_footage", tmp_path / "a.mp4", {"footage": film}),
        ("bad_start", tmp_path / "a.mp4", {"start_seconds": 100.0}),
        ("bad_start", tmp_path / "a.mp4", {"start_seconds": -1.0}),
        ("bad_format", tmp_path / "a.mov", {}),
        ("missing_file", tmp_path / "a.mp4", {"footage": tmp_path / "none.mp4"}),
    ]
    for code, out, wishes in wrong:
        with pytest.raises(UserError) as caught:
            dubbed(sample_actor, line, out, **wishes)
        assert caught.value.code == code
    assert [file.name for file in tmp_path.iterdir()] == ["other.mp4"]


def test_the_matte_holds_both_jaws_and_fades(sample_actor: ActorFolder) -> None:
    shut = landmarks(sample_actor, 512 / sample_actor.info.size)[0]
    open_ = shut.copy()
    below = list(topo.LIP_INNER_LOWER + topo.LIP_OUTER_LOWER) + [topo.CHIN, 148, 176, 377, 400]
    open_[below, 1] += 30
    for faces in ([shut, open_], [open_, shut]):
        matte = lower_face_matte(faces, (512, 512))
        for face in faces:
            for point in (*topo.LIPS, topo.CHIN):
                column, row = face[point].astype(int)
                assert matte[row, column] > (0.6 if point in topo.LIP_OUTER_UPPER else 0.8)
        for point in (topo.NOSE_TIP, topo.EYE_OUTER_LEFT, topo.FOREHEAD, topo.EYE_INNER_RIGHT):
            column, row = shut[point].astype(int)
            assert matte[row, column] == 0
        slope = max(np.abs(np.diff(matte, axis=axis)).max() for axis in (0, 1))
        assert slope < 0.15, "soft: from nothing to all in more than seven pixels of a face 250 pixels high"


def test_colours_meet_at_the_seam() -> None:
    """The drawn picture is darker and redder, more so to the left; what differs in the mouth is left alone."""
    rng = np.random.default_rng(0)
    original = np.full((200, 200, 3), 0.5, np.float32) + rng.normal(0, 0.01, (200, 200, 3)).astype(np.float32)
    cast = np.linspace(0.12, 0.02, 200, dtype=np.float32)[None, :, None] * np.array([-0.5, -1, -1], np.float32)
    drawn = original + cast
    drawn[95:105, 80:120] = 0.1  # an open mouth
    distance = np.hypot(*np.mgrid[-100:100, -100:100])
    matte = np.clip((80 - distance) / 20, 0, 1).astype(np.float32)
    matched = ColorMatch()(drawn, original, matte, np.ones_like(matte), 150.0)
    rest = (matte > 0) & ~(np.abs(distance) < 45)
    assert np.abs(matched - original)[rest].mean() < 0.25 * np.abs(drawn - original)[rest].mean()
    assert np.abs(matched - original)[(matte > 0) & (matte < 0.5)].max() < 0.05
    assert matched[100, 100].mean() < 0.25, "the mouth is still dark"
