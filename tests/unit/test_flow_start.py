"""What slow start makes of a doubling: more gets done, as much, or less."""

import math
from itertools import pairwise

import pytest

from tests.unit.test_flow_overdue import changes
from worker.bench.services import CHANGE_AT
from worker.flow.sample import Sample
from worker.flow.start import PART, WHOLE, SlowStart

LATENCY_S = 4.0


def took(latency_s: float, answers: int) -> Sample:
    return Sample(math.log(latency_s), 0.3, answers)


def doubled(limit: int = 64) -> SlowStart:
    """Let a window pass in which as many are answered as the limit is wide, and double."""
    start = SlowStart(limit, 400.0)
    start.open_window(0.0)
    start.idle = False
    start.look(limit, LATENCY_S)
    start.open_window(LATENCY_S)
    start.next_limit(limit, took(LATENCY_S, limit))
    return start


def test_after_a_doubling_the_window_is_looked_at_in_parts_and_before_it_is_not() -> None:
    start = SlowStart(64, 400.0)

    assert start.width == WHOLE
    assert doubled().width == PART


def test_few_answers_are_no_measure_so_that_they_are_not_looked_at_in_parts() -> None:
    assert doubled(16).width == WHOLE


@pytest.mark.parametrize(
    ("seconds", "less"),
    [
        (1.0, False),  # twice as much
        (2.0, False),  # as much: the others wait
        (3.0, False),  # a little less, as chance may have it
        (5.0, True),
    ],
)
def test_a_part_of_a_window_tells_that_a_doubling_got_less_done(seconds: float, less: bool) -> None:
    start = doubled()

    assert start.look(32, LATENCY_S + seconds) is less


def test_each_part_is_held_against_what_was_before_by_itself() -> None:
    """The first answers after a doubling are those of before it, at the old pace."""
    start = doubled()
    looks = [start.look(32, LATENCY_S + 1.5), start.look(64, LATENCY_S + 3.5), start.look(96, LATENCY_S + 8.5)]

    assert looks == [False, False, True]


def test_where_fewer_are_under_way_than_may_be_it_is_not_the_limit_that_gets_less_done() -> None:
    start = doubled()
    start.idle = True
    while_idle = start.look(32, LATENCY_S + 60.0)

    assert not while_idle
    assert start.look(64, LATENCY_S + 65.0)  # which is told of each part anew


def test_once_it_is_stopped_nothing_is_held_against_the_last_doubling_any_more() -> None:
    start = doubled()
    start.stop(resumable=True)

    assert not start.look(32, LATENCY_S + 60.0)
    assert not start.slowed(took(60.0, 100))


@pytest.mark.parametrize("resumable", [True, False])
def test_doubling_goes_on_if_it_was_stopped_by_mistake(resumable: bool) -> None:
    start = doubled()
    start.stop(resumable=resumable)

    start.resume()

    assert start.on is resumable


@pytest.mark.parametrize("seed", [2, 4, 6])
def test_a_doubling_far_beyond_a_sudden_knee_is_undone_within_seconds(seed: int) -> None:
    """At 256 of 100 answers take 16 s and a window as long; those of before the doubling take four seconds."""
    moved = changes("knee at 100, sudden", seed)
    doubled_at = next(at for at, limit in moved if limit == 256)
    after, limit = next((at - doubled_at, limit) for at, limit in moved if at > doubled_at)

    assert limit == 128
    assert after < 15.0


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_payers_that_become_slow_while_it_doubles_undo_one_doubling_and_it_goes_on(seed: int) -> None:
    moved = changes("slow since the start", seed)

    assert sum(1 for (_, before), (_, limit) in pairwise(moved) if limit < before) == 1
    assert max(at for at, _ in moved) < CHANGE_AT
    assert moved[-1][1] == 400
