import asyncio
import random

import anyio
import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from tests.virtualtime import run, virtual_time
from worker.flow.limiter import FixedLimiter, Limiter, Signal, Slots


def test_the_fixed_limiter_is_a_limiter() -> None:
    limiter: Limiter = FixedLimiter(3)

    assert (limiter.limit, limiter.in_flight, limiter.reason, limiter.last_good) == (3, 0, "fixed", None)


@virtual_time
async def test_no_more_than_the_limit_are_in_flight() -> None:
    limiter = FixedLimiter(2)

    assert [limiter.try_acquire() for _ in range(3)] == [True, True, False]
    limiter.release(Signal.LOST, 1.0)
    assert limiter.in_flight == 1
    await limiter.acquire()
    assert (limiter.limit, limiter.in_flight) == (2, 2)


@virtual_time
async def test_slots_go_to_waiters_in_the_order_they_came() -> None:
    slots = Slots(1)
    slots.try_acquire()
    order: list[int] = []

    async def go(number: int) -> None:
        await slots.acquire()
        order.append(number)
        await anyio.sleep(1)
        slots.release()

    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(go, number)
        await anyio.sleep(0.5)
        slots.release()
        assert not slots.try_acquire()

    assert order == [0, 1, 2, 3]
    assert slots.in_flight == 0


@virtual_time
async def test_a_higher_bound_wakes_as_many_as_fit_and_a_lower_one_takes_nothing_away() -> None:
    slots = Slots(1)
    entered = 0

    async def go() -> None:
        nonlocal entered
        await slots.acquire()
        entered += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(go)
        await anyio.sleep(1)
        slots.resize(4)
        await anyio.sleep(1)
        assert (entered, slots.in_flight) == (4, 4)
        slots.resize(2)
        assert slots.in_flight == 4
        for _ in range(3):
            slots.release()
        await anyio.sleep(1)
        assert (entered, slots.in_flight) == (5, 2)


@virtual_time
async def test_a_slot_handed_to_a_waiter_that_is_cancelled_at_that_moment_goes_to_the_next() -> None:
    slots = Slots(1)
    slots.try_acquire()
    # anyio delivers no cancellation to a task that is about to wake; asyncio does, and so do other libraries' time-outs
    cancelled = asyncio.ensure_future(slots.acquire())
    await anyio.sleep(1)
    next_one = asyncio.ensure_future(slots.acquire())
    await anyio.sleep(1)

    slots.release()
    cancelled.cancel()
    await next_one

    assert cancelled.cancelled()
    assert slots.in_flight == 1


@virtual_time
async def test_a_waiter_cancelled_while_it_waits_is_forgotten() -> None:
    slots = Slots(1)
    slots.try_acquire()
    with anyio.move_on_after(1):
        await slots.acquire()

    slots.release()

    assert slots.in_flight == 0
    assert slots.try_acquire()


@given(seed=st.integers(0, 2**32), limit=st.integers(1, 6), workers=st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_under_random_cancelling_and_resizing_no_slot_is_lost_and_no_waiter_forgotten(
    seed: int, limit: int, workers: int
) -> None:
    chance = random.Random(seed)
    slots = Slots(limit)
    highest = limit

    async def work() -> None:
        for _ in range(5):
            with anyio.move_on_after(chance.choice([0.1, 1.0, 50.0])) as patience:
                await slots.acquire()
            if patience.cancelled_caught:
                continue
            assert slots.in_flight <= highest
            await anyio.sleep(chance.choice([0.0, 0.1, 1.0]))
            slots.release()

    async def resize() -> None:
        nonlocal highest
        for _ in range(20):
            await anyio.sleep(0.1)
            bound = chance.randint(1, 6)
            highest = max(highest, bound)
            slots.resize(bound)

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(resize)
            for _ in range(workers):
                tasks.start_soon(work)
        assert slots.in_flight == 0
        assert slots.try_acquire()

    run(main(), stall_s=0.05)


@pytest.mark.parametrize("signal", list(Signal))
@virtual_time
async def test_fixed_is_fixed(signal: Signal) -> None:
    limiter = FixedLimiter(5)
    for _ in range(100):
        await limiter.acquire()
        limiter.release(signal, 2.0)

    limiter.restart()

    assert (limiter.limit, limiter.in_flight) == (5, 0)
