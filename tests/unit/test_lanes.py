"""Lanes make attempts one after another, wait for more, and end when they are closed."""

from collections import Counter

import anyio

from tests.virtualtime import run
from worker.batches import OpenBatch
from worker.claim import Batch, Claim, Delivery
from worker.effort import Effort
from worker.lanes import MOST_WAITING, Lanes
from worker.ports import OpenedBatch
from worker.x12 import ClaimFacts

BATCH = OpenBatch(OpenedBatch(Batch(1, "b1", "a.837", 0.0)), Delivery("a.837", "ref", 0, 0.0, data=b""))


def effort(ordinal: int) -> Effort:
    return Effort(BATCH, Claim(BATCH.batch, ordinal, b"", ClaimFacts()))


class Attempts:
    """Each takes a second; keeps which task made which."""

    def __init__(self) -> None:
        self.by: Counter[int] = Counter()
        self.made: list[int] = []
        self.at_once: list[Effort] = []

    async def attempt(self, effort: Effort) -> None:
        self.by[anyio.get_current_task().id] += 1
        await anyio.sleep(1)
        self.made.append(effort.claim.ordinal)

    def next_at_once(self) -> Effort | None:
        return self.at_once.pop() if self.at_once else None


def test_a_lane_goes_on_with_what_may_begin_at_once() -> None:
    attempts = Attempts()
    attempts.at_once = [effort(ordinal) for ordinal in (4, 3, 2)]

    async def scenario() -> None:
        async with anyio.create_task_group() as tasks:
            lanes = Lanes(tasks, attempts.attempt, attempts.next_at_once)
            lanes.begin(effort(1))
            await anyio.sleep(10)
            lanes.close()

    run(scenario())

    assert attempts.made == [1, 2, 3, 4]
    assert len(attempts.by) == 1


def test_bursts_are_made_by_the_lanes_that_wait() -> None:
    attempts = Attempts()

    async def scenario() -> None:
        async with anyio.create_task_group() as tasks:
            lanes = Lanes(tasks, attempts.attempt, attempts.next_at_once)
            for burst in range(3):
                for number in range(10):
                    lanes.begin(effort(10 * burst + number))
                await anyio.sleep(10)
            lanes.close()

    run(scenario())

    assert sorted(attempts.made) == list(range(30))
    assert list(attempts.by.values()) == [3] * 10


def test_attempts_under_way_end_when_the_lanes_are_closed() -> None:
    attempts = Attempts()

    async def scenario() -> float:
        async with anyio.create_task_group() as tasks:
            lanes = Lanes(tasks, attempts.attempt, attempts.next_at_once)
            lanes.begin(effort(1))
            await anyio.sleep(10)
            lanes.begin(effort(2))
            began = anyio.current_time()
            lanes.close()
        return anyio.current_time() - began

    assert run(scenario()) == 1.0
    assert attempts.made == [1, 2]


def test_no_more_lanes_wait_than_are_worth_it() -> None:
    attempts = Attempts()
    many = MOST_WAITING + 50

    async def scenario() -> int:
        async with anyio.create_task_group() as tasks:
            lanes = Lanes(tasks, attempts.attempt, attempts.next_at_once)
            for ordinal in range(many):
                lanes.begin(effort(ordinal))
            await anyio.sleep(10)
            waiting = len(anyio.get_running_tasks()) - 1
            lanes.close()
        return waiting

    assert run(scenario()) == MOST_WAITING
    assert len(attempts.made) == many
