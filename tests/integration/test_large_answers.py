"""Large answers are read few at a time, and small ones never wait for them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from yarl import URL

from tests.integration.clients import always, sending
from tests.integration.faultserver import Conversation, FaultServer, Received, Script, answering
from worker.errors import Ambiguous
from worker.flow.allowance import LARGE_BYTES, Allowance
from worker.precheck.exchange import Exchanger
from worker.precheck.guard import GuardedConnector

Post = Callable[[], Awaitable[bytes]]

MOST_BYTES = 1 << 20
LARGE = b"x" * (600 << 10)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@asynccontextmanager
async def posting(script: Script, large: Allowance, *, total_s: float = 10.0) -> AsyncIterator[Post]:
    """Give a function that posts to a server of this script, whose large answers share this allowance."""
    connector = GuardedConnector(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    async with (
        FaultServer(script) as server,
        aiohttp.ClientSession(connector=connector, auto_decompress=False) as session,
    ):
        timeout = aiohttp.ClientTimeout(total=total_s)
        exchanger = Exchanger(session, proxy=None, timeout=timeout, max_response_bytes=MOST_BYTES, large=large)

        async def post() -> bytes:
            return (await exchanger.exchange("POST", URL(server.origin), b"", b"claim")).body

        yield post


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Watched(Allowance):
    """Notes the most that was ever taken of it."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__(most_bytes)
        self.peak_bytes = 0

    def add(self, size: int) -> None:
        super().add(size)
        self.peak_bytes = max(self.peak_bytes, self.taken_bytes)


async def test_large_answers_are_all_read_and_few_at_a_time() -> None:
    large = Watched(2 * len(LARGE))

    async with posting(always(body=LARGE), large) as post:
        bodies = await asyncio.gather(*[post() for _ in range(40)])

    assert bodies == [LARGE] * 40
    assert 0 < large.peak_bytes <= 2 * len(LARGE)
    assert large.taken_bytes == 0


async def test_an_answer_without_a_length_takes_as_much_as_it_may_become() -> None:
    large = Watched(2 * MOST_BYTES)
    script = sending(CHUNKED + chunk(LARGE[:100_000]), 0.05, chunk(LARGE[100_000:]) + b"0\r\n\r\n")

    async with posting(script, large) as post:
        bodies = await asyncio.gather(*[post() for _ in range(6)])

    assert bodies == [LARGE] * 6
    assert large.peak_bytes == 2 * MOST_BYTES


async def test_small_answers_wait_for_no_room_however_they_come() -> None:
    large = Watched(10)
    large.add(10)
    small = b"y" * LARGE_BYTES
    in_pieces = CHUNKED + chunk(small[:1000])

    async with posting(sending(in_pieces, 0.05, chunk(small[1000:]) + b"0\r\n\r\n"), large) as post:
        assert await post() == small
    async with posting(always(body=small), large) as post:
        assert await post() == small
    assert large.peak_bytes == 10


@pytest.mark.parametrize("body", [LARGE, LARGE[: LARGE_BYTES + 1]], ids=["in parts", "at once"])
async def test_who_waits_for_room_gives_up_when_the_attempt_is_over(body: bytes) -> None:
    large = Watched(10)
    large.add(10)

    async with posting(always(body=body), large, total_s=0.5) as post:
        with pytest.raises(Ambiguous) as caught:
            await post()
        large.give_back(10)
        assert await post() == body

    assert caught.value.code == "attempt_timeout"
    assert large.taken_bytes == 0


async def test_an_answer_that_is_cut_off_or_too_large_gives_its_room_back() -> None:
    large = Watched(MOST_BYTES)

    async def converse(talk: Conversation, request: Received) -> None:
        if talk.number == 1:
            await talk.send(b"HTTP/1.1 200 OK\r\nContent-Length: 700000\r\n\r\n" + LARGE)
            talk.close()
        else:
            await talk.send(CHUNKED + chunk(LARGE) + chunk(LARGE) + chunk(LARGE))

    async with posting(answering(converse), large) as post:
        with pytest.raises(Ambiguous, match="truncated"):
            await post()
        with pytest.raises(Ambiguous, match="response_too_large"):
            await post()

    assert large.peak_bytes == MOST_BYTES
    assert large.taken_bytes == 0
