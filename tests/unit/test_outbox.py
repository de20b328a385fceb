"""What an earlier run left in the ledger goes out, whether or not this run meets its batches."""

from tests.unit.test_submitter import ACCEPTED, pace, settings
from tests.virtualtime import run
from worker.pipeline import Neighbours, Pipeline
from worker.ports import Arrival, Record
from worker.tally import Tally
from worker.testing import MemoryLedger, MemorySink, MemorySource, ScriptedApi


def test_a_run_that_finds_no_batch_still_carries_what_an_earlier_one_left() -> None:
    async def scenario() -> list[str]:
        ledger, sink, given = MemoryLedger(), MemorySink(), settings(most=1)
        (known,) = await ledger.open_batches([Arrival("a" * 64, "ref", "gone.837", 1, 1.0, 1500)])
        for ordinal in range(1, 1501):
            body = b'{"ordinal":%d}' % ordinal
            record = Record(known.batch.number, ordinal, 1, f"left:{ordinal}:1", "accepted", None, body)
            await ledger.record([record])
        api = ScriptedApi(lambda _claim, _number: ACCEPTED)
        pipeline = Pipeline(given, Neighbours(MemorySource(), ledger, [sink], api), pace(given), Tally())
        await pipeline.open_sinks()

        await pipeline.run(once=True)

        return list(sink.taken)

    assert run(scenario(), threads=True) == [f"left:{ordinal}:1" for ordinal in range(1, 1501)]
