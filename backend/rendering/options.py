"""The options of a rendering and their validation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ..contract.actor_folder import ActorFolder
from ..contract.camera import CameraPath
from ..contract.errors import UserError
from ..contract.performance import Performance

FORMATS = ("exr", "png", "mp4")
PNG_BITS = (8, 16)  # per channel
MAX_BLUR_SAMPLES = 256  # moments per frame; more is never visible and takes hours
MAX_SCALE = 64.0  # factor on the camera's resolution; the image's size is limited separately


@dataclass(frozen=True)
class RenderOptions:
    """What is rendered, and to which files.

    Attributes:
        out: output folder; made if missing.
        format: "exr" (multi-layer), "png" (straight alpha) or "mp4" (a film over a background).
        name: base name of the files: `NAME_0001.exr`, `NAME.mp4`; by default that of the actor folder.
        device: "auto", "cpu" or "cuda".
        scale: factor on the camera's resolution.
        png_bits: bits of a PNG channel, 8 or 16.
        audio: audio file of a film.
        audio_offset_seconds: seconds of the film before the audio begins; negative skips the start of the audio.
        use_plate: whether the film's background is the footage's; only with the footage's camera.
        background: display sRGB 0–1 behind the actor in a film without the plate.
        blur_samples: moments during the open shutter, whose mean is the frame; 1 is no blur. See `samples_per_frame`.
        with_vectors: whether EXR frames have the Vector pass, see `vectors.py`.
    """

    out: Path
    format: Literal["exr", "png", "mp4"] = "exr"
    name: str = ""
    device: str = "auto"
    scale: float = 1.0
    png_bits: int = 16
    audio: Path | None = None
    audio_offset_seconds: float = 0.0
    use_plate: bool = False
    background: tuple[float, float, float] = (0.5, 0.5, 0.5)
    blur_samples: int = 1
    with_vectors: bool = False

    @property
    def samples_per_frame(self) -> int:
        """Rows of the performance, and entries of a moving camera, per frame.

        Frame f has the rows numbered samples · f + i: with blur the moments from the shutter's opening on, with
        vectors the frames f − 1, f and f + 1.
        """
        return 3 if self.with_vectors else self.blur_samples


def validate_options(options: RenderOptions, folder: ActorFolder, camera: CameraPath | None) -> RenderOptions:
    """Return the options with the name filled in.

    Raises:
        UserError: a value is invalid, or options contradict each other.
    """
    options = replace(options, name=options.name or folder.path.resolve().stem)
    for is_invalid, code, message, remedy in _validation_rules(options, has_camera=camera is not None):
        if is_invalid:
            raise UserError(code, message, remedy)
    return options


def _validation_rules(options: RenderOptions, *, has_camera: bool) -> Iterator[tuple[bool, str, str, str]]:
    """Yield condition, error code, message and remedy of each possible error, in the order of checking."""
    name, scale, samples, file_format = options.name, options.scale, options.blur_samples, options.format
    yield (
        Path(name).name != name or name == "..",
        "bad_name", f"{name} is not a plain file name.", "Choose a name without slashes.",
    )  # fmt: skip
    yield file_format not in FORMATS, "bad_format", f"There is no format {file_format}.", "Choose exr, png or mp4."
    yield (
        options.png_bits not in PNG_BITS,
        "bad_format", f"A PNG cannot have {options.png_bits} bits.", "Choose 8 or 16.",
    )  # fmt: skip
    yield (
        not 0 < scale <= MAX_SCALE,
        "bad_size", f"The scale {scale} cannot be used.", f"Choose one above 0 and at most {MAX_SCALE:g}.",
    )  # fmt: skip
    yield (
        options.with_vectors and file_format != "exr",
        "vectors_need_exr", "Only EXR frames can have vectors.", "Leave the vectors out, or choose exr.",
    )  # fmt: skip
    yield (
        options.with_vectors and samples != 1,
        "vectors_or_blur", "Frames with motion blur have no vectors: they would be blurred twice.", "Choose one.",
    )  # fmt: skip
    yield (
        not 1 <= samples <= MAX_BLUR_SAMPLES,
        "bad_blur", f"Motion blur with {samples} moments is not possible.", f"Choose 1 to {MAX_BLUR_SAMPLES}.",
    )  # fmt: skip
    yield (
        options.use_plate and file_format != "mp4",
        "plate_needs_film", "EXR and PNG frames are transparent and cannot have a plate.", "Leave the plate out.",
    )  # fmt: skip
    yield (
        options.use_plate and has_camera,
        "plate_needs_footage_camera", "The footage's background fits only the footage's own camera.",
        "Leave out the plate or the camera.",
    )  # fmt: skip
    yield (
        options.audio is not None and file_format != "mp4",
        "sound_needs_film", "EXR and PNG frames cannot have sound.", "Leave the sound out, or choose mp4.",
    )  # fmt: skip


def frame_numbers(performance: Performance, samples_per_frame: int) -> list[int]:
    """Return the numbers of the frames, each of which has `samples_per_frame` rows.

    Raises:
        UserError: bad_performance, if the rows are numbered differently.
    """
    rows = performance.frames
    frames = rows[::samples_per_frame] // samples_per_frame
    expected = (frames[:, None] * samples_per_frame + np.arange(samples_per_frame)).ravel()
    if not np.array_equal(rows, expected):
        raise UserError(
            "bad_performance",
            f"The performance does not have {samples_per_frame} moments for every frame, "
            f"numbered from {samples_per_frame} × frame.",
            "Export it again with the same settings, or leave out blur and vectors.",
        )
    return [int(frame) for frame in frames]
