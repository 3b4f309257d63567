"""What is known of a body's shape before its tracks are seen: a Gaussian process over its points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class ShapePrior:
    """How far points may lie from where they were guessed.

    Attributes:
        bend: deviation (x, y, z) in metres of the smooth part, shared by neighbouring points.
        reach: metres over which the smooth part is shared.
        own: deviation in metres of each point by itself.
    """

    bend: tuple[float, float, float]
    reach: float
    own: float

    def information(self, points: F64, loose: F64) -> F64:
        """(3P, 3P) inverse covariance of the displacements of points (P, 3), x, y, z of a point together.

        Args:
            loose: (P,) factor to all deviations of a point.
        """
        count = len(points)
        result = np.zeros((count, 3, count, 3))
        for axis, covariance in enumerate(self._covariances(points, loose)):
            result[:, axis, :, axis] = np.linalg.inv(covariance)
        return result.reshape(3 * count, 3 * count)

    def spread(self, points: F64, loose: F64, offset: F64, others: F64, others_loose: F64) -> F64:
        """(O, 3) how others (O, 3) move when points (P, 3) move by offset (P, 3): the process' conditional mean."""
        across = self._shared(others, points, others_loose, loose)
        result = np.empty_like(others)
        for axis, covariance in enumerate(self._covariances(points, loose)):
            result[:, axis] = self.bend[axis] ** 2 * across @ np.linalg.solve(covariance, offset[:, axis])
        return result

    def _covariances(self, points: F64, loose: F64) -> list[F64]:
        shared = self._shared(points, points, loose, loose)
        alone = np.diag((self.own * loose) ** 2)
        return [deviation**2 * shared + alone for deviation in self.bend]

    def _shared(self, a: F64, b: F64, loose_a: F64, loose_b: F64) -> F64:
        """(A, B) correlation of the smooth part times both factors."""
        correlation: F64 = np.exp(-0.5 / self.reach**2 * cdist(a, b, "sqeuclidean")) * loose_a[:, None] * loose_b
        return correlation
