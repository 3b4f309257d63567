"""Create Actor as a whole: resuming, refusing, leaving nothing half-made."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from backend.contract.actor_folder import ActorFolder
from backend.contract.errors import Cancelled, UserError
from backend.contract.progress import Reporter
from backend.pipeline.create import CreateOptions, create_actor

TINY = CreateOptions(preset="tiny", device="cpu")


class Watching(Reporter):
    """Keeps the names of the stages, and stops at one when told to."""

    def __init__(self, stop_at: str = "") -> None:
        self.stages: list[str] = []
        self.notes: list[str] = []
        self.stop_at = stop_at

    def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
        if stage not in self.stages:
            self.stages.append(stage)
        if stage == self.stop_at and done > 0:
            raise Cancelled

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_a_finished_actor_is_not_made_again(sample_actor: ActorFolder, sample_clip: Path, tmp_path: Path) -> None:
    path = tmp_path / "again.actor"
    shutil.copytree(sample_actor.path, path)
    watching = Watching()
    folder = create_actor(sample_clip, path, TINY, watching)
    assert watching.stages == [] and folder.info.complete


def test_a_cancelled_job_is_unfinished_and_goes_on_where_it_stopped(
    sample_actor: ActorFolder, sample_clip: Path, tmp_path: Path
) -> None:
    path = tmp_path / "half.actor"
    shutil.copytree(sample_actor.path, path)
    data = json.loads((path / "actor.json").read_text())
    for stage in ("train", "speech"):
        data["stages"].pop(stage, None)
    data["complete"] = False
    (path / "actor.json").write_text(json.dumps(data))
    with pytest.raises(Cancelled):
        create_actor(sample_clip, path, TINY, Watching(stop_at="train the actor"))
    with pytest.raises(UserError, match="not finished"):
        ActorFolder.open(path)
    watching = Watching()
    create_actor(sample_clip, path, TINY, watching)
    assert "Training goes on from step 1 of 300." in watching.notes
    assert "look at the footage" not in watching.stages and "train the actor" in watching.stages
    assert ActorFolder.open(path).info.complete


def test_other_footage_does_not_overwrite_an_actor(
    sample_actor: ActorFolder, sample_clip: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.mp4"
    other.write_bytes(sample_clip.read_bytes() + b"\0")
    with pytest.raises(UserError, match="made from other footage"):
        create_actor(other, sample_actor.path, TINY, Reporter())
    assert ActorFolder.open(sample_actor.path).info.complete


def test_a_refused_video_leaves_no_folder(tmp_path: Path) -> None:
    text = tmp_path / "not a film.mp4"
    text.write_text("hello")
    with pytest.raises(UserError):
        create_actor(text, tmp_path / "x.actor", TINY, Reporter())
    assert not (tmp_path / "x.actor").exists()


def test_an_unknown_preset_is_refused_with_the_choices(sample_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="draft"):
        create_actor(sample_clip, tmp_path / "x.actor", CreateOptions(preset="best"), Reporter())


def test_the_folder_says_what_it_was_made_from(sample_actor: ActorFolder, sample_clip: Path) -> None:
    info = sample_actor.info
    assert info.source["name"] == sample_clip.name and info.source["bytes"] == sample_clip.stat().st_size
    assert info.camera is not None and info.camera.width == 256
    assert "jawOpen" in info.channel_ranges and "tongueOut" not in info.channel_ranges
    proxy, footage = sample_actor.load_proxy(), sample_actor.load_footage_performance()
    assert len(proxy.vertices) == 468 and len(footage) == info.frame_count
