"""The exact ground truth of a sample clip, in one `.npz`."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ..contract.arrays import F32, F64, U8
from ..contract.atomic_write import write_atomically
from ..contract.channels import CHANNELS
from ..contract.errors import UserError
from ..contract.performance import Performance
from ..contract.safe_io import ArrayLayout, matches_layout, read_arrays

GROUND_TRUTH_FORMAT = "portrait_actor.sample_truth.1"
GROUND_TRUTH_LAYOUT: ArrayLayout = {
    "head_rotation": ("T", 4), "head_translation": ("T", 3), "torso_rotation": ("T", 4), "torso_translation": ("T", 3),
    "channels": ("T", len(CHANNELS)), "view": (4, 4), "intrinsics": (3, 3), "landmarks": ("T", 478, 2),
    "mouth_opening": ("T",), "phone_times": ("P", 2),
}  # fmt: skip


@dataclass
class GroundTruth:
    """The exact ground truth of T frames of H×W pixels.

    Attributes:
        performance: head and torso poses and channels, actor space.
        view: (4, 4) actor space → OpenCV camera, the same in all frames.
        intrinsics: (3, 3) in pixels, pixel centres at +0.5.
        landmarks: (T, 478, 2) pixels of MediaPipe's landmarks; 468–477 are the irises.
        mouth_opening: (T,) metres between the middles of the lips' inner edges, sideways shifts left out.
        phones: (P,) names of the spoken phones.
        phone_times: (P, 2) seconds of their starts and ends.
        mattes: (T, 4, H, W) uint8 coverage of head (with hair and mouth), hair, torso (with neck), mouth interior, in
            this order; None when they were not loaded or not made.
        depth: (T, H, W) float16 metres from the camera, times coverage; None when it was not loaded or not made.
    """

    performance: Performance
    view: F64
    intrinsics: F64
    landmarks: F32
    mouth_opening: F32
    phones: tuple[str, ...]
    phone_times: F64
    mattes: U8 | None = None
    depth: NDArray[np.float16] | None = None

    def __len__(self) -> int:
        return len(self.performance)

    def person_alpha(self, frame_index: int) -> F32:
        """(H, W) alpha 0–1 of the whole person."""
        if self.mattes is None:
            raise ValueError("the mattes were not loaded")
        return (
            np.asarray(self.mattes[frame_index, 0].astype(np.float32) + self.mattes[frame_index, 2], np.float32) / 255
        )

    @classmethod
    def load(cls, path: Path, *, should_load_images: bool = True) -> GroundTruth:
        """Read `<stem>.truth.npz`.

        Args:
            path: the file.
            should_load_images: whether the mattes and the depth are read too.

        Raises:
            UserError: the file is missing or damaged.
        """
        try:
            images = ("mattes", "depth") if should_load_images else ()
            table = read_arrays(path, ("format", "fps", "phones", *GROUND_TRUTH_LAYOUT, *images))
            if str(table["format"]) != GROUND_TRUTH_FORMAT or not matches_layout(table, GROUND_TRUTH_LAYOUT):
                raise ValueError("format")
            frames = np.arange(len(table["channels"]), dtype=np.int64)
            performance = Performance(
                float(table["fps"].item()), frames, table["head_rotation"], table["head_translation"],
                table["torso_rotation"], table["torso_translation"], table["channels"],
            )  # fmt: skip
            return cls(
                performance=performance.check(path.name), view=table["view"], intrinsics=table["intrinsics"],
                landmarks=table["landmarks"], mouth_opening=table["mouth_opening"],
                phones=tuple(str(p) for p in table["phones"]), phone_times=table["phone_times"],
                **{name: table[name] for name in images if name in table},
            )  # fmt: skip
        except FileNotFoundError as error:
            raise UserError(
                "missing_file", f"There is no ground truth at {path}.", "Make the sample clip again."
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(
                "bad_truth", f"{path.name} is not a readable ground truth.", "Make the sample clip again."
            ) from error


class GroundTruthWriter:
    """Writes a ground truth frame by frame, so that the mattes never lie in memory together."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._stream: IO[bytes] | None = None

    def begin_mattes(self, shape: tuple[int, ...]) -> None:
        """Begin the array of the mattes, of this shape (T, 4, H, W)."""
        self._stream = self._archive.open("mattes.npy", "w", force_zip64=True)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self._stream, header)  # type: ignore[no-untyped-call]

    def write_mattes(self, mattes: F32) -> None:
        """Add the (4, H, W) mattes of the next frame; do nothing without `begin_mattes`."""
        if self._stream is not None:
            self._stream.write(np.ascontiguousarray(np.clip(mattes * 255 + 0.5, 0, 255).astype(np.uint8)).tobytes())

    def end_mattes(self) -> None:
        """End the array of the mattes."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def write_tables(self, truth: GroundTruth) -> None:
        """Write everything else."""
        self.end_mattes()
        performance = truth.performance
        arrays = {
            "format": np.array(GROUND_TRUTH_FORMAT),
            "fps": np.float64(performance.fps),
            "view": truth.view,
            "intrinsics": truth.intrinsics,
            "head_rotation": performance.head_rotation,
            "head_translation": performance.head_translation,
            "torso_rotation": performance.torso_rotation,
            "torso_translation": performance.torso_translation,
            "channels": performance.channels,
            "names": np.array(CHANNELS),
            "landmarks": truth.landmarks,
            "mouth_opening": truth.mouth_opening,
            "phones": np.array(truth.phones),
            "phone_times": truth.phone_times,
        }
        if truth.depth is not None:
            arrays["depth"] = truth.depth
        for name, array in arrays.items():
            with self._archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.save(stream, np.asarray(array), allow_pickle=False)


@contextmanager
def open_writer(path: Path) -> Iterator[GroundTruthWriter]:
    """Yield a writer whose file appears under its name only when the block ends without an exception.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    with write_atomically(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        writer = GroundTruthWriter(archive)
        try:
            yield writer
        finally:
            writer.end_mattes()
