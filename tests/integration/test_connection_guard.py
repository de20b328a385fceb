"""Promise 5: an answer is never attributed to another claim, whatever waits on a connection that is used again."""

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
import trustme
import uvloop
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from structlog.testing import capture_logs
from yarl import URL

from tests.integration.faultserver import Conversation, FaultServer, Received, answering, in_turn, response
from worker.errors import Ambiguous
from worker.precheck.exchange import Exchanger
from worker.precheck.guard import GuardedConnector, WatchedConnection

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
STRAY = response(200, b"STRAY")
Main = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    """Run a coroutine function on each event loop that the worker may run on."""

    def run_on_loop(main: Main) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(main())

    return run_on_loop


@asynccontextmanager
async def exchanging(
    connector: aiohttp.BaseConnector, *, total_s: float = 5.0
) -> AsyncIterator[Callable[[str], Awaitable[bytes]]]:
    """Give a function that posts to an address and returns the body of the answer."""
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        exchanger = Exchanger(
            session, proxy=None, timeout=aiohttp.ClientTimeout(total=total_s), max_response_bytes=1 << 16
        )

        async def post(address: str) -> bytes:
            reply = await exchanger.exchange("POST", URL(address), b"", b"claim")
            reply.vouch()
            return reply.body

        yield post


def guarded() -> GuardedConnector:
    return GuardedConnector(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


async def echo_number(talk: Conversation, request: Received) -> None:
    await talk.answer(200, f"answer {talk.number} to {request.path}".encode())


def stray_after(first: bytes, *, delay_s: float = 0.0) -> Callable[[Conversation], Awaitable[None]]:
    """Answer the first request and then say something more, unasked; answer later requests."""

    async def converse(talk: Conversation) -> None:
        assert await talk.receive() is not None
        if delay_s:
            await talk.answer(200, b"own")
            await asyncio.sleep(delay_s)
            await talk.send(first)
        else:
            await talk.send(response(200, b"own") + first)
        await answering(echo_number)(talk)

    return converse


STRAYS = {
    "a response": STRAY,
    "two responses": STRAY * 2,
    "a 408": b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    "half a head": b"HTTP/1.1 200 O",
    "a line end": b"\r\n",
    "a head whose body comes later": b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n",
    "an interim response": b"HTTP/1.1 100 Continue\r\n\r\n",
    "another protocol": b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nHTTP/1.1 200 OK",
    "rubbish": b"\x16\x03\x01\x00rubbish",
}


@pytest.mark.fault(97)
@pytest.mark.parametrize("stray", STRAYS.values(), ids=STRAYS)
def test_what_arrives_on_a_resting_connection_is_no_answer(run: Callable[[Main], None], stray: bytes) -> None:
    async def main() -> None:
        script = in_turn(stray_after(stray, delay_s=0.02), answering(echo_number))
        async with FaultServer(script) as server, exchanging(guarded()) as post:
            assert await post(server.origin + "/first") == b"own"
            await asyncio.sleep(0.1)
            assert await post(server.origin + "/second") == b"answer 2 to /second"

    run(main)


@pytest.mark.fault(97)
@pytest.mark.parametrize("stray", [STRAY, STRAY * 2, STRAYS["a 408"]], ids=["one", "two", "a 408"])
def test_a_second_response_in_the_same_breath_is_no_answer(run: Callable[[Main], None], stray: bytes) -> None:
    async def main() -> None:
        script = in_turn(stray_after(stray), answering(echo_number))
        async with FaultServer(script) as server, exchanging(guarded()) as post:
            assert await post(server.origin + "/first") == b"own"
            assert await post(server.origin + "/second") == b"answer 2 to /second"

    run(main)


@pytest.mark.fault(97)
def test_a_second_response_together_with_the_end_of_the_first_is_no_answer(run: Callable[[Main], None]) -> None:
    async def split(talk: Conversation) -> None:
        await talk.receive()
        await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\no")
        await asyncio.sleep(0.02)
        await talk.send(b"wn" + STRAY)
        await answering(echo_number)(talk)

    async def main() -> None:
        async with FaultServer(in_turn(split, answering(echo_number))) as server, exchanging(guarded()) as post:
            assert await post(server.origin + "/first") == b"own"
            assert await post(server.origin + "/second") == b"answer 2 to /second"

    run(main)


@pytest.mark.fault(97)
@pytest.mark.parametrize("unread", [STRAY, b"H", None], ids=["a response", "one byte", "the end"])
def test_what_the_event_loop_has_not_read_yet_is_seen(run: Callable[[Main], None], unread: bytes | None) -> None:
    talks: list[Conversation] = []

    async def remember(talk: Conversation) -> None:
        talks.append(talk)
        await answering(echo_number)(talk)

    async def main() -> None:
        async with FaultServer(remember) as server, exchanging(guarded()) as post:
            assert await post(server.origin + "/first") == b"answer 1 to /first"
            if unread is None:
                talks[0].end_now()
            else:
                talks[0].send_now(unread)
            assert await post(server.origin + "/second") == b"answer 2 to /second"

    run(main)


@pytest.mark.fault(97)
def test_the_same_holds_under_tls(run: Callable[[Main], None]) -> None:
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server_side)
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client_side)

    async def main() -> None:
        script = in_turn(stray_after(STRAY, delay_s=0.02), stray_after(STRAY), answering(echo_number))
        async with FaultServer(script, tls=server_side) as server, exchanging(GuardedConnector(client_side)) as post:
            assert await post(server.origin + "/1") == b"own"
            await asyncio.sleep(0.1)
            assert await post(server.origin + "/2") == b"own"
            assert await post(server.origin + "/3") == b"answer 3 to /3"
            assert await post(server.origin + "/4") == b"answer 3 to /4"

    run(main)


def test_an_undisturbed_connection_is_used_again_and_again(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with FaultServer(answering(echo_number)) as server, exchanging(guarded()) as post:
            for number in range(50):
                assert await post(f"{server.origin}/{number}") == f"answer 1 to /{number}".encode()
                await asyncio.sleep(0)

    run(main)


@pytest.mark.fault(97)
def test_without_the_guard_the_stray_response_is_another_claims_answer(run: Callable[[Main], None]) -> None:
    """The negative control: if this fails, aiohttp looks at its connections itself, or the fault is none."""

    async def main() -> None:
        script = in_turn(stray_after(STRAY, delay_s=0.02), answering(echo_number))
        async with FaultServer(script) as server, exchanging(aiohttp.TCPConnector()) as post:
            assert await post(server.origin + "/first") == b"own"
            await asyncio.sleep(0.1)
            assert await post(server.origin + "/second") == b"STRAY"

    run(main)


@pytest.mark.fault(99)
@pytest.mark.parametrize("end", [Conversation.close, Conversation.reset], ids=["FIN", "RST"])
def test_a_lost_race_for_an_idle_connection_is_not_charged(
    run: Callable[[Main], None], end: Callable[[Conversation], None]
) -> None:
    async def answer_once(talk: Conversation) -> None:
        await talk.receive()
        await talk.answer(200, b"own")
        await talk.receive()
        end(talk)

    async def main() -> None:
        async with FaultServer(in_turn(answer_once, answering(echo_number))) as server, exchanging(guarded()) as post:
            assert await post(server.origin + "/first") == b"own"
            with pytest.raises(Ambiguous) as caught:
                await post(server.origin + "/second")
            assert (caught.value.code, caught.value.charged) == ("idle_connection_lost", False)
            assert await post(server.origin + "/second") == b"answer 2 to /second"

    run(main)


@pytest.mark.parametrize(
    ("answered", "after_s"), [(b"", 1.2), (b"HTTP/1.1 200 O", 0.0)], ids=["late", "in the middle of an answer"]
)
def test_a_used_connection_that_is_lost_over_the_claim_is_charged(
    run: Callable[[Main], None], answered: bytes, after_s: float
) -> None:
    async def answer_once(talk: Conversation) -> None:
        await talk.receive()
        await talk.answer(200, b"own")
        await talk.receive()
        await talk.send(answered)
        await asyncio.sleep(after_s)
        talk.close()

    async def main() -> None:
        async with FaultServer(answer_once) as server, exchanging(guarded()) as post:
            assert await post(server.origin + "/first") == b"own"
            with pytest.raises(Ambiguous) as caught:
                await post(server.origin + "/second")
            assert caught.value.charged

    run(main)


def test_a_dropped_connection_is_told() -> None:
    async def main() -> None:
        script = in_turn(stray_after(STRAY), stray_after(STRAY, delay_s=0.02))
        async with FaultServer(script) as server, exchanging(guarded()) as post:
            for _ in range(3):
                await post(server.origin)
                await asyncio.sleep(0.1)

    with capture_logs() as logged:
        asyncio.run(main())

    assert {"event": "connection.dropped", "log_level": "debug", "reason": "unsolicited_bytes"} in logged


class RecordingConnector(GuardedConnector):
    """Remembers which connection was handed out each time."""

    def __init__(self) -> None:
        super().__init__(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
        self.taken: list[ResponseHandler | None] = []

    async def connect(self, *args: Any, **kwargs: Any) -> Connection:
        connection = await super().connect(*args, **kwargs)
        self.taken.append(connection.protocol)
        return connection


class TestWhatTheGuardRestsOn:
    """Fails if a release of aiohttp changes what the guard is built on; then look at `worker.precheck.guard`."""

    async def test_connections_are_of_our_class_and_each_use_begins_and_ends(self) -> None:
        connector = RecordingConnector()

        async with FaultServer(answering(echo_number)) as server, exchanging(connector) as post:
            await post(server.origin)
            first = connector.taken[0]
            assert isinstance(first, WatchedConnection)
            assert first.resting
            await post(server.origin)

        assert connector.taken == [first, first]
        assert first.uses == 2

    async def test_a_connection_of_another_class_is_never_used_twice(self) -> None:
        connector = RecordingConnector()
        connector._factory = functools.partial(ResponseHandler, loop=asyncio.get_running_loop())

        async with FaultServer(answering(echo_number)) as server, exchanging(connector) as post:
            for _ in range(3):
                await post(server.origin)

        assert [type(connection) for connection in connector.taken] == [ResponseHandler] * 3
        assert len(set(connector.taken)) == server.connections == 3


@pytest.mark.fault(99)
def test_a_timeout_on_a_used_connection_is_no_lost_race_however_short(run: Callable[[Main], None]) -> None:
    async def answer_once(talk: Conversation) -> None:
        await talk.receive()
        await talk.answer(200, b"own")
        await talk.until_closed()

    async def main() -> None:
        async with FaultServer(answer_once) as server, exchanging(guarded(), total_s=0.2) as post:
            assert await post(server.origin + "/first") == b"own"
            with pytest.raises(Ambiguous) as caught:
                await post(server.origin + "/second")
            assert (caught.value.code, caught.value.charged) == ("attempt_timeout", True)

    run(main)
