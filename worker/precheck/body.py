"""Reads the body of an answer: never more than is allowed, never packed, and only a few large ones at a time."""

import asyncio

from aiohttp.streams import StreamReader
from multidict import CIMultiDictProxy

from worker.flow.allowance import LARGE_BYTES, Allowance


class Unreadable(Exception):
    """The body cannot be had; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


async def read_body(
    headers: CIMultiDictProxy[str], content: StreamReader, limit: int, large: Allowance, *, until: float
) -> bytes:
    """Read to the end, or refuse as soon as it is sure that there are more bytes than `limit` or that they are packed.

    A large body is read on once there is room in `large` for all of it; meanwhile it stays in the network. The room is
    free again on return: a caller that keeps the answer counts it before waiting for anything.

    :raises Unreadable: if it is refused.
    :raises TimeoutError: if there is no room `until` this time of the event loop's clock.
    """
    if headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        raise Unreadable("content_encoding")
    announced = headers.get("Content-Length", "")
    most = int(announced) if announced.isdecimal() else limit
    if announced.isdecimal() and most > limit:
        raise Unreadable("response_too_large")
    body = await content.readany()
    if content.at_eof() and len(body) <= LARGE_BYTES:
        return _within(body, limit)
    chunks = [body]
    if await _read_on(chunks, content, min(limit, LARGE_BYTES)):
        async with asyncio.timeout_at(until), large.taking(most):
            await _read_on(chunks, content, limit)
    return _within(b"".join(chunks), limit)


async def _read_on(chunks: list[bytes], content: StreamReader, limit: int) -> bool:
    """Append what comes until there are more bytes than the limit; False if the end came first."""
    size = sum(map(len, chunks))
    while size <= limit:
        chunk = await content.readany()
        if not chunk:
            return False
        chunks.append(chunk)
        size += len(chunk)
    return True


def _within(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise Unreadable("response_too_large")
    return body
