"""Results of megabytes on their way to the disk: few at a time, in portions, and none held back for ever."""

from collections.abc import Sequence

import anyio
from msgspec.structs import replace

from tests.unit.test_submitter import ACCEPTED, UNAVAILABLE, pace, settings
from tests.virtualtime import run
from worker.claim import Claim
from worker.flow.allowance import ANSWER_BYTES, Allowance
from worker.pipeline import Neighbours, Pipeline
from worker.ports import PAGE_BYTES, Emission, Record
from worker.result import Verdict, decode_result
from worker.simulator.generator import GeneratorSpec, generate
from worker.tally import Tally
from worker.testing import MemoryLedger, MemorySink, MemorySource, ScriptedApi
from worker.unstored import PORTION_BYTES

CLAIMS = 60
LENGTH = 2 << 20
LENGTHY = replace(ACCEPTED, x12_277ca="x" * LENGTH)


class SlowLedger(MemoryLedger):
    """Stores nothing for a while, then what it is given; `portions` are the bytes of each."""

    def __init__(self) -> None:
        super().__init__()
        self.portions: list[int] = []

    async def record(self, records: Sequence[Record]) -> Sequence[Emission]:
        if not self.portions:
            await anyio.sleep(60.0)
        self.portions.append(sum(len(record.body) for record in records))
        return await super().record(records)


class Portions(MemorySink):
    """Notes how many bytes it is given at once."""

    def __init__(self) -> None:
        super().__init__()
        self.portions: list[int] = []
        self.full = anyio.Event()

    async def write(self, emissions: Sequence[Emission]) -> str | None:
        self.portions.append(sum(len(emission.body) for emission in emissions))
        cursor = await super().write(emissions)
        if len(self.taken) == CLAIMS:
            self.full.set()
        return cursor


def test_results_of_megabytes_hold_up_further_attempts_and_are_stored_in_portions() -> None:
    ledger, sink, large = SlowLedger(), Portions(), Allowance(ANSWER_BYTES)
    api = ScriptedApi(lambda _claim, _number: LENGTHY)
    before_the_disk: list[int] = []

    async def scenario() -> None:
        source, given = MemorySource(), settings(most=4)
        source.put("batch.837", b"".join(generate(GeneratorSpec(claims=CLAIMS))))
        pipeline = Pipeline(given, Neighbours(source, ledger, [sink], api), pace(given), Tally(), large=large)
        await pipeline.open_sinks()
        await source.open()
        async with anyio.create_task_group() as group:
            group.start_soon(pipeline.run)
            await anyio.sleep(50.0)
            before_the_disk.extend((len(api.calls), large.taken_bytes))
            await sink.full.wait()
            pipeline.drain()

    run(scenario(), threads=True)

    attempts, taken = before_the_disk
    assert ANSWER_BYTES // (2 * LENGTH) <= attempts <= ANSWER_BYTES // (2 * LENGTH) + 4
    assert taken == attempts * 2 * LENGTH
    assert large.taken_bytes == 0
    assert max(ledger.portions) < PORTION_BYTES
    assert max(sink.portions) < ANSWER_BYTES + PAGE_BYTES
    assert sorted(len(body.body) > LENGTH for body in sink.taken.values()) == [True] * CLAIMS


def test_results_of_megabytes_are_told_again_page_by_page_and_what_has_none_is_sent() -> None:
    sink, large, undelivered = MemorySink(), Allowance(ANSWER_BYTES), {7, 31}
    sent_again: set[int] = set()

    def answer(claim: Claim, _number: int) -> Verdict:
        if claim.batch.name == "two.837":
            sent_again.add(claim.ordinal)
        elif claim.ordinal in undelivered:
            return UNAVAILABLE
        return LENGTHY

    async def scenario() -> None:
        source, given = MemorySource(), settings(most=4, max_attempts=1)
        for name in ("one.837", "two.837"):
            source.put(name, b"".join(generate(GeneratorSpec(claims=CLAIMS))))
        neighbours = Neighbours(source, MemoryLedger(), [sink], ScriptedApi(answer))
        pipeline = Pipeline(given, neighbours, pace(given), Tally(), large=large)
        await pipeline.open_sinks()
        await source.open()
        await pipeline.run(once=True)

    run(scenario(), threads=True)

    results = [decode_result(emission.body) for emission in sink.taken.values()]
    second = [result for result in results if result.batch_name == "two.837"]
    assert sent_again == undelivered
    assert {result.ordinal for result in second if result.duplicate_of} == set(range(1, CLAIMS + 1)) - undelivered
    assert {len(result.x12_277ca or "") for result in second} == {LENGTH}
    assert large.taken_bytes == 0
