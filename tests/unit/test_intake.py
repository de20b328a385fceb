"""What the intake has taken and not opened is nobody's loss."""

from collections.abc import Sequence

import anyio
import pytest
from structlog.testing import capture_logs

from tests.unit.test_submitter import ACCEPTED, pace, settings
from tests.virtualtime import run
from worker.errors import StorageFull
from worker.pipeline import Neighbours, Pipeline
from worker.ports import Arrival, OpenedBatch
from worker.reserving import AHEAD
from worker.result import decode_result
from worker.simulator.generator import GeneratorSpec, generate
from worker.tally import Tally
from worker.testing import MemoryLedger, MemorySink, MemorySource, ScriptedApi


class AskedLedger(MemoryLedger):
    """Takes a second to say what it has opened, and keeps how many first attempts were to be noted with each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.reserved: list[int] = []
        self.many = anyio.Event()

    async def open_batches(self, arrivals: Sequence[Arrival]) -> Sequence[OpenedBatch]:
        self.reserved += [arrival.reserved for arrival in arrivals]
        opened = await super().open_batches(arrivals)
        await anyio.sleep(1)
        if len(self.reserved) > AHEAD:
            self.many.set()
        return opened


def one_claim(number: int) -> bytes:
    return b"".join(generate(GeneratorSpec(claims=1, first_ordinal=number + 1)))


async def pipeline_on(
    source: MemorySource, ledger: MemoryLedger, sink: MemorySink, *, latency_s: float, safe: bool = True
) -> Pipeline:
    given = settings(most=1, safe=safe)
    api = ScriptedApi(lambda _claim, _number: ACCEPTED, latency_s=latency_s)
    pipeline = Pipeline(given, Neighbours(source, ledger, [sink], api), pace(given), Tally())
    await pipeline.open_sinks()
    await source.open()
    return pipeline


@pytest.mark.parametrize(("drain_after_s", "begun"), [(0.5, 0), (5.0, 1)])
def test_claims_noted_with_their_batch_and_not_sent_cost_nothing_after_a_drain(
    drain_after_s: float, begun: int
) -> None:
    async def scenario() -> list[tuple[int, int]]:
        source, ledger, sink = MemorySource(), AskedLedger(), MemorySink()
        for number in range(5):
            source.put(f"{number}.837", one_claim(number))
        first = await pipeline_on(source, ledger, sink, latency_s=3600)
        async with anyio.create_task_group() as group:
            group.start_soon(first.run)
            await anyio.sleep(drain_after_s)
            first.drain()
        second = await pipeline_on(source, ledger, sink, latency_s=0.01)
        await second.run(once=True)
        results = map(decode_result, (emission.body for emission in sink.taken.values()))
        return [(result.attempts, result.ambiguous_attempts) for result in results]

    spent = run(scenario(), threads=True)

    assert sorted(spent) == [(1, 0)] * (5 - begun) + [(2, 1)] * begun


@pytest.mark.parametrize(("safe", "most"), [(True, AHEAD), (False, 0)])
def test_only_so_many_first_attempts_are_noted_with_their_batches(safe: bool, most: int) -> None:
    async def scenario() -> list[int]:
        source, ledger = MemorySource(), AskedLedger()
        for number in range(AHEAD + 150):
            source.put(f"{number}.837", one_claim(number))
        pipeline = await pipeline_on(source, ledger, MemorySink(), latency_s=1e9, safe=safe)
        async with anyio.create_task_group() as group:
            group.start_soon(pipeline.run)
            await ledger.many.wait()
            group.cancel_scope.cancel()
        return ledger.reserved

    reserved = run(scenario(), threads=True)

    assert most <= sum(reserved) <= most + 1  # one was sent meanwhile


def test_batches_taken_and_not_opened_are_given_back_by_a_drain() -> None:
    async def scenario() -> list[str]:
        source, ledger = MemorySource(), MemoryLedger()
        for number in range(3):
            source.put(f"{number}.837", b"".join(generate(GeneratorSpec(claims=1, first_ordinal=number + 1))))
        given = settings(most=4)
        api = ScriptedApi(lambda _claim, _number: ACCEPTED)
        pipeline = Pipeline(given, Neighbours(source, ledger, [MemorySink()], api), pace(given), Tally())
        await pipeline.open_sinks()
        await source.open()
        ledger.failure = StorageFull("ledger: no room")
        async with anyio.create_task_group() as group:
            group.start_soon(pipeline.run)
            await anyio.sleep(5)
            source.put("late.837", b"".join(generate(GeneratorSpec(claims=1, first_ordinal=9))))
            await anyio.sleep(5)
            pipeline.drain()
        return sorted(delivery.name for delivery in await source.take(10, wait=False))

    assert run(scenario(), threads=True) == ["0.837", "1.837", "2.837", "late.837"]


def test_a_bounded_run_ends_though_all_that_was_taken_was_refused_and_tells_it_once() -> None:
    async def scenario() -> list[str]:
        source = MemorySource()
        source.put("text.837", b"no X12 at all, and long enough to be sure of that")
        given = settings(most=4)
        api = ScriptedApi(lambda _claim, _number: ACCEPTED)
        pipeline = Pipeline(given, Neighbours(source, MemoryLedger(), [MemorySink()], api), pace(given), Tally())
        await pipeline.open_sinks()
        await source.open()
        with anyio.fail_after(60):
            await pipeline.run(once=True)
        return [code for _, code, _ in source.refused]

    with capture_logs() as logs:
        codes = run(scenario(), threads=True)

    assert codes == ["not_x12"]
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["input.quarantined"]
