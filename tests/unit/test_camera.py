"""The camera file: what is written is read, and nothing unsound gets in."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backend.contract.camera
from backend.contract.actor_folder import FootageCamera as FootageCamera
from backend.contract.camera import CameraPath, footage_camera_path
from backend.contract.errors import UserError


def moving(count: int = 3, first: int = -1) -> CameraPath:
    views = np.tile(np.eye(4), (count, 1, 1))
    views[:, 2, 3] = 0.6 + 0.1 * np.arange(count)
    intrinsics = np.tile([900.0, 905.0, 320.0, 240.0], (count, 1))
    return CameraPath(640, 480, np.arange(first, first + count), views, intrinsics)


def data() -> dict[str, Any]:
    return {
        "format": "portrait_actor.camera.1", "width": 640, "height": 480,
        "frames": [{"frame": 1, "world_to_camera": np.eye(4).tolist(), "intrinsics": [900, 900, 320, 240]}],
    }  # fmt: skip


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "camera 'x' 肖像.json"
    camera = moving()
    camera.save(path)
    again = CameraPath.load(path)
    assert (again.width, again.height) == (640, 480) and list(again.frames) == [-1, 0, 1]
    assert np.array_equal(again.views, camera.views) and np.array_equal(again.intrinsics, camera.intrinsics)
    assert list(tmp_path.iterdir()) == [path]


def test_moving_camera_is_matched_by_frame_number() -> None:
    view, k = moving().matrices_at(1)
    assert view[2, 3] == pytest.approx(0.8)
    assert k.tolist() == [[900, 0, 320], [0, 905, 240], [0, 0, 1]]
    for frame in (-2, 2):
        with pytest.raises(UserError, match=f"frame {frame}") as failure:
            moving().matrices_at(frame)
        assert failure.value.code == "camera_frame_missing"


def test_still_camera_serves_every_frame() -> None:
    assert np.array_equal(moving(1).matrices_at(1234)[0], moving(1).views[0])


def test_a_border_is_kept_resized_and_checked(tmp_path: Path) -> None:
    camera = replace(moving(), border=(20, 30, 320, 480))
    camera.save(tmp_path / "camera.json")
    assert CameraPath.load(tmp_path / "camera.json").border == (20, 30, 320, 480)
    assert camera.resize(320, 160).border == (10, 10, 160, 160)
    part = camera.crop((20, 30, 320, 480))
    assert (part.width, part.height, part.border) == (300, 450, None)
    assert part.matrices_at(0)[1][:2, 2].tolist() == [300, 210], "the same point, counted from the border's corner"
    for border in ((0, 0, 0, 480), (0, 0, 641, 480), (-1, 0, 5, 5), (5, 5, 4, 9)):
        with pytest.raises(UserError, match="no part of the picture"):
            replace(moving(), border=border).check()
    for entry in ("all", [0, 0, 5], [0.5, 0, 5, 5]):
        (tmp_path / "bad.json").write_text(json.dumps({**data(), "border": entry}), encoding="utf-8")
        with pytest.raises(UserError, match=r"cannot be used|not a readable"):
            CameraPath.load(tmp_path / "bad.json")


def test_resized_keeps_the_view() -> None:
    """A point that projects to the same share of the picture before and after."""
    point = np.array([0.05, -0.03, 0.1, 1])

    def share(camera: CameraPath) -> np.ndarray:
        view, k = camera.matrices_at(0)
        pixel = k @ (view @ point)[:3]
        return pixel[:2] / pixel[2] / (camera.width, camera.height)

    assert share(moving().resize(1000, 100)) == pytest.approx(share(moving()))


def test_a_scaled_actor_is_allowed() -> None:
    camera = moving()
    camera.views[:, :3, :3] *= 2.5
    camera.check()


@pytest.mark.parametrize(
    ("change", "wrong"),
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
def test_unsound_cameras_are_refused(tmp_path: Path, change: Any, wrong: str) -> None:
    broken = data()
    change(broken)
    path = tmp_path / "camera.json"
    path.write_text(json.dumps(broken), encoding="utf-8")
    with pytest.raises(UserError, match=wrong) as failure:
        CameraPath.load(path)
    assert failure.value.code == "bad_camera" and failure.value.remedy


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "{", '{"format": "portrait_actor.camera.2"}', '{"format": "portrait_actor.camera.1"}',
     "[" * 100000, *(json.dumps({**data(), **change}) for change in (
        {"width": 640.5}, {"width": True}, {"frames": {"a": 1}},
        {"frames": [{"frame": 1, "world_to_camera": [[1]], "intrinsics": [1, 1, 1, 1]}]},
        {"frames": [{"frame": 10**30, "world_to_camera": np.eye(4).tolist(), "intrinsics": [1] * 4}]},
        {"frames": [{"frame": 1, "world_to_camera": "abc", "intrinsics": [1, 1, 1, 1]}]},
    ))],
)  # fmt: skip
def test_what_is_no_camera_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "camera.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match="not a readable camera file"):
        CameraPath.load(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(UserError) as failure:
            CameraPath.load(path)
        assert failure.value.code == "missing_file"
    with pytest.raises(UserError):
        moving().save(tmp_path / "none" / "camera.json")


def test_footage_camera_looks_at_the_crop() -> None:
    """A point at the crop's corner in the footage lands on the picture's corner."""
    info = FootageCamera(1920, 1080, 1500.0, np.eye(4).tolist(), (700.0, 200.0, 400.0))
    camera = footage_camera_path(info, 256)
    _, k = camera.matrices_at(7)
    for corner, wanted in (((700, 200), (0, 0)), ((1100, 600), (256, 256))):
        ray = np.linalg.inv(info.intrinsics()) @ (*corner, 1)
        assert (k @ ray)[:2] == pytest.approx(wanted)


def test_blender_can_import_it() -> None:
    """Only the standard library, numpy and the files that Blender reads too."""
    tree = ast.parse(Path(backend.contract.camera.__file__).read_text(encoding="utf-8"))
    nodes = list(ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
    shared = {"actor_folder", "arrays", "errors", "protocol", "safe_io", "atomic_write"}
    assert names <= {"__future__", "json", "dataclasses", "pathlib", "typing", "numpy", "numpy.typing"} | shared
