"""A drain with the whole flow around it, and a ledger that does not answer; in virtual time."""

from collections.abc import Sequence

import anyio

from tests.unit.test_submitter import ACCEPTED, pace, settings
from tests.virtualtime import run
from worker.errors import SinkUnavailable
from worker.pipeline import FLUSH_WITHIN_S, Neighbours, Pipeline
from worker.ports import Emission, Record
from worker.simulator.generator import GeneratorSpec, generate
from worker.tally import Tally
from worker.testing import MemoryLedger, MemorySink, MemorySource, ScriptedApi


class SilentLedger(MemoryLedger):
    """Notes nothing of what was answered, and keeps whoever asks it, as a server does that stands still."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = anyio.CancelScope(shield=True)

    def end_by(self, deadline: float) -> None:
        self._asked.deadline = deadline

    async def record(self, records: Sequence[Record]) -> Sequence[Emission]:
        with self._asked:
            await anyio.sleep(24 * 3600)
        raise SinkUnavailable("the server does not answer")


def test_a_drain_ends_half_a_minute_after_its_time_although_the_ledger_never_answers() -> None:
    async def scenario() -> float:
        source, given = MemorySource(), settings(most=8)
        source.put("one.837", b"".join(generate(GeneratorSpec(claims=20))))
        api = ScriptedApi(lambda _claim, _number: ACCEPTED)
        pipeline = Pipeline(given, Neighbours(source, SilentLedger(), [MemorySink()], api), pace(given), Tally())
        await pipeline.open_sinks()
        async with anyio.create_task_group() as group:
            group.start_soon(pipeline.run)
            await anyio.sleep(60)
            told = anyio.current_time()
            pipeline.drain()
        return anyio.current_time() - told - given.telemetry.drain_s

    assert run(scenario(), threads=True) <= FLUSH_WITHIN_S
