"""Speech features from the person's own files: HuBERT, wav2vec 2.0, AVE, or any other numbers along a sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..contract.arrays import F32
from ..contract.errors import UserError
from ..contract.safe_io import open_regular_file, read_array, read_arrays

RATE_RANGE = (10.0, 250.0)  # rows per second that a table may have
MAX_COLUMNS, MAX_ROWS = 2048, 2_000_000  # columns and rows
ARRAY_KEY = "features"
MIN_DIRECTION_DEVIATION = 0.02  # of the deviation along the first direction, below which a direction is noise


def load_external_features(path: Path, seconds: float, row_count: int, rate: float) -> F32:
    """A table of features (T, D), or (T, …) which is flattened, as (count, D) rows at `rate` per second.

    Args:
        path: `.npy`, or `.npz` with an entry "features". Rows are equally far apart and cover the whole sound.
        seconds: how long the sound is.

    Raises:
        UserError: ``bad_features`` with what is wrong.
    """
    try:
        with open_regular_file(path) as file:
            packed = file.read(2) == b"PK"
        table = read_arrays(path, [ARRAY_KEY])[ARRAY_KEY] if packed else read_array(path)
        values = table.reshape(len(table), -1)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _bad_features_error(path, "it is no .npy, nor an .npz with an entry called features") from error
    if not np.issubdtype(values.dtype, np.floating):
        raise _bad_features_error(path, "it does not hold numbers with a fraction")
    if not 2 <= len(values) <= MAX_ROWS or not 1 <= values.shape[1] <= MAX_COLUMNS:
        raise _bad_features_error(path, f"it has {len(values)} rows and {values.shape[1]} columns")
    if not np.isfinite(values).all():
        raise _bad_features_error(path, "it holds values that are not numbers")
    own = len(values) / max(seconds, 1e-6)
    if not RATE_RANGE[0] <= own <= RATE_RANGE[1]:
        raise _bad_features_error(path, f"its {len(values)} rows do not fit a sound of {seconds:.1f} s")
    # row i is centred at (i + ½) / own seconds
    at = np.clip(np.arange(row_count) / rate * own - 0.5, 0, len(values) - 1)
    low = np.minimum(at.astype(int), len(values) - 2)
    share = (at - low)[:, None].astype(np.float32)
    values = values.astype(np.float32)
    return values[low] * (1 - share) + values[low + 1] * share


def principal_directions(values: F32, max_directions: int) -> F32:
    """(1 + K, D) centre and principal directions, K ≤ most, of features (N, D), scaled to a total variance of 1."""
    centre = values.mean(0)
    around = (values - centre).astype(np.float64)
    variances, vectors = np.linalg.eigh(around.T @ around / len(around))
    variances, vectors = np.clip(variances[::-1], 0, None), vectors[:, ::-1]
    keep = max(1, min(max_directions, int((variances > MIN_DIRECTION_DEVIATION**2 * variances[0]).sum())))
    vectors = vectors[:, :keep]
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(keep)])  # the same signs everywhere
    scaled = vectors / np.sqrt(max(float(variances[:keep].sum()), 1e-12))
    return np.concatenate([centre[None], scaled.T]).astype(np.float32)


def project_features(values: F32, directions: F32) -> F32:
    """(N, K) features (N, D) along the directions of a table that `directions` made."""
    result: F32 = (values - directions[0]) @ directions[1:].T
    return result


def _bad_features_error(path: Path, problem: str) -> UserError:
    return UserError(
        "bad_features", f"The speech features {path.name} cannot be used: {problem}.", "Make them again for this sound."
    )
