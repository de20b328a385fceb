"""Writes a reply to its connection: whole, cut off in one of several ways, or with something more, unasked.

What has no end by itself ends when the client leaves, and in any case after `MOST_S`.
"""

from asyncio import Transport, get_running_loop
from contextlib import suppress

import anyio
from aiohttp import web

from worker.simulator.reply import Reply

MOST_S = 150.0
TRICKLE_EVERY_S = 0.5
LATE_S = 0.2

_LATE_408 = b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_UNFRAMED_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"


async def send(request: web.Request, reply: Reply) -> web.StreamResponse:
    """Send the reply, or begin to, and return what the server has still to do for it."""
    transport = request.transport
    if transport is None:
        return whole(reply)
    match reply.cut:
        case "":
            if reply.unasked:
                _say_more(transport, reply)
            return whole(reply)
        case "endless" | "trickle":
            return await _send_without_end(request, reply)
        case "unframed":
            transport.write(_UNFRAMED_HEAD + _half(reply))
            transport.close()
            return web.Response()
        case "truncated":
            return await _cut_off(request, reply, transport)
        case "reset":
            transport.abort()
            return web.Response()


def whole(reply: Reply) -> web.Response:
    """Make the response that says all of it."""
    return web.Response(
        status=reply.status, body=reply.body, content_type=reply.content_type, headers=reply.headers or None
    )


def _half(reply: Reply) -> bytes:
    return reply.body[: len(reply.body) // 2]


def _say_more(transport: Transport, reply: Reply) -> None:
    """Say something more, unasked, once the answer itself is out."""
    again = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(reply.body)
    late = reply.unasked == "408"
    more = _LATE_408 if late else again + reply.body

    def say() -> None:
        if not transport.is_closing():
            transport.write(more)

    get_running_loop().call_later(LATE_S if late else 0.0, say)


async def _cut_off(request: web.Request, reply: Reply, transport: Transport) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers={"Content-Type": reply.content_type})
    response.content_length = len(reply.body)
    await response.prepare(request)
    await response.write(_half(reply))
    transport.close()  # unlike abort() sends what is written
    return response


async def _send_without_end(request: web.Request, reply: Reply) -> web.StreamResponse:
    response = web.StreamResponse(status=reply.status, headers={"Content-Type": reply.content_type})
    await response.prepare(request)
    trickling = reply.cut == "trickle"
    piece = b" " if trickling else reply.body
    # A client that hangs up does what it should.
    with anyio.move_on_after(MOST_S), suppress(ConnectionError):
        while request.transport is not None and not request.transport.is_closing():
            await response.write(piece)
            await anyio.sleep(TRICKLE_EVERY_S if trickling else 0)
    if request.transport is not None:
        request.transport.abort()
    return response
