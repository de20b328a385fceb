import anyio
import anyio.lowlevel
import pytest

from tests.virtualtime import run
from worker.batches import OpenBatch
from worker.claim import Batch, Claim, Delivery
from worker.effort import Effort
from worker.flow.budget import RetryBudget
from worker.ports import OpenedBatch
from worker.turns import Turns
from worker.x12 import ClaimFacts


def open_batch(number: int) -> OpenBatch:
    batch = Batch(number, f"b{number}", f"file{number}.837", 0.0)
    return OpenBatch(OpenedBatch(batch), Delivery(f"file{number}.837", f"ref{number}", 0, 0.0, data=b""))


def claims(batch: OpenBatch, many: int) -> list[Claim]:
    return [Claim(batch.batch, ordinal, b"", ClaimFacts()) for ordinal in range(1, many + 1)]


def popped(turns: Turns) -> str | None:
    effort = turns.pop()
    return effort.claim.claim_id if effort else None


def test_open_batches_take_turns_so_that_a_large_one_delays_nobody() -> None:
    turns = Turns(RetryBudget(), most_waiting=10, most_batches=10, clock=lambda: 0.0)
    large, small = open_batch(1), open_batch(2)

    turns.offer(large, claims(large, 5))
    turns.offer(small, claims(small, 1))

    assert [popped(turns) for _ in range(7)] == ["b1:1", "b2:1", "b1:2", "b1:3", "b1:4", "b1:5", None]
    assert turns.fresh == 0


def test_a_due_repeat_goes_before_fresh_claims_and_not_before_its_time() -> None:
    now = 0.0
    turns = Turns(RetryBudget(), most_waiting=10, most_batches=10, clock=lambda: now)
    batch = open_batch(1)
    first, second, third = claims(batch, 3)
    turns.defer(Effort(batch, first), 5.0)
    turns.offer(batch, [second, third])

    early = popped(turns)
    now = 5.0
    late = popped(turns)

    assert (early, late) == ("b1:2", "b1:1")


def test_no_fresh_claim_starts_while_too_many_wait_for_their_next_attempt() -> None:
    turns = Turns(RetryBudget(), most_waiting=2, most_batches=10, clock=lambda: 0.0)
    batch = open_batch(1)
    waiting, also_waiting, fresh = claims(batch, 3)
    turns.defer(Effort(batch, waiting), 5.0)
    turns.defer(Effort(batch, also_waiting), 5.0)

    turns.offer(batch, [fresh])

    assert popped(turns) is None
    assert turns.waiting == 2


def test_a_fresh_claim_goes_after_four_due_repeats_in_a_row() -> None:
    turns = Turns(RetryBudget(), most_waiting=20, most_batches=10, clock=lambda: 0.0)
    batch = open_batch(1)
    *repeated, one, other = claims(batch, 8)
    for claim in repeated:
        turns.defer(Effort(batch, claim), 0.0)
    turns.offer(batch, [one, other])

    order = [popped(turns) for _ in range(9)]

    assert order == ["b1:1", "b1:2", "b1:3", "b1:4", "b1:7", "b1:5", "b1:6", "b1:8", None]


def test_repeats_go_on_in_a_row_where_no_fresh_claim_waits() -> None:
    turns = Turns(RetryBudget(), most_waiting=10, most_batches=10, clock=lambda: 0.0)
    batch = open_batch(1)
    for claim in claims(batch, 6):
        turns.defer(Effort(batch, claim), 0.0)

    assert [popped(turns) for _ in range(7)] == [f"b1:{ordinal}" for ordinal in range(1, 7)] + [None]


@pytest.mark.parametrize(
    ("waiting", "batches", "pause_s"),
    [(5, 1, 0.0), (6, 1, 0.025), (3, 3, 0.1), (9, 1, 0.4), (1, 1, 0.0), (4, 4, None), (10, 1, None)],
)
def test_the_less_room_the_waiting_leave_in_claims_or_batches_the_less_often_fresh_ones_begin(
    waiting: int, batches: int, pause_s: float | None
) -> None:
    now = 0.0
    turns = Turns(RetryBudget(), most_waiting=10, most_batches=4, clock=lambda: now)
    opened = [open_batch(number) for number in range(1, batches + 1)]
    another = open_batch(9)
    for number in range(waiting):
        batch = opened[number % batches]
        turns.defer(Effort(batch, claims(batch, 1)[0]), 60.0)
    turns.offer(another, claims(another, 3))

    first, second = popped(turns), popped(turns)
    now = (pause_s or 59.0) - 0.001
    early = popped(turns)
    now += 0.002
    late = popped(turns)

    if pause_s is None:
        assert (first, second, early, late) == (None, None, None, None)
    elif not pause_s:
        assert (first, second, early, late) == ("b9:1", "b9:2", "b9:3", None)
    else:
        assert (first, second, early, late) == ("b9:1", None, None, "b9:2")


def test_a_batch_whose_claims_have_all_gone_again_takes_up_no_room() -> None:
    turns = Turns(RetryBudget(), most_waiting=100, most_batches=2, clock=lambda: 0.0)
    batch, later, another = open_batch(1), open_batch(2), open_batch(3)
    for claim in claims(batch, 2):
        turns.defer(Effort(batch, claim), 0.0)
    turns.defer(Effort(later, claims(later, 1)[0]), 60.0)
    turns.offer(another, claims(another, 2))

    assert [popped(turns) for _ in range(5)] == ["b1:1", "b1:2", "b3:1", "b3:2", None]


def test_waiting_ends_when_the_next_fresh_claim_may_begin() -> None:

    async def scenario() -> tuple[float, str | None]:
        turns = Turns(RetryBudget(), most_waiting=10, most_batches=10)
        batch = open_batch(1)
        many = claims(batch, 11)
        for claim in many[:9]:
            turns.defer(Effort(batch, claim), 60.0)
        turns.offer(batch, many[9:])
        turns.pop()
        began = anyio.current_time()
        await turns.wait()
        return anyio.current_time() - began, popped(turns)

    waited_s, then = run(scenario())

    assert waited_s == pytest.approx(0.4, abs=0.02)
    assert then == "b1:11"


def test_a_spent_retry_budget_lets_fresh_claims_flow_and_keeps_the_repeat() -> None:
    budget = RetryBudget(0.5, floor_per_s=0)
    turns = Turns(budget, most_waiting=10, most_batches=10, clock=lambda: 0.0)
    batch = open_batch(1)
    repeat, fresh = claims(batch, 2)
    turns.defer(Effort(batch, repeat), 0.0)
    turns.offer(batch, [fresh])

    first = popped(turns)
    budget.record(False, 0.0)
    second = popped(turns)

    assert (first, second) == ("b1:2", "b1:1")


def test_waiting_ends_when_a_repeat_comes_due_and_not_before() -> None:

    async def scenario() -> float:
        turns = Turns(RetryBudget(), most_waiting=10, most_batches=10)
        batch = open_batch(1)
        turns.defer(Effort(batch, claims(batch, 1)[0]), 42.0)
        began = anyio.current_time()
        await turns.wait()
        return anyio.current_time() - began

    assert run(scenario()) == pytest.approx(42.0, abs=0.05)


def test_a_batch_that_runs_low_asks_for_more() -> None:

    async def scenario() -> bool:
        turns = Turns(RetryBudget(), most_waiting=10, most_batches=10)
        batch = open_batch(1)
        turns.offer(batch, claims(batch, 64))
        asked = False

        async def feeder() -> None:
            nonlocal asked
            await batch.wants_more.wait()
            asked = True

        async with anyio.create_task_group() as group:
            group.start_soon(feeder)
            await anyio.wait_all_tasks_blocked()
            turns.pop()
            with anyio.move_on_after(1.0):
                while not asked:
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        return asked

    assert run(scenario())
