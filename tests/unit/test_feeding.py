"""What happens to batches on their way to the turns when their files, or the settings, change under them."""

from pathlib import Path

import anyio
import pytest

from tests.unit.test_submitter import ACCEPTED, pace, settings
from tests.virtualtime import run
from worker.claim import Delivery
from worker.errors import StateError
from worker.pipeline import Neighbours, Pipeline
from worker.result import Disposition, Result, decode_result
from worker.settings import Settings
from worker.simulator.generator import GeneratorSpec, generate
from worker.tally import Tally
from worker.testing import MemoryLedger, MemorySink, MemorySource, ScriptedApi


class OneFile(MemorySource):
    """A source of one file that is not copied."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    async def take(self, limit: int, *, wait: bool = True) -> list[Delivery]:
        if self.settled or self._held:
            return []
        delivery = Delivery("large.837", "ref", self._path.stat().st_size, 0.0, path=self._path)
        self._held[delivery.ref] = delivery
        return [delivery]


def results_of(source: MemorySource, api: ScriptedApi, given: Settings, ledger: MemoryLedger) -> list[Result]:
    async def scenario() -> list[Result]:
        sink = MemorySink()
        pipeline = Pipeline(given, Neighbours(source, ledger, [sink], api), pace(given), Tally())
        await pipeline.open_sinks()
        await pipeline.run(once=True)
        found = [decode_result(emission.body) for emission in sink.taken.values()]
        return sorted(found, key=lambda result: result.ordinal)

    return run(scenario(), threads=True)


@pytest.mark.fault(48)
@pytest.mark.parametrize("damage", ["truncated", "removed", "replaced"])
def test_a_large_file_that_changes_while_it_is_read_ends_each_claim_once_and_sends_nothing_of_the_change(
    tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "large.837"
    path.write_bytes(b"".join(generate(GeneratorSpec(claims=800))))

    def script(claim: object, _number: int) -> object:
        if len(api.calls) == 50:
            if damage == "removed":
                path.unlink()
            elif damage == "truncated":
                path.write_bytes(path.read_bytes()[:200_000])
            else:
                path.write_bytes(path.read_bytes().replace(b"CLM*", b"CLM*X"))
        return ACCEPTED

    api = ScriptedApi(script)  # type: ignore[arg-type]
    results = results_of(OneFile(path), api, settings(most=20), MemoryLedger())

    lost = [result for result in results if result.disposition is Disposition.INVALID]
    assert [result.ordinal for result in results] == list(range(1, 801))
    assert {result.disposition for result in results} == {Disposition.ACCEPTED, Disposition.INVALID}
    assert {result.reason.code for result in lost if result.reason} == {"batch_lost"}
    assert not any((result.patient_control_number or "").startswith("X") for result in results)


@pytest.mark.fault(48)
def test_a_file_that_is_gone_before_it_is_read_is_refused_and_does_not_end_the_worker(tmp_path: Path) -> None:
    source = MemorySource()
    gone = Delivery("gone.837", "gone", 2 << 20, 0.0, path=tmp_path / "gone.837")
    source.deliver(gone)
    source.put("whole.837", b"".join(generate(GeneratorSpec(claims=1))))

    results = results_of(source, ScriptedApi(lambda _claim, _number: ACCEPTED), settings(most=1), MemoryLedger())

    assert [(one.name, code) for one, code, _ in source.refused] == [("gone.837", "batch_lost")]
    assert [result.disposition for result in results] == [Disposition.ACCEPTED]


def test_a_batch_begun_with_another_split_is_refused_by_name_instead_of_never_ending() -> None:

    source, ledger = MemorySource(), MemoryLedger()
    source.put("batch.837", b"".join(generate(GeneratorSpec(claims=300))))
    begun = settings(most=1)

    async def scenario() -> None:
        api = ScriptedApi(lambda _claim, _number: ACCEPTED)
        first = Pipeline(begun, Neighbours(source, ledger, [MemorySink("a")], api), pace(begun), Tally())
        await first.open_sinks()
        async with anyio.create_task_group() as group:
            group.start_soon(first.run)
            await anyio.sleep(0.5)
            first.drain()
        other = Settings(
            input=type(begun.input)(split="transaction"), flow=begun.flow, retry=begun.retry, telemetry=begun.telemetry
        )
        second = Pipeline(other, Neighbours(source, ledger, [MemorySink("b")], api), pace(other), Tally())
        await second.open_sinks()
        await second.run(once=True)

    with pytest.raises(BaseExceptionGroup) as raised:
        run(scenario(), threads=True)

    assert raised.group_contains(StateError, match=r"begun with another input\.split")
