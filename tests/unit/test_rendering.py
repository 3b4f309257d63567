"""Frames on disk from a stand-in for the model whose every pixel is known."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from rendering_stand_in import (  # noqa: F401 (fixtures)
    CROP_SIZE,
    DISC_COLOR,
    RenderRun,
    StandInFrame,
    folder,
    moving_performance,
    read_exr,
    run,
    still_camera,
    write_beep,
)

from backend.contract.actor_folder import ActorFolder
from backend.contract.errors import UserError
from backend.media import decode
from backend.media.provenance import DIGITAL_SOURCE_TYPE
from backend.media.srgb import linear_from_srgb
from backend.rendering.frames import frame_file_name
from backend.rendering.passes import EMPTY_DEPTH_METERS, passes_from_frame


def test_exr_holds_light_depth_and_mattes(run: RenderRun) -> None:
    data = run(format="exr")
    assert data["pattern"] == "jane doe_####.exr" and (data["first"], data["last"], data["count"]) == (-1, 2, 4)
    assert sorted(p.name for p in run.out.glob("*.exr")) == sorted(
        f"jane doe_{n}.exr" for n in ("-0001", "0000", "0001", "0002")
    )
    channels, header = read_exr(run.out / "jane doe_0001.exr")
    alpha = channels["Actor.Combined.A"].astype(np.float32)
    assert alpha.max() == 1 and alpha.min() == 0 and np.count_nonzero((alpha > 0) & (alpha < 1)) > 0
    light = linear_from_srgb(np.array(DISC_COLOR, np.float32))
    for name, value in zip("RGB", light, strict=True):
        plane = channels[f"Actor.Combined.{name}"]
        assert plane.dtype == np.float16
        assert np.abs(plane - value * alpha).max() < 1e-3, "premultiplied after the colour became light, not before"
    depth = channels["Actor.Depth.Z"]
    assert depth.dtype == np.float32
    assert depth[alpha > 0.01] == pytest.approx(0.7, abs=1e-4), "metres at the soft edge too"
    assert (depth[alpha == 0] == np.float32(EMPTY_DEPTH_METERS)).all()
    mattes = {name: channels[f"Actor.{name}.X"].astype(np.float32) for name in ("Head", "Hair", "Mouth", "Torso")}
    assert np.abs(mattes["Head"] + mattes["Torso"] - alpha).max() < 1e-3
    y, x = np.mgrid[:CROP_SIZE, :CROP_SIZE] + 0.5
    assert mattes["Hair"][(x < 16) & (alpha > 0)].max() == 0 and mattes["Mouth"][(y < 15)].max() == 0
    assert header["comments"] == "synthetic media" and header["digitalSourceType"] == DIGITAL_SOURCE_TYPE
    assert header["framesPerSecond"] == 25 and header["chromaticities"][:2] == pytest.approx((0.64, 0.33))
    assert header["actor"] == "Jané" and header["frame"] == "1"


@pytest.mark.parametrize("kind", ["exr", "png", "mp4"])
def test_who_agreed_is_said_in_every_file(run: RenderRun, folder: ActorFolder, kind: str) -> None:
    folder.info.consent = {"who": "Jane Doe", "statement": "She agreed.", "date": "2026-11-21T10:00:00+00:00"}
    run(format=kind)
    if kind == "exr":
        assert read_exr(run.out / "jane doe_0001.exr")[1]["consent"] == "Jane Doe, 2026-11-21"
    elif kind == "png":
        assert png(run.out / "jane doe_0001.png")[1]["Consent"] == "Jane Doe, 2026-11-21"
    else:
        with decode.open_media(run.out / "jane doe.mp4", decode.VIDEO_FORMATS) as film:
            assert film.metadata["description"] == "Shown with consent: Jane Doe, 2026-11-21"


def png(path: Path) -> tuple[NDArray[Any], dict[str, str], bytes]:
    data = path.read_bytes()
    texts, place, xmp = {}, 8, b""
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length])[0] == zlib.crc32(kind + body)
        if kind == b"tEXt":
            key, value = body.split(b"\0")
            texts[key.decode("latin-1")] = value.decode("latin-1")
        xmp = body if kind == b"iTXt" else xmp
        place += 12 + length
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return picture[..., [2, 1, 0, 3]], texts, xmp


@pytest.mark.parametrize(("bits", "kind"), [(8, np.uint8), (16, np.uint16)])
def test_png_is_straight_and_labelled(run: RenderRun, bits: int, kind: type) -> None:
    run(format="png", png_bits=bits)
    picture, texts, xmp = png(run.out / "jane doe_0000.png")
    top = 2**bits - 1
    assert picture.dtype == kind and picture.shape == (CROP_SIZE, CROP_SIZE, 4)
    values, alpha = picture[..., :3] / top, picture[..., 3] / top
    assert np.count_nonzero((alpha > 0.1) & (alpha < 0.9)) > 10
    assert np.abs(values[alpha > 0.01] - DISC_COLOR).max() < 1 / 255, "the edge has the full colour: alpha is straight"
    assert texts["Comment"] == "synthetic media" and texts["Title"] == "Jané" and texts["Frame"] == "0"
    assert DIGITAL_SOURCE_TYPE.encode() in xmp


def test_film_over_a_plain_colour_with_sound(run: RenderRun, tmp_path: Path) -> None:
    data = run(moving_performance(12), format="mp4", audio=write_beep(tmp_path / "a.wav"), background=(0.1, 0.2, 0.9))
    film = Path(data["file"])
    info = decode.probe_video(film)
    assert film == run.out / "jane doe.mp4" and info.has_audio and info.frame_count == 12
    *_, (_, _, picture) = decode.read_frames(film)
    assert np.abs(picture[0, 0].astype(float) - (26, 51, 230)).max() < 10
    center = picture[14:18, 16:20].reshape(-1, 3).mean(0)
    assert np.abs(center - np.array(DISC_COLOR) * 255).max() < 12


def test_film_over_the_plate(run: RenderRun, folder: ActorFolder) -> None:
    plate = np.zeros((64, 64, 3), np.uint8)
    plate[:32] = (200, 60, 20)  # BGR, the upper half
    folder.file_path("plate.png").write_bytes(cv2.imencode(".png", plate)[1].tobytes())
    data = run(format="mp4", use_plate=True)
    _, _, picture = next(decode.read_frames(Path(data["file"])))
    assert np.abs(picture[2, 16].astype(float) - (20, 60, 200)).max() < 14
    assert picture[-2, 16].max() < 14
    folder.file_path("plate.png").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"plate\.png is missing or damaged"):
        run(format="mp4", use_plate=True)


def test_scene_camera_decides_size_and_place(run: RenderRun, folder: ActorFolder) -> None:
    data = run(camera=still_camera(folder), scale=2.0)
    assert (data["width"], data["height"]) == (80, 48)
    channels, _ = read_exr(run.out / "jane doe_-0001.exr")
    alpha = channels["Actor.Combined.A"].astype(float)
    y, x = np.mgrid[:48, :80] + 0.5
    assert (alpha * x).sum() / alpha.sum() == pytest.approx(40, abs=0.2)
    assert (alpha * y).sum() / alpha.sum() == pytest.approx(24, abs=0.2)


def test_scaled_actor_is_farther_away_in_the_scene(run: RenderRun, folder: ActorFolder) -> None:
    """An actor at twice its size, twice as far away, looks the same; its depth is the scene's."""
    run(format="exr")
    small, _ = read_exr(run.out / "jane doe_0002.exr")
    camera = still_camera(folder, width=CROP_SIZE, height=CROP_SIZE)
    assert folder.info.camera is not None
    k = folder.info.camera.crop_intrinsics(CROP_SIZE)
    camera.intrinsics[0] = k[0, 0], k[1, 1], k[0, 2], k[1, 2]
    camera.views = camera.views.copy()
    camera.views[0, :3] *= 2
    run(camera=camera)
    large, _ = read_exr(run.out / "jane doe_0002.exr")
    assert np.abs(small["Actor.Combined.R"] - large["Actor.Combined.R"]).max() < 1e-3
    assert large["Actor.Depth.Z"].min() == pytest.approx(1.4, abs=1e-4)


def test_a_border_leaves_the_rest_empty(run: RenderRun, folder: ActorFolder) -> None:
    run(camera=still_camera(folder))
    whole, _ = read_exr(run.out / "jane doe_0001.exr")
    run(camera=still_camera(folder, border=(11, 3, 25, 16)))
    part, _ = read_exr(run.out / "jane doe_0001.exr")
    inside = np.zeros((24, 40), bool)
    inside[3:16, 11:25] = True
    for name, plane in part.items():
        assert np.allclose(plane[inside], whole[name][inside], atol=1e-3), name
        assert (plane[~inside] == (np.float32(EMPTY_DEPTH_METERS) if name.endswith("Z") else 0)).all(), name
    assert whole["Actor.Combined.A"][~inside].max() == 1, "there was something to leave out"
    assert run(camera=still_camera(folder, border=(10, 3, 25, 16)))["rendered"] == 4


def test_moving_camera_must_cover_the_performance(run: RenderRun, folder: ActorFolder) -> None:
    views = np.repeat(folder.info.camera.view()[None], 3, 0)  # type: ignore[union-attr]
    camera = still_camera(
        folder, frames=np.array([-1, 0, 1]), views=views, intrinsics=np.tile([150.0, 150, 20, 12], (3, 1))
    )
    with pytest.raises(UserError, match="no entry for frame 2"):
        run(camera=camera)
    assert not run.out.exists(), "told before any work"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"format": "gif"}, "bad_format"),
        ({"format": "png", "png_bits": 12}, "bad_format"),
        ({"name": "a/b"}, "bad_name"),
        ({"name": ".."}, "bad_name"),
        ({"scale": 0.0}, "bad_size"),
        ({"scale": float("nan")}, "bad_size"),
        ({"use_plate": True}, "plate_needs_film"),
        ({"use_plate": True, "format": "mp4", "camera": True}, "plate_needs_footage_camera"),
        ({"audio": Path("a.wav")}, "sound_needs_film"),
        ({"blur_samples": 0}, "bad_blur"),
        ({"blur_samples": 2}, "bad_performance"),
        ({"with_vectors": True, "format": "png"}, "vectors_need_exr"),
        ({"with_vectors": True, "blur_samples": 3}, "vectors_or_blur"),
        ({"with_vectors": True}, "bad_performance"),
    ],
)
def test_options_that_cannot_be(run: RenderRun, folder: ActorFolder, options: dict[str, Any], code: str) -> None:
    camera = still_camera(folder) if options.pop("camera", False) else None
    with pytest.raises(UserError) as failure:
        run(camera=camera, **options)
    assert failure.value.code == code and failure.value.remedy
    assert not run.out.exists()


def test_output_below_a_file_is_refused(run: RenderRun, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    run.out = tmp_path / "plain" / "frames"
    with pytest.raises(UserError, match="written"):
        run()


def test_an_actor_without_model_is_damaged(run: RenderRun, folder: ActorFolder) -> None:
    folder.file_path("model.safetensors").unlink()
    with pytest.raises(UserError) as failure:
        run()
    assert failure.value.code == "damaged_actor"


def test_nothing_visible_is_clean() -> None:
    """No Gaussian in view, or stray ones below what a half float holds: finite, transparent, far."""
    empty = StandInFrame(*(torch.zeros(4, 5, *shape) for shape in ((3,), (), (), (4,))))
    passes = passes_from_frame(empty)  # type: ignore[arg-type]
    assert (
        passes.alpha.max() == 0
        and (passes.depth == np.float32(EMPTY_DEPTH_METERS)).all()
        and not passes.to_scene_linear().any()
    )
    faint = empty._replace(alpha=torch.full((4, 5), 1e-7), rgb=torch.full((4, 5, 3), 1e-7))
    linear = passes_from_frame(faint).to_scene_linear()  # type: ignore[arg-type]
    assert np.isfinite(linear).all() and linear.max() <= 1e-6


def test_light_conversion_against_the_standard() -> None:
    """IEC 61966-2-1: the two pieces meet, mid grey 0.5 is 0.2140, ends stay."""
    assert linear_from_srgb(np.array([0, 0.04045, 0.5, 1], np.float32)) == pytest.approx(
        [0, 0.0031308, 0.21404114, 1], abs=1e-6
    )


def test_frame_names() -> None:
    names = [frame_file_name("a", n, "png") for n in (-12, -1, 0, 7, 9999, 10000)]
    assert names == ["a_-0012.png", "a_-0001.png", "a_0000.png", "a_0007.png", "a_9999.png", "a_10000.png"]
