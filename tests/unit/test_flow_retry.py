import random
from collections import Counter
from itertools import pairwise

import anyio
import pytest

from tests.virtualtime import virtual_time
from worker.flow.retry import LONGEST_FLOOR_S, Again, Backoff, GiveUp, RetryPolicy
from worker.settings.sections import RetrySettings

POLICY = RetryPolicy(RetrySettings(max_attempts=6, base_s=1.0, max_s=60.0, deadline_s=900.0))


def after_s(decision: Again | GiveUp) -> float:
    assert isinstance(decision, Again)
    return decision.after_s


@pytest.mark.parametrize(
    ("attempts", "elapsed_s", "code"),
    [
        (6, 0.0, "attempts_exhausted"),
        (7, 0.0, "attempts_exhausted"),
        (6, 5000.0, "attempts_exhausted"),
        (1, 900.0, "deadline_exceeded"),
        (5, 1e9, "deadline_exceeded"),
    ],
)
def test_a_claim_is_given_up_when_attempts_or_time_are_spent(attempts: int, elapsed_s: float, code: str) -> None:
    assert POLICY.decide(attempts, elapsed_s) == GiveUp(code)


@pytest.mark.parametrize(("attempts", "ceiling_s"), [(0, 1.0), (1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0), (5, 16.0)])
def test_the_wait_is_drawn_between_zero_and_the_exponential_ceiling(attempts: int, ceiling_s: float) -> None:
    waits = [after_s(POLICY.decide(attempts, 0.0)) for _ in range(500)]

    assert 0.0 <= min(waits) < 0.1 * ceiling_s
    assert 0.9 * ceiling_s < max(waits) <= ceiling_s


def test_the_ceiling_stops_growing_at_its_maximum() -> None:
    policy = RetryPolicy(RetrySettings(max_attempts=2000, max_s=60.0))

    assert max(after_s(policy.decide(1500, 0.0)) for _ in range(300)) <= 60.0


def test_what_the_server_asks_for_is_a_floor_with_the_jitter_on_top() -> None:
    waits = [after_s(POLICY.decide(3, 0.0, floor_s=30.0)) for _ in range(300)]

    assert min(waits) >= 30.0
    assert max(waits) <= 34.0
    assert max(waits) - min(waits) > 3.0


@pytest.mark.parametrize(("floor_s", "least_s", "most_s"), [(1e9, 300.0, 301.0), (-5.0, 0.0, 1.0)])
def test_an_absurd_floor_is_bounded(floor_s: float, least_s: float, most_s: float) -> None:
    assert least_s <= after_s(POLICY.decide(1, 0.0, floor_s=floor_s)) <= most_s


def test_no_attempt_is_planned_beyond_the_deadline() -> None:
    for elapsed_s in range(600, 900, 7):
        decision = POLICY.decide(2, float(elapsed_s), floor_s=200.0)

        assert decision == GiveUp("deadline_exceeded") if elapsed_s >= 700 else elapsed_s + after_s(decision) < 900


@pytest.mark.parametrize(
    ("due_at", "now", "left_s"),
    [(0.0, 1e9, 0.0), (1e9 + 5, 1e9, 5.0), (1e9 - 5, 1e9, 0.0), (2e9, 1e9, 60.0 + LONGEST_FLOOR_S)],
)
def test_a_wall_clock_that_jumped_parks_no_claim(due_at: float, now: float, left_s: float) -> None:
    assert POLICY.time_left_s(due_at, now) == left_s


def test_claims_that_failed_together_do_not_come_back_together() -> None:
    random.seed(837)
    due = Counter(int(10 * after_s(POLICY.decide(4, 0.0))) for _ in range(8000))

    assert len(due) == 80  # every tenth of the 8 s is used
    assert max(due.values()) < 160  # and none holds twice its share


@virtual_time
async def test_probes_begin_at_once_and_then_pause_ever_longer() -> None:
    begun = anyio.current_time()
    moments: list[float] = []

    async for number in Backoff(1.0, 60.0):
        moments.append(anyio.current_time() - begun)
        if number == 12:
            break

    pauses = [after - before for before, after in pairwise(moments)]
    assert moments[0] == 0.0
    assert pauses[0] == pytest.approx(1.0)
    assert all(1.0 <= round(pause, 6) <= min(60.0, 2.0**step) for step, pause in enumerate(pauses))


@virtual_time
async def test_probing_can_begin_with_a_pause() -> None:
    begun = anyio.current_time()

    async for _ in Backoff(5.0, 60.0, sleep_first=True):
        break

    assert anyio.current_time() - begun == pytest.approx(5.0)
