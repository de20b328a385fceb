"""A network of its own for one attempt: run as a program inside new namespaces, where every fault can be made for real.

    unshare --net --mount python -m tests.integration.secluded CASE

Prints how the attempt ended as one JSON object in its last line. What it does to interfaces, names and
resolver ends with the process.
"""

import asyncio
import contextlib
import json
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import trustme
import uvloop

from tests.integration.clients import REJECTED, always, make_claim, settings_for
from tests.integration.faultserver import Conversation, FaultServer, granting
from tests.integration.test_client_tls import server_side
from worker.errors import AttemptFailed, NotSent, TokenUnavailable
from worker.precheck import open_client
from worker.precheck.client import PrecheckClient

NOBODY = "10.99.0.2"
Told = dict[str, Any]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def vanish(own: str, other: str) -> None:
    """Let packets to the other address leave and be seen by nobody."""
    ip("link", "add", "dark", "type", "veth", "peer", "name", "far")
    ip("addr", "add", own, "dev", "dark", *(["nodad"] if ":" in own else []))
    ip("link", "set", "dark", "up")
    ip("link", "set", "far", "up")
    ip("neigh", "add", other, "lladdr", "02:00:00:00:00:02", "dev", "dark")


def bind_over(file: str, content: str) -> None:
    """Let a file of the system have other content, for this process alone."""
    own = Path(tempfile.mkdtemp()) / "file"
    own.write_text(content)
    subprocess.run(["mount", "--bind", own, file], check=True)


async def attempt_at(origin: str, **api: Any) -> Told:
    """Make one attempt with a token that is at hand, and tell how it ended."""
    async with FaultServer(granting()) as tokens, open_client(settings_for(origin, tokens.origin, **api)) as client:
        await client.authorize()
        try:
            verdict = await client.attempt(make_claim())
        except AttemptFailed as failure:
            return {"class": type(failure).__name__, "code": failure.code}
        except TokenUnavailable as unavailable:
            return {"class": "TokenUnavailable", "code": unavailable.code}
        return {"class": "Verdict", "code": verdict.disposition}


async def blackhole() -> Told:
    """Nobody answers a SYN."""
    vanish("10.99.0.1/24", NOBODY)
    return await attempt_at(f"https://{NOBODY}", connect_timeout_s=1.0)


async def unreachable() -> Told:
    ip("route", "add", "unreachable", "10.99.0.0/24")
    return await attempt_at(f"https://{NOBODY}")


async def refused() -> Told:
    """A RST comes back."""
    ip("addr", "add", f"{NOBODY}/32", "dev", "lo")
    return await attempt_at(f"https://{NOBODY}:4433")


async def silence_after_the_request() -> Told:
    """The path dies between request and answer: no FIN, no RST, ever."""

    async def die(talk: Conversation) -> None:
        await talk.receive()
        ip("link", "set", "lo", "down")
        await talk.answer(200, REJECTED)
        await asyncio.sleep(60)  # far beyond the attempt's time-out: the server itself ends nothing

    async with FaultServer(die) as server:
        return await attempt_at(server.origin, attempt_timeout_s=2.0)


async def dead_ipv6_beside_ipv4() -> Told:
    """The name has two addresses, and packets to the first one vanish."""
    vanish("fd00:dead::1/64", "fd00:dead::2")
    ip("addr", "add", "10.99.0.1/24", "dev", "dark")  # or IPv4 would not be looked up (AI_ADDRCONFIG)
    bind_over("/etc/hosts", "fd00:dead::2 api.test\n127.0.0.1 api.test\n")
    authority = trustme.CA()
    with tempfile.TemporaryDirectory() as folder:
        authority.cert_pem.write_to_path(f"{folder}/ca.pem")
        async with FaultServer(always(body=REJECTED), tls=server_side(authority, "api.test")) as server:
            return await attempt_at(f"https://api.test:{server.port}", ca_file=f"{folder}/ca.pem")


class Resolver(asyncio.DatagramProtocol):
    """A name server that answers every question with this code, or never (None)."""

    def __init__(self, code: int | None) -> None:
        self._code = code
        self.asked = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.asked += 1
        if self._code is not None:
            answer = data[:2] + struct.pack("!HHHHH", 0x8180 | self._code, 1, 0, 0, 0) + data[12:]
            self._transport.sendto(answer, addr)


@contextlib.asynccontextmanager
async def resolving(code: int | None) -> Any:
    bind_over("/etc/resolv.conf", "nameserver 127.0.0.53\noptions timeout:1 attempts:3\n")
    bind_over("/etc/hosts", "")
    loop = asyncio.get_running_loop()
    transport, resolver = await loop.create_datagram_endpoint(lambda: Resolver(code), ("127.0.0.53", 53))
    yield resolver
    transport.close()


async def servfail() -> Told:
    async with resolving(2) as resolver:
        return {**await attempt_at("https://api.test"), "asked": resolver.asked > 0}


async def no_such_name() -> Told:
    async with resolving(3) as resolver:
        return {**await attempt_at("https://api.test"), "asked": resolver.asked > 0}


async def silent_resolver() -> Told:
    """Many attempts wait for a name; files are read, and another host is reached, meanwhile."""
    order: list[str] = []
    codes: set[str] = set()

    async def attempt(client: PrecheckClient) -> None:
        try:
            await client.attempt(make_claim())
        except NotSent as failure:
            codes.add(failure.code)
        order.append("attempt")

    async with (
        resolving(None) as resolver,
        FaultServer(granting()) as tokens,
        open_client(settings_for("https://api.test", tokens.origin, connect_timeout_s=4.0)) as client,
    ):
        await client.authorize()
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(attempt, client)
            with anyio.fail_after(30):
                while not resolver.asked:  # noqa: ASYNC110 - the resolver counts, and nobody rings
                    await anyio.sleep(0.01)
            for _ in range(20):
                await anyio.to_thread.run_sync(Path("/etc/hosts").read_bytes)
            order.append("files")
            async with await anyio.connect_tcp("127.0.0.1", tokens.port):
                order.append("another host")
    return {"codes": sorted(codes), "first": order[:2]}


CASES: dict[str, Callable[[], Awaitable[Told]]] = {
    case.__name__: case
    for case in (
        blackhole,
        unreachable,
        refused,
        silence_after_the_request,
        dead_ipv6_beside_ipv4,
        servfail,
        no_such_name,
        silent_resolver,
    )
}


async def main(name: str) -> None:
    ip("link", "set", "lo", "up")
    sys.stdout.write(json.dumps(await CASES[name]()))


if __name__ == "__main__":
    assert not [one for one in socket.if_nameindex() if one[1] != "lo"], "not in a network of its own"
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1]))
