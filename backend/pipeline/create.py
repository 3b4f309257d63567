"""Create Actor: footage in, a finished actor folder out, in stages that are not run twice."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..contract.actor_folder import ACTOR_SUFFIX, ActorFolder, ActorInfo, damaged_file_error, fingerprint
from ..contract.errors import UserError
from ..contract.progress import Reporter
from ..contract.safe_io import ArrayLayout
from ..media.decode import check_readable_file
from ..setup.device import choose_device, device_name
from ..tracking.detection.landmarks import TRACKER_NAME
from ..tracking.landmarker import LandmarkerFile, open_landmarker
from ..training.config import PRESETS, Preset

SCAN, CROPS, TRACK, REPORT, TRAIN, SPEECH = "scan", "crops", "track", "report", "train", "speech"

# scan.npz: landmarks of the chosen stretch in footage pixels, the footage's width and height, the first frame chosen.
SCAN_LAYOUT: ArrayLayout = {"landmarks": ("T", 478, 3), "size": (2,), "first": ()}
MATTE_VERSION = 3  # counts up when mattes are made in another way, so that unfinished actors get the new ones


@dataclass(frozen=True)
class CreateOptions:
    """What the person chose.

    Attributes:
        preset: "tiny", "draft", "standard" or "final". device: "auto", "cpu" or "cuda".
        face: which of several faces, from 1 at the left. name: what the actor is called; by default the folder's name.
        consent_who: who is shown and agreed to it. seed: of everything random.
        landmarker: MediaPipe's face_landmarker.task, to be the source of the channels; by default the own fit is.
        pictures: a folder for pictures that a question to the person needs: which of several faces.
    """

    preset: str = "draft"
    device: str = "auto"
    face_number: int | None = None
    name: str = ""
    consent_who: str = ""
    seed: int = 0
    landmarker_file: Path | None = None
    face_image_folder: Path | None = None


def create_actor(video: Path, path: Path, options: CreateOptions, reporter: Reporter) -> ActorFolder:
    """Makes the actor at `path`, or goes on where an earlier run stopped.

    Raises:
        UserError: the footage or the place cannot be used. A refused video leaves no folder behind.
        Cancelled: finished stages stay.
    """
    preset = _find_preset(options)
    check_readable_file(video)
    landmarker = open_landmarker(options.landmarker_file) if options.landmarker_file else None
    source = {"name": video.name, "sha256": _file_sha256(video), "bytes": video.stat().st_size}
    folder = _open_or_create_folder(path, video, source, options)
    job = _CreateJob(video, folder, options, preset, landmarker, reporter)
    try:
        job.run()
    except UserError:
        if not folder.info.stages:
            _remove_if_empty(folder)
        raise
    return folder


def track_footage(video: Path, path: Path, options: CreateOptions, reporter: Reporter) -> ActorFolder:
    """Tracks a video as `create_actor` does, and nothing more: an unfinished actor at `path`.

    Raises:
        UserError, Cancelled: as `create_actor`.
    """
    preset = _find_preset(options)
    check_readable_file(video)
    source = {"name": video.name, "sha256": _file_sha256(video), "bytes": video.stat().st_size}
    folder = _open_or_create_folder(path, video, source, options)
    _CreateJob(video, folder, options, preset, None, reporter).run_tracking_stages()
    return folder


def _find_preset(options: CreateOptions) -> Preset:
    if options.preset not in PRESETS:
        raise UserError("bad_preset", f"There is no preset {options.preset}.", f"Choose one of {', '.join(PRESETS)}.")
    return PRESETS[options.preset]


def _open_or_create_folder(path: Path, video: Path, source: dict[str, Any], options: CreateOptions) -> ActorFolder:
    """The folder of an earlier run over the same footage and preset, or a new one."""
    if (path / "actor.json").exists():
        folder = ActorFolder.open(path, must_be_complete=False)
        same = folder.info.source.get("sha256") == source["sha256"]
        if not same:
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
        consent = {"who": options.consent_who, "statement": "The person shown agreed to this actor.", "date": now}
    name = options.name or path.name.removesuffix(ACTOR_SUFFIX) or video.stem
    return ActorFolder.create(path, ActorInfo(name=name, preset=options.preset, source=source, consent=consent))


class _CreateJob:
    """One run: each stage is skipped when its fingerprint says that it was done with the same inputs."""

    def __init__(
        self,
        video: Path,
        folder: ActorFolder,
        options: CreateOptions,
        preset: Preset,
        landmarker: LandmarkerFile | None,
        reporter: Reporter,
    ) -> None:
        self.video, self.folder, self.options, self.preset = video, folder, options, preset
        self.landmarker = landmarker
        self.reporter = _NoteRecorder(reporter)
        self.device = choose_device(options.device)
        self.stage_seconds: dict[str, float] = dict(folder.info.figures.get("seconds", {}))

    def run_tracking_stages(self) -> tuple[str, str]:
        """The stages up to tracking; the fingerprints of speech and of tracking."""
        footage = fingerprint(__version__, self.folder.info.source["sha256"], self.options.face_number)
        crops = fingerprint(footage, self.preset.crop_size, MATTE_VERSION)
        source = [self.landmarker.sha256] if self.landmarker else []
        tracking = fingerprint(crops, *source)
        self._run_stage(SCAN, footage, self._scan)
        self._run_stage(CROPS, crops, self._write_crops)
        self._run_stage(TRACK, tracking, self._track)
        return fingerprint(footage, self.options.seed, *source), tracking

    def run(self) -> None:
        from ..portrait.model import MODEL_VERSION

        before = dict(self.folder.info.stages)
        speech, tracking = self.run_tracking_stages()
        training = fingerprint(tracking, self.preset, self.options.seed, MODEL_VERSION)
        self._run_stage(REPORT, tracking, self._write_report)
        self._run_stage(TRAIN, training, lambda: self._train(training))
        if self.folder.info.has_audio:
            self._run_stage(SPEECH, speech, self._train_speech)
        info = self.folder.info
        info.complete = True
        if info.stages != before or not self.folder.file_path("report.html").exists():
            self._write_report_page()
        self.folder.save()

    def _run_stage(self, name: str, input_fingerprint: str, run: Callable[[], None]) -> None:
        if self.folder.is_stage_done(name, input_fingerprint):
            return
        started = time.perf_counter()
        run()
        self.stage_seconds[name] = round(time.perf_counter() - started, 2)
        self.folder.info.figures |= {"seconds": self.stage_seconds, "train_seconds": self.stage_seconds.get(TRAIN, 0.0)}
        self.folder.mark_stage_done(name, input_fingerprint)

    def _scan(self) -> None:
        from .scan import scan_footage, write_audio

        try:
            footage, found, chosen = scan_footage(self.video, self.options.face_number, self.reporter)
        except UserError as error:
            self._write_face_images(error)
            raise
        info = self.folder.info
        info.source |= {"frames": len(found.landmarks), "width": found.frame_size[0], "height": found.frame_size[1]}
        info.fps, info.segments = footage.fps, [[chosen.first, chosen.last]]
        info.frame_count = chosen.last - chosen.first + 1
        info.excluded, info.notes = chosen.excluded, list(chosen.notes)
        self.folder.save_arrays(
            "scan.npz", landmarks=chosen.landmarks, size=np.array(found.frame_size), first=np.array(chosen.first)
        )
        info.has_audio = write_audio(self.video, self.folder, chosen, footage, self.reporter)
        info.notes += [n for n in self.reporter.notes if n not in info.notes]
        for note in chosen.notes:
            self.reporter.note(note)

    def _write_face_images(self, error: UserError) -> None:
        """When the question is which of several faces: pictures of them, where a place for pictures was given."""
        if error.code != "several_faces" or self.options.face_image_folder is None:
            return
        from ..report.faces import write_face_images

        regions = [(int(x), int(y), int(w), int(h)) for x, y, w, h in error.data["faces"]]
        overview, faces = write_face_images(self.video, regions, error.data["frame"], self.options.face_image_folder)
        error.data["pictures"] = [str(face) for face in faces]
        self.reporter.preview(str(overview))

    def _load_selection(self) -> tuple[Any, tuple[float, float, float], int, tuple[int, int]]:
        from ..dataset.crops import crop_box
        from ..tracking.detection.selection import SegmentSelection

        table = self.folder.load_arrays("scan.npz", SCAN_LAYOUT)
        first, size = int(table["first"]), (int(table["size"][0]), int(table["size"][1]))
        if first < 0 or min(size) < 1 or not len(table["landmarks"]):
            raise damaged_file_error(self.folder.file_path("scan.npz"))
        selection = SegmentSelection(first, first + len(table["landmarks"]) - 1, table["landmarks"])
        box = crop_box(selection.landmarks, size)
        side = min(self.preset.crop_size, max(96, int(box[2]) // 16 * 16))
        return selection, box, side, size

    def _write_crops(self) -> None:
        from ..dataset.crops import write_crops

        selection, box, side, _ = self._load_selection()
        self.folder.info.size = side
        share = write_crops(self.video, self.folder, selection, box, side, self.reporter)
        self.folder.info.figures["edge_by_plate"] = round(share, 3)

    def _track(self) -> None:
        from .prepare import track_segment

        figures = self.folder.info.figures
        figures["tracker"] = f"{TRACKER_NAME}; channels by {self.landmarker.name}" if self.landmarker else TRACKER_NAME
        figures.pop("landmarker", None)
        self.folder.file_path("landmarker.npz").unlink(missing_ok=True)
        sys.stderr.write(f"Face tracked by {figures['tracker']}.\n")  # for the log
        selection, box, side, size = self._load_selection()
        track = track_segment(self.folder, selection, box, side, size, self.reporter, self.landmarker)
        figures["reprojection_px_512"] = round(float(np.median(track.reprojection)) * 512 / side, 3)

    def _write_report(self) -> None:
        from ..dataset.frame_store import FrameStore
        from ..report.film import write_overlay_video

        store = FrameStore(self.folder)
        write_overlay_video(
            self.folder, lambda t: store.read_frame(t, use_cache=False), store.read_matte, self.reporter
        )
        self._write_report_page()

    def _write_report_page(self) -> None:
        """Again at the end, when there are figures of training."""
        from ..dataset.split import first_held_out_frame
        from ..report.page import write_report

        self.folder.info.figures["device"] = device_name(self.device)
        write_report(self.folder, first_held_out_frame(self.folder.info.frame_count))

    def _train(self, input_fingerprint: str) -> None:
        import torch

        from ..dataset.clip import Clip
        from ..portrait.initialization import initialize_portrait
        from ..training.trainer import train_portrait

        torch.manual_seed(self.options.seed)
        clip = Clip(self.folder, self.device)
        portrait = initialize_portrait(self.folder, clip, self.preset.initial, self.options.seed)
        train_portrait(self.folder, clip, portrait, self.preset, self.options.seed, self.reporter, input_fingerprint)

    def _train_speech(self) -> None:
        from ..speech.model import train_speech

        self.folder.info.figures["speech"] = train_speech(self.folder, self.reporter, self.options.seed)


class _NoteRecorder(Reporter):
    """Passes everything on, keeps the notes, and stops when the inner reporter does."""

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
    """Takes away a folder in which nothing was finished, and nothing that is not ours."""
    folder.file_path("actor.json").unlink(missing_ok=True)
    if folder.path.is_dir() and not any(folder.path.iterdir()):
        folder.path.rmdir()
