"""One HTTP exchange, and the edge at which the library's exceptions become ours.

============================ ========================= ====================================================
what happened                raised                    code
============================ ========================= ====================================================
no connection                NotSent                   connect_refused, connect_timeout, connect_failed,
                                                       dns_failed, tls_error, proxy_refused, proxy_unreachable
the idle connection ended    Ambiguous, not charged    idle_connection_lost
no answer in time            Ambiguous                 attempt_timeout
ended without an answer      Ambiguous                 disconnected, connection_reset, tls_error
not HTTP                     Ambiguous                 bad_http
a 2xx that cannot be read    Ambiguous                 truncated, response_too_large, content_encoding
============================ ========================= ====================================================

With any other status the status speaks for itself, and a body that cannot be read counts as empty. aiohttp's own texts
quote tokens, addresses and bodies: none of them leaves this module.

Connections (TLS, names, proxies, the pool) and the parser of answers are aiohttp's; the request is written here, in one
piece. aiohttp's own way from `ClientSession.request` to the socket makes some ten objects and, with a body, a task for
every request, and costs 1.5 times as much as all the rest of a claim's exchange.
"""

import asyncio
import ssl
from collections.abc import Mapping

import aiohttp
import msgspec
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader
from multidict import CIMultiDictProxy
from yarl import URL

from worker.errors import Ambiguous
from worker.flow.allowance import Allowance
from worker.precheck.body import Unreadable, read_body
from worker.precheck.guard import LostRace, WatchedConnection

_SWITCHING = 101
_MOST_INTERIM = 100  # a server that sends nothing else would keep a core busy until the attempt's time is up
_BUFFER_BYTES = 16 << 10  # aiohttp stops reading from the socket at twice as much that nobody has taken yet


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A finished exchange. `body` is as it came, never decompressed; `connection` is None if it was closed."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes
    connection: WatchedConnection | None = None

    def vouch(self) -> None:
        """Say that this is the answer to what was asked and to nothing else: its connection may be used again."""
        if self.connection is not None:
            self.connection.vouched = True

    def __repr__(self) -> str:
        """Show the status only: bodies are PHI or hold tokens."""
        return f"<Reply {self.status}>"


class _Expiry:
    """Ends a connection when its time is up, `at` by the loop's clock; `due` says that it did."""

    __slots__ = ("_transport", "at", "due")

    def __init__(self, transport: asyncio.Transport, at: float) -> None:
        self.at = at
        self.due = False
        self._transport = transport

    def __call__(self) -> None:
        self.due = True
        self._transport.abort()


class Exchanger:
    """Sends requests of one kind: all with the same limits and by the same way.

    `large` has the bytes that large answers may take in memory; other holders of it share them.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        proxy: URL | None,
        timeout: aiohttp.ClientTimeout,
        max_response_bytes: int,
        large: Allowance | None = None,
    ) -> None:
        if session.connector is None or timeout.total is None:
            raise ValueError("an exchanger needs a connector and a total time-out")
        self._session = session
        self._connector = session.connector
        self._proxy = proxy
        self._total_s = timeout.total
        connect_s = timeout.total if timeout.connect is None else min(timeout.connect, timeout.total)
        self._connecting = aiohttp.ClientTimeout(total=None, connect=connect_s)
        self._max_response_bytes = max_response_bytes
        self._large = large or Allowance(max_response_bytes)
        self._loop = asyncio.get_running_loop()
        self._routes: dict[tuple[str, URL], tuple[bytes, aiohttp.ClientRequest]] = {}

    async def exchange(self, method: str, url: URL, headers: bytes, body: bytes | None = None) -> Reply:
        """Send one request and read its answer to the end; redirects are answers like any other.

        `headers` are lines as `header_lines` makes them.

        :raises NotSent: if no connection could be had.
        :raises Ambiguous: if the request may have arrived, but there is no answer that can be used.
        """
        opening, route = self._routes.get((method, url)) or self._route(method, url)
        ends_at = self._loop.time() + self._total_s
        connection = await self._connector.connect(route, [], self._connecting)
        protocol = connection.protocol
        if protocol is None or protocol.transport is None:
            connection.close()
            raise Ambiguous("idle_connection_lost", charged=False)
        expiry = _Expiry(protocol.transport, ends_at)
        timer = self._loop.call_at(ends_at, expiry)
        try:
            protocol.set_response_params(read_until_eof=True, auto_decompress=False, read_bufsize=_BUFFER_BYTES)
            protocol.transport.write(_request(opening, headers, body))
            message, content = await _head(protocol)
            return await self._read_reply(message, content, connection, expiry)
        except LostRace:
            if expiry.due:  # we ended it: with a time-out of less than a second that looks like a race
                raise Ambiguous("attempt_timeout") from None
            raise Ambiguous("idle_connection_lost", charged=False) from None
        except (aiohttp.ClientError, HttpProcessingError, OSError) as error:
            raise Ambiguous("attempt_timeout" if expiry.due else _failure_code(error)) from None
        finally:
            timer.cancel()
            # What is left on it, an answer half read or a request half sent, must not meet the next request.
            if connection.protocol is not None:
                connection.close()

    def _route(self, method: str, url: URL) -> tuple[bytes, aiohttp.ClientRequest]:
        """Make what is the same for all requests to an address: the request's first lines, and the way there."""
        route = aiohttp.ClientRequest(method, url, loop=self._loop, session=self._session, proxy=self._proxy)
        opening = f"{method} {url.raw_path_qs} HTTP/1.1\r\n".encode() + header_lines({"Host": route.headers["Host"]})
        self._routes[method, url] = opening, route
        return opening, route

    async def _read_reply(
        self, message: RawResponseMessage, content: StreamReader, connection: Connection, expiry: _Expiry
    ) -> Reply:
        status = message.code
        try:
            body = await read_body(message.headers, content, self._max_response_bytes, self._large, until=expiry.at)
            if expiry.due:  # without a length, an answer that was cut off looks like a whole one
                raise TimeoutError
        except (Unreadable, aiohttp.ClientError, OSError) as error:
            if 200 <= status < 300:
                raise Ambiguous("attempt_timeout" if expiry.due else _failure_code(error)) from None
            return Reply(status, message.headers, b"")
        transport, protocol = connection.transport, connection.protocol
        if status == _SWITCHING or transport is None or transport.get_write_buffer_size():
            return Reply(status, message.headers, body)
        connection.release()
        return Reply(status, message.headers, body, protocol if isinstance(protocol, WatchedConnection) else None)


def header_lines(headers: Mapping[str, str]) -> bytes:
    """Write headers as they stand in a request.

    :raises ValueError: if one holds a line break or another control character.
    """
    if not all(name.isprintable() and value.isprintable() for name, value in headers.items()):
        raise ValueError("a header must not hold control characters")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


def _request(opening: bytes, headers: bytes, body: bytes | None) -> bytes:
    if body is None:
        return b"%b%b\r\n" % (opening, headers)
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (opening, headers, len(body), body)


async def _head(protocol: ResponseHandler) -> tuple[RawResponseMessage, StreamReader]:
    """Read the head of the answer, past those that only say that one will come (RFC 9110 §15.2)."""
    for _ in range(_MOST_INTERIM):
        message, content = await protocol.read()
        if not 100 <= message.code < 200 or message.code == _SWITCHING:
            return message, content
    raise HttpProcessingError(message="interim responses without end")


def _failure_code(error: Exception) -> str:
    """Name the way in which an exchange failed after its request had been handed over."""
    match error:
        case Unreadable():
            return error.code
        case TimeoutError():
            return "attempt_timeout"
        case aiohttp.ClientPayloadError():
            return "truncated"
        case HttpProcessingError():
            return "bad_http"
        case aiohttp.ServerDisconnectedError():
            return "disconnected"
        case _ if isinstance(error.__cause__, ssl.SSLError):
            return "tls_error"
        case _:
            return "connection_reset"
