"""The connection guard: no answer that was waiting on an idle connection is ever given to the next claim.

aiohttp hands out a pooled connection without looking at it. What a server sent while it was idle, a second response or
a late 408, is then taken for the answer to the next request: another claim's answer. So a connection here is

======================= ==============================================================================
while it rests          closed at once if a single byte arrives
when it is taken again  dropped if an answer is queued on it or bytes wait in its socket, unread so far
when it is taken again  dropped unless its last answer was vouched for: by naming what it answers
while it is in use      if it breaks, distinguished from one that had ended before the claim reached it
======================= ==============================================================================

The third is for what the first two cannot see: an answer out of turn that arrives after the next claim was sent. From
then on every answer on that connection is one behind, and those that name no claim (an error, a business code alone)
would pass for the next claim's. Such an answer is therefore the last one on its connection.

Any failure before a connection is handed out is translated here, because nothing of the claim was sent then. The hook
into aiohttp is the class of its connections; should a release of it not use ours, connections are used once and closed.
Source: RFC 9112 §9.2 (unsolicited responses), §9.3.1 and §9.6 (closing races).
"""

import functools
import select
import ssl
from asyncio import AbstractEventLoop

import aiohttp
import structlog
from aiohttp.client import ClientTimeout
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from worker.errors import NotSent

log = structlog.get_logger()

# That a server closed an idle connection while our claim was on its way shows within a round trip. A connection that
# breaks later than this was lost over the claim.
RACE_S = 1.0
KEEPALIVE_S = 15.0
DNS_TTL_S = 30


class LostRace(aiohttp.ServerDisconnectedError):
    """A used connection ended, without a byte of an answer, just as a request was sent on it."""


class WatchedConnection(ResponseHandler):
    """One connection's protocol that knows whether it rests, was used before and has heard anything since."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        super().__init__(loop)
        self.resting = False
        self.uses = 0
        self.vouched = False
        self._heard = False
        self._taken_at = 0.0

    def take(self) -> None:
        """Begin a use; called with every request."""
        self.resting = False
        self.uses += 1
        self.vouched = False
        self._heard = False
        self._taken_at = self._loop.time()

    def rest(self) -> None:
        """End a use: from here on the server has nothing to say."""
        self.resting = True

    def data_received(self, data: bytes) -> None:
        """Take bytes from the network; a resting connection that gets any is closed."""
        if self.resting and data:
            if self.transport is not None:
                self.transport.abort()
                _tell_dropped("unsolicited_bytes")
            return
        self._heard = True
        super().data_received(data)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        """Fail the answer that is waited for, and its body if that is waited for."""
        disconnected = isinstance(exc, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
        early = not self._heard and self._loop.time() - self._taken_at < RACE_S
        if disconnected and early and self.uses > 1:
            exc = LostRace()
        super().set_exception(exc, *cause)
        body = self._payload
        if body is not None and not body.is_eof() and body.exception() is None:
            # aiohttp forgets the reader of a body whose chunks turn out malformed: it would wait for its time-out.
            body.set_exception(aiohttp.ClientPayloadError())


class GuardedConnector(aiohttp.TCPConnector):
    """aiohttp's pool of connections, each looked at before it is handed out.

    It has no limit: the flow's limiter bounds what is in flight, and waiting for a connection would look like a
    network that is slow.
    """

    def __init__(self, ssl_context: ssl.SSLContext) -> None:
        super().__init__(ssl=ssl_context, limit=0, keepalive_timeout=KEEPALIVE_S, ttl_dns_cache=DNS_TTL_S)
        connection_class: type[ResponseHandler] = WatchedConnection
        self._factory = functools.partial(connection_class, loop=self._loop)
        self._poll = select.poll()

    async def connect(
        self,
        req: ClientRequest,
        traces: list[Trace],
        timeout: ClientTimeout,  # noqa: ASYNC109 - the signature is aiohttp's
    ) -> Connection:
        """Take a connection from the pool or make one.

        :raises NotSent: if there is none to be had.
        """
        while True:
            try:
                connection = await super().connect(req, traces, timeout)
            except (aiohttp.ClientError, OSError) as error:
                raise NotSent(_connecting_code(error)) from None
            protocol = connection.protocol
            if not isinstance(protocol, WatchedConnection):
                if protocol is not None:
                    protocol.force_close()
                return connection
            if (reason := self._objection(protocol)) is None:
                protocol.take()
                connection.add_callback(protocol.rest)
                return connection
            connection.close()
            _tell_dropped(reason)

    def _objection(self, protocol: WatchedConnection) -> str | None:
        """Say why a connection must not be used again, or None. A new one may have TLS session tickets waiting."""
        if not protocol.uses:
            return None
        if protocol.should_close:
            return "unsolicited_response"
        if not protocol.vouched:
            return "unvouched"
        return "readable" if self._readable(protocol) else None

    def _readable(self, protocol: WatchedConnection) -> bool:
        """Ask the kernel whether bytes, an end or an error wait on this connection, unseen by the event loop."""
        sock = protocol.transport and protocol.transport.get_extra_info("socket")
        if not sock or (descriptor := sock.fileno()) < 0:
            return True
        self._poll.register(descriptor, select.POLLIN | select.POLLPRI)
        try:
            return bool(self._poll.poll(0))
        finally:
            self._poll.unregister(descriptor)


def _connecting_code(error: Exception) -> str:
    """Name the way in which connecting failed; the most particular class first, they are one below the other."""
    match error:
        case aiohttp.ClientConnectorDNSError():
            return "dns_failed"
        case aiohttp.ClientHttpProxyError():
            return "proxy_refused"
        case aiohttp.ClientProxyConnectionError():
            return "proxy_unreachable"
        case aiohttp.ClientSSLError() | ssl.SSLError():
            return "tls_error"
        case TimeoutError():
            return "connect_timeout"
        case aiohttp.ClientConnectorError() if isinstance(error.os_error, ConnectionRefusedError):
            return "connect_refused"
        case _:
            return "connect_failed"


def _tell_dropped(reason: str) -> None:
    log.debug("connection.dropped", reason=reason)
