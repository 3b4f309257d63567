"""What `render` is asked for, and whether it can be done."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from ..contract.actor_folder import ActorFolder
from ..contract.camera import CameraPath
from ..contract.errors import UserError
from ..contract.performance import Performance

FORMATS = ("exr", "png", "mp4")
MAX_BLUR_SAMPLES = 256


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
        blur: moments while the shutter is open, whose mean is the frame; 1 is no blur. See `samples`.
        vectors: EXR frames have the Vector pass, see `vectors.py`.
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
        """Rows of the performance, and entries of a moving camera, that make one frame. Frame f's rows are numbered
        samples · f + i: with blur the moments from the shutter's opening on, with vectors frame f − 1, f and f + 1."""
        return 3 if self.with_vectors else self.blur_samples


def validate_options(options: RenderOptions, folder: ActorFolder, camera: CameraPath | None) -> RenderOptions:
    """The options with the name filled in.

    Raises:
        UserError: they contradict each other.
    """
    name = options.name or folder.path.resolve().stem
    if Path(name).name != name or name == "..":
        raise UserError("bad_name", f"{name} is not a plain file name.", "Choose a name without slashes.")
    if options.format not in FORMATS:
        raise UserError("bad_format", f"There is no format {options.format}.", "Choose exr, png or mp4.")
    if options.png_bits not in (8, 16):
        raise UserError("bad_format", f"A PNG cannot have {options.png_bits} bits.", "Choose 8 or 16.")
    if not 0 < options.scale <= 64:
        raise UserError("bad_size", f"The scale {options.scale} cannot be used.", "Choose one above 0, such as 0.5.")
    if options.with_vectors and options.format != "exr":
        raise UserError("vectors_need_exr", "Only EXR frames hold vectors.", "Leave the vectors out, or choose exr.")
    if options.with_vectors and options.blur_samples != 1:
        raise UserError(
            "vectors_or_blur", "Frames with motion blur have no vectors: they would be blurred twice.", "Choose one."
        )
    if not 1 <= options.blur_samples <= MAX_BLUR_SAMPLES:
        raise UserError(
            "bad_blur", f"{options.blur_samples} is no number of moments.", f"Choose 1 to {MAX_BLUR_SAMPLES}."
        )
    if options.use_plate and options.format != "mp4":
        raise UserError(
            "plate_needs_film", "EXR and PNG frames are transparent and take no plate.", "Leave the plate out."
        )
    if options.use_plate and camera is not None:
        raise UserError(
            "plate_needs_footage_camera",
            "The footage's background fits only the footage's own camera.",
            "Leave out the plate or the camera.",
        )
    if options.audio is not None and options.format != "mp4":
        raise UserError("sound_needs_film", "EXR and PNG frames carry no sound.", "Leave the sound out, or choose mp4.")
    return replace(options, name=name)


def frame_numbers(performance: Performance, samples_per_frame: int) -> list[int]:
    """The frame numbers, each of which has `samples` rows.

    Raises:
        UserError: bad_performance, its rows are numbered otherwise.
    """
    numbers = performance.frames
    whole = numbers[::samples_per_frame] // samples_per_frame
    expected = (whole[:, None] * samples_per_frame + np.arange(samples_per_frame)).ravel()
    if not np.array_equal(numbers, expected):
        raise UserError(
            "bad_performance",
            f"The performance does not hold {samples_per_frame} moments for every frame, "
            f"numbered {samples_per_frame} × frame and on.",
            "Export it again with the same settings, or leave out blur and vectors.",
        )
    return [int(frame) for frame in whole]
