"""Live Link Face captures: reading by header and timecodes, writing, and refusal of invalid files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from backend.cli.commands import main
from backend.contract.actor_folder import ActorFolder
from backend.contract.channels import CHANNEL_INDEX, CHANNELS
from backend.contract.errors import UserError
from backend.contract.live_link import (
    BLEND_SHAPE_COLUMNS,
    EYE_ANGLE_COLUMNS,
    HEAD_ANGLE_COLUMNS,
    HEAD_PIVOT,
    CaptureOptions,
    read_live_link,
    write_live_link,
)
from backend.contract.performance import Performance


def capture(path: Path, timecodes: list[str], **columns: list[float]) -> Path:
    """Write a file like the app's; columns that are not given are 0."""
    names = [*BLEND_SHAPE_COLUMNS, *HEAD_ANGLE_COLUMNS, *EYE_ANGLE_COLUMNS]
    lines = [",".join(["Timecode", "BlendshapeCount", *names])]
    for i, code in enumerate(timecodes):
        lines.append(",".join([code, "61", *(str(columns.get(n, [0.0] * len(timecodes))[i]) for n in names)]))
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_csv_has_a_column_for_every_channel() -> None:
    assert {name[0].lower() + name[1:] for name in BLEND_SHAPE_COLUMNS} == set(CHANNELS)
    assert len(BLEND_SHAPE_COLUMNS) == 52


def test_written_capture_is_read_back(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    performance = Performance.rest_pose(50, 25.0)
    performance.channels = random.random((50, 52)).astype(np.float32)
    turns = Rotation.from_euler("YXZ", random.uniform(-0.6, 0.6, (50, 3)))
    torso = Rotation.from_rotvec(random.normal(0, 0.1, (50, 3)))
    performance.torso_rotation = torso.as_quat(scalar_first=True).astype(np.float32)
    performance.head_rotation = (torso * turns).as_quat(scalar_first=True).astype(np.float32)
    for signs in ((1, 1, 1), (-1, -1, 1)):
        write_live_link(performance, tmp_path / "line.csv", signs)
        again = read_live_link(tmp_path / "line.csv", CaptureOptions(signs=signs))
        assert again.fps == 25 and len(again) == 50
        assert np.abs(again.channels - performance.channels).max() < 1e-5
        found = Rotation.from_quat(again.head_rotation, scalar_first=True)
        assert (found * turns.inv()).magnitude().max() < 1e-4


def test_angles_turn_the_head_in_the_documented_directions(tmp_path: Path) -> None:
    codes = [f"00:00:0{s}:00.0" for s in range(3)]
    file = capture(tmp_path / "turn.csv", codes, HeadYaw=[0.5, 0, 0], HeadPitch=[0, 0.5, 0], HeadRoll=[0, 0, 0.5])
    turns = Rotation.from_quat(read_live_link(file, CaptureOptions(1.0, 60.0)).head_rotation, scalar_first=True)
    nose, left_ear = turns.apply([0, 0, 1]), turns.apply([1, 0, 0])
    assert nose[0, 0] > 0.4  # yaw: to the actor's left, +x
    assert nose[1, 1] < -0.4  # pitch: down
    assert left_ear[2, 1] > 0.4  # roll: the left ear goes up, to the right shoulder


def test_head_rotation_leaves_the_neck_joint_in_position(tmp_path: Path) -> None:
    codes = [f"00:00:0{s}:00.0" for s in range(3)]
    file = capture(tmp_path / "t.csv", codes, HeadYaw=[0, 0.4, 0.1], HeadPitch=[0, 0.3, -0.6])
    made = read_live_link(file, CaptureOptions(60.0, 60.0))
    turns = Rotation.from_quat(made.head_rotation, scalar_first=True)
    assert turns.apply(HEAD_PIVOT) + made.head_translation == pytest.approx(
        np.tile(HEAD_PIVOT, (len(made), 1)), abs=1e-6
    )
    assert made.head_translation[60, 0] > 0.02  # turned to the left, the face moves there


def test_rate_is_guessed_and_missing_frames_are_interpolated(tmp_path: Path) -> None:
    codes = [f"23:59:59:{f:02d}.250" for f in range(60)] + [f"00:00:00:{f:02d}.250" for f in range(0, 60, 2)]
    times = np.array([*range(60), *range(60, 120, 2)]) / 60
    made = read_live_link(capture(tmp_path / "midnight.csv", codes, JawOpen=list(times / 2)))
    assert made.fps == 60 and len(made) == 119
    assert np.abs(made.channels[:, CHANNEL_INDEX["jawOpen"]] - np.arange(119) / 120).max() < 1e-5
    slower = read_live_link(tmp_path / "midnight.csv", CaptureOptions(fps=24))
    assert slower.fps == 24
    assert np.abs(slower.channels[:, CHANNEL_INDEX["jawOpen"]] - np.arange(len(slower)) / 48).max() < 1e-5


def test_neutral_face_is_subtracted(tmp_path: Path) -> None:
    codes = [f"00:00:0{s}:00.0" for s in range(4)]
    file = capture(tmp_path / "n.csv", codes, MouthFrownLeft=[0.2, 0.2, 0.6, 1.0], HeadYaw=[0.3, 0.3, 0.3, 0.8])
    made = read_live_link(file, CaptureOptions(1.0, 60.0, neutral_seconds=0.0))
    assert made.channels[:, CHANNEL_INDEX["mouthFrownLeft"]] == pytest.approx([0, 0, 0.5, 1], abs=1e-6)
    angle = Rotation.from_quat(made.head_rotation, scalar_first=True).magnitude()
    assert angle == pytest.approx([0, 0, 0, 0.5], abs=1e-6)
    still = read_live_link(file, CaptureOptions(1.0, 60.0, has_head_motion=False))
    assert (still.head_rotation == [1, 0, 0, 0]).all()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no frames"),
        ("Timecode,BlendshapeCount,JawOpen\n", "no frames"),
        ("a,b\n1,2\n", "it has only 0 of ARKit's 52 blend shapes"),
        (
            f"Timecode,{','.join(BLEND_SHAPE_COLUMNS)}\n00:00:01:00.0,{','.join(['x'] * 52)}\n",
            "text instead of numbers",
        ),
        (f"Timecode,{','.join(BLEND_SHAPE_COLUMNS)}\n00:00:01:00.0,{','.join(['nan'] * 52)}\n", "not numbers"),
        (
            f"Timecode,{','.join(BLEND_SHAPE_COLUMNS)}\n00:00:01:00.0,{','.join(['0'] * 52)}\n",
            "too short to guess its frame rate",
        ),
        (f"Timecode,{','.join(BLEND_SHAPE_COLUMNS)}\nnow,{','.join(['0'] * 52)}\n", "timecodes are not of the form"),
        (f"{','.join(BLEND_SHAPE_COLUMNS)}\n{','.join(['0'] * 52)}\n", "no column Timecode"),
        (f"Timecode,HeadYaw,{','.join(BLEND_SHAPE_COLUMNS)}\n00:00:01:00.0,30,{','.join(['0'] * 52)}\n", "not radians"),
        (
            f"Timecode,{','.join(BLEND_SHAPE_COLUMNS)}\n"
            f"00:00:02:00,{','.join('0' * 52)}\n00:00:01:00,{','.join('0' * 52)}\n",
            "run backwards",
        ),
    ],
)
def test_invalid_capture_is_refused_with_the_reason(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "bad.csv").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=problem) as caught:
        read_live_link(tmp_path / "bad.csv")
    assert caught.value.code == "bad_capture"


def test_missing_capture_binary_capture_and_missing_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_live_link(tmp_path / "none.csv")
    assert caught.value.code == "missing_file"
    (tmp_path / "bytes.csv").write_bytes(bytes(range(256)))
    with pytest.raises(UserError):
        read_live_link(tmp_path / "bytes.csv")
    with pytest.raises(UserError):
        write_live_link(Performance.rest_pose(2, 25.0), tmp_path / "no folder" / "line.csv")


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.integers(0, 3000), st.integers(1, 60))
def test_damaged_capture_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, at: int, cut: int
) -> None:
    path = tmp_path_factory.mktemp("fuzz") / "capture.csv"
    write_live_link(Performance.rest_pose(30, 25.0), path)
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + noise + whole[at + cut :])
    try:
        read_live_link(path).check()
    except UserError as error:
        assert error.code in ("bad_capture", "bad_performance")


def test_export_and_import_commands_are_inverse(sample_actor: ActorFolder, tmp_path: Path) -> None:
    footage = sample_actor.file_path("footage.npz")
    capture, back = tmp_path / "a" / "line.csv", tmp_path / "b" / "line.npz"
    assert main(["export", str(sample_actor.path), str(footage), str(capture), "--signs=-+-"]) == 0
    assert main(["import", str(capture), str(back), "--signs=-+-"]) == 0
    before, after = Performance.load(footage), Performance.load(back)
    assert after.fps == before.fps and np.abs(after.channels - before.channels).max() < 1e-4
    assert main(["import", str(footage), str(back)]) == UserError.exit_code
