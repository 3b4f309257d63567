"""Speech features from the user's own files: HuBERT, wav2vec 2.0, AVE, or any other numbers along a sound."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..contract.arrays import F32
from ..contract.errors import UserError
from ..contract.safe_io import open_regular_file, read_array, read_arrays

MIN_ROWS_PER_SECOND = 10.0  # a table below or above these rates belongs to another sound
MAX_ROWS_PER_SECOND = 250.0
MAX_COLUMNS = 2048
MAX_ROWS = 2_000_000
ARRAY_KEY = "features"
MIN_DIRECTION_DEVIATION = 0.02  # of the deviation along the first direction; directions below are noise. Not tuned
ZIP_SIGNATURE = b"PK"


def load_external_features(path: Path, seconds: float, row_count: int, rate: float) -> F32:
    """Return a file's features at another rate.

    Args:
        path: `.npy`, or `.npz` with an entry "features", of shape (T, D), or (T, …), which is flattened. Rows are
            equally far apart and cover the whole sound.
        seconds: length of the sound.
        row_count: rows to return.
        rate: rows per second to return.

    Returns:
        (row_count, D), linearly interpolated.

    Raises:
        UserError: ``bad_features`` with what is wrong.
    """
    values = _read_table(path)
    file_rate = len(values) / max(seconds, 1e-6)
    if not MIN_ROWS_PER_SECOND <= file_rate <= MAX_ROWS_PER_SECOND:
        raise _bad_features_error(path, f"its {len(values)} rows do not fit a sound of {seconds:.1f} s")
    # Row i is centred at (i + ½) / file_rate seconds.
    positions = np.clip(np.arange(row_count) / rate * file_rate - 0.5, 0, len(values) - 1)
    low = np.minimum(positions.astype(int), len(values) - 2)
    share = (positions - low)[:, None].astype(np.float32)
    result: F32 = values[low] * (1 - share) + values[low + 1] * share
    return result


def _read_table(path: Path) -> F32:
    """(T, D) finite numbers of a file.

    Raises:
        UserError: ``bad_features`` with what is wrong.
    """
    try:
        with open_regular_file(path) as file:
            is_zip = file.read(len(ZIP_SIGNATURE)) == ZIP_SIGNATURE
        table = read_arrays(path, [ARRAY_KEY])[ARRAY_KEY] if is_zip else read_array(path)
        values = table.reshape(len(table), -1)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _bad_features_error(path, "it is no .npy, nor an .npz with an entry called features") from error
    if not np.issubdtype(values.dtype, np.floating):
        raise _bad_features_error(path, "it does not hold numbers with a fraction")
    if not 2 <= len(values) <= MAX_ROWS or not 1 <= values.shape[1] <= MAX_COLUMNS:
        raise _bad_features_error(path, f"it has {len(values)} rows and {values.shape[1]} columns")
    if not np.isfinite(values).all():
        raise _bad_features_error(path, "it holds values that are not numbers")
    return values.astype(np.float32)


def principal_directions(values: F32, max_directions: int) -> F32:
    """Return the principal directions of features, scaled so that the projected features have a total variance of 1.

    Args:
        values: (N, D) features.
        max_directions: how many are kept at most.

    Returns:
        (1 + K, D) centre and directions, K ≤ max_directions.
    """
    centre = values.mean(0)
    centred = (values - centre).astype(np.float64)
    variances, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    variances, vectors = np.clip(variances[::-1], 0, None), vectors[:, ::-1]
    is_kept = variances > MIN_DIRECTION_DEVIATION**2 * variances[0]
    count = max(1, min(max_directions, int(is_kept.sum())))
    vectors = vectors[:, :count]
    # An eigenvector's sign is arbitrary; this one is the same on every machine.
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), np.arange(count)])
    scaled = vectors / np.sqrt(max(float(variances[:count].sum()), 1e-12))
    result: F32 = np.concatenate([centre[None], scaled.T]).astype(np.float32)
    return result


def project_features(values: F32, directions: F32) -> F32:
    """(N, K) features (N, D) along `directions` (1 + K, D), as `principal_directions` returns them."""
    result: F32 = (values - directions[0]) @ directions[1:].T
    return result


def _bad_features_error(path: Path, problem: str) -> UserError:
    return UserError(
        "bad_features", f"The speech features {path.name} cannot be used: {problem}.", "Make them again for this sound."
    )
