"""Create Actor: from footage to a finished actor folder, in stages that are not repeated while their inputs stay."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from .. import __version__
from ..contract.actor_folder import ACTOR_SUFFIX, ActorFolder, ActorInfo, damaged_file_error, fingerprint
from ..contract.errors import UserError
from ..contract.progress import Reporter
from ..contract.safe_io import ArrayLayout
from ..dataset.clip import Clip
from ..dataset.crops import CropBox, write_crops
from ..dataset.frame_store import FrameStore
from ..dataset.split import first_held_out_frame
from ..media.decode import check_readable_file
from ..portrait.initialization import initialize_portrait
from ..portrait.model import MODEL_VERSION
from ..report.faces import write_face_images
from ..report.film import write_overlay_video
from ..report.page import write_report
from ..setup.device import choose_device, device_name
from ..speech.training import train_speech
from ..tracking.detection.landmarks import TRACKER_NAME
from ..tracking.detection.selection import SegmentSelection
from ..tracking.landmarker import LandmarkerFile, open_landmarker
from ..training.config import PRESETS, Preset
from ..training.trainer import train_portrait
from .prepare import track_segment
from .scan import scan_footage, write_audio

# Names of the stages, as actor.json records them.
SCAN = "scan"
CROPS = "crops"
TRACK = "track"
REPORT = "report"
TRAIN = "train"
SPEECH = "speech"
TRACKING_STAGES = (SCAN, CROPS, TRACK)

# scan.npz: landmarks of the selected segment in footage pixels, the footage's width and height, the first frame of the
# segment.
SCAN_LAYOUT: ArrayLayout = {"landmarks": ("T", 478, 3), "size": (2,), "first": ()}
MATTE_VERSION = 3  # raised when mattes are made in another way, so that unfinished actors get the new ones
REFERENCE_SIDE_PIXELS = 512  # side of the crop to which figures in pixels are scaled, so that they can be compared
CONSENT_STATEMENT = "The person shown agreed to this actor."


@dataclass(frozen=True)
class CreateOptions:
    """The user's choices.

    Attributes:
        preset: "tiny", "draft", "standard" or "final".
        device: "auto", "cpu" or "cuda".
        face_number: which of several faces, from 1 at the left.
        name: the actor's name; by default the folder's.
        consent_who: the person who is shown and agreed to it.
        seed: seed of all random numbers.
        landmarker_file: MediaPipe's face_landmarker.task as the source of the channels; by default they are fitted.
        face_image_folder: folder for images of the faces when the user has to choose one of several.
    """

    preset: str = "draft"
    device: str = "auto"
    face_number: int | None = None
    name: str = ""
    consent_who: str = ""
    seed: int = 0
    landmarker_file: Path | None = None
    face_image_folder: Path | None = None


@dataclass(frozen=True)
class Stage:
    """One step of creation.

    Attributes:
        name: its name in actor.json.
        fingerprint: a hash of its inputs; while it stays the same, the stage does not run again.
        run: does the work.
    """

    name: str
    fingerprint: str
    run: Callable[[], None]


def create_actor(video: Path, path: Path, options: CreateOptions, reporter: Reporter) -> ActorFolder:
    """Create the actor at `path`, or resume where an earlier run stopped.

    Raises:
        UserError: the footage or the folder cannot be used. A rejected video leaves no folder behind.
        Cancelled: finished stages are kept.
    """
    job = _open_job(video, path, options, reporter)
    try:
        job.create()
    except UserError:
        if not job.folder.info.stages:
            _remove_if_empty(job.folder)
        raise
    return job.folder


def track_footage(video: Path, path: Path, options: CreateOptions, reporter: Reporter) -> ActorFolder:
    """Track a video as `create_actor` does, without training: an unfinished actor at `path`.

    Raises:
        UserError: as `create_actor`.
        Cancelled: as `create_actor`.
    """
    job = _open_job(video, path, options, reporter)
    job.run_stages(TRACKING_STAGES)
    return job.folder


def _open_job(video: Path, path: Path, options: CreateOptions, reporter: Reporter) -> _CreateJob:
    """Check the inputs, then open or create the folder."""
    if options.preset not in PRESETS:
        raise UserError("bad_preset", f"There is no preset {options.preset}.", f"Choose one of {', '.join(PRESETS)}.")
    check_readable_file(video)
    landmarker = open_landmarker(options.landmarker_file) if options.landmarker_file else None
    folder = _open_or_create_folder(path, video, options)
    return _CreateJob(video, folder, options, landmarker, reporter)


def _open_or_create_folder(path: Path, video: Path, options: CreateOptions) -> ActorFolder:
    """Return the folder of an earlier run over the same footage, or a new one."""
    source = {"name": video.name, "sha256": _file_sha256(video), "bytes": video.stat().st_size}
    if (path / "actor.json").exists():
        folder = ActorFolder.open(path, must_be_complete=False)
        if folder.info.source.get("sha256") != source["sha256"]:
            raise UserError(
                "other_footage",
                f"{path.name} was made from other footage ({folder.info.source.get('name', 'unknown')}).",
                "Choose another folder, or remove that one.",
            )
        folder.info.complete = False
        folder.info.preset = options.preset
        folder.info.name = options.name or folder.info.name
        return folder
    consent = {}
    if options.consent_who:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        consent = {"who": options.consent_who, "statement": CONSENT_STATEMENT, "date": now}
    name = options.name or path.name.removesuffix(ACTOR_SUFFIX) or video.stem
    return ActorFolder.create(path, ActorInfo(name=name, preset=options.preset, source=source, consent=consent))


class _CreateJob:
    """One run of Create Actor over one folder."""

    def __init__(
        self,
        video: Path,
        folder: ActorFolder,
        options: CreateOptions,
        landmarker: LandmarkerFile | None,
        reporter: Reporter,
    ) -> None:
        self.video, self.folder, self.options = video, folder, options
        self.preset: Preset = PRESETS[options.preset]
        self.landmarker = landmarker
        self.reporter = _NoteRecorder(reporter)
        self.device = choose_device(options.device)
        self.stage_seconds: dict[str, float] = dict(folder.info.figures.get("seconds", {}))

    def stages(self) -> list[Stage]:
        """Return all stages in their order with the fingerprints of their inputs."""
        options = self.options
        channel_source = [self.landmarker.sha256] if self.landmarker else []
        scan = fingerprint(__version__, self.folder.info.source["sha256"], options.face_number)
        crops = fingerprint(scan, self.preset.crop_size, MATTE_VERSION)
        track = fingerprint(crops, *channel_source)
        train = fingerprint(track, self.preset, options.seed, MODEL_VERSION)
        speech = fingerprint(scan, options.seed, *channel_source)
        return [
            Stage(SCAN, scan, self._scan),
            Stage(CROPS, crops, self._write_crops),
            Stage(TRACK, track, self._track),
            Stage(REPORT, track, self._write_report),
            Stage(TRAIN, train, lambda: self._train(train)),
            Stage(SPEECH, speech, self._train_speech),
        ]

    def create(self) -> None:
        """Run all stages and mark the actor as complete."""
        info = self.folder.info
        stages_before = dict(info.stages)
        self.run_stages((*TRACKING_STAGES, REPORT, TRAIN))
        if info.has_audio:  # known after the scan
            self.run_stages((SPEECH,))
        info.complete = True
        if info.stages != stages_before or not self.folder.file_path("report.html").exists():
            self._write_report_page()
        self.folder.save()

    def run_stages(self, names: tuple[str, ...]) -> None:
        """Run the named stages that are not done yet with the same inputs."""
        for stage in self.stages():
            if stage.name in names and not self.folder.is_stage_done(stage.name, stage.fingerprint):
                self._run_stage(stage)

    def _run_stage(self, stage: Stage) -> None:
        started = time.perf_counter()
        stage.run()
        self.stage_seconds[stage.name] = round(time.perf_counter() - started, 2)
        self.folder.info.figures |= {"seconds": self.stage_seconds, "train_seconds": self.stage_seconds.get(TRAIN, 0.0)}
        self.folder.mark_stage_done(stage.name, stage.fingerprint)

    def _scan(self) -> None:
        try:
            footage, scan, selection = scan_footage(self.video, self.options.face_number, self.reporter)
        except UserError as error:
            self._write_face_images(error)
            raise
        info = self.folder.info
        info.source |= {"frames": len(scan.landmarks), "width": scan.frame_size[0], "height": scan.frame_size[1]}
        info.fps, info.segments = footage.fps, [[selection.first, selection.last]]
        info.frame_count = selection.last - selection.first + 1
        info.excluded, info.notes = selection.excluded, list(selection.notes)
        self.folder.save_arrays(
            "scan.npz", landmarks=selection.landmarks, size=np.array(scan.frame_size), first=np.array(selection.first)
        )
        info.has_audio = write_audio(self.video, self.folder, selection, footage, self.reporter)
        info.notes += [note for note in self.reporter.notes if note not in info.notes]
        for note in selection.notes:
            self.reporter.note(note)

    def _write_face_images(self, error: UserError) -> None:
        """Write images of the faces if the user has to choose one of several and gave a folder for images."""
        if error.code != "several_faces" or self.options.face_image_folder is None:
            return
        regions = [(int(x), int(y), int(w), int(h)) for x, y, w, h in error.data["faces"]]
        overview, faces = write_face_images(self.video, regions, error.data["frame"], self.options.face_image_folder)
        error.data["pictures"] = [str(face) for face in faces]
        self.reporter.preview(str(overview))

    def _load_selection(self) -> tuple[SegmentSelection, CropBox]:
        """Return the segment that the scan selected, and its crop."""
        table = self.folder.load_arrays("scan.npz", SCAN_LAYOUT)
        first, size = int(table["first"]), (int(table["size"][0]), int(table["size"][1]))
        if first < 0 or min(size) < 1 or not len(table["landmarks"]):
            raise damaged_file_error(self.folder.file_path("scan.npz"))
        selection = SegmentSelection(first, first + len(table["landmarks"]) - 1, table["landmarks"])
        return selection, CropBox.from_landmarks(selection.landmarks, size, self.preset.crop_size)

    def _write_crops(self) -> None:
        selection, box = self._load_selection()
        self.folder.info.size = box.crop_size
        plate_share = write_crops(self.video, self.folder, selection, box, self.reporter)
        self.folder.info.figures["edge_by_plate"] = round(plate_share, 3)

    def _track(self) -> None:
        figures = self.folder.info.figures
        figures["tracker"] = f"{TRACKER_NAME}; channels by {self.landmarker.name}" if self.landmarker else TRACKER_NAME
        figures.pop("landmarker", None)
        self.folder.file_path("landmarker.npz").unlink(missing_ok=True)
        sys.stderr.write(f"Face tracked by {figures['tracker']}.\n")  # for the log
        selection, box = self._load_selection()
        track = track_segment(self.folder, selection, box, self.reporter, self.landmarker)
        error = float(np.median(track.reprojection)) * REFERENCE_SIDE_PIXELS / box.crop_size
        figures["reprojection_px_512"] = round(error, 3)

    def _write_report(self) -> None:
        store = FrameStore(self.folder)
        write_overlay_video(
            self.folder, lambda t: store.read_frame(t, use_cache=False), store.read_matte, self.reporter
        )
        self._write_report_page()

    def _write_report_page(self) -> None:
        """Write the report; once more at the end of creation, when there are figures of training."""
        self.folder.info.figures["device"] = device_name(self.device)
        write_report(self.folder, first_held_out_frame(self.folder.info.frame_count))

    def _train(self, input_fingerprint: str) -> None:
        seed = self.options.seed
        torch.manual_seed(seed)
        clip = Clip(self.folder, self.device)
        portrait = initialize_portrait(self.folder, clip, self.preset.initial, seed)
        train_portrait(self.folder, clip, portrait, self.preset, seed, self.reporter, input_fingerprint)

    def _train_speech(self) -> None:
        self.folder.info.figures["speech"] = train_speech(self.folder, self.reporter, self.options.seed)


class _NoteRecorder(Reporter):
    """Reporter that keeps the notes and passes everything on to another one, whose cancellation it raises."""

    def __init__(self, target: Reporter) -> None:
        self.target = target
        self.notes: list[str] = []

    def progress(self, stage: str, done: int, total: int, message: str = "") -> None:
        self.target.progress(stage, done, total, message)

    def note(self, message: str) -> None:
        self.notes.append(message)
        self.target.note(message)

    def preview(self, path: str) -> None:
        self.target.preview(path)


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_if_empty(folder: ActorFolder) -> None:
    """Remove a folder in which no stage was finished, unless it holds files that Create Actor did not make."""
    folder.file_path("actor.json").unlink(missing_ok=True)
    if folder.path.is_dir() and not any(folder.path.iterdir()):
        folder.path.rmdir()
