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
"""

import io
import ssl
from collections.abc import Mapping

import aiohttp
import msgspec
from multidict import CIMultiDictProxy
from yarl import URL

from worker.errors import Ambiguous
from worker.precheck.guard import LostRace

# aiohttp warns of bytes beyond this and wants to be given a stream.
_MAX_BYTES_IN_ONE_WRITE = 1 << 20


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A finished exchange. `body` is as it came, never decompressed."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def __repr__(self) -> str:
        """Show the status only: bodies are PHI or hold tokens."""
        return f"<Reply {self.status}>"


class _Unreadable(Exception):
    """The body cannot be had; `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Exchanger:
    """Sends requests of one kind: all with the same limits and by the same way."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        proxy: URL | None,
        timeout: aiohttp.ClientTimeout,
        max_response_bytes: int,
    ) -> None:
        self._session = session
        self._proxy = proxy
        self._timeout = timeout
        self._max_response_bytes = max_response_bytes

    async def exchange(self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None = None) -> Reply:
        """Send one request and read its answer to the end; redirects are answers like any other.

        :raises NotSent: if no connection could be had.
        :raises Ambiguous: if the request may have arrived, but there is no answer that can be used.
        """
        data = io.BytesIO(body) if body is not None and len(body) > _MAX_BYTES_IN_ONE_WRITE else body
        try:
            response = await self._session.request(
                method,
                url,
                data=data,
                headers=headers,
                allow_redirects=False,
                proxy=self._proxy,
                timeout=self._timeout,
            )
            return await _read_reply(response, self._max_response_bytes)
        except LostRace:
            raise Ambiguous("idle_connection_lost", charged=False) from None
        except (aiohttp.ClientError, OSError) as error:
            raise Ambiguous(_failure_code(error)) from None


async def _read_reply(response: aiohttp.ClientResponse, limit: int) -> Reply:
    status = response.status
    try:
        body = await _read_body(response, limit)
    except (_Unreadable, aiohttp.ClientError, OSError) as error:
        response.close()
        if 200 <= status < 300:
            raise Ambiguous(_failure_code(error)) from None
        body = b""
    except BaseException:
        response.close()
        raise
    return Reply(status, response.headers, body)


async def _read_body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """Read to the end, or refuse as soon as it is sure that there is too much or that it is packed."""
    if response.headers.get("Content-Encoding", "identity").lower() not in ("identity", ""):
        raise _Unreadable("content_encoding")
    if (response.content_length or 0) > limit:
        raise _Unreadable("response_too_large")
    content = response.content
    body = await content.readany()
    if content.at_eof():
        return _within(body, limit)
    chunks, size = [body], len(body)
    while size <= limit and (chunk := await content.readany()):
        chunks.append(chunk)
        size += len(chunk)
    return _within(b"".join(chunks), limit)


def _within(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise _Unreadable("response_too_large")
    return body


def _failure_code(error: Exception) -> str:
    """Name the way in which an exchange failed after its request had been handed over."""
    match error:
        case _Unreadable():
            return error.code
        case TimeoutError():
            return "attempt_timeout"
        case aiohttp.ClientPayloadError():
            return "truncated"
        case aiohttp.ClientResponseError():
            return "bad_http"
        case aiohttp.ServerDisconnectedError():
            return "disconnected"
        case _ if isinstance(error.__cause__, ssl.SSLError):
            return "tls_error"
        case _:
            return "connection_reset"
