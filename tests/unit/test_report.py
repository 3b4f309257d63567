"""The report page, its data, and the overlay video."""

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


def create_tracked_actor(path: Path, **info: Any) -> ActorFolder:
    """Make a complete actor with audio and synthetic tracking: a random face that yaws by ±20°."""
    camera = FootageCamera(640, 480, 900.0, np.diag([1.0, -1, -1, 1]).tolist(), (100.0, 50.0, 256.0))
    defaults = {
        "name": "Nora", "size": SIZE, "fps": FPS, "frame_count": COUNT, "segments": [[10, 10 + COUNT - 1]],
        "camera": camera, "has_audio": True, "complete": True, "source": {"name": "nora.mp4", "frames": 60},
        "channel_ranges": {name: [0.0, 0.5] for name in CHANNELS[:40]},
    }  # fmt: skip
    folder = ActorFolder.create(path, ActorInfo(**{**defaults, **info}))
    rng = np.random.default_rng(0)
    neutral = rng.uniform((-0.07, -0.09, 0), (0.07, 0.06, 0.01), (topo.LANDMARK_COUNT, 3))
    neutral[topo.FOREHEAD], neutral[topo.CHIN] = (0, 0.06, 0), (0, -0.1, 0)
    yaw = np.radians(20) * np.sin(np.linspace(0, 6, COUNT))
    rotations = np.zeros((COUNT, 3, 3))
    rotations[:, 0, 0] = rotations[:, 2, 2] = np.cos(yaw)
    rotations[:, 0, 2], rotations[:, 2, 0], rotations[:, 1, 1] = np.sin(yaw), -np.sin(yaw), 1
    view = np.diag([1.0, -1, -1, 1])
    view[2, 3] = 0.7
    channels = np.zeros((COUNT, len(CHANNELS)), np.float32)
    channels[:, CHANNEL_INDEX["jawOpen"]] = np.linspace(0, 0.8, COUNT)
    folder.save_arrays(
        "tracking.npz",
        landmarks=np.zeros((COUNT, topo.LANDMARK_COUNT, 2), np.float32),
        intrinsics=np.array([[350.0, 0, 64], [0, 350, 64], [0, 0, 1]]),
        view=view, head_rotation=quaternion_from_matrix(rotations), head_translation=np.zeros((COUNT, 3)),
        torso_rotation=np.tile([1.0, 0, 0, 0], (COUNT, 1)), torso_translation=np.zeros((COUNT, 3)), channels=channels,
        neutral=neutral, shapes=np.zeros((len(CHANNELS), topo.LANDMARK_COUNT, 3)), reprojection=np.zeros(COUNT),
    )  # fmt: skip
    tracked = TrackingData.load(folder)  # the landmarks become exactly the reconstructed mesh
    table = folder.load_tracking()
    table["landmarks"] = np.stack([tracked.project_mesh(t) for t in range(COUNT)]).astype(np.float32)
    folder.save_arrays("tracking.npz", **table)
    save_wav(
        folder.file_path("audio.wav"), np.sin(np.arange(int(COUNT / FPS * 16000)) / 20).astype(np.float32) / 2, 16000
    )
    return folder


def gray_frame(index: int) -> NDArray[Any]:
    """Return a frame that is brighter the later it is."""
    return np.full((SIZE, SIZE, 3), 40 + 5 * index, np.uint8)


def box_matte(_index: int) -> NDArray[Any]:
    """Return a matte of a rectangular person and head."""
    alpha = np.zeros((SIZE, SIZE, 3), np.float32)
    alpha[20:, 30:100, 0] = 1
    alpha[20:80, 30:100, 1] = 1
    return alpha


@pytest.fixture
def folder(tmp_path: Path) -> ActorFolder:
    """That actor with its overlay video."""
    actor = create_tracked_actor(tmp_path / "nora.actor")
    write_overlay_video(actor, gray_frame, box_matte, Reporter())
    return actor


class PageReader(HTMLParser):
    """Checks that every element is closed in order; keeps scripts by id, tags with attributes, and the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str, str] = {}
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Open an element."""
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close the innermost element."""
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        """Keep a script or text."""
        if self.open and self.open[-1] == "script":
            self.scripts[self.tags[-1][1].get("id") or ""] = data
        elif not self.open or self.open[-1] != "style":
            self.text += data


def read_report(folder: ActorFolder) -> tuple[str, PageReader]:
    """Write the report and return its text and content."""
    text = write_report(folder, HELD_OUT).read_text(encoding="utf-8")
    reader = PageReader()
    reader.feed(text)
    reader.close()
    assert reader.open == [], "elements left open"
    return text, reader


def test_page_loads_nothing_from_the_network(folder: ActorFolder) -> None:
    text, reader = read_report(folder)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text.split('id="film-data"')[0].replace("// The film", ""))
    sources = [a[k] for _, a in reader.tags for k in ("src", "href", "srcset", "data", "action") if k in a]
    assert sources == []
    (policy,) = (str(a["content"]) for tag, a in reader.tags if tag == "meta" and a.get("http-equiv"))
    assert policy.startswith("default-src 'none'") and "http" not in policy


def test_curves_in_the_page_equal_the_tracking(folder: ActorFolder) -> None:
    data = json.loads(read_report(folder)[1].scripts["curves"])
    tracked = TrackingData.load(folder)
    assert {c["name"] for c in data["channels"]} == set(CHANNELS)
    values = {c["name"]: c.get("values") for c in data["channels"]}
    assert np.allclose(np.array(values["jawOpen"]) / 1000, tracked.channels[:, CHANNEL_INDEX["jawOpen"]], atol=6e-4)
    assert values["noseSneerLeft"] is None
    assert np.allclose(data["angles"]["head"]["yaw"], tracked.head_angles()[:, 0], atol=0.01)
    assert max(data["angles"]["head"]["yaw"]) > 15
    assert (data["count"], data["fps"], data["held_out"]) == (COUNT, FPS, HELD_OUT)
    assert len(data["wave"]) >= COUNT and 90 <= max(data["wave"]) <= 100


def test_measured_channels_have_a_curve_and_the_others_a_reason(folder: ActorFolder) -> None:
    folder.info.channel_report = dict.fromkeys(CHANNELS, MEASURED) | {"browInnerUp": WEAK, "tongueOut": NOT_MEASURABLE}
    _, reader = read_report(folder)
    curves = [a["data-channel"] for _, a in reader.tags if "data-channel" in a]
    assert set(curves) == set(CHANNELS) - {"tongueOut"} and len(curves) == len(set(curves))
    assert curves[-1] == "browInnerUp", "weak ones come last"
    assert "does not see it" in reader.text and "moves little here" in reader.text


def test_hostile_names_are_escaped(folder: ActorFolder) -> None:
    folder.info.name = folder.info.consent["who"] = HOSTILE
    folder.info.source["name"] = HOSTILE
    folder.info.notes = [HOSTILE]
    folder.info.excluded = [[0, 9, HOSTILE]]
    folder.info.figures = {"tracker": HOSTILE, HOSTILE: 1.0, "seconds": {HOSTILE: 2.0}}
    text, reader = read_report(folder)
    assert "<script>alert" not in text and "<b>'Co" not in text
    assert [a.get("id") for tag, a in reader.tags if tag == "script"] == ["curves", "film-data", None]
    assert reader.text.count("alert(1)") >= 6


def test_script_json_cannot_end_its_element() -> None:
    text = to_script_json({"a": "</script><!--", "b": "\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!--", "b": "\u2028"}


def test_small_video_is_embedded_and_large_one_is_linked(folder: ActorFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    _, reader = read_report(folder)
    assert base64.b64decode(reader.scripts["film-data"]) == folder.file_path(OVERLAY_FILE).read_bytes()
    monkeypatch.setattr(page_module, "MAX_EMBEDDED_VIDEO_BYTES", 10)
    _, reader = read_report(folder)
    assert "film-data" not in reader.scripts
    assert [a.get("src") for tag, a in reader.tags if tag == "video"] == [OVERLAY_FILE]


def test_overlay_video_has_every_frame_and_the_audio(folder: ActorFolder) -> None:
    info = probe_video(folder.file_path(OVERLAY_FILE))
    frames = [rgb for _, _, rgb in read_frames(folder.file_path(OVERLAY_FILE))]
    side = overlay.overlay_side(SIZE)
    assert len(frames) == COUNT and info.fps == FPS and info.has_audio and info.codec == "h264"
    assert frames[0].shape == (side, side, 3) and side == 384
    inside = [float(rgb[350:380, 100:130].mean()) for rgb in frames]  # person, beside the axes
    assert np.allclose(inside, [40 + 5 * t for t in range(COUNT)], atol=6), "frames must be in order"


def test_missing_frame_leaves_no_overlay_video(folder: ActorFolder) -> None:
    folder.file_path(OVERLAY_FILE).unlink()

    def read_or_fail(index: int) -> NDArray[Any]:
        if index == 7:
            raise UserError("damaged_actor", "Frame 7 is damaged.")
        return gray_frame(index)

    threads = cv2.getNumThreads()
    with pytest.raises(UserError, match="Frame 7"):
        write_overlay_video(folder, read_or_fail, box_matte, Reporter())
    assert not folder.file_path(OVERLAY_FILE).exists() and cv2.getNumThreads() == threads


def test_overlay_dims_the_background_and_marks_edges_and_mesh() -> None:
    gray = np.full((512, 512, 3), 150, np.uint8)
    alpha = np.zeros((512, 512, 3), np.float32)
    alpha[:, 200:, 0] = 1
    alpha[:, 196:200, 0] = 0.5
    mesh = np.random.default_rng(1).uniform(250, 450, (topo.LANDMARK_COUNT, 2))
    axes = np.array([[300, 100], [340, 100], [300, 60], [300, 110]])
    image = overlay.draw_overlay(gray, alpha, mesh, axes, axes + [0, 380]).astype(int)
    assert image.shape == (512, 512, 3)
    assert np.allclose(image[50, 50], 150 * overlay.BACKGROUND_BRIGHTNESS, atol=2), "background"
    assert (image[20, 480] == 150).all(), "the person is unchanged"
    assert np.abs(image[50, 198] - overlay.PERSON_COLOR).max() < 40, "the soft edge has the matte's colour"
    assert (image[100, 318:324].max(0) - [255, 70, 85] > -30).all(), "the x axis is red"
    inside = image[260:440, 260:440]
    assert (np.abs(inside - 150).max(-1) > 20).mean() > 0.2, "the mesh is visible"


def test_mesh_outside_the_image_is_not_drawn() -> None:
    gray = np.full((400, 400, 3), 150, np.uint8)
    outside = np.full((topo.LANDMARK_COUNT, 2), 5e6)
    axes = np.full((4, 2), -1e7)
    image = overlay.draw_overlay(gray, np.ones((400, 400, 3), np.float32), outside, axes, axes)
    assert (image == 150).all()


def test_head_axes_are_projected_by_the_camera(folder: ActorFolder) -> None:
    tracked = TrackingData.load(folder)
    assert tracked.reconstruction_error().max() < 1e-3
    origin, left, up, front = tracked.project_head_axes(0)
    assert left[0] > origin[0] + 10 and up[1] < origin[1] - 10, "the actor's left is right in the image"
    assert np.linalg.norm(front - origin) < 5, "front points to the viewer"


def test_damaged_tracking_is_reported(folder: ActorFolder) -> None:
    table = folder.load_tracking()
    del table["channels"]
    folder.save_arrays("tracking.npz", **table)
    with pytest.raises(UserError, match="damaged"):
        write_report(folder, HELD_OUT)


def test_timeline_covers_the_source_without_gaps() -> None:
    info = ActorInfo(frame_count=60, segments=[[20, 49], [70, 99]], source={"frames": 120})
    info.excluded = [[0, 14, "turned away"], [30, 33, "eyes shut"], [50, 69, "no clear face"], [110, 119, "blurred"]]
    total, spans = build_timeline(info, 54)
    assert total == 120
    assert [p.first for p in spans] == [0, *(p.last + 1 for p in spans[:-1])] and spans[-1].last == 119
    kinds = {(p.first, p.last): (p.kind, p.frame_index) for p in spans}
    assert kinds[(0, 14)] == (EXCLUDED, -1) and kinds[(50, 69)] == (EXCLUDED, -1)
    assert kinds[(30, 33)] == (EXCLUDED, 10), "inside a segment, so the video contains it"
    assert kinds[(34, 49)] == (USED, 14) and kinds[(70, 93)] == (USED, 30) and kinds[(94, 99)] == (TESTED, 54)
    assert next(p for p in spans if p.first == 0).text == "Left out: turned away."
    rows = summarize_timeline(spans, 10.0)
    assert (USED, "5.0 s in 3 parts", "The actor learns from this.") in rows
    assert (TESTED, "0:09.4 – 0:10.0", next(p.text for p in spans if p.kind == TESTED)) in rows


def test_timeline_works_without_source_data() -> None:
    total, spans = build_timeline(ActorInfo(frame_count=11, segments=[[0, 10]]), 10)
    assert total == 11 and spans == [
        TimelineSpan(0, 9, USED, spans[0].text, 0),
        TimelineSpan(10, 10, TESTED, spans[1].text, 10),
    ]


def test_advice_names_each_problem_with_a_remedy(folder: ActorFolder) -> None:
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


def test_flickering_blink_is_counted_once() -> None:
    assert count_blinks(np.array([0, 0.6, 0.45, 0.7, 0.1, 0, 0.55, 0])) == 2


def test_channel_status_of_an_earlier_version_follows_the_ranges() -> None:
    info = ActorInfo(channel_ranges={"jawOpen": [0.0, 0.4]})
    statuses = channel_statuses(info)
    assert tuple(statuses) == CHANNELS
    assert (statuses["jawOpen"].state, statuses["jawOpen"].high) == (MEASURED, 0.4)
    assert (
        statuses["mouthPucker"].state == NOT_MEASURABLE
        and statuses["mouthPucker"].reason != statuses["tongueOut"].reason
    )


def test_two_sources_are_compared_by_correlation_and_difference(folder: ActorFolder) -> None:
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
    assert "Two sources" in read_report(folder)[1].text


def test_face_images_are_written_in_order(sample_clip: Path, tmp_path: Path) -> None:
    boxes = [(10, 20, 100, 80), (150, 40, 60, 90)]
    overview, faces = write_face_images(sample_clip, boxes, 3, tmp_path / "images")
    assert [f.name for f in faces] == ["face_1.png", "face_2.png"]
    assert cv2.imread(str(faces[1])).shape == (160, 160, 3) and cv2.imread(str(overview)).shape == (256, 256, 3)


def test_face_image_is_the_middle_of_its_box() -> None:
    rgb = np.zeros((200, 300, 3), np.uint8)
    rgb[50:100, 100:150] = 255
    assert (crop_face(rgb, (75, 50, 100, 50)) == 255).all()
    image = draw_numbered_boxes(rgb, [(75, 50, 100, 50)])
    assert (image != rgb).any() and (image[150:] == 0).all()
