"""Actor + performance + camera → frames on disk. A frame whose inputs did not change is not rendered again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__
from ..contract.actor_folder import ActorFolder, damaged, fingerprint
from ..contract.atomic_write import make_folder, save_whole
from ..contract.camera import MAX_SIDE, CameraPath, footage_camera
from ..contract.errors import Cancelled, UserError
from ..contract.performance import Performance
from ..contract.progress import Reporter
from ..contract.safe_io import read_bytes
from ..media.encode import VideoWriter
from ..media.provenance import consent_of, film_labels
from ..setup.device import choose_device, device_name
from .frame_cache import Ledger
from .images import exr_bytes, png_bytes
from .options import RenderOptions, checked, frame_numbers
from .passes import Exposure, Passes, Plane, passes_of

if TYPE_CHECKING:
    import torch

    from ..portrait.model import Portrait
    from .vectors import Moment

STAGE = "render"


def load_portrait(folder: ActorFolder, device: torch.device) -> Portrait:
    """The actor's model on `device`; torch is imported only now."""
    from ..portrait.model import Portrait

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
        performance: `options.samples` rows a frame.
        camera: the scene's; None for the footage's own, looking at the training crop.
        load: how the model is read, for tests.

    Returns:
        {"folder", "pattern" (e.g. "jane_####.exr") or "file", "first", "last", "count", "rendered", "skipped", "width",
        "height", "fps", "format", "seconds", "device"}.

    Raises:
        UserError: an input cannot be used, or the output not be written.
        Cancelled: whole frames stay on disk.
    """
    options = checked(options, folder, camera)
    view = (camera or footage_camera(_camera_of(folder), folder.info.size)).check()
    if options.scale != 1:
        size = (max(1, round(view.width * options.scale)), max(1, round(view.height * options.scale)))
        view = view.resized(*size)
    for number in performance.frames:  # before the first minute of work is done
        view.at(int(number))
    frames = frame_numbers(performance, options.samples)
    make_folder(options.out)

    start = time.monotonic()
    device = choose_device(options.device)
    job = _Job(folder, performance, frames, view, options, reporter, device, lambda: load(folder, device))
    data = job.film() if options.format == "mp4" else job.sequence()
    return {
        "folder": str(options.out), "first": frames[0], "last": frames[-1],
        "count": len(frames), "width": view.width, "height": view.height, "fps": performance.fps,
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
        frames: list[int],
        camera: CameraPath,
        options: RenderOptions,
        reporter: Reporter,
        device: torch.device,
        load: Callable[[], Portrait],
    ) -> None:
        self.folder, self.performance, self.frames, self.camera = folder, performance, frames, camera
        self.options, self.reporter, self.device, self.load = options, reporter, device, load

    def sequence(self) -> dict[str, Any]:
        """One file a frame; those that are there and whose inputs are the same are kept."""
        options = self.options
        ledger = Ledger(options.out / f".{options.name}.{options.format}.jsonl")
        rendered = self._render_changed(options.out, options.format, ledger)
        pattern = f"{options.name}_####.{options.format}"
        return {"pattern": pattern, "rendered": rendered, "skipped": len(self.frames) - rendered}

    def film(self) -> dict[str, Any]:
        """One MP4 over the plate or a plain colour. Its frames are kept beside it as PNG, so that a film whose
        rendering was stopped goes on, and one whose sound alone changed is not rendered again."""
        options, camera = self.options, self.camera
        background = self._background()
        kept = options.out / f".{options.name}.frames"
        make_folder(kept)
        rendered = self._render_changed(kept, "png", Ledger(kept / "frames.jsonl"))
        path = options.out / f"{options.name}.mp4"
        # Frames that are left out make a film of fewer frames a second, not a faster one: the sound fits.
        step = (self.frames[-1] - self.frames[0]) / max(1, len(self.frames) - 1)
        writer = VideoWriter(
            path, camera.width, camera.height, self.performance.fps / max(step, 1), options.sound,
            film_labels(self.folder.info, options.name), sound_offset=options.sound_offset,
        )  # fmt: skip
        with writer:
            for frame in self.frames:
                file = kept / frame_name(options.name, frame, "png")
                writer.write(_read_png(file, camera.width, camera.height).over(background))
        return {"file": str(path), "rendered": rendered, "skipped": len(self.frames) - rendered}

    def _render_changed(self, place: Path, suffix: str, ledger: Ledger) -> int:
        """Writes the frames whose inputs are not those of the ledger. Returns how many."""
        names = [frame_name(self.options.name, frame, suffix) for frame in self.frames]
        marks = [self._fingerprint(index) for index in range(len(names))]
        todo = [
            index
            for index, (mark, name) in enumerate(zip(marks, names, strict=True))
            if ledger.marks.get(name) != mark or not (place / name).is_file()
        ]
        kept = len(names) - len(todo)
        if kept:
            self.reporter.note(f"{kept} of {len(names)} frames are unchanged and were kept.")
        for index, passes in self._rendered(todo):
            save_whole(place / names[index], self._encoded(passes, self.frames[index]))
            ledger.add(names[index], marks[index])
        return len(todo)

    def _rendered(self, todo: list[int]) -> Iterator[tuple[int, Passes]]:
        """The passes of each of these frames, one at a time. The model is read when there is work to do."""
        self.reporter.progress(STAGE, 0, len(todo))
        if not todo:
            return
        portrait = self.load()
        for index in self.reporter.track(todo, STAGE, len(todo)):
            yield index, self._exposed(portrait, index)

    def _exposed(self, portrait: Portrait, index: int) -> Passes:
        """One frame: the mean over the shutter's moments; those that are alike are drawn once."""
        rows = self._rows(index)
        if self.options.vectors:
            from .vectors import motion_vectors

            passes = self._drawn(portrait, rows[1])
            camera = self._drawn_camera()
            moments = [self._moment(row) for row in rows]
            passes.vectors = motion_vectors(portrait, moments, camera.width, camera.height)
        else:
            alike: dict[str, list[int]] = {}
            for row in rows:
                alike.setdefault(self._digest(row), []).append(row)
            if len(alike) == 1:
                passes = self._drawn(portrait, rows[0])
            else:
                exposure = Exposure()
                for same in alike.values():
                    if self.reporter.cancelled:
                        raise Cancelled
                    exposure.add(self._drawn(portrait, same[0]), len(same))
                passes = exposure.passes()
        if self.camera.border is None:
            return passes
        left, top, _, _ = self.camera.border
        return passes.placed(self.camera.width, self.camera.height, left, top)

    def _drawn(self, portrait: Portrait, row: int) -> Passes:
        """One moment, as much of the picture as the border lets through."""
        import torch

        camera, moment = self._drawn_camera(), self._moment(row)
        with_mattes = self.options.format == "exr"  # the other formats hold neither mattes nor depth
        with torch.inference_mode():
            frame = portrait.render(
                *moment.pose, moment.view, moment.intrinsics, camera.width, camera.height, mattes=with_mattes
            )
        return passes_of(frame)

    def _moment(self, row: int) -> Moment:
        import torch

        from ..portrait.model import Pose
        from .vectors import Moment

        def tensor(values: NDArray[Any]) -> torch.Tensor:
            return torch.as_tensor(np.asarray(values, np.float32)).to(self.device)

        view, intrinsics = self._drawn_camera().at(int(self.performance.frames[row]))
        pose = Pose(*(tensor(values) for values in _pose(self.performance, row)))
        return Moment(pose, tensor(view), tensor(intrinsics))

    def _drawn_camera(self) -> CameraPath:
        """The camera of what lies within the border."""
        return self.camera if self.camera.border is None else self.camera.cropped(self.camera.border)

    def _rows(self, index: int) -> range:
        """The rows of the performance that make a frame."""
        count = self.options.samples
        return range(index * count, (index + 1) * count)

    def _encoded(self, passes: Passes, frame: int) -> bytes:
        info = self.folder.info
        name, agreed = info.name or self.options.name, consent_of(info)
        if self.options.format == "exr":
            texts = {"actor": name, "frame": str(frame), "consent": agreed}
            return exr_bytes(passes, self.performance.fps, {key: text for key, text in texts.items() if text})
        texts = {"Title": name, "Frame": str(frame), "Consent": agreed}
        return png_bytes(passes, self.options.bits, {key: text for key, text in texts.items() if text})

    def _fingerprint(self, index: int) -> str:
        """A short hash over all that the picture of a frame depends on."""
        options, camera = self.options, self.camera
        moments = [self._digest(row) for row in self._rows(index)]
        return fingerprint(
            __version__, self._model_mark(), moments, (camera.width, camera.height), camera.border, options.format,
            options.bits, options.vectors,
        )  # fmt: skip

    def _digest(self, row: int) -> str:
        """A hash over pose and camera of one moment."""
        view, intrinsics = self.camera.at(int(self.performance.frames[row]))
        values = hashlib.sha256()
        for array in (*_pose(self.performance, row), view, intrinsics):
            values.update(np.ascontiguousarray(array, np.float64).tobytes())
        return values.hexdigest()

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

        from ..media.image_io import COLOUR, read_picture

        plate = read_picture(self.folder.file("plate.png"), COLOUR)
        way = cv2.INTER_AREA if width < plate.shape[1] else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(plate, (width, height), interpolation=way)[..., ::-1], np.float32) / 255


def _read_png(path: Path, width: int, height: int) -> Passes:
    """Colour and alpha of a frame that `png_bytes` wrote.

    Raises:
        UserError: it is damaged.
    """
    from ..media.image_io import decoded

    try:
        picture = decoded(read_bytes(path), MAX_SIDE)
    except (OSError, ValueError) as error:
        raise _unreadable(path) from error
    if picture.shape != (height, width, 4) or picture.dtype.kind != "u":
        raise _unreadable(path)
    top = np.float32(np.iinfo(picture.dtype).max)
    color, alpha = (np.ascontiguousarray(part, np.float32) / top for part in (picture[..., 2::-1], picture[..., 3]))
    return Passes(color, alpha, np.zeros_like(alpha), {})


def _unreadable(path: Path) -> UserError:
    return UserError("unreadable_file", f"{path} cannot be read.", "Delete it and render again.")


def _pose(performance: Performance, row: int) -> tuple[NDArray[np.float32], ...]:
    """The first five arguments of `Portrait.render`."""
    return (
        performance.head_rotation[row], performance.head_translation[row],
        performance.torso_rotation[row], performance.torso_translation[row], performance.channels[row],
    )  # fmt: skip


def _camera_of(folder: ActorFolder) -> Any:
    if folder.info.camera is None:
        raise damaged(folder.file("actor.json"))
    return folder.info.camera
