"""A server that stands still: it takes connections and bytes, and says nothing any more. Leaving it takes a moment."""

import copy
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import msgspec
import pytest

from tests.brokers import PLACES, Place
from tests.e2e.harness import Simulator, Site, wait_until
from tests.postgres import SharedLedger, Table
from tests.spools import batch
from tests.sqs import Relay
from worker.brokers.rabbitmq import CLOSE_WITHIN_S
from worker.errors import SinkUnavailable
from worker.ledger.postgres import PostgresLedger
from worker.pipeline import LEFT_WITHIN_S
from worker.ports import Emission
from worker.postgres.session import CLOSE_WITHIN_S as PARTED_WITHIN_S
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec
from worker.sources.brokered import OPENED_WITHIN_S
from worker.sources.custody import GIVE_BACK_WITHIN_S

ENGINES = ("rabbitmq", "nats", "redis", "sqs")
A_BREATH_S = 1.5  # machines are shared
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
    relay = Relay(place.server)
    relay.start()
    yield relay
    relay.kill()


@pytest.fixture
def beyond(place: Place, relay: Relay) -> Place:
    """The same place, by that way."""
    beyond = copy.copy(place)
    beyond.url = by_way_of(relay, place.url, place.server)
    return beyond


def by_way_of(relay: Relay, url: str, server: str) -> str:
    return url.replace(f":{urlsplit(server).port}", f":{relay.port}", 1)


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
    assert took_s < CLOSE_WITHIN_S + A_BREATH_S


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
    assert took_s < GIVE_BACK_WITHIN_S + CLOSE_WITHIN_S + A_BREATH_S


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

    assert took_s < 1.5 + 2 * PARTED_WITHIN_S + A_BREATH_S  # it has two connections


async def refused(ledger: PostgresLedger) -> None:
    """Have a change refused."""
    with pytest.raises(SinkUnavailable, match="has not answered"):
        await ledger.note("key", "value")


@pytest.mark.slow
@pytest.mark.fault(18)
@pytest.mark.fault(108)
async def test_a_start_whose_broker_does_not_answer_goes_on_soon_and_is_left_soon(beyond: Place, relay: Relay) -> None:
    source = beyond.source()

    relay.mute()
    began = time.monotonic()
    await source.open()
    opened_s = time.monotonic() - began
    await source.close()
    took_s = time.monotonic() - began - opened_s
    await let_go(relay)

    assert opened_s < OPENED_WITHIN_S + A_BREATH_S
    assert took_s < CLOSE_WITHIN_S + A_BREATH_S


@pytest.mark.slow
@pytest.mark.fault(18)
@pytest.mark.fault(43)
@pytest.mark.fault(108)
def test_a_drain_in_which_nobody_answers_any_more_ends_within_the_promised_half_minute(
    tmp_path: Path, simulator: Simulator
) -> None:
    drain_s = 1.0
    claims = PLACES["redis"](tmp_path)
    outputs = [PLACES[engine](tmp_path) for engine in ENGINES]
    table, ledger = Table(), SharedLedger()
    everybody: list[Place | Table | SharedLedger] = [claims, table, ledger, *outputs]
    relays = {server: Relay(server) for server in {one.server for one in everybody}}
    for relay in relays.values():
        relay.start()
    given = write_folder(tmp_path / "given", files=30, claims_per_file=4, spec=GeneratorSpec(claims=1))
    for path in given:
        claims.put(path.name, path.read_bytes())
    site = Site(tmp_path / "worker", simulator.origin)
    site.environ |= {
        "PRECHECK_INPUT__URL": by_way_of(relays[claims.server], claims.url, claims.server),
        "PRECHECK_INPUT__LEASE_S": "6",
        "PRECHECK_STATE__URL": by_way_of(relays[ledger.server], ledger.url, ledger.server),
        "PRECHECK_OUTPUT__URLS": msgspec.json.encode(
            [by_way_of(relays[one.server], one.url, one.server) for one in everybody[1:] if one is not ledger]
        ).decode(),
        "PRECHECK_TELEMETRY__DRAIN_S": str(drain_s),
        "PRECHECK_FLOW__RATE_PER_S": "20",
    }

    drained = site.start("run", "--create")
    try:
        wait_until(lambda: drained.has_logged("batch.settled"))
        for relay in relays.values():
            relay.mute()
        time.sleep(0.5)
        began = time.monotonic()
        drained.process.send_signal(signal.SIGTERM)
        drained.wait()
        took_s = time.monotonic() - began
    finally:
        for relay in relays.values():
            relay.kill()
        for one in everybody:
            one.remove()

    assert drained.returncode == 0, drained.stderr.decode()
    assert took_s < drain_s + LEFT_WITHIN_S
