"""A raw TCP server that misbehaves exactly as told, one script a connection.

::

    async def half_an_answer(talk: Conversation) -> None:
        await talk.receive()
        await talk.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 100\\r\\n\\r\\nonly this")
        talk.close()

    async with FaultServer(half_an_answer) as server:
        ...  # server.origin, server.connections, server.requests

`answering` makes a script of a function that answers one request, `in_turn` gives each connection a script of its own.
A script that ends leaves its connection to be closed; what a script raises, leaving the server raises.
"""

import asyncio
import contextlib
import json
import os
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs


class Received(NamedTuple):
    """One request as it arrived; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def bearer(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode(), strict_parsing=True).items()}


class Conversation:
    """One connection, seen from the server."""

    def __init__(self, server: "FaultServer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self.number = server.connections

    async def receive(self) -> Received | None:
        """Read one request to its end; None once the client has closed."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            request_line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        method, path, _ = request_line.split(" ")
        received = Received(method, path, headers, body)
        self._server.requests.append(received)
        return received

    async def receive_some(self) -> bytes:
        """Read what is there, b"" once the client has closed."""
        with contextlib.suppress(ConnectionError):
            return await self._reader.read(65_536)
        return b""

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def send_now(self, data: bytes) -> None:
        """Hand bytes to the kernel before this turn of the event loop ends: the client has them, unread."""
        assert os.write(self._writer.get_extra_info("socket").fileno(), data) == len(data)

    def end_now(self) -> None:
        """Say FIN before this turn of the event loop ends."""
        with socket.socket(fileno=os.dup(self._writer.get_extra_info("socket").fileno())) as sock:
            sock.shutdown(socket.SHUT_WR)

    async def answer(self, status: int = 200, body: object = b"", **headers: str) -> None:
        await self.send(response(status, body, **headers))

    @property
    def closed(self) -> bool:
        """Whether a side has ended the connection, as far as this side knows."""
        return self._writer.is_closing()

    async def until_closed(self) -> None:
        """Wait until the client closes, whatever else it sends."""
        while await self.receive_some():
            pass

    def close(self) -> None:
        """End the connection in order: what was sent arrives, then FIN."""
        self._writer.close()

    def reset(self) -> None:
        """End the connection with RST."""
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Conversation], Awaitable[None]]
Answerer = Callable[[Conversation, Received], Awaitable[None]]


class FaultServer:
    """The server; `requests` are all that were read to their end, on whichever connection."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None) -> None:
        self._script = script
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._errors: list[BaseException] = []
        self.connections = 0
        self.requests: list[Received] = []

    @property
    def origin(self) -> str:
        return f"https://localhost:{self.port}" if self._tls else f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=self._tls, backlog=2048)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._errors and error is None:
            raise self._errors[0]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._script(Conversation(self, reader, writer))
            writer.close()
            await writer.wait_closed()
        # A cancellation is not passed on: the streams of Python 3.11 would log it as an error of their callback.
        except (asyncio.CancelledError, ConnectionError, ssl.SSLError):
            writer.transport.abort()
        except Exception as error:  # noqa: BLE001 - raised again by leaving the server
            self._errors.append(error)
            writer.transport.abort()


def answering(answer: Answerer) -> Script:
    """Make a script that answers every request of a connection with this function, until the client closes."""

    async def converse(talk: Conversation) -> None:
        while (request := await talk.receive()) is not None:
            await answer(talk, request)

    return converse


def in_turn(*scripts: Script) -> Script:
    """Give the first connection the first script, and so on; the last one also serves all that come later."""

    async def converse(talk: Conversation) -> None:
        await scripts[min(talk.number, len(scripts)) - 1](talk)

    return converse


def response(status: int = 200, body: object = b"", **headers: str) -> bytes:
    """Write a response with Content-Length; a `body` that is no bytes is sent as JSON. `_` in names becomes ``-``."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields: Mapping[str, str] = {
        "Content-Type": "application/json",
        "Content-Length": str(len(content)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode() + content


def granting(token: str = "canary-token-1", **members: Any) -> Script:
    """Make a script of a token endpoint that always gives the same token."""

    async def grant(talk: Conversation, request: Received) -> None:
        await talk.answer(200, {"access_token": token, "token_type": "bearer", "expires_in": 3600, **members})

    return answering(grant)
