"""A broker that dies under a worker, and a message that a worker dies of."""

import signal
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from tests.brokers import PLACES, Place, finish
from tests.servers import running
from tests.spools import batch, names
from tests.sqs import CREDENTIALS
from worker.brokers.messages import CODE
from worker.claim import Delivery
from worker.errors import SourceUnavailable, StorageFull
from worker.ports import Emission, Sink
from worker.sources import BrokerSource

PROGRAM = Path(__file__).with_name("poisoned_worker.py")


async def take(source: BrokerSource, most: int) -> list[Delivery]:
    """Take so many, waiting as the worker does while the broker is out of reach."""
    found: dict[str, Delivery] = {}
    with anyio.fail_after(120):
        while len(found) < most:
            try:
                found |= {one.ref: one for one in await source.take(most - len(found))}
            except SourceUnavailable:
                await anyio.sleep(0.2)
    return list(found.values())


async def write(sink: Sink, *emissions: Emission) -> None:
    """Write, waiting as the worker does while the broker is out of reach."""
    with anyio.fail_after(120):
        while True:
            try:
                await sink.write(emissions)
            except StorageFull:
                await anyio.sleep(0.2)
            else:
                return


@pytest.mark.slow
@pytest.mark.fault(108)
@pytest.mark.parametrize("engine", PLACES)
async def test_a_broker_that_dies_with_messages_in_flight_is_found_again_and_loses_none(
    engine: str, tmp_path: Path
) -> None:
    with running(engine, tmp_path / "broker") as server:
        claims: Place = PLACES[engine](tmp_path, server.url)
        results: Place = PLACES[engine](tmp_path, server.url)
        for number in range(4):
            claims.put(f"{number}.837", batch(number))
        source, sink = claims.source(lease_s=2.0), results.sink()
        await source.open()
        await sink.open(None)
        before = await take(source, 3)
        await write(sink, Emission(1, 1, "b:1:1", b"{}"))

        # RabbitMQ 3.10 does not find the leader of a queue again that was seconds old when its node was killed.
        await anyio.to_thread.run_sync(server.kill, signal.SIGTERM if engine == "rabbitmq" else signal.SIGKILL)
        with pytest.raises(StorageFull):
            await sink.write([Emission(2, 1, "b:2:1", b"{}")])
        await source.settle(before[:1])  # nobody can hear it
        await anyio.to_thread.run_sync(server.start)
        await write(sink, Emission(2, 1, "b:2:1", b"{}"))
        again = await take(source, 2)  # the one whose acknowledgement was lost, and the one that was not taken
        claims.put("later.837", batch(9))
        later = await take(source, 1)
        await source.settle([*before, *again, *later])
        await source.close()
        await sink.close()

        assert before[0].ref in {one.ref for one in again}
        assert names([*before, *again]) == {f"{number}.837" for number in range(4)}
        assert names(later) == {"later.837"}
        assert finish(claims.published()) == []
        assert {one.message_id for one in finish(results.published())} == {"b:1:1", "b:2:1"}


@pytest.mark.slow
@pytest.mark.fault(108)
async def test_a_broker_that_is_down_at_the_start_is_waited_for(tmp_path: Path) -> None:
    with running("redis", tmp_path / "broker") as server:
        claims: Place = PLACES["redis"](tmp_path, server.url)
        results: Place = PLACES["redis"](tmp_path, server.url)
        claims.put("a.837", batch())
        server.kill()
        source, sink = claims.source(), results.sink()

        await source.open()
        await sink.open(None)
        with pytest.raises(SourceUnavailable, match="cannot be reached"):
            await source.take(1)
        with pytest.raises(StorageFull, match="cannot be reached"):
            await sink.write([Emission(1, 1, "b:1:1", b"{}")])
        await anyio.to_thread.run_sync(server.start)

        assert names(await take(source, 1)) == {"a.837"}
        await write(sink, Emission(1, 1, "b:1:1", b"{}"))
        await source.close()
        await sink.close()


@pytest.mark.slow
@pytest.mark.fault(109)
@pytest.mark.parametrize("engine", PLACES)
def test_a_message_that_kills_every_worker_ends_with_the_dead_letters_and_the_others_flow(
    engine: str, tmp_path: Path
) -> None:
    place = PLACES[engine](tmp_path)
    for number in range(4):
        place.put("poison" if number == 1 else f"{number}", batch(number))

    environ = {"PYTHONPATH": str(Path(__file__).parents[2]), **CREDENTIALS}
    ends: list[int] = []
    while not ends or (ends[-1] and len(ends) < 10):
        ended = subprocess.run(
            [sys.executable, PROGRAM, place.url, tmp_path],
            env=environ, stderr=subprocess.PIPE, timeout=60, check=False,
        )  # fmt: skip
        assert ended.returncode in (0, -signal.SIGKILL), ended.stderr.decode()
        ends.append(ended.returncode)

    assert ends == [-signal.SIGKILL] * 5 + [0]
    assert [(letter.name, letter.headers[CODE]) for letter in finish(place.letters())] == [("poison", "poison")]
    assert finish(place.published()) == []
    place.remove()
