"""First attempts are noted ahead of time, by as few entries as possible and never too late."""

from collections.abc import Mapping

import anyio
import pytest

from tests.virtualtime import run
from worker.batches import OpenBatch
from worker.claim import Batch, Claim, Delivery
from worker.effort import Effort
from worker.errors import StateError
from worker.flow.budget import RetryBudget
from worker.flow.gate import Gate
from worker.ports import OpenedBatch
from worker.reserving import AHEAD, Reservations
from worker.testing import MemoryLedger
from worker.turns import Turns
from worker.x12 import ClaimFacts


class SlowLedger(MemoryLedger):
    """Takes a second for each entry, and keeps what was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dict[int, int]] = []

    async def reserve(self, marks: Mapping[int, int]) -> None:
        self.asked.append(dict(marks))
        await anyio.sleep(1.0)
        await super().reserve(marks)


class Scene:
    """Some open batches of so many claims, all of them waiting for their turn."""

    def __init__(self, *sizes: int, run_ahead: bool = True) -> None:
        self.ledger = SlowLedger()
        self.turns = Turns(RetryBudget(), most_waiting=10, most_batches=10, clock=lambda: 0.0)
        self.reservations = Reservations(self.ledger, self.turns, Gate(), run_ahead=run_ahead)
        for number, size in enumerate(sizes, 1):
            batch = Batch(number, f"b{number}", f"file{number}.837", 0.0)
            opened = OpenBatch(OpenedBatch(batch), Delivery(batch.name, f"ref{number}", 0, 0.0, data=b""))
            self.turns.offer(opened, [Claim(batch, ordinal, b"", ClaimFacts()) for ordinal in range(1, size + 1)])

    def next(self) -> Effort:
        effort = self.turns.pop()
        assert effort is not None
        return effort


def test_one_entry_covers_the_claims_that_come_next() -> None:
    scene = Scene(300)

    async def cover_all() -> None:
        for _ in range(AHEAD + 1):
            await scene.reservations.cover(scene.next())

    run(cover_all(), threads=True)

    assert scene.ledger.asked == [{1: AHEAD + 1}]


def test_one_entry_covers_many_small_batches() -> None:
    scene = Scene(*[1] * 50)

    async def cover_all() -> None:
        for _ in range(50):
            await scene.reservations.cover(scene.next())

    run(cover_all(), threads=True)

    assert scene.ledger.asked == [dict.fromkeys(range(1, 51), 1)]


def test_whoever_comes_while_the_entry_is_written_waits_for_it_and_writes_no_other() -> None:
    scene = Scene(50)
    covered: list[float] = []

    async def cover_one() -> None:
        await scene.reservations.cover(scene.next())
        covered.append(anyio.current_time())

    async def cover_all() -> float:
        began = anyio.current_time()
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(cover_one)
        return began

    began = run(cover_all(), threads=True)

    assert scene.ledger.asked == [{1: 50}]
    assert {moment - began for moment in covered} == {1.0}


def test_if_the_one_who_asked_is_cancelled_another_asks() -> None:
    scene = Scene(50)

    async def cover_both() -> None:
        with anyio.move_on_after(0.5) as first:
            await scene.reservations.cover(scene.next())
        assert first.cancelled_caught
        with anyio.fail_after(5):
            await scene.reservations.cover(scene.next())

    run(cover_both(), threads=True)

    assert len(scene.ledger.asked) == 2


def test_a_failed_ledger_fails_all_who_wait() -> None:
    scene = Scene(50)
    scene.ledger.failure = StateError("ledger: broken")
    failed: list[str] = []

    async def cover_one() -> None:
        try:
            await scene.reservations.cover(scene.next())
        except StateError as error:
            failed.append(str(error))

    async def cover_all() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(cover_one)

    run(cover_all(), threads=True)

    assert failed == ["ledger: broken"] * 3


@pytest.mark.parametrize("sizes", [(50,), (1, 1, 1)])
def test_where_a_repeat_is_not_safe_nothing_is_noted_that_is_not_sent_at_once(sizes: tuple[int, ...]) -> None:
    scene = Scene(*sizes, run_ahead=False)

    async def cover_one() -> None:
        await scene.reservations.cover(scene.next())

    run(cover_one(), threads=True)

    assert scene.ledger.asked == [{1: 1}]
