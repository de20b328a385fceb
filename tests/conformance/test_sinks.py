"""What every sink must do; the real ones and the one in memory are held to the same."""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from tests.brokers import PLACES, Place, finish
from tests.postgres import Table
from worker.claim import Batch
from worker.errors import SettingsError, StateError
from worker.ports import Emission, Sink
from worker.result import Disposition, Result, encode_result
from worker.sinks import EdiSink, JsonlSink, from_url
from worker.testing import MemorySink

BATCH = Batch(1, "0123456789abcdef0123", "a.837", 1_700_000_000.0)


class Target:
    """One target of a sink: opens it again each time, as a restarted worker would, and tells what it holds."""

    def __init__(self, sink: Callable[[], Sink], holds: Callable[[], list[str]]) -> None:
        self.sink = sink
        self.holds = holds


@pytest.fixture(params=["jsonl", *PLACES, "postgresql", "memory"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Target]:
    if request.param == "jsonl":
        path = tmp_path / "out" / "results.jsonl"
        yield Target(lambda: from_url(f"jsonl:{path}"), lambda: result_ids(path))
    elif request.param in PLACES:
        place = PLACES[request.param](tmp_path)
        yield Target(place.sink, lambda: published_ids(place))
        place.remove()
    elif request.param == "postgresql":
        table = Table()
        yield Target(table.sink, table.result_ids)
        table.remove()
    else:
        kept = MemorySink()
        yield Target(lambda: kept, lambda: list(kept.taken))


def published_ids(place: Place) -> list[str]:
    """What a broker holds: it may hold one result twice, under its one id."""
    bodies = [message.body for message in finish(place.published())]
    return list(dict.fromkeys(msgspec.json.decode(body, type=Result).result_id for body in bodies))


@pytest.fixture(params=["jsonl", "edi", *PLACES, "postgresql", "memory"])
def any_sink(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Sink]]:
    if request.param in PLACES:
        place = PLACES[request.param](tmp_path)
        yield place.sink
        place.remove()
        return
    if request.param == "postgresql":
        table = Table()
        yield table.sink
        table.remove()
        return
    kept = MemorySink()
    made: dict[str, Callable[[], Sink]] = {
        "jsonl": lambda: JsonlSink(tmp_path / "results.jsonl"),
        "edi": lambda: EdiSink(tmp_path / "edi"),
        "memory": lambda: kept,
    }
    yield made[request.param]


def result_ids(path: Path) -> list[str]:
    return [msgspec.json.decode(line, type=Result).result_id for line in path.read_bytes().splitlines()]


def body(ordinal: int, generation: int = 1) -> bytes:
    return encode_result(
        Result(
            result_id=f"{BATCH.batch_id}:{ordinal}:{generation}",
            claim_id=f"{BATCH.batch_id}:{ordinal}",
            generation=generation,
            batch_id=BATCH.batch_id,
            batch_name=BATCH.name,
            ordinal=ordinal,
            disposition=Disposition.ACCEPTED,
            reason=None,
            attempts=1,
            patient_control_number="PCN1",
            claim_type="professional",
            payer_id="87726",
            provider_tax_id="123456789",
            provider_npi="1999999984",
            total_charge="100",
            x12_999="ISA*999~",
            received_at="2025-01-01T00:00:00Z",
            completed_at="2025-01-01T00:00:01Z",
            environment="simulator",
        )
    )


def emissions(*ordinals: int, generation: int = 1) -> list[Emission]:
    return [Emission(n, 1, f"{BATCH.batch_id}:{n}:{generation}", body(n, generation)) for n in ordinals]


def ids(*ordinals: int) -> list[str]:
    return [f"{BATCH.batch_id}:{n}:1" for n in ordinals]


async def written(sink: Sink, cursor: str | None, taken: Sequence[Emission]) -> str | None:
    await sink.open(cursor)
    after = await sink.write(taken)
    await sink.close()
    return after


async def records(*bodies: bytes) -> AsyncIterator[bytes]:
    for each in bodies:
        yield each


async def test_results_are_kept_in_order(target: Target) -> None:
    sink = target.sink()
    await sink.open(None)
    await sink.write(emissions(1, 2))
    await sink.write(emissions(3))
    await sink.close()

    assert target.holds() == ids(1, 2, 3)


async def test_a_repeated_write_adds_nothing(target: Target) -> None:
    sink = target.sink()
    await sink.open(None)
    await sink.write(emissions(1, 2))
    await sink.write(emissions(1, 2))
    await sink.write(emissions(2, 3))
    await sink.close()

    assert target.holds() == ids(1, 2, 3)


@pytest.mark.fault(8)
async def test_results_whose_position_was_lost_are_not_written_again(target: Target) -> None:
    cursor = await written(target.sink(), None, emissions(1))
    await written(target.sink(), cursor, emissions(2, 3))

    await written(target.sink(), cursor, emissions(2, 3, 4))

    assert target.holds() == ids(1, 2, 3, 4)


@pytest.mark.fault(25)
async def test_a_lost_ledger_does_not_double_what_is_there(target: Target) -> None:
    await written(target.sink(), None, emissions(1, 2, 3))

    await written(target.sink(), None, emissions(1, 2, 3, 4))

    assert target.holds() == ids(1, 2, 3, 4)


async def test_a_replay_is_a_result_of_its_own(target: Target) -> None:
    cursor = await written(target.sink(), None, emissions(1))

    await written(target.sink(), cursor, [Emission(2, 1, f"{BATCH.batch_id}:1:2", body(1, 2))])

    assert target.holds() == [f"{BATCH.batch_id}:1:1", f"{BATCH.batch_id}:1:2"]


async def test_cursors_of_every_write_can_be_opened(target: Target) -> None:
    sink = target.sink()
    await sink.open(None)
    cursors = [await sink.write(emissions(n)) for n in (1, 2, 3)]
    await sink.close()

    for after, cursor in enumerate(cursors, 1):
        await written(target.sink(), cursor, emissions(*range(after + 1, 4)))

    assert target.holds() == ids(1, 2, 3)


async def test_an_empty_write_is_nothing(target: Target) -> None:
    cursor = await written(target.sink(), None, emissions(1))
    await written(target.sink(), cursor, [])

    assert target.holds() == ids(1)


async def test_a_batch_can_be_completed_twice(any_sink: Callable[[], Sink]) -> None:
    for _ in range(2):
        sink = any_sink()
        await sink.open(None)
        await sink.complete(BATCH, records(body(1), body(2)))
        await sink.complete(BATCH, records(body(1), body(2)))
        await sink.close()


async def test_closing_twice_is_harmless(any_sink: Callable[[], Sink]) -> None:
    sink = any_sink()
    await sink.open(None)
    await sink.close()
    await sink.close()


async def test_the_name_is_the_same_after_a_restart(any_sink: Callable[[], Sink]) -> None:
    assert any_sink().name == any_sink().name


async def test_a_second_holder_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    for url in (f"jsonl:{tmp_path}/results.jsonl", f"edi:{tmp_path}/edi"):
        first, second = from_url(url), from_url(url)
        await first.open(None)

        with pytest.raises(StateError, match="held by another process"):
            await second.open(None)

        await first.close()
        await second.open(None)
        await second.close()


@pytest.mark.parametrize("url", ["kafka:topic", "results.jsonl", "mysql://user:hunter2@host/db"])
def test_an_unknown_scheme_names_the_known_ones_and_no_secret(url: str) -> None:
    told = "known are jsonl:, edi:, amqp:, nats:, redis:, sqs:, postgresql:"
    with pytest.raises(SettingsError, match=told) as refused:
        from_url(url)

    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("url", ["jsonl:", "edi:"])
def test_a_sink_without_a_path_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="no path"):
        from_url(url)
