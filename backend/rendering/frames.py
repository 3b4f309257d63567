"""Actor + performance + camera → frames on disk. A frame whose inputs did not change is not rendered again."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..contract.actor_folder import ActorFolder, damaged_file_error, fingerprint
from ..contract.arrays import F32
from ..contract.atomic_write import make_folder, write_bytes_atomically
from ..contract.camera import MAX_IMAGE_SIDE, CameraPath, footage_camera_path
from ..contract.errors import Cancelled, UserError
from ..contract.performance import Performance
from ..contract.progress import Reporter
from ..contract.safe_io import read_bytes
from ..media.encode import VideoWriter
from ..media.provenance import describe_consent, video_metadata
from ..setup.device import choose_device, device_name
from .frame_cache import FrameCache
from .images import encode_exr, encode_png
from .options import RenderOptions, frame_numbers, validate_options
from .passes import Passes, ShutterAccumulator, passes_from_frame

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
    portrait_loader: Callable[[ActorFolder, torch.device], Portrait] = load_portrait,
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
    options = validate_options(options, folder, camera)
    view = (camera or footage_camera_path(_require_footage_camera(folder), folder.info.size)).check()
    if options.scale != 1:
        size = (max(1, round(view.width * options.scale)), max(1, round(view.height * options.scale)))
        view = view.resize(*size)
    for number in performance.frames:  # before the first minute of work is done
        view.matrices_at(int(number))
    frames = frame_numbers(performance, options.samples_per_frame)
    make_folder(options.out)

    start = time.monotonic()
    device = choose_device(options.device)
    job = _RenderJob(
        folder, performance, frames, view, options, reporter, device, lambda: portrait_loader(folder, device)
    )
    data = job.render_video() if options.format == "mp4" else job.render_sequence()
    return {
        "folder": str(options.out), "first": frames[0], "last": frames[-1],
        "count": len(frames), "width": view.width, "height": view.height, "fps": performance.fps,
        "format": options.format, "seconds": round(time.monotonic() - start, 3), "device": device_name(device), **data,
    }  # fmt: skip


def frame_file_name(prefix: str, frame_number: int, suffix: str) -> str:
    """`NAME_0001.exr`, as Blender numbers a sequence; negative frames are `NAME_-0001.exr`."""
    return f"{prefix}_{'-' if frame_number < 0 else ''}{abs(frame_number):04d}.{suffix}"


class _RenderJob:
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
        portrait_loader: Callable[[], Portrait],
    ) -> None:
        self.folder, self.performance, self.frame_numbers, self.camera = folder, performance, frames, camera
        self.options, self.reporter, self.device, self.portrait_loader = options, reporter, device, portrait_loader

    def render_sequence(self) -> dict[str, Any]:
        """One file a frame; those that are there and whose inputs are the same are kept."""
        options = self.options
        ledger = FrameCache(options.out / f".{options.name}.{options.format}.jsonl")
        rendered = self._render_changed_frames(options.out, options.format, ledger)
        pattern = f"{options.name}_####.{options.format}"
        return {"pattern": pattern, "rendered": rendered, "skipped": len(self.frame_numbers) - rendered}

    def render_video(self) -> dict[str, Any]:
        """One MP4 over the plate or a plain colour. Its frames are kept beside it as PNG, so that a film whose
        rendering was stopped goes on, and one whose sound alone changed is not rendered again."""
        options, camera = self.options, self.camera
        background = self._load_background()
        kept = options.out / f".{options.name}.frames"
        make_folder(kept)
        rendered = self._render_changed_frames(kept, "png", FrameCache(kept / "frames.jsonl"))
        path = options.out / f"{options.name}.mp4"
        # Frames that are left out make a film of fewer frames a second, not a faster one: the sound fits.
        step = (self.frame_numbers[-1] - self.frame_numbers[0]) / max(1, len(self.frame_numbers) - 1)
        writer = VideoWriter(
            path, camera.width, camera.height, self.performance.fps / max(step, 1), options.audio,
            video_metadata(self.folder.info, options.name), audio_offset=options.audio_offset_seconds,
        )  # fmt: skip
        with writer:
            for frame in self.frame_numbers:
                file = kept / frame_file_name(options.name, frame, "png")
                writer.write_frame(_read_png_passes(file, camera.width, camera.height).composite_over(background))
        return {"file": str(path), "rendered": rendered, "skipped": len(self.frame_numbers) - rendered}

    def _render_changed_frames(self, output_folder: Path, suffix: str, cache: FrameCache) -> int:
        """Writes the frames whose inputs are not those of the ledger. Returns how many."""
        names = [frame_file_name(self.options.name, frame, suffix) for frame in self.frame_numbers]
        marks = [self._frame_fingerprint(index) for index in range(len(names))]
        todo = [
            index
            for index, (mark, name) in enumerate(zip(marks, names, strict=True))
            if cache.fingerprints.get(name) != mark or not (output_folder / name).is_file()
        ]
        kept = len(names) - len(todo)
        if kept:
            self.reporter.note(f"{kept} of {len(names)} frames are unchanged and were kept.")
        for index, passes in self._render_frames(todo):
            write_bytes_atomically(output_folder / names[index], self._encode_frame(passes, self.frame_numbers[index]))
            cache.add_frame(names[index], marks[index])
        return len(todo)

    def _render_frames(self, indices: list[int]) -> Iterator[tuple[int, Passes]]:
        """The passes of each of these frames, one at a time. The model is read when there is work to do."""
        self.reporter.progress(STAGE, 0, len(indices))
        if not indices:
            return
        portrait = self.portrait_loader()
        for index in self.reporter.report_items(indices, STAGE, len(indices)):
            yield index, self._render_frame(portrait, index)

    def _render_frame(self, portrait: Portrait, index: int) -> Passes:
        """One frame: the mean over the shutter's moments; those that are alike are drawn once."""
        rows = self._sample_indices(index)
        if self.options.with_vectors:
            from .vectors import render_motion_vectors

            passes = self._render_moment(portrait, rows[1])
            passes.vectors = render_motion_vectors(portrait, [self._load_moment(row) for row in rows])
        else:
            alike: dict[str, list[int]] = {}
            for row in rows:
                alike.setdefault(self._moment_hash(row), []).append(row)
            if len(alike) == 1:
                passes = self._render_moment(portrait, rows[0])
            else:
                exposure = ShutterAccumulator()
                for same in alike.values():
                    if self.reporter.is_cancelled:
                        raise Cancelled
                    exposure.add_moment(self._render_moment(portrait, same[0]), len(same))
                passes = exposure.average_passes()
        if self.camera.border is None:
            return passes
        left, top, _, _ = self.camera.border
        return passes.expand_to_frame(self.camera.width, self.camera.height, left, top)

    def _render_moment(self, portrait: Portrait, sample_index: int) -> Passes:
        """One moment, as much of the picture as the border lets through."""
        import torch

        moment = self._load_moment(sample_index)
        with_mattes = self.options.format == "exr"  # the other formats hold neither mattes nor depth
        with torch.inference_mode():
            frame = portrait.render(moment.pose, moment.camera, with_mattes=with_mattes)
        return passes_from_frame(frame)

    def _load_moment(self, sample_index: int) -> Moment:
        from ..portrait.model import Pose
        from ..rasterizer import CameraView
        from .vectors import Moment

        frame_number = int(self.performance.frames[sample_index])
        return Moment(
            Pose.from_performance(self.performance, sample_index, self.device),
            CameraView.from_path(self._border_camera(), frame_number, self.device),
        )

    def _border_camera(self) -> CameraPath:
        """The camera of what lies within the border."""
        return self.camera if self.camera.border is None else self.camera.crop(self.camera.border)

    def _sample_indices(self, index: int) -> range:
        """The rows of the performance that make a frame."""
        count = self.options.samples_per_frame
        return range(index * count, (index + 1) * count)

    def _encode_frame(self, passes: Passes, frame: int) -> bytes:
        info = self.folder.info
        name, agreed = info.name or self.options.name, describe_consent(info)
        if self.options.format == "exr":
            texts = {"actor": name, "frame": str(frame), "consent": agreed}
            return encode_exr(passes, self.performance.fps, {key: text for key, text in texts.items() if text})
        texts = {"Title": name, "Frame": str(frame), "Consent": agreed}
        return encode_png(passes, self.options.png_bits, {key: text for key, text in texts.items() if text})

    def _frame_fingerprint(self, index: int) -> str:
        """A short hash over all that the picture of a frame depends on."""
        options, camera = self.options, self.camera
        moments = [self._moment_hash(row) for row in self._sample_indices(index)]
        return fingerprint(
            __version__, self._model_hash(), moments, (camera.width, camera.height), camera.border, options.format,
            options.png_bits, options.with_vectors,
        )  # fmt: skip

    def _moment_hash(self, sample_index: int) -> str:
        """A hash over pose and camera of one moment."""
        view, intrinsics = self.camera.matrices_at(int(self.performance.frames[sample_index]))
        values = hashlib.sha256()
        for array in (*_pose_arrays(self.performance, sample_index), view, intrinsics):
            values.update(np.ascontiguousarray(array, np.float64).tobytes())
        return values.hexdigest()

    def _model_hash(self) -> str:
        if not hasattr(self, "_cached_model_hash"):
            file = self.folder.file_path("model.safetensors")
            try:
                with file.open("rb") as data:
                    self._cached_model_hash = hashlib.file_digest(data, "sha256").hexdigest()
            except OSError as error:
                raise damaged_file_error(file) from error
        return self._cached_model_hash

    def _load_background(self) -> F32:
        """(H, W, 3) display sRGB."""
        height, width = self.camera.height, self.camera.width
        if not self.options.use_plate:
            return np.broadcast_to(np.asarray(self.options.background, np.float32), (height, width, 3))
        import cv2

        from ..media.image_io import COLOR, read_image

        plate = read_image(self.folder.file_path("plate.png"), COLOR)
        way = cv2.INTER_AREA if width < plate.shape[1] else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(plate, (width, height), interpolation=way)[..., ::-1], np.float32) / 255


def _read_png_passes(path: Path, width: int, height: int) -> Passes:
    """Colour and alpha of a frame that `png_bytes` wrote.

    Raises:
        UserError: it is damaged.
    """
    from ..media.image_io import decode_image

    try:
        picture = decode_image(read_bytes(path), MAX_IMAGE_SIDE)
    except (OSError, ValueError) as error:
        raise _unreadable_file_error(path) from error
    if picture.shape != (height, width, 4) or picture.dtype.kind != "u":
        raise _unreadable_file_error(path)
    top = np.float32(np.iinfo(picture.dtype).max)
    color, alpha = (np.ascontiguousarray(part, np.float32) / top for part in (picture[..., 2::-1], picture[..., 3]))
    return Passes(color, alpha, np.zeros_like(alpha), {})


def _unreadable_file_error(path: Path) -> UserError:
    return UserError("unreadable_file", f"{path} cannot be read.", "Delete it and render again.")


def _pose_arrays(performance: Performance, sample_index: int) -> tuple[F32, ...]:
    """Return the columns of a pose in the order of `Pose`."""
    return (
        performance.head_rotation[sample_index],
        performance.head_translation[sample_index],
        performance.torso_rotation[sample_index],
        performance.torso_translation[sample_index],
        performance.channels[sample_index],
    )


def _require_footage_camera(folder: ActorFolder) -> Any:
    if folder.info.camera is None:
        raise damaged_file_error(folder.file_path("actor.json"))
    return folder.info.camera
