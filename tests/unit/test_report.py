"""The report: a page that loads nothing, holds everything, and survives hostile names; the overlay film beside it."""

from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from backend.contract.actor_folder import ActorFolder, ActorInfo, FootageCamera
from backend.contract.channels import CHANNEL_INDEX, CHANNELS
from backend.contract.errors import UserError
from backend.contract.geometry import quaternion_from_matrix
from backend.contract.progress import Reporter
from backend.media.audio_io import save_wav
from backend.media.decode import probe_video, read_frames
from backend.report import overlay
from backend.report import page as page_module
from backend.report.advice import count_blinks, list_advice
from backend.report.channel_status import channel_statuses
from backend.report.curves import to_script_json
from backend.report.faces import crop_face, draw_numbered_boxes, write_face_images
from backend.report.film import OVERLAY_FILE, write_overlay_video
from backend.report.page import write_report
from backend.report.sources import compare_sources
from backend.report.timeline import EXCLUDED, TESTED, USED, TimelineSpan, build_timeline, summarize_timeline
from backend.report.tracked import TrackingData
from backend.tracking.channel_report import MEASURED, NOT_MEASURABLE, WEAK
from backend.tracking.detection import topology as topo

SIZE, COUNT, FPS, HELD_OUT = 128, 30, 25.0, 27
HOSTILE = "</script><script>alert(1)</script> \"Jane\" & <b>'Co'</b> \u2028"
VOID = {"meta", "link", "br", "img", "input", "hr"}


def make(path: Path, **info) -> ActorFolder:
    """A finished actor with made-up tracking: a face on a bulge that yaws by ±20°, with sound."""
    camera = FootageCamera(640, 480, 900.0, np.diag([1.0, -1, -1, 1]).tolist(), (100.0, 50.0, 256.0))
    known = {
        "name": "Nora", "size": SIZE, "fps": FPS, "frame_count": COUNT, "segments": [[10, 10 + COUNT - 1]],
        "camera": camera, "has_audio": True, "complete": True, "source": {"name": "nora.mp4", "frames": 60},
        "channel_ranges": {name: [0.0, 0.5] for name in CHANNELS[:40]},
    }  # fmt: skip
    folder = ActorFolder.create(path, ActorInfo(**{**known, **info}))
    rng = np.random.default_rng(0)
    neutral = rng.uniform((-0.07, -0.09, 0), (0.07, 0.06, 0.01), (topo.LANDMARK_COUNT, 3))
    neutral[topo.FOREHEAD], neutral[topo.CHIN] = (0, 0.06, 0), (0, -0.1, 0)
    yaw = np.radians(20) * np.sin(np.linspace(0, 6, COUNT))
    turns = np.zeros((COUNT, 3, 3))
    turns[:, 0, 0] = turns[:, 2, 2] = np.cos(yaw)
    turns[:, 0, 2], turns[:, 2, 0], turns[:, 1, 1] = np.sin(yaw), -np.sin(yaw), 1
    view = np.diag([1.0, -1, -1, 1])
    view[2, 3] = 0.7
    channels = np.zeros((COUNT, len(CHANNELS)), np.float32)
    channels[:, CHANNEL_INDEX["jawOpen"]] = np.linspace(0, 0.8, COUNT)
    folder.save_arrays(
        "tracking.npz",
        landmarks=np.zeros((COUNT, topo.LANDMARK_COUNT, 2), np.float32),
        intrinsics=np.array([[350.0, 0, 64], [0, 350, 64], [0, 0, 1]]),
        view=view, head_rotation=quaternion_from_matrix(turns), head_translation=np.zeros((COUNT, 3)),
        torso_rotation=np.tile([1.0, 0, 0, 0], (COUNT, 1)), torso_translation=np.zeros((COUNT, 3)), channels=channels,
        neutral=neutral, shapes=np.zeros((len(CHANNELS), topo.LANDMARK_COUNT, 3)), reprojection=np.zeros(COUNT),
    )  # fmt: skip
    tracked = TrackingData.load(folder)  # what was seen is what is rebuilt
    table = folder.load_tracking()
    table["landmarks"] = np.stack([tracked.project_mesh(t) for t in range(COUNT)]).astype(np.float32)
    folder.save_arrays("tracking.npz", **table)
    save_wav(
        folder.file_path("audio.wav"), np.sin(np.arange(int(COUNT / FPS * 16000)) / 20).astype(np.float32) / 2, 16000
    )
    return folder


def picture(index: int) -> NDArray[Any]:
    return np.full((SIZE, SIZE, 3), 40 + 5 * index, np.uint8)


def matte(_index: int) -> NDArray[Any]:
    alpha = np.zeros((SIZE, SIZE, 3), np.float32)
    alpha[20:, 30:100, 0] = 1
    alpha[20:80, 30:100, 1] = 1
    return alpha


@pytest.fixture
def folder(tmp_path: Path) -> ActorFolder:
    made = make(tmp_path / "nora.actor")
    write_overlay_video(made, picture, matte, Reporter())
    return made


class Reader(HTMLParser):
    """Checks that every element is closed in order; keeps scripts by id, attributes and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[self.tags[-1][1].get("id") or ""] = data
        elif not self.open or self.open[-1] != "style":
            self.text += data


def read(folder: ActorFolder) -> tuple[str, Reader]:
    text = write_report(folder, HELD_OUT).read_text(encoding="utf-8")
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == [], "elements left open"
    return text, reader


def test_the_page_loads_nothing(folder: ActorFolder) -> None:
    text, reader = read(folder)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text.split('id="film-data"')[0].replace("// The film", ""))
    sources = [a[k] for _, a in reader.tags for k in ("src", "href", "srcset", "data", "action") if k in a]
    assert sources == []
    (policy,) = (a["content"] for tag, a in reader.tags if tag == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none'") and "http" not in policy


def test_the_curves_in_the_page_are_the_tracked_ones(folder: ActorFolder) -> None:
    data = json.loads(read(folder)[1].scripts["curves"])
    tracked = TrackingData.load(folder)
    assert {c["name"] for c in data["channels"]} == set(CHANNELS)
    values = {c["name"]: c.get("values") for c in data["channels"]}
    assert np.allclose(np.array(values["jawOpen"]) / 1000, tracked.channels[:, CHANNEL_INDEX["jawOpen"]], atol=6e-4)
    assert values["noseSneerLeft"] is None
    assert np.allclose(data["angles"]["head"]["yaw"], tracked.head_angles()[:, 0], atol=0.01)
    assert max(data["angles"]["head"]["yaw"]) > 15
    assert (data["count"], data["fps"], data["held_out"]) == (COUNT, FPS, HELD_OUT)
    assert len(data["wave"]) >= COUNT and 90 <= max(data["wave"]) <= 100


def test_every_measured_channel_has_a_lane_and_the_others_a_reason(folder: ActorFolder) -> None:
    folder.info.channel_report = dict.fromkeys(CHANNELS, MEASURED) | {"browInnerUp": WEAK, "tongueOut": NOT_MEASURABLE}
    _, reader = read(folder)
    lanes = [a["data-channel"] for _, a in reader.tags if "data-channel" in a]
    assert set(lanes) == set(CHANNELS) - {"tongueOut"} and len(lanes) == len(set(lanes))
    assert lanes[-1] == "browInnerUp", "weak ones come last"
    assert "does not see it" in reader.text and "moves little here" in reader.text


def test_hostile_names_stay_text(folder: ActorFolder) -> None:
    folder.info.name = folder.info.consent["who"] = HOSTILE
    folder.info.source["name"] = HOSTILE
    folder.info.notes = [HOSTILE]
    folder.info.excluded = [[0, 9, HOSTILE]]
    folder.info.figures = {"tracker": HOSTILE, HOSTILE: 1.0, "seconds": {HOSTILE: 2.0}}
    text, reader = read(folder)
    assert "<script>alert" not in text and "<b>'Co" not in text
    assert [a.get("id") for tag, a in reader.tags if tag == "script"] == ["curves", "film-data", None]
    assert reader.text.count("alert(1)") >= 6


def test_json_cannot_end_its_script() -> None:
    text = to_script_json({"a": "</script><!--", "b": "\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!--", "b": "\u2028"}


def test_the_film_is_inside_the_page_or_beside_it(folder: ActorFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    _, reader = read(folder)
    assert base64.b64decode(reader.scripts["film-data"]) == folder.file_path(OVERLAY_FILE).read_bytes()
    monkeypatch.setattr(page_module, "MAX_EMBEDDED_VIDEO_BYTES", 10)
    _, reader = read(folder)
    assert "film-data" not in reader.scripts
    assert [a.get("src") for tag, a in reader.tags if tag == "video"] == [OVERLAY_FILE]


def test_the_film_has_every_frame_the_clip_s_rate_and_its_sound(folder: ActorFolder) -> None:
    info = probe_video(folder.file_path(OVERLAY_FILE))
    shown = [rgb for _, _, rgb in read_frames(folder.file_path(OVERLAY_FILE))]
    side = overlay.overlay_side(SIZE)
    assert len(shown) == COUNT and info.fps == FPS and info.has_audio and info.codec == "h264"
    assert shown[0].shape == (side, side, 3) and side == 384
    inside = [float(rgb[350:380, 100:130].mean()) for rgb in shown]  # person, beside the axes
    assert np.allclose(inside, [40 + 5 * t for t in range(COUNT)], atol=6), "frames are in order"


def test_a_missing_frame_stops_the_film_and_leaves_none(folder: ActorFolder) -> None:
    folder.file_path(OVERLAY_FILE).unlink()

    def broken(index: int) -> NDArray[Any]:
        if index == 7:
            raise UserError("damaged_actor", "Frame 7 is damaged.")
        return picture(index)

    threads = cv2.getNumThreads()
    with pytest.raises(UserError, match="Frame 7"):
        write_overlay_video(folder, broken, matte, Reporter())
    assert not folder.file_path(OVERLAY_FILE).exists() and cv2.getNumThreads() == threads


def test_overlay_dims_the_background_and_marks_edges_and_mesh() -> None:
    grey = np.full((512, 512, 3), 150, np.uint8)
    alpha = np.zeros((512, 512, 3), np.float32)
    alpha[:, 200:, 0] = 1
    alpha[:, 196:200, 0] = 0.5
    mesh = np.random.default_rng(1).uniform(250, 450, (topo.LANDMARK_COUNT, 2))
    axes = np.array([[300, 100], [340, 100], [300, 60], [300, 110]])
    drawn = overlay.draw_overlay(grey, alpha, mesh, axes, axes + [0, 380]).astype(int)
    assert drawn.shape == (512, 512, 3)
    assert np.allclose(drawn[50, 50], 150 * overlay.BACKGROUND_BRIGHTNESS, atol=2), "background"
    assert (drawn[20, 480] == 150).all(), "the person is left as it is"
    assert np.abs(drawn[50, 198] - overlay.PERSON_COLOR).max() < 40, "the soft edge glows"
    assert (drawn[100, 318:324].max(0) - [255, 70, 85] > -30).all(), "the x axis is red"
    inside = drawn[260:440, 260:440]
    assert (np.abs(inside - 150).max(-1) > 20).mean() > 0.2, "the mesh is seen"


def test_a_mesh_outside_the_picture_is_no_error() -> None:
    grey = np.full((400, 400, 3), 150, np.uint8)
    away = np.full((topo.LANDMARK_COUNT, 2), 5e6)
    axes = np.full((4, 2), -1e7)
    drawn = overlay.draw_overlay(grey, np.ones((400, 400, 3), np.float32), away, axes, axes)
    assert (drawn == 150).all()


def test_the_rebuilt_mesh_is_projected_like_the_camera_sees_it(folder: ActorFolder) -> None:
    tracked = TrackingData.load(folder)
    assert tracked.reconstruction_error().max() < 1e-3
    origin, left, up, front = tracked.project_head_axes(0)
    assert left[0] > origin[0] + 10 and up[1] < origin[1] - 10, "the actor's left is the picture's right, up is up"
    assert np.linalg.norm(front - origin) < 5, "front points to the viewer"


def test_damaged_tracking_is_told(folder: ActorFolder) -> None:
    table = folder.load_tracking()
    del table["channels"]
    folder.save_arrays("tracking.npz", **table)
    with pytest.raises(UserError, match="damaged"):
        write_report(folder, HELD_OUT)


def test_timeline_covers_the_source_without_gaps() -> None:
    info = ActorInfo(frame_count=60, segments=[[20, 49], [70, 99]], source={"frames": 120})
    info.excluded = [[0, 14, "turned away"], [30, 33, "eyes shut"], [50, 69, "no clear face"], [110, 119, "blurred"]]
    total, parts = build_timeline(info, 54)
    assert total == 120
    assert [p.first for p in parts] == [0, *(p.last + 1 for p in parts[:-1])] and parts[-1].last == 119
    kinds = {(p.first, p.last): (p.kind, p.frame_index) for p in parts}
    assert kinds[(0, 14)] == (EXCLUDED, -1) and kinds[(50, 69)] == (EXCLUDED, -1)
    assert kinds[(30, 33)] == (EXCLUDED, 10), "inside the stretch: the film shows it"
    assert kinds[(34, 49)] == (USED, 14) and kinds[(70, 93)] == (USED, 30) and kinds[(94, 99)] == (TESTED, 54)
    assert next(p for p in parts if p.first == 0).text == "Left out: turned away."
    rows = summarize_timeline(parts, 10.0)
    assert (USED, "5.0 s in 3 parts", "The actor learns from this.") in rows
    assert (TESTED, "0:09.4 – 0:10.0", next(p.text for p in parts if p.kind == TESTED)) in rows


def test_timeline_of_an_actor_that_says_nothing_of_its_source() -> None:
    total, parts = build_timeline(ActorInfo(frame_count=11, segments=[[0, 10]]), 10)
    assert total == 11 and parts == [
        TimelineSpan(0, 9, USED, parts[0].text, 0),
        TimelineSpan(10, 10, TESTED, parts[1].text, 10),
    ]


def test_advice_names_what_is_wrong_and_what_helps(folder: ActorFolder) -> None:
    tracked = TrackingData.load(folder)
    found = {a.message: a.remedy for a in list_advice(folder.info, tracked, 0.5)}
    assert any("1.2 s of footage" in m for m in found) and any(m.startswith("No blinks") for m in found)
    assert any("agreed" in m for m in found) and all(found.values())
    assert not any("head turns" in m or "sound" in m or "rough" in m for m in found)
    folder.info.has_audio = False
    folder.info.notes = ["Used a part."]
    tracked.head_rotation[:] = np.eye(3)
    tracked.channels[:, CHANNEL_INDEX["jawOpen"]] = 0
    found = {a.message: a.remedy for a in list_advice(folder.info, tracked, 3.0)}
    for words in ("head turns only 0°", "no usable sound", "3.0 pixels beside", "mouth hardly opens", "Used a part."):
        assert any(words in message for message in found), words


def test_good_footage_has_no_advice(folder: ActorFolder) -> None:
    info, tracked = folder.info, TrackingData.load(folder)
    info.frame_count, info.consent = 25 * 60, {"who": "Nora"}
    assert info.camera is not None
    info.camera.crop = (0.0, 0.0, 512.0)
    tracked.channels[::3, [CHANNEL_INDEX["eyeBlinkLeft"], CHANNEL_INDEX["eyeBlinkRight"]]] = 0.9
    assert list_advice(info, tracked, 0.8) == []


def test_a_blink_that_flickers_is_one_blink() -> None:
    assert count_blinks(np.array([0, 0.6, 0.45, 0.7, 0.1, 0, 0.55, 0])) == 2


def test_verdicts_of_an_earlier_version_follow_the_ranges() -> None:
    info = ActorInfo(channel_ranges={"jawOpen": [0.0, 0.4]})
    known = channel_statuses(info)
    assert tuple(known) == CHANNELS
    assert (known["jawOpen"].state, known["jawOpen"].high) == (MEASURED, 0.4)
    assert known["mouthPucker"].state == NOT_MEASURABLE and known["mouthPucker"].reason != known["tongueOut"].reason


def test_two_sources_are_compared(folder: ActorFolder) -> None:
    assert compare_sources(folder) == []
    fitted = np.zeros((COUNT, len(CHANNELS)), np.float32)
    fitted[:, 0] = np.linspace(0, 1, COUNT)
    scores = fitted.copy()
    scores[:, 0] = 0.5 * fitted[:, 0] + 0.25
    folder.save_arrays("landmarker.npz", fitted=fitted, scores=scores, found=np.ones(COUNT, bool))
    agreement = {a.name: a for a in compare_sources(folder)}
    assert agreement[CHANNELS[0]].correlation == pytest.approx(1.0)
    assert agreement[CHANNELS[0]].difference == pytest.approx(np.abs(fitted[:, 0] - scores[:, 0]).mean())
    assert agreement[CHANNELS[1]].correlation is None
    assert "Two sources" in read(folder)[1].text


def test_faces_are_numbered_and_cut_out(sample_clip: Path, tmp_path: Path) -> None:
    regions = [(10, 20, 100, 80), (150, 40, 60, 90)]
    overview, faces = write_face_images(sample_clip, regions, 3, tmp_path / "pictures")
    assert [f.name for f in faces] == ["face_1.png", "face_2.png"]
    assert cv2.imread(str(faces[1])).shape == (160, 160, 3) and cv2.imread(str(overview)).shape == (256, 256, 3)


def test_a_face_s_picture_is_the_middle_of_its_region() -> None:
    rgb = np.zeros((200, 300, 3), np.uint8)
    rgb[50:100, 100:150] = 255
    assert (crop_face(rgb, (75, 50, 100, 50)) == 255).all()
    drawn = draw_numbered_boxes(rgb, [(75, 50, 100, 50)])
    assert (drawn != rgb).any() and (drawn[150:] == 0).all()
