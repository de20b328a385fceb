"""A server that stands still: it takes connections and bytes, and says nothing any more. Leaving it takes a moment."""

import copy
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from tests.brokers import PLACES, Place
from tests.postgres import SharedLedger
from tests.spools import batch
from tests.sqs import Relay
from worker.errors import SinkUnavailable
from worker.ledger.postgres import PostgresLedger
from worker.ports import Emission

ENGINES = ("rabbitmq", "nats", "redis")
SOON_S = 9.0
MORE_THAN_IS_BUFFERED = b'{"text":"' + b"x" * 500_000 + b'"}'


@pytest.fixture(params=ENGINES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place on the broker itself."""
    made = PLACES[request.param](tmp_path)
    yield made
    made.remove()


@pytest.fixture
def relay(place: Place) -> Iterator[Relay]:
    """The way to the broker that can fall silent."""
    parts = urlsplit(place.url)
    relay = Relay(f"//{parts.hostname}:{parts.port}")
    relay.start()
    yield relay
    relay.kill()


@pytest.fixture
def beyond(place: Place, relay: Relay) -> Place:
    """The same place, by that way."""
    beyond = copy.copy(place)
    beyond.url = place.url.replace(f":{urlsplit(place.url).port}", f":{relay.port}", 1)
    return beyond


async def let_go(relay: Relay) -> None:
    """Cut the connections, and let the loop that the test ends with hear of it."""
    relay.kill()
    await anyio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.fault(108)
async def test_a_sink_whose_broker_takes_nothing_any_more_is_closed_soon(beyond: Place, relay: Relay) -> None:
    sink = beyond.sink()
    await sink.open(None)
    await sink.write([Emission(1, 1, "b:1:1", b"{}")])

    relay.mute()
    with anyio.move_on_after(1.0) as writing:
        await sink.write([Emission(seq, 1, f"b:{seq}:1", MORE_THAN_IS_BUFFERED) for seq in range(2, 60)])
    began = time.monotonic()
    with anyio.fail_after(60):
        await sink.close()
    took_s = time.monotonic() - began
    await let_go(relay)

    assert writing.cancelled_caught
    assert took_s < SOON_S


@pytest.mark.slow
@pytest.mark.fault(108)
async def test_a_source_whose_broker_does_not_answer_any_more_is_left_soon(
    place: Place, beyond: Place, relay: Relay
) -> None:
    for number in range(4):
        place.put(f"{number}.837", batch(number))
    source = beyond.source()
    await source.open()
    held = await source.take(3)

    relay.mute()
    with anyio.move_on_after(0.5):
        while True:
            await source.take(10)
    began = time.monotonic()
    with anyio.fail_after(60):
        await source.release(held)
        await source.close()
    took_s = time.monotonic() - began
    await let_go(relay)

    assert held
    assert took_s < SOON_S


@pytest.mark.slow
@pytest.mark.fault(43)
async def test_a_shared_ledger_whose_server_does_not_answer_is_waited_for_only_as_long_as_there_is_time() -> None:
    ledger = SharedLedger()
    parts = urlsplit(ledger.url)
    relay = Relay(f"//{parts.hostname}:{parts.port}")
    relay.start()
    beyond = copy.copy(ledger)
    beyond.url = ledger.url.replace(f":{parts.port}", f":{relay.port}", 1)

    try:
        async with beyond.opened() as silent:
            relay.mute()
            began = time.monotonic()
            async with anyio.create_task_group() as changes:
                changes.start_soon(refused, silent)
                await anyio.sleep(0.5)
                silent.end_by(anyio.current_time() + 1.0)
            await refused(silent)
        took_s = time.monotonic() - began
        await let_go(relay)
    finally:
        relay.kill()
        ledger.remove()

    assert took_s < 1.5 + 2 * 5.0 + 2.0  # two connections, which asyncpg gives five seconds each


async def refused(ledger: PostgresLedger) -> None:
    """Have a change refused."""
    with pytest.raises(SinkUnavailable, match="has not answered"):
        await ledger.note("key", "value")
