"""What is missing of the calls under way, and what a bound makes of it."""

import pytest

from worker.bench.limiting import Clock, play
from worker.bench.services import SERVICES
from worker.flow.adaptive import AdaptiveLimiter, LimitChange
from worker.flow.limiter import Signal
from worker.flow.overdue import NONE_MISSING, TELLING_WINDOWS, Overdue

LIMIT = 100.0


def windows(overdue: Overdue, *, coming_back: float, count: int = 1, lost: float = 0.0, idle: bool = False) -> bool:
    """Let so many windows of ten seconds pass, in which this share of the limit is answered, or lost in the end."""
    missing = False
    for number in range(count):
        overdue.open_window(1000.0 + 10.0 * number)
        now = 1010.0 + 10.0 * number
        overdue.idle = idle
        for _ in range(round(coming_back * LIMIT)):
            overdue.answered(10.0)
        for _ in range(round(lost * LIMIT)):
            overdue.lost(now, 10.0)
        missing = overdue.window_closed(LIMIT, now)
    return missing


@pytest.mark.parametrize(
    ("coming_back", "lost", "missing"),
    [(1.0, 0.0, False), (0.8, 0.0, False), (0.7, 0.0, True), (0.4, 0.0, True), (0.4, 0.5, False)],
)
def test_what_neither_was_answered_nor_lost_in_its_time_is_missing(
    coming_back: float, lost: float, missing: bool
) -> None:
    assert windows(Overdue(), coming_back=coming_back, lost=lost) is missing


@pytest.mark.parametrize(("step", "missing"), [(1.0, True), (1.25, True), (2.0, False)])
def test_right_after_a_doubling_the_slow_ones_of_those_begun_at_once_are_not_missed(step: float, missing: bool) -> None:
    overdue = Overdue()
    overdue.moved(990.0, step)

    assert windows(overdue, coming_back=0.6) is missing
    assert windows(overdue, coming_back=0.6)


def test_nothing_is_missing_where_fewer_are_under_way_than_may_be() -> None:
    overdue = Overdue()

    assert not windows(overdue, coming_back=0.1, idle=True)
    assert overdue.served == 1.0


def test_that_none_is_missing_is_known_after_some_windows_only() -> None:
    overdue = Overdue()
    overdue.moved(1000.0, 1.02)

    windows(overdue, coming_back=1.0, count=TELLING_WINDOWS - 1)
    early = overdue.none
    windows(overdue, coming_back=1.0)
    late = overdue.none
    windows(overdue, coming_back=1.0 - 6 * NONE_MISSING)

    assert (early, late, overdue.none) == (False, True, False)


def test_where_a_gateway_holds_what_is_too_much_the_limit_does_not_double_once_more() -> None:
    """At 256 of which 100 are served, 156 are held for 110 s, and nothing is lost until then."""
    limits = [limit for at, limit in changes("504 above 100, in 110 s") if at < 110.0]

    assert max(limits) == 256


@pytest.mark.parametrize(("name", "delay_s"), [("504 above 100, in 15 s", 15.0), ("504 above 100, in 110 s", 110.0)])
def test_slots_of_late_losses_are_given_up_one_by_one_and_those_that_get_answers_keep_theirs(
    name: str, delay_s: float
) -> None:
    moved = changes(name)
    first = next(at for at, limit in moved if limit == 255)
    falling = [limit for at, limit in moved if first <= at < first + 0.9 * delay_s]
    found = play(SERVICES[name], lambda clock: AdaptiveLimiter(8, 400, clock=clock), 1)

    assert falling == list(range(255, 255 - len(falling), -1))
    assert 95 <= falling[-1] <= 105
    assert found.goodput_in(first, first + delay_s) > 33.0  # of 35.6 that are to be had


def changes(name: str, seed: int = 1) -> list[tuple[float, int]]:
    """Run five minutes of a service, and tell when the limit became what."""
    moved: list[tuple[float, int]] = []

    def limiter(clock: Clock) -> AdaptiveLimiter:
        def note(change: LimitChange) -> None:
            moved.append((clock(), change.limit))

        return AdaptiveLimiter(8, 400, clock=clock, on_change=note)

    play(SERVICES[name], limiter, seed)
    return moved


def test_bursts_that_reach_the_limit_and_leave_it_empty_between_them_do_not_look_like_calls_that_are_missing() -> None:
    clock = Clock()
    limiter = AdaptiveLimiter(100, 400, last_good=100, clock=clock)

    for _ in range(10):
        clock.now += 60.0
        taken = 0
        while limiter.try_acquire():
            taken += 1
        clock.now += 2.4
        for _ in range(taken):
            limiter.release(Signal.OK, 2.4)

    assert limiter.limit > 150
