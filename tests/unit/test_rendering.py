"""Rendered files of a stand-in model with known pixels."""

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
    actor_folder,
    moving_performance,
    read_exr,
    render_run,
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


def test_exr_has_linear_color_depth_and_mattes(render_run: RenderRun) -> None:
    data = render_run(format="exr")
    assert data["pattern"] == "jane doe_####.exr" and (data["first"], data["last"], data["count"]) == (-1, 2, 4)
    assert sorted(p.name for p in render_run.out.glob("*.exr")) == sorted(
        f"jane doe_{n}.exr" for n in ("-0001", "0000", "0001", "0002")
    )
    channels, header = read_exr(render_run.out / "jane doe_0001.exr")
    alpha = channels["Actor.Combined.A"].astype(np.float32)
    assert alpha.max() == 1 and alpha.min() == 0 and np.count_nonzero((alpha > 0) & (alpha < 1)) > 0
    light = linear_from_srgb(np.array(DISC_COLOR, np.float32))
    for name, value in zip("RGB", light, strict=True):
        plane = channels[f"Actor.Combined.{name}"]
        assert plane.dtype == np.float16
        assert np.abs(plane - value * alpha).max() < 1e-3, "premultiplied after the conversion to linear light"
    depth = channels["Actor.Depth.Z"]
    assert depth.dtype == np.float32
    assert depth[alpha > 0.01] == pytest.approx(0.7, abs=1e-4), "metres at the soft edge, too"
    assert (depth[alpha == 0] == np.float32(EMPTY_DEPTH_METERS)).all()
    mattes = {name: channels[f"Actor.{name}.X"].astype(np.float32) for name in ("Head", "Hair", "Mouth", "Torso")}
    assert np.abs(mattes["Head"] + mattes["Torso"] - alpha).max() < 1e-3
    y, x = np.mgrid[:CROP_SIZE, :CROP_SIZE] + 0.5
    assert mattes["Hair"][(x < 16) & (alpha > 0)].max() == 0 and mattes["Mouth"][(y < 15)].max() == 0
    assert header["comments"] == "synthetic media" and header["digitalSourceType"] == DIGITAL_SOURCE_TYPE
    assert header["framesPerSecond"] == 25 and header["chromaticities"][:2] == pytest.approx((0.64, 0.33))
    assert header["actor"] == "Jané" and header["frame"] == "1"


@pytest.mark.parametrize("file_format", ["exr", "png", "mp4"])
def test_consent_is_in_every_file_format(render_run: RenderRun, actor_folder: ActorFolder, file_format: str) -> None:
    actor_folder.info.consent = {"who": "Jane Doe", "statement": "She agreed.", "date": "2026-11-21T10:00:00+00:00"}
    render_run(format=file_format)
    if file_format == "exr":
        assert read_exr(render_run.out / "jane doe_0001.exr")[1]["consent"] == "Jane Doe, 2026-11-21"
    elif file_format == "png":
        assert read_png(render_run.out / "jane doe_0001.png")[1]["Consent"] == "Jane Doe, 2026-11-21"
    else:
        with decode.open_media(render_run.out / "jane doe.mp4", decode.VIDEO_FORMATS) as film:
            assert film.metadata["description"] == "Shown with consent: Jane Doe, 2026-11-21"


def read_png(path: Path) -> tuple[NDArray[Any], dict[str, str], bytes]:
    """Return the pixels, the tEXt entries and the XMP packet; check the checksums."""
    data = path.read_bytes()
    texts, offset, xmp = {}, 8, b""
    while offset < len(data):
        length, name = struct.unpack(">I4s", data[offset : offset + 8])
        body = data[offset + 8 : offset + 8 + length]
        assert struct.unpack(">I", data[offset + 8 + length : offset + 12 + length])[0] == zlib.crc32(name + body)
        if name == b"tEXt":
            key, value = body.split(b"\0")
            texts[key.decode("latin-1")] = value.decode("latin-1")
        xmp = body if name == b"iTXt" else xmp
        offset += 12 + length
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    return image[..., [2, 1, 0, 3]], texts, xmp


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.uint8), (16, np.uint16)])
def test_png_has_straight_alpha_and_labels(render_run: RenderRun, bits: int, dtype: type) -> None:
    render_run(format="png", png_bits=bits)
    image, texts, xmp = read_png(render_run.out / "jane doe_0000.png")
    max_value = 2**bits - 1
    assert image.dtype == dtype and image.shape == (CROP_SIZE, CROP_SIZE, 4)
    values, alpha = image[..., :3] / max_value, image[..., 3] / max_value
    assert np.count_nonzero((alpha > 0.1) & (alpha < 0.9)) > 10
    assert np.abs(values[alpha > 0.01] - DISC_COLOR).max() < 1 / 255, "straight alpha: the edge has the full colour"
    assert texts["Comment"] == "synthetic media" and texts["Title"] == "Jané" and texts["Frame"] == "0"
    assert DIGITAL_SOURCE_TYPE.encode() in xmp


def test_film_has_its_background_color_and_sound(render_run: RenderRun, tmp_path: Path) -> None:
    data = render_run(
        moving_performance(12), format="mp4", audio=write_beep(tmp_path / "a.wav"), background=(0.1, 0.2, 0.9)
    )
    film = Path(data["file"])
    info = decode.probe_video(film)
    assert film == render_run.out / "jane doe.mp4" and info.has_audio and info.frame_count == 12
    *_, (_, _, image) = decode.read_frames(film)
    assert np.abs(image[0, 0].astype(float) - (26, 51, 230)).max() < 10
    center = image[14:18, 16:20].reshape(-1, 3).mean(0)
    assert np.abs(center - np.array(DISC_COLOR) * 255).max() < 12


def test_film_over_the_plate_shows_it(render_run: RenderRun, actor_folder: ActorFolder) -> None:
    plate = np.zeros((64, 64, 3), np.uint8)
    plate[:32] = (200, 60, 20)  # BGR, the upper half
    actor_folder.file_path("plate.png").write_bytes(cv2.imencode(".png", plate)[1].tobytes())
    data = render_run(format="mp4", use_plate=True)
    _, _, image = next(decode.read_frames(Path(data["file"])))
    assert np.abs(image[2, 16].astype(float) - (20, 60, 200)).max() < 14
    assert image[-2, 16].max() < 14
    actor_folder.file_path("plate.png").write_bytes(b"truncated")
    with pytest.raises(UserError, match=r"plate\.png is missing or damaged"):
        render_run(format="mp4", use_plate=True)


def test_scene_camera_determines_size_and_position(render_run: RenderRun, actor_folder: ActorFolder) -> None:
    data = render_run(camera=still_camera(actor_folder), scale=2.0)
    assert (data["width"], data["height"]) == (80, 48)
    channels, _ = read_exr(render_run.out / "jane doe_-0001.exr")
    alpha = channels["Actor.Combined.A"].astype(float)
    y, x = np.mgrid[:48, :80] + 0.5
    assert (alpha * x).sum() / alpha.sum() == pytest.approx(40, abs=0.2)
    assert (alpha * y).sum() / alpha.sum() == pytest.approx(24, abs=0.2)


def test_scaled_actor_has_scene_depth(render_run: RenderRun, actor_folder: ActorFolder) -> None:
    """At twice its size and distance the actor looks the same, but its depth is doubled."""
    render_run(format="exr")
    small, _ = read_exr(render_run.out / "jane doe_0002.exr")
    camera = still_camera(actor_folder, width=CROP_SIZE, height=CROP_SIZE)
    k = actor_folder.require_camera().crop_intrinsics(CROP_SIZE)
    camera.intrinsics[0] = k[0, 0], k[1, 1], k[0, 2], k[1, 2]
    camera.views = camera.views.copy()
    camera.views[0, :3] *= 2
    render_run(camera=camera)
    large, _ = read_exr(render_run.out / "jane doe_0002.exr")
    assert np.abs(small["Actor.Combined.R"] - large["Actor.Combined.R"]).max() < 1e-3
    assert large["Actor.Depth.Z"].min() == pytest.approx(1.4, abs=1e-4)


def test_border_leaves_the_rest_empty(render_run: RenderRun, actor_folder: ActorFolder) -> None:
    render_run(camera=still_camera(actor_folder))
    whole, _ = read_exr(render_run.out / "jane doe_0001.exr")
    render_run(camera=still_camera(actor_folder, border=(11, 3, 25, 16)))
    part, _ = read_exr(render_run.out / "jane doe_0001.exr")
    inside = np.zeros((24, 40), bool)
    inside[3:16, 11:25] = True
    for name, plane in part.items():
        assert np.allclose(plane[inside], whole[name][inside], atol=1e-3), name
        assert (plane[~inside] == (np.float32(EMPTY_DEPTH_METERS) if name.endswith("Z") else 0)).all(), name
    assert whole["Actor.Combined.A"][~inside].max() == 1, "the border must cut off something"
    assert render_run(camera=still_camera(actor_folder, border=(10, 3, 25, 16)))["rendered"] == 4


def test_moving_camera_that_lacks_a_frame_is_refused(render_run: RenderRun, actor_folder: ActorFolder) -> None:
    views = np.repeat(actor_folder.require_camera().view()[None], 3, 0)
    camera = still_camera(
        actor_folder, frames=np.array([-1, 0, 1]), views=views, intrinsics=np.tile([150.0, 150, 20, 12], (3, 1))
    )
    with pytest.raises(UserError, match="no entry for frame 2"):
        render_run(camera=camera)
    assert not render_run.out.exists(), "refused before any work"


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
def test_invalid_or_contradictory_options_are_refused(
    render_run: RenderRun, actor_folder: ActorFolder, options: dict[str, Any], code: str
) -> None:
    camera = still_camera(actor_folder) if options.pop("camera", False) else None
    with pytest.raises(UserError) as failure:
        render_run(camera=camera, **options)
    assert failure.value.code == code and failure.value.remedy
    assert not render_run.out.exists()


def test_output_below_a_file_is_refused(render_run: RenderRun, tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    render_run.out = tmp_path / "plain" / "frames"
    with pytest.raises(UserError, match="written"):
        render_run()


def test_actor_without_model_is_reported_as_damaged(render_run: RenderRun, actor_folder: ActorFolder) -> None:
    actor_folder.file_path("model.safetensors").unlink()
    with pytest.raises(UserError) as failure:
        render_run()
    assert failure.value.code == "damaged_actor"


def test_frame_without_visible_gaussians_is_empty() -> None:
    """Without Gaussians, or with a coverage too small for half floats, the passes are finite and empty."""
    empty = StandInFrame(*(torch.zeros(4, 5, *shape) for shape in ((3,), (), (), (4,))))
    passes = passes_from_frame(empty)  # type: ignore[arg-type]
    assert passes.alpha.max() == 0 and not passes.to_scene_linear().any()
    assert (passes.depth == np.float32(EMPTY_DEPTH_METERS)).all()
    faint = empty._replace(alpha=torch.full((4, 5), 1e-7), rgb=torch.full((4, 5, 3), 1e-7))
    linear = passes_from_frame(faint).to_scene_linear()  # type: ignore[arg-type]
    assert np.isfinite(linear).all() and linear.max() <= 1e-6


def test_linear_from_srgb_matches_the_standard() -> None:
    """IEC 61966-2-1: the two pieces meet, mid grey 0.5 is 0.2140, ends stay."""
    assert linear_from_srgb(np.array([0, 0.04045, 0.5, 1], np.float32)) == pytest.approx(
        [0, 0.0031308, 0.21404114, 1], abs=1e-6
    )


def test_frame_names() -> None:
    names = [frame_file_name("a", n, "png") for n in (-12, -1, 0, 7, 9999, 10000)]
    assert names == ["a_-0012.png", "a_-0001.png", "a_0000.png", "a_0007.png", "a_9999.png", "a_10000.png"]
