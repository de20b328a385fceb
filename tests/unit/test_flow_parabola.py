import math

import hypothesis.strategies as st
import pytest
from hypothesis import given

from worker.flow.parabola import Point, top

PLACES = st.lists(st.integers(-50, 50), min_size=3, max_size=12, unique=True)


@given(PLACES, st.floats(-3.0, 3.0), st.floats(0.1, 10.0), st.data())
def test_the_top_of_a_parabola_is_found_however_its_points_lie_and_weigh(
    places: list[int], highest: float, curvature: float, data: st.DataObject
) -> None:
    weights = data.draw(st.lists(st.floats(1.0, 100.0), min_size=len(places), max_size=len(places)))
    points = [
        Point(place / 10, 7.0 - curvature * (place / 10 - highest) ** 2, weight)
        for place, weight in zip(places, weights, strict=True)
    ]

    assert top(points) == pytest.approx(highest, abs=1e-3)


def test_a_point_that_weighs_more_counts_more() -> None:
    level = [Point(at, -(at**2), 1.0) for at in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    light, heavy = (top([*level, Point(1.5, 0.0, weight)]) for weight in (0.5, 5.0))

    assert light is not None
    assert heavy is not None
    assert 0.0 < light < heavy


@pytest.mark.parametrize(("slope", "where"), [(1.0, math.inf), (-1.0, -math.inf)])
def test_what_bends_upward_has_no_top_and_is_higher_in_one_direction(slope: float, where: float) -> None:
    assert top([Point(at, slope * at + at**2, 1.0) for at in (-0.2, 0.0, 0.2)]) == where


@pytest.mark.parametrize("places", [[1.0], [1.0, 1.0], [1.0, 2.0], [1.0, 1.0, 2.0]])
def test_fewer_than_three_places_do_not_tell(places: list[float]) -> None:
    assert top([Point(at, at, 1.0) for at in places]) is None
