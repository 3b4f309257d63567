"""Renders an actor, a performance and a camera to files. Frames whose inputs are unchanged are kept."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
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
    """Load the actor's model; imports torch only now."""
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
    """Render every frame of `performance`.

    Args:
        folder: the actor.
        performance: `options.samples_per_frame` rows per frame.
        camera: the scene's camera; None shows the training crop with the footage's camera.
        options: the files and how they are rendered.
        reporter: receives the progress and notes, and can cancel.
        portrait_loader: loads the model; tests replace it.

    Returns:
        {"folder", "pattern" (e.g. "jane_####.exr") or "file", "first", "last", "count", "rendered", "skipped", "width",
        "height", "fps", "format", "seconds", "device"}.

    Raises:
        UserError: an input cannot be used, or the output cannot be written.
        Cancelled: the user asked to stop; finished frames stay on disk.
    """
    options = validate_options(options, folder, camera)
    view = (camera or footage_camera_path(folder.require_camera(), folder.info.size)).check()
    if options.scale != 1:
        size = (max(1, round(view.width * options.scale)), max(1, round(view.height * options.scale)))
        view = view.resize(*size)
    for number in performance.frames:  # fails before the rendering rather than in its middle
        view.matrices_at(int(number))
    frames = frame_numbers(performance, options.samples_per_frame)
    make_folder(options.out)

    start = time.monotonic()
    device = choose_device(options.device)
    job = _RenderJob(folder, performance, view, options, reporter, lambda: portrait_loader(folder, device), device)
    data = job.render_video() if options.format == "mp4" else job.render_sequence()
    return {
        "folder": str(options.out), "first": frames[0], "last": frames[-1],
        "count": len(frames), "width": view.width, "height": view.height, "fps": performance.fps,
        "format": options.format, "seconds": round(time.monotonic() - start, 3), "device": device_name(device), **data,
    }  # fmt: skip


def frame_file_name(prefix: str, frame_number: int, suffix: str) -> str:
    """Return `NAME_0001.exr`, as Blender numbers a sequence; negative frames are `NAME_-0001.exr`."""
    return f"{prefix}_{'-' if frame_number < 0 else ''}{abs(frame_number):04d}.{suffix}"


@dataclass(frozen=True)
class _RenderJob:
    """One run of `render_performance`."""

    folder: ActorFolder
    performance: Performance
    camera: CameraPath
    options: RenderOptions
    reporter: Reporter
    portrait_loader: Callable[[], Portrait]
    device: torch.device

    @cached_property
    def frame_numbers(self) -> list[int]:
        return frame_numbers(self.performance, self.options.samples_per_frame)

    def render_sequence(self) -> dict[str, Any]:
        """Render one file per frame, except for those with unchanged inputs."""
        options = self.options
        cache = FrameCache(options.out / f".{options.name}.{options.format}.jsonl")
        rendered = self._render_changed_frames(options.out, options.format, cache)
        pattern = f"{options.name}_####.{options.format}"
        return {"pattern": pattern, "rendered": rendered, "skipped": len(self.frame_numbers) - rendered}

    def render_video(self) -> dict[str, Any]:
        """Render an MP4 over the plate or a plain colour.

        Its frames are kept beside it as PNG, so that an interrupted rendering continues, and a film of which only the
        sound changed is not rendered again.
        """
        options, camera = self.options, self.camera
        background = self._load_background()
        frame_folder = options.out / f".{options.name}.frames"
        make_folder(frame_folder)
        rendered = self._render_changed_frames(frame_folder, "png", FrameCache(frame_folder / "frames.jsonl"))
        path = options.out / f"{options.name}.mp4"
        # With only every n-th frame the film gets a lower frame rate, not a higher speed, so that the sound fits.
        step = (self.frame_numbers[-1] - self.frame_numbers[0]) / max(1, len(self.frame_numbers) - 1)
        writer = VideoWriter(
            path, camera.width, camera.height, self.performance.fps / max(step, 1), options.audio,
            video_metadata(self.folder.info, options.name), audio_offset=options.audio_offset_seconds,
        )  # fmt: skip
        with writer:
            for frame in self.frame_numbers:
                file = frame_folder / frame_file_name(options.name, frame, "png")
                writer.write_frame(_read_png_passes(file, camera.width, camera.height).composite_over(background))
        return {"file": str(path), "rendered": rendered, "skipped": len(self.frame_numbers) - rendered}

    def _render_changed_frames(self, output_folder: Path, suffix: str, cache: FrameCache) -> int:
        """Render the frames whose inputs differ from those in the cache; return how many."""
        names = [frame_file_name(self.options.name, frame, suffix) for frame in self.frame_numbers]
        fingerprints = [self._frame_fingerprint(index) for index in range(len(names))]
        changed = [
            index
            for index, (current, name) in enumerate(zip(fingerprints, names, strict=True))
            if cache.fingerprints.get(name) != current or not (output_folder / name).is_file()
        ]
        kept = len(names) - len(changed)
        if kept:
            self.reporter.note(f"{kept} of {len(names)} frames are unchanged and were kept.")
        for index, passes in self._render_frames(changed):
            write_bytes_atomically(output_folder / names[index], self._encode_frame(passes, self.frame_numbers[index]))
            cache.add_frame(names[index], fingerprints[index])
        return len(changed)

    def _render_frames(self, indices: list[int]) -> Iterator[tuple[int, Passes]]:
        """Yield the passes of these frames; the model is loaded only if there are any."""
        self.reporter.progress(STAGE, 0, len(indices))
        if not indices:
            return
        portrait = self.portrait_loader()
        for index in self.reporter.report_items(indices, STAGE, len(indices)):
            yield index, self._render_frame(portrait, index)

    def _render_frame(self, portrait: Portrait, index: int) -> Passes:
        samples = self._sample_indices(index)
        if self.options.with_vectors:
            from .vectors import render_motion_vectors

            passes = self._render_moment(portrait, samples[1])
            passes.vectors = render_motion_vectors(portrait, [self._load_moment(sample) for sample in samples])
        else:
            passes = self._render_blurred(portrait, samples)
        if self.camera.border is None:
            return passes
        left, top, _, _ = self.camera.border
        return passes.expand_to_frame(self.camera.width, self.camera.height, left, top)

    def _render_blurred(self, portrait: Portrait, samples: range) -> Passes:
        """Return the mean over the moments of the shutter; identical moments are rendered once."""
        identical: dict[str, list[int]] = {}
        for sample in samples:
            identical.setdefault(self._moment_hash(sample), []).append(sample)
        if len(identical) == 1:
            return self._render_moment(portrait, samples[0])
        accumulator = ShutterAccumulator()
        for group in identical.values():
            if self.reporter.is_cancelled:
                raise Cancelled
            accumulator.add_moment(self._render_moment(portrait, group[0]), len(group))
        return accumulator.average_passes()

    def _render_moment(self, portrait: Portrait, sample_index: int) -> Passes:
        """Render one moment within the border."""
        import torch

        moment = self._load_moment(sample_index)
        with_mattes = self.options.format == "exr"  # the other formats have neither mattes nor depth
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
        """Return the camera of the part within the border."""
        return self.camera if self.camera.border is None else self.camera.crop(self.camera.border)

    def _sample_indices(self, index: int) -> range:
        """Return the rows of the performance that belong to a frame."""
        count = self.options.samples_per_frame
        return range(index * count, (index + 1) * count)

    def _encode_frame(self, passes: Passes, frame: int) -> bytes:
        info = self.folder.info
        name, consent = info.name or self.options.name, describe_consent(info)
        if self.options.format == "exr":
            texts = {"actor": name, "frame": str(frame), "consent": consent}
            return encode_exr(passes, self.performance.fps, {key: text for key, text in texts.items() if text})
        texts = {"Title": name, "Frame": str(frame), "Consent": consent}
        return encode_png(passes, self.options.png_bits, {key: text for key, text in texts.items() if text})

    def _frame_fingerprint(self, index: int) -> str:
        """Return a short hash of everything that the image of a frame depends on."""
        options, camera = self.options, self.camera
        moments = [self._moment_hash(sample) for sample in self._sample_indices(index)]
        return fingerprint(
            __version__, self._model_hash, moments, (camera.width, camera.height), camera.border, options.format,
            options.png_bits, options.with_vectors,
        )  # fmt: skip

    def _moment_hash(self, sample_index: int) -> str:
        """Return a hash of the pose and camera of one moment."""
        view, intrinsics = self.camera.matrices_at(int(self.performance.frames[sample_index]))
        digest = hashlib.sha256()
        for array in (*_pose_arrays(self.performance, sample_index), view, intrinsics):
            digest.update(np.ascontiguousarray(array, np.float64).tobytes())
        return digest.hexdigest()

    @cached_property
    def _model_hash(self) -> str:
        file = self.folder.file_path("model.safetensors")
        try:
            with file.open("rb") as data:
                return hashlib.file_digest(data, "sha256").hexdigest()
        except OSError as error:
            raise damaged_file_error(file) from error

    def _load_background(self) -> F32:
        """Return the (H, W, 3) display sRGB behind the actor."""
        height, width = self.camera.height, self.camera.width
        if not self.options.use_plate:
            return np.broadcast_to(np.asarray(self.options.background, np.float32), (height, width, 3))
        import cv2

        from ..media.image_io import COLOR, read_image

        plate = read_image(self.folder.file_path("plate.png"), COLOR)
        interpolation = cv2.INTER_AREA if width < plate.shape[1] else cv2.INTER_CUBIC
        return np.asarray(cv2.resize(plate, (width, height), interpolation=interpolation)[..., ::-1], np.float32) / 255


def _read_png_passes(path: Path, width: int, height: int) -> Passes:
    """Read colour and alpha of a frame that `encode_png` wrote.

    Raises:
        UserError: the file is damaged.
    """
    from ..media.image_io import decode_image

    try:
        image = decode_image(read_bytes(path), MAX_IMAGE_SIDE)
    except (OSError, ValueError) as error:
        raise _unreadable_file_error(path) from error
    if image.shape != (height, width, 4) or image.dtype.kind != "u":
        raise _unreadable_file_error(path)
    max_value = np.float32(np.iinfo(image.dtype).max)
    color, alpha = (np.ascontiguousarray(part, np.float32) / max_value for part in (image[..., 2::-1], image[..., 3]))
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
