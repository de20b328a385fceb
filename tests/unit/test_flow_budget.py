import hypothesis.strategies as st
import pytest
from hypothesis import given

from worker.flow.budget import RetryBudget

RATIO, FLOOR_PER_S, WINDOW_S = 0.5, 10, 10.0

steps = st.lists(
    st.tuples(st.floats(min_value=0.0, max_value=0.5), st.booleans()),
    max_size=400,
)


@given(steps)
def test_retries_never_exceed_ratio_or_floor_in_the_window_before_any_of_them(steps: list[tuple[float, bool]]) -> None:
    budget = RetryBudget(RATIO, floor_per_s=FLOOR_PER_S, window_s=WINDOW_S)
    made: list[tuple[float, bool]] = []
    now = 1000.0

    for pause_s, wants_retry in steps:
        now += pause_s
        if wants_retry and not budget.allows_retry(now):
            continue
        budget.record(wants_retry, now)
        made.append((now, wants_retry))
        if not wants_retry:
            continue
        window = [retry for at, retry in made if at > now - WINDOW_S]
        last_second = sum(retry for at, retry in made if at > now - 1.0)
        assert sum(window) <= RATIO * len(window) or last_second <= FLOOR_PER_S


@given(steps)
def test_a_spent_budget_says_when_it_is_not(steps: list[tuple[float, bool]]) -> None:
    budget = RetryBudget(RATIO, floor_per_s=FLOOR_PER_S, window_s=WINDOW_S)
    now = 1000.0

    for pause_s, retry in steps:
        now += pause_s
        if retry and not budget.allows_retry(now):
            later = budget.next_at(now)
            assert now < later <= now + 1.0
            assert budget.allows_retry(later)
            now = later
        budget.record(retry, now)


def test_a_service_that_fails_everything_gets_at_most_half_of_its_load_as_retries() -> None:
    budget = RetryBudget()
    retries = 0
    for tick in range(60_000):
        now = tick / 1000
        if tick % 10 == 0:
            budget.record(False, now)
        if budget.allows_retry(now):
            budget.record(True, now)
            retries += 1

    assert retries == pytest.approx(6000, rel=0.03)


def test_with_no_fresh_claims_left_the_floor_lets_the_last_ones_finish() -> None:
    budget = RetryBudget()
    made = 0
    for tick in range(20_000):
        now = tick / 1000
        if budget.allows_retry(now):
            budget.record(True, now)
            made += 1

    assert made == 200


def test_what_is_older_than_the_window_is_forgotten() -> None:
    budget = RetryBudget(floor_per_s=0)
    for _ in range(100):
        budget.record(False, 0.0)

    assert budget.allows_retry(9.9)
    assert not budget.allows_retry(10.0)


def test_without_a_floor_the_window_alone_decides() -> None:
    budget = RetryBudget(floor_per_s=0)
    budget.record(False, 0.0)
    budget.record(True, 1.0)

    assert not budget.allows_retry(2.0)
    assert budget.next_at(2.0) == 11.0
