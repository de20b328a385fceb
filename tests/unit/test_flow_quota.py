"""A worker's part of what its fleet shares, in virtual time."""

import anyio
import pytest
from structlog.testing import capture_logs

from tests.clocks import SetClock
from tests.virtualtime import virtual_time
from worker.fleet import keep_quota
from worker.flow.limiter import FixedLimiter, Signal
from worker.flow.quota import LEAST_SLOTS, UNBOUNDED, Quota, SharedLimits
from worker.flow.shared import SharedLimiter, SharedRate
from worker.ports.fleet import Ask, Grant
from worker.testing import MemoryPlace

LEASE_S = 10.0


def quota(most: int = 0, rate: float = 0.0, workers: int = 2, clock: SetClock | None = None) -> Quota:
    return Quota(SharedLimits(most, rate, workers), grace_s=130.0, clock=clock or SetClock())


def test_nothing_begins_before_the_first_grant_and_no_more_than_was_granted_then() -> None:
    part = quota(most=10)
    limiter = SharedLimiter(FixedLimiter(8), part)

    before = limiter.try_acquire()
    part.granted(Grant(2))
    after = [limiter.try_acquire() for _ in range(3)]

    assert (before, after) == (False, [True, True, False])
    assert (limiter.limit, limiter.in_flight, limiter.own_limit, limiter.reason) == (2, 2, 8, "fleet")
    part.granted(Grant(9))
    assert (limiter.limit, limiter.reason) == (8, "fixed")


def test_a_worker_asks_for_all_it_could_use_once_it_was_refused_and_for_some_reserve_otherwise() -> None:
    part = quota(most=100)
    limiter = SharedLimiter(FixedLimiter(40), part)

    idle = part.ask(0, limiter.own_limit)
    part.granted(Grant(6))
    for _ in range(6):
        limiter.try_acquire()
    busy = part.ask(limiter.in_flight, limiter.own_limit)
    limiter.try_acquire()
    pressed = part.ask(limiter.in_flight, limiter.own_limit)

    assert (idle, busy, pressed) == (Ask(LEAST_SLOTS, 0), Ask(12, 6), Ask(40, 6))


def test_a_smaller_part_stops_new_calls_at_once_and_is_given_up_as_calls_end() -> None:
    part = quota(most=10)
    limiter = SharedLimiter(FixedLimiter(10), part)
    part.granted(Grant(10))
    for _ in range(7):
        limiter.try_acquire()

    kept = [part.ask(limiter.in_flight, 10).kept]
    part.granted(Grant(5))
    refused = limiter.try_acquire()
    kept.append(part.ask(limiter.in_flight, 10).kept)
    for _ in range(3):
        limiter.release(Signal.OK, 0.1)
    kept.append(part.ask(limiter.in_flight, 10).kept)

    assert (refused, kept) == (False, [10, 7, 5])


def test_without_the_place_a_worker_keeps_to_its_share_which_it_may_use_in_full_after_the_grace() -> None:
    clock = SetClock()
    rich, poor, new = (quota(most=10, workers=2, clock=clock) for _ in range(3))
    rich.granted(Grant(9))
    poor.granted(Grant(1))

    slots = []
    for passed_s in (0.0, 129.0, 1.0):
        clock.now += passed_s
        for part in (rich, poor, new):
            part.lost()
        slots.append((rich.slots, poor.slots, new.slots))

    assert slots == [(5, 1, 1), (5, 1, 1), (5, 5, 5)]
    poor.granted(Grant(3))
    assert (poor.slots, poor.away) == (3, False)
    poor.lost()
    assert poor.slots == 3  # the grace begins anew


def test_without_the_place_the_rate_is_the_share() -> None:
    clock = SetClock()
    part = quota(rate=20.0, workers=2, clock=clock)
    rate = SharedRate(0.0, part, clock=clock)
    part.granted(Grant(0, leaves=5))
    part.lost()

    begun = 0
    for _ in range(200):
        clock.now += 0.01
        begun += rate.try_acquire()

    assert 19 <= begun <= 21  # ten a second, for two seconds
    assert part.slots == UNBOUNDED


def test_a_leave_is_taken_for_each_call_and_given_back_if_the_workers_own_rate_forbids_it() -> None:
    clock = SetClock()
    part = quota(rate=100.0, clock=clock)
    rate = SharedRate(1.0, part, clock=clock)
    part.granted(Grant(0, leaves=2))

    first, too_soon = rate.try_acquire(), rate.try_acquire()
    clock.now += 1.0
    second = rate.try_acquire()
    clock.now += 1.0
    none_left = rate.try_acquire()

    assert (first, too_soon, second, none_left) == (True, False, True, False)
    assert part.ask(0, 1).leaves == 50


def test_a_worker_asks_for_as_many_leaves_as_it_needs_and_what_it_does_not_need_is_void() -> None:
    part = quota(rate=100.0)
    rate = SharedRate(0.0, part)

    idle = part.ask(0, 8).leaves
    part.granted(Grant(0, leaves=10))
    for _ in range(3):
        rate.try_acquire()
    slow = part.ask(0, 8).leaves, part.ask(0, 8).leaves
    refused = rate.try_acquire()

    assert (idle, slow, refused) == (0, (0, 0), False)
    assert part.ask(0, 8).leaves == 50


@virtual_time
async def test_a_waiter_goes_on_as_soon_as_there_is_more() -> None:
    part = quota(most=10, rate=10.0)
    limiter, rate = SharedLimiter(FixedLimiter(10), part), SharedRate(0.0, part)
    passed: list[str] = []

    async def go() -> None:
        await rate.acquire()
        passed.append("rate")
        await limiter.acquire()
        passed.append("limiter")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(go)
        await anyio.wait_all_tasks_blocked()
        nothing = list(passed)
        part.granted(Grant(0, leaves=1))
        await anyio.wait_all_tasks_blocked()
        with_leave = list(passed)
        part.granted(Grant(1))

    assert (nothing, with_leave, passed) == ([], ["rate"], ["rate", "limiter"])


@virtual_time
async def test_a_place_out_of_reach_is_told_once_and_stops_nothing_and_is_told_when_it_is_back() -> None:
    place = MemoryPlace(SharedLimits(10, 0.0, 2), lease_s=LEASE_S)
    part = Quota(place.limits, grace_s=130.0)
    limiter = SharedLimiter(FixedLimiter(8), part)
    limits: list[int] = []

    async def stay(seconds: float) -> None:
        await anyio.sleep(seconds)
        limiter.try_acquire()
        limits.append(limiter.limit)

    with capture_logs() as logs:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(keep_quota, place.worker("a"), part, limiter, lambda: None)
            await stay(20)
            place.away = True
            await stay(60)
            await stay(140)
            place.away = False
            await stay(20)
            tasks.cancel_scope.cancel()

    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("fleet.unavailable", "warning"), ("fleet.available", "info"),
    ]  # fmt: skip
    assert logs[0]["limit"] == 5
    assert limits == [LEAST_SLOTS, LEAST_SLOTS, 5, 6]  # at last twice what is under way


@virtual_time
async def test_a_worker_that_ends_gives_its_part_back() -> None:
    place = MemoryPlace(SharedLimits(10, 0.0, 2), lease_s=LEASE_S)
    part = Quota(place.limits, grace_s=130.0)
    limiter = SharedLimiter(FixedLimiter(8), part)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_quota, place.worker("a"), part, limiter, lambda: None)
        await anyio.sleep(20)
        tasks.cancel_scope.cancel()

    assert place.renew("b", Ask(10, 0)).slots == 10


@virtual_time
async def test_two_workers_keep_the_rate_together() -> None:
    place = MemoryPlace(SharedLimits(0, 50.0, 2), lease_s=LEASE_S)
    begun = [0, 0]

    async def work(number: int) -> None:
        part = Quota(place.limits, grace_s=130.0)
        limiter, rate = SharedLimiter(FixedLimiter(8), part), SharedRate(0.0, part)
        async with anyio.create_task_group() as own:
            own.start_soon(keep_quota, place.worker(str(number)), part, limiter, lambda: None)
            with anyio.move_on_after(60):
                while True:
                    await rate.acquire()
                    begun[number] += 1
            own.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        for number in range(2):
            tasks.start_soon(work, number)

    assert sum(begun) == pytest.approx(3000, rel=0.03)
    assert sum(begun) <= 50 * 60 + 1
    assert min(begun) > 0.4 * sum(begun)
