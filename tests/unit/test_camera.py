"""The camera file: saved cameras are loaded unchanged, and invalid ones are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.contract.actor_folder import FootageCamera
from backend.contract.arrays import F64
from backend.contract.camera import CameraPath, footage_camera_path
from backend.contract.errors import UserError


def moving_camera(count: int = 3, first: int = -1) -> CameraPath:
    views = np.tile(np.eye(4), (count, 1, 1))
    views[:, 2, 3] = 0.6 + 0.1 * np.arange(count)
    intrinsics = np.tile([900.0, 905.0, 320.0, 240.0], (count, 1))
    return CameraPath(640, 480, np.arange(first, first + count), views, intrinsics)


def valid_json() -> dict[str, Any]:
    return {
        "format": "portrait_actor.camera.1", "width": 640, "height": 480,
        "frames": [{"frame": 1, "world_to_camera": np.eye(4).tolist(), "intrinsics": [900, 900, 320, 240]}],
    }  # fmt: skip


def test_saved_camera_is_loaded_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "camera 'x' 肖像.json"
    camera = moving_camera()
    camera.save(path)
    again = CameraPath.load(path)
    assert (again.width, again.height) == (640, 480) and list(again.frames) == [-1, 0, 1]
    assert np.array_equal(again.views, camera.views) and np.array_equal(again.intrinsics, camera.intrinsics)
    assert list(tmp_path.iterdir()) == [path]


def test_moving_camera_gives_the_entry_of_a_frame_number() -> None:
    view, k = moving_camera().matrices_at(1)
    assert view[2, 3] == pytest.approx(0.8)
    assert k.tolist() == [[900, 0, 320], [0, 905, 240], [0, 0, 1]]
    for frame in (-2, 2):
        with pytest.raises(UserError, match=f"frame {frame}") as failure:
            moving_camera().matrices_at(frame)
        assert failure.value.code == "camera_frame_missing"


def test_still_camera_gives_its_entry_for_every_frame() -> None:
    assert np.array_equal(moving_camera(1).matrices_at(1234)[0], moving_camera(1).views[0])


def test_border_is_saved_resized_and_checked(tmp_path: Path) -> None:
    camera = replace(moving_camera(), border=(20, 30, 320, 480))
    camera.save(tmp_path / "camera.json")
    assert CameraPath.load(tmp_path / "camera.json").border == (20, 30, 320, 480)
    assert camera.resize(320, 160).border == (10, 10, 160, 160)
    part = camera.crop((20, 30, 320, 480))
    assert (part.width, part.height, part.border) == (300, 450, None)
    assert part.matrices_at(0)[1][:2, 2].tolist() == [300, 210], "the same point, relative to the border's corner"
    for border in ((0, 0, 0, 480), (0, 0, 641, 480), (-1, 0, 5, 5), (5, 5, 4, 9)):
        with pytest.raises(UserError, match="not within the image"):
            replace(moving_camera(), border=border).check()
    for entry in ("all", [0, 0, 5], [0.5, 0, 5, 5]):
        (tmp_path / "bad.json").write_text(json.dumps({**valid_json(), "border": entry}), encoding="utf-8")
        with pytest.raises(UserError, match=r"cannot be used|not a readable"):
            CameraPath.load(tmp_path / "bad.json")


def test_resized_camera_projects_to_scaled_pixels() -> None:
    point = np.array([0.05, -0.03, 0.1, 1])

    def relative_pixel(camera: CameraPath) -> F64:
        """Where the point projects, as a share of the image's width and height."""
        view, k = camera.matrices_at(0)
        pixel: F64 = k @ (view @ point)[:3]
        relative: F64 = pixel[:2] / pixel[2] / np.array([camera.width, camera.height])
        return relative

    assert relative_pixel(moving_camera().resize(1000, 100)) == pytest.approx(relative_pixel(moving_camera()))


def test_uniformly_scaled_view_is_accepted() -> None:
    camera = moving_camera()
    camera.views[:, :3, :3] *= 2.5
    camera.check()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.update(width=0), "0×480"),
        (lambda d: d.update(height=16385), "16385"),
        (lambda d: d.update(frames=[]), "no frames"),
        (lambda d: d["frames"].append(dict(d["frames"][0])), "increase"),
        (lambda d: d["frames"][0].update(intrinsics=[0, 900, 320, 240]), "focal"),
        (lambda d: d["frames"][0].update(world_to_camera=np.eye(4)[[0, 1, 2, 2]].tolist()), "row"),
        (lambda d: d["frames"][0].update(world_to_camera=np.diag([-1.0, 1, 1, 1]).tolist()), "rotation"),
        (lambda d: d["frames"][0].update(world_to_camera=np.diag([1.0, 2, 1, 1]).tolist()), "rotation"),
        (lambda d: d["frames"][0].update(world_to_camera=np.diag([0.0, 0, 0, 1]).tolist()), "rotation"),
        (lambda d: d["frames"][0].update(intrinsics=[float("nan"), 900, 320, 240]), "readable"),
    ],
)  # fmt: skip
def test_invalid_camera_is_refused_with_the_reason(tmp_path: Path, change: Any, reason: str) -> None:
    invalid = valid_json()
    change(invalid)
    path = tmp_path / "camera.json"
    path.write_text(json.dumps(invalid), encoding="utf-8")
    with pytest.raises(UserError, match=reason) as failure:
        CameraPath.load(path)
    assert failure.value.code == "bad_camera" and failure.value.remedy


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", '{"format": "portrait_actor.camera.2"}', '{"format": "portrait_actor.camera.1"}',
     "[" * 100000, *(json.dumps({**valid_json(), **change}) for change in (
        {"width": 640.5}, {"width": True}, {"frames": {"a": 1}},
        {"frames": [{"frame": 1, "world_to_camera": [[1]], "intrinsics": [1, 1, 1, 1]}]},
        {"frames": [{"frame": 10**30, "world_to_camera": np.eye(4).tolist(), "intrinsics": [1] * 4}]},
        {"frames": [{"frame": 1, "world_to_camera": "abc", "intrinsics": [1, 1, 1, 1]}]},
    ))],
)  # fmt: skip
def test_file_without_a_camera_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "camera.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="not a readable camera file"):
        CameraPath.load(path)


def test_missing_camera_file_is_reported(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(UserError) as failure:
            CameraPath.load(path)
        assert failure.value.code == "missing_file"
    with pytest.raises(UserError):
        moving_camera().save(tmp_path / "none" / "camera.json")


def test_footage_camera_projects_crop_corners_to_image_corners() -> None:
    info = FootageCamera(1920, 1080, 1500.0, np.eye(4).tolist(), (700.0, 200.0, 400.0))
    camera = footage_camera_path(info, 256)
    _, k = camera.matrices_at(7)
    for corner, expected in (((700, 200), (0, 0)), ((1100, 600), (256, 256))):
        ray = np.linalg.inv(info.intrinsics()) @ (*corner, 1)
        assert (k @ ray)[:2] == pytest.approx(expected)
