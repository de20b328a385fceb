"""Messages in work keep their leases, whatever a single sign of life comes to."""

import asyncio
from collections.abc import Hashable, Sequence

import anyio
from anyio.lowlevel import checkpoint
from structlog.testing import capture_logs

from tests.virtualtime import virtual_time
from worker.brokers.leases import keep_leases
from worker.errors import SourceUnavailable


class Engine:
    """Extends leases of a minute; the first signs of life end in the given failures."""

    lease_s = 60.0

    def __init__(self, *failures: Exception) -> None:
        self.told: list[float] = []
        self._failures = list(failures)

    async def extend(self, handles: Sequence[Hashable]) -> None:
        await checkpoint()
        if self._failures:
            raise self._failures.pop(0)
        self.told.append(anyio.current_time())


async def kept_for(seconds: float, engine: Engine) -> list[float]:
    began = anyio.current_time()
    with anyio.move_on_after(seconds):
        await keep_leases(engine, lambda: ["message"])
    return [moment - began for moment in engine.told]


@virtual_time
async def test_a_sign_of_life_goes_out_at_every_third_of_the_lease() -> None:
    assert await kept_for(65.0, Engine()) == [20.0, 40.0, 60.0]


@virtual_time
async def test_a_broker_out_of_reach_is_told_once_and_tried_again() -> None:
    with capture_logs() as lines:
        told = await kept_for(85.0, Engine(SourceUnavailable("away"), SourceUnavailable("away")))

    assert told == [60.0, 80.0]
    assert [line["event"] for line in lines] == ["input.lease_failed"]


@virtual_time
async def test_a_failure_that_nobody_foresaw_is_told_and_ends_no_further_sign_of_life() -> None:
    with capture_logs() as lines:
        told = await kept_for(65.0, Engine(KeyError("of a library")))

    assert told == [40.0, 60.0]
    assert [(line["event"], line["log_level"]) for line in lines] == [("task.failed", "error")]


@virtual_time
async def test_an_engine_without_leases_is_never_asked() -> None:
    engine = Engine()
    engine.lease_s = 0.0

    assert await kept_for(600.0, engine) == []


class Deaf(Engine):
    """Takes its cancellation for a connection that was lost, as redis-py can."""

    async def extend(self, handles: Sequence[Hashable]) -> None:
        try:
            await anyio.sleep(10.0)
        except asyncio.CancelledError:
            raise SourceUnavailable("lost") from None


@virtual_time
async def test_signs_of_life_end_when_told_although_the_library_does_not_hear_it() -> None:
    with capture_logs() as lines:
        keeping = asyncio.create_task(keep_leases(Deaf(), lambda: ["message"]))
        await anyio.sleep(25.0)
        keeping.cancel()
        ended, _ = await asyncio.wait((keeping,), timeout=60.0)
        keeping.cancel()

    assert ended == {keeping}
    assert lines == []
