"""Where a curve that is known at a few places, and nowhere well, has its top."""

import math
from collections.abc import Sequence
from typing import NamedTuple

LEAST_SPREAD = 1e-9  # of the places, for a curve to be told from a line


class Point(NamedTuple):
    """A place, the height found there, and how much that weighs."""

    at: float
    height: float
    weight: float


def top(points: Sequence[Point]) -> float | None:
    """Return where the parabola that lies nearest to the points is highest; None if they do not tell.

    Without a top it is infinite: there it goes up. Least squares, with places and heights counted from their means.
    """
    weight = sum(point.weight for point in points)
    middle = sum(point.weight * point.at for point in points) / weight
    level = sum(point.weight * point.height for point in points) / weight
    from_middle = [Point(at - middle, height - level, weight) for at, height, weight in points]
    square, cube, fourth = (sum(w * x**power for x, _, w in from_middle) for power in (2, 3, 4))
    tilt, bend = (sum(w * x**power * y for x, y, w in from_middle) for power in (1, 2))
    spread = fourth - square**2 / weight - cube**2 / square if square > 0.0 else 0.0
    if spread <= LEAST_SPREAD * weight:
        return None
    curvature = (bend - cube * tilt / square) / spread
    slope = (tilt - curvature * cube) / square
    if curvature >= 0.0:
        return math.copysign(math.inf, slope)
    return middle - slope / (2 * curvature)
