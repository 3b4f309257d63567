"""Actor + performance + camera → frames on disk. A frame whose inputs did not change is not rendered again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..actor import ActorFolder, damaged, fingerprint, write_error
from ..camera import CameraPath, footage_camera
from ..device import choose_device, device_name
from ..performance import Performance
from ..progress import Reporter
from ..protocol import UserError
from ..video.encode import VideoWriter
from .images import exr_bytes, png_bytes, save_whole
from .passes import Passes, Plane, passes_of

if TYPE_CHECKING:
    import torch

    from ..model.portrait import Portrait

FORMATS = ("exr", "png", "mp4")
STAGE = "render"


@dataclass(frozen=True)
class RenderOptions:
    """Where frames go and how.

    Attributes:
        out: folder, made when it is missing.
        format: "exr" (multi-layer), "png" (straight alpha) or "mp4" (a film over a background).
        name: of the files: `NAME_0001.exr`, `NAME.mp4`; by default the actor folder's.
        device: "auto", "cpu" or "cuda".
        scale: factor on the camera's resolution.
        bits: of a PNG channel, 8 or 16.
        sound: what is heard in a film.
        sound_offset: seconds of the film before the sound begins; negative skips that much of it.
        plate: puts the film over the footage's background; only with the footage's own camera.
        background: display sRGB 0–1 behind the actor of a film without the plate.
    """

    out: Path
    format: Literal["exr", "png", "mp4"] = "exr"
    name: str = ""
    device: str = "auto"
    scale: float = 1.0
    bits: int = 16
    sound: Path | None = None
    sound_offset: float = 0.0
    plate: bool = False
    background: tuple[float, float, float] = (0.5, 0.5, 0.5)


def load_portrait(folder: ActorFolder, device: torch.device) -> Portrait:
    """The actor's model on `device`; torch is imported only now."""
    from ..model.portrait import Portrait

    return Portrait.load(folder, device)


def render_performance(
    folder: ActorFolder,
    performance: Performance,
    camera: CameraPath | None,
    options: RenderOptions,
    reporter: Reporter,
    load: Callable[[ActorFolder, torch.device], Portrait] = load_portrait,
) -> dict[str, Any]:
    """Renders every frame of `performance`.

    Args:
        camera: the scene's; None for the footage's own, looking at the training crop.
        load: how the model is read, for tests.

    Returns:
        {"folder", "pattern" (e.g. "jane_####.exr") or "file", "first", "last", "count", "rendered", "skipped", "width",
        "height", "fps", "format", "seconds", "device"}.

    Raises:
        UserError: an input cannot be used, or the output not be written.
        Cancelled: whole frames stay on disk.
    """
    options = _checked(options, folder, camera)
    view = (camera or footage_camera(_camera_of(folder), folder.info.size)).check()
    if options.scale != 1:
        size = (max(1, round(view.width * options.scale)), max(1, round(view.height * options.scale)))
        view = view.resized(*size)
    for frame in performance.frames:  # before the first minute of work is done
        view.at(int(frame))
    try:
        options.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(options.out, error) from error

    start = time.monotonic()
    device = choose_device(options.device)
    job = _Job(folder, performance, view, options, reporter, device, lambda: load(folder, device))
    data = job.film() if options.format == "mp4" else job.sequence()
    return {
        "folder": str(options.out), "first": int(performance.frames[0]), "last": int(performance.frames[-1]),
        "count": len(performance), "width": view.width, "height": view.height, "fps": performance.fps,
        "format": options.format, "seconds": round(time.monotonic() - start, 3), "device": device_name(device), **data,
    }  # fmt: skip


def frame_name(name: str, frame: int, suffix: str) -> str:
    """`NAME_0001.exr`, as Blender numbers a sequence; negative frames are `NAME_-0001.exr`."""
    return f"{name}_{'-' if frame < 0 else ''}{abs(frame):04d}.{suffix}"


class _Job:
    """One run of `render_performance`."""

    def __init__(
        self,
        folder: ActorFolder,
        performance: Performance,
        camera: CameraPath,
        options: RenderOptions,
        reporter: Reporter,
        device: torch.device,
        load: Callable[[], Portrait],
    ) -> None:
        self.folder, self.performance, self.camera = folder, performance, camera
        self.options, self.reporter, self.device, self.load = options, reporter, device, load

    def sequence(self) -> dict[str, Any]:
        """One file a frame; those that are there and whose inputs are the same are kept."""
        options = self.options
        ledger = _Ledger(options.out / f".{options.name}.{options.format}.jsonl")
        marks = [self._fingerprint(row) for row in range(len(self.performance))]
        names = [frame_name(options.name, int(frame), options.format) for frame in self.performance.frames]
        todo = [
            row
            for row, (mark, name) in enumerate(zip(marks, names, strict=True))
            if ledger.marks.get(name) != mark or not (options.out / name).is_file()
        ]
        kept = len(names) - len(todo)
        if kept:
            self.reporter.note(f"{kept} of {len(names)} frames are unchanged and were kept.")
        for row, passes in self._rendered(todo):
            path = options.out / names[row]
            save_whole(path, self._encoded(passes, int(self.performance.frames[row])))
            ledger.add(names[row], marks[row])
        pattern = f"{options.name}_####.{options.format}"
        return {"pattern": pattern, "rendered": len(todo), "skipped": kept}

    def film(self) -> dict[str, Any]:
        """One MP4 over the plate or a plain colour."""
        options, camera = self.options, self.camera
        background = self._background()
        path = options.out / f"{options.name}.mp4"
        writer = VideoWriter(
            path, camera.width, camera.height, self.performance.fps, options.sound,
            {"title": self.folder.info.name or options.name}, sound_offset=options.sound_offset,
        )  # fmt: skip
        rows = range(len(self.performance))
        with writer:
            for _, passes in self._rendered(list(rows)):
                writer.write(passes.over(background))
        return {"file": str(path), "rendered": len(rows), "skipped": 0}

    def _rendered(self, rows: list[int]) -> Iterator[tuple[int, Passes]]:
        """The passes of each row of the performance, one at a time. The model is read when there is work to do."""
        if not rows:
            self.reporter.progress(STAGE, 0, 0)
            return
        import torch

        self.reporter.progress(STAGE, 0, len(rows))
        with_mattes = self.options.format == "exr"  # the other formats hold neither mattes nor depth
        portrait = self.load()
        performance = self.performance

        def tensor(values: NDArray[Any]) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values, np.float32)).to(self.device)

        for row in self.reporter.track(rows, STAGE, len(rows)):
            view, intrinsics = self.camera.at(int(performance.frames[row]))
            head, head_at, torso, torso_at, channels = (tensor(values) for values in _pose(performance, row))
            with torch.inference_mode():
                frame = portrait.render(
                    head, head_at, torso, torso_at, channels, tensor(view), tensor(intrinsics),
                    self.camera.width, self.camera.height, mattes=with_mattes,
                )  # fmt: skip
            yield row, passes_of(frame)

    def _encoded(self, passes: Passes, frame: int) -> bytes:
        texts = {"actor": self.folder.info.name or self.options.name, "frame": str(frame)}
        if self.options.format == "exr":
            return exr_bytes(passes, self.performance.fps, texts)
        return png_bytes(passes, self.options.bits, {"Title": texts["actor"], "Frame": texts["frame"]})

    def _fingerprint(self, row: int) -> str:
        """A short hash over all that the picture of this row depends on."""
        view, intrinsics = self.camera.at(int(self.performance.frames[row]))
        values = hashlib.sha256()
        for array in (*_pose(self.performance, row), view, intrinsics):
            values.update(np.ascontiguousarray(array, np.float64).tobytes())
        size = (self.camera.width, self.camera.height)
        return fingerprint(
            __version__, self._model_mark(), values.hexdigest(), size, self.options.format, self.options.bits
        )

    def _model_mark(self) -> str:
        if not hasattr(self, "_mark"):
            file = self.folder.file("model.safetensors")
            try:
                with file.open("rb") as data:
                    self._mark = hashlib.file_digest(data, "sha256").hexdigest()
            except OSError as error:
                raise damaged(file) from error
        return self._mark

    def _background(self) -> Plane:
        """(H, W, 3) display sRGB."""
        height, width = self.camera.height, self.camera.width
        if not self.options.plate:
            return np.broadcast_to(np.asarray(self.options.background, np.float32), (height, width, 3))
        import cv2

        file = self.folder.file("plate.png")
        try:
            plate = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        except (OSError, cv2.error) as error:
            raise damaged(file) from error
        if plate is None:
            raise damaged(file)
        way = cv2.INTER_AREA if width < plate.shape[1] else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(plate, (width, height), interpolation=way)[..., ::-1], np.float32) / 255


class _Ledger:
    """Which inputs each finished file was made from: one JSON line a file, the last one counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.marks: dict[str, str] = {}
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            lines = []
        except (OSError, UnicodeDecodeError) as error:
            raise UserError("unreadable_file", f"{path} cannot be read.", "Delete it and render again.") from error
        for line in filter(None, lines):
            try:
                entry = json.loads(line)
                self.marks[str(entry["file"])] = str(entry["inputs"])
            except (ValueError, TypeError, KeyError):
                continue  # a line that a crash cut off: that frame is rendered again

    def add(self, name: str, mark: str) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as file:
                # The line break comes first, so a line that a crash cut off spoils only itself.
                file.write("\n" + json.dumps({"file": name, "inputs": mark}))
        except OSError as error:
            raise write_error(self.path, error) from error


def _pose(performance: Performance, row: int) -> tuple[NDArray[np.float32], ...]:
    """The first five arguments of `Portrait.render`."""
    return (
        performance.head_rotation[row], performance.head_translation[row],
        performance.torso_rotation[row], performance.torso_translation[row], performance.channels[row],
    )  # fmt: skip


def _checked(options: RenderOptions, folder: ActorFolder, camera: CameraPath | None) -> RenderOptions:
    """The options with the name filled in.

    Raises:
        UserError: they contradict each other.
    """
    name = options.name or folder.path.resolve().stem
    if Path(name).name != name or name == "..":
        raise UserError("bad_name", f"{name} is not a plain file name.", "Choose a name without slashes.")
    if options.format not in FORMATS:
        raise UserError("bad_format", f"There is no format {options.format}.", "Choose exr, png or mp4.")
    if options.bits not in (8, 16):
        raise UserError("bad_format", f"A PNG cannot have {options.bits} bits.", "Choose 8 or 16.")
    if not 0 < options.scale <= 64:
        raise UserError("bad_size", f"The scale {options.scale} cannot be used.", "Choose one above 0, such as 0.5.")
    if options.plate and options.format != "mp4":
        raise UserError(
            "plate_needs_film", "EXR and PNG frames are transparent and take no plate.", "Leave the plate out."
        )
    if options.plate and camera is not None:
        raise UserError(
            "plate_needs_footage_camera",
            "The footage's background fits only the footage's own camera.",
            "Leave out the plate or the camera.",
        )
    if options.sound is not None and options.format != "mp4":
        raise UserError("sound_needs_film", "EXR and PNG frames carry no sound.", "Leave the sound out, or choose mp4.")
    return replace(options, name=name)


def _camera_of(folder: ActorFolder) -> Any:
    if folder.info.camera is None:
        raise damaged(folder.file("actor.json"))
    return folder.info.camera
