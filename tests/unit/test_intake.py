"""What the intake has taken and not opened is nobody's loss."""

import anyio

from tests.unit.test_submitter import ACCEPTED, pace, settings
from tests.virtualtime import run
from worker.errors import StorageFull
from worker.pipeline import Neighbours, Pipeline
from worker.simulator.generator import GeneratorSpec, generate
from worker.tally import Tally
from worker.testing import MemoryLedger, MemorySink, MemorySource, ScriptedApi


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

    assert run(scenario(), grace_s=0.01) == ["0.837", "1.837", "2.837", "late.837"]


def test_a_bounded_run_ends_though_all_that_was_taken_was_refused() -> None:
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

    assert run(scenario(), grace_s=0.01) == ["not_x12"]
