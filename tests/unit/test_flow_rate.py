import anyio
import pytest

from tests.virtualtime import virtual_time
from worker.flow.rate import Rate


async def begin(rate: Rate, count: int) -> list[float]:
    begun = anyio.current_time()
    moments = []
    for _ in range(count):
        if not rate.try_acquire():
            await rate.acquire()
        moments.append(anyio.current_time() - begun)
    return moments


@virtual_time
async def test_without_a_rate_nothing_waits() -> None:
    assert await begin(Rate(0.0), 1000) == [0.0] * 1000


@virtual_time
async def test_one_a_second_is_one_a_second() -> None:
    assert await begin(Rate(1.0), 5) == [pytest.approx(second) for second in range(5)]


@pytest.mark.parametrize("rate_per_s", [0.5, 3.0, 50.0, 1000.0])
@virtual_time
async def test_no_stretch_of_time_holds_more_than_its_rate_and_burst(rate_per_s: float) -> None:
    moments = await begin(Rate(rate_per_s), 300)

    burst = max(1.0, rate_per_s * 0.1)
    for first in range(0, 300, 7):
        for last in range(first, 300, 11):
            assert last - first + 1 <= rate_per_s * (moments[last] - moments[first]) + burst + 1e-6
    assert moments[-1] == pytest.approx((300 - burst) / rate_per_s, rel=0.02)


@virtual_time
async def test_time_unused_is_not_saved_up() -> None:
    rate = Rate(10.0)
    await anyio.sleep(3600)

    moments = await begin(rate, 11)

    assert moments[-1] == pytest.approx(1.0)


@pytest.mark.fault(88)
@pytest.mark.parametrize("rate_per_s", [0.0, 100.0])
@virtual_time
async def test_a_pause_for_everybody_holds_everybody_and_is_never_shortened(rate_per_s: float) -> None:
    rate = Rate(rate_per_s)
    begun = anyio.current_time()
    rate.hold_until(begun + 30)
    rate.hold_until(begun + 5)

    assert not rate.try_acquire()
    assert (await begin(rate, 3))[0] == pytest.approx(30.0)
    assert rate.try_acquire()


@virtual_time
async def test_a_pause_may_grow_while_it_is_waited_for() -> None:
    rate = Rate()
    begun = anyio.current_time()
    rate.hold_until(begun + 10)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(rate.acquire)
        await anyio.sleep(9)
        rate.hold_until(begun + 20)

    assert anyio.current_time() - begun == pytest.approx(20.0)


@virtual_time
async def test_waiters_go_in_the_order_they_came_and_nobody_overtakes() -> None:
    rate = Rate(1.0)
    order: list[int] = []

    async def go(number: int) -> None:
        await rate.acquire()
        order.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(5):
            tasks.start_soon(go, number)
        await anyio.sleep(2.5)
        assert not rate.try_acquire()

    assert order == [0, 1, 2, 3, 4]


@virtual_time
async def test_a_cancelled_waiter_takes_nothing() -> None:
    rate = Rate(1.0)
    await rate.acquire()
    begun = anyio.current_time()
    for _ in range(10):
        with anyio.move_on_after(0.05):
            await rate.acquire()

    await rate.acquire()

    assert anyio.current_time() - begun == pytest.approx(1.0)


@virtual_time
async def test_who_comes_when_a_waiter_is_about_to_go_does_not_overtake_it() -> None:
    rate = Rate(1.0)
    await rate.acquire()
    overtook: list[bool] = []

    async def come_at_that_moment() -> None:
        await anyio.sleep(1.0)
        overtook.append(rate.try_acquire())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(come_at_that_moment)
        tasks.start_soon(rate.acquire)

    assert overtook == [False]
