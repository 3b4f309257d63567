"""What is known about a body's shape before its tracks are seen: a Gaussian process over its points."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist

from ...contract.arrays import F64


@dataclass(frozen=True)
class ShapePrior:
    """How far points may lie from their initial positions (Rasmussen & Williams, Gaussian Processes, 2006).

    Attributes:
        smooth_deviation: deviation (x, y, z) in metres of the smooth part, which neighbouring points share.
        correlation_length: metres over which points share the smooth part.
        independent_deviation: deviation in metres that each point has by itself.
    """

    smooth_deviation: tuple[float, float, float]
    correlation_length: float
    independent_deviation: float

    def information_matrix(self, points: F64, deviation_scale: F64) -> F64:
        """Return the inverse covariance (3P, 3P) of the points' displacements, x, y, z of a point side by side.

        Args:
            points: (P, 3) metres.
            deviation_scale: (P,) factor to all deviations of a point.
        """
        count = len(points)
        result = np.zeros((count, 3, count, 3))
        for axis, covariance in enumerate(self._covariances(points, deviation_scale)):
            result[:, axis, :, axis] = np.linalg.inv(covariance)
        return result.reshape(3 * count, 3 * count)

    def propagate_displacement(
        self, points: F64, deviation_scale: F64, displacement: F64, query_points: F64, query_deviation_scale: F64
    ) -> F64:
        """Return how other points (Q, 3) move when `points` move: the conditional mean of the process.

        Args:
            points: (P, 3) metres.
            deviation_scale: (P,) factor to all deviations of a point.
            displacement: (P, 3) metres by which `points` move.
            query_points: (Q, 3) metres.
            query_deviation_scale: (Q,) as `deviation_scale`.
        """
        across = self._scaled_correlation(query_points, points, query_deviation_scale, deviation_scale)
        result = np.empty_like(query_points)
        for axis, covariance in enumerate(self._covariances(points, deviation_scale)):
            result[:, axis] = (
                self.smooth_deviation[axis] ** 2 * across @ np.linalg.solve(covariance, displacement[:, axis])
            )
        return result

    def _covariances(self, points: F64, deviation_scale: F64) -> list[F64]:
        """Covariances (P, P) of the displacements along x, y and z."""
        shared = self._scaled_correlation(points, points, deviation_scale, deviation_scale)
        independent = np.diag((self.independent_deviation * deviation_scale) ** 2)
        return [deviation**2 * shared + independent for deviation in self.smooth_deviation]

    def _scaled_correlation(self, a: F64, b: F64, scale_a: F64, scale_b: F64) -> F64:
        """Correlation (A, B) of the smooth part times both factors."""
        correlation: F64 = (
            np.exp(-0.5 / self.correlation_length**2 * cdist(a, b, "sqeuclidean")) * scale_a[:, None] * scale_b
        )
        return correlation
