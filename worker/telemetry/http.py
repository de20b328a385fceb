"""The worker's own small HTTP server, for orchestrators, Prometheus and people.

============ ==========================================================================
``/livez``   200 as long as the process gets around to answering
``/readyz``  200, or 503 with the reason while no claims are taken
``/metrics`` Prometheus's text format
``/``        the status page
============ ==========================================================================

It shows numbers and never claim content, takes no input, and listens on loopback unless told otherwise.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

import anyio
import msgspec
from aiohttp import web

from worker.errors import SettingsError, reason_of
from worker.settings.urls import parse_listen
from worker.tally import Tally
from worker.telemetry.metrics import CONTENT_TYPE, make_registry, render
from worker.telemetry.page import status_page

Readiness = Callable[[], str | None]

_HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
        "Server": "precheck-worker",
        "X-Content-Type-Options": "nosniff",
    }
)
_SHUTDOWN_S = 1.0


@asynccontextmanager
async def serve_probes(address: str, tally: Tally, readiness: Readiness) -> AsyncIterator[tuple[str, int] | None]:
    """Serve while the block runs; yields host and port listened on, None if `address` is "" and nothing is served.

    `readiness` is asked at every request and says why the worker is not ready, None if it is; its words are shown.

    :raises SettingsError: if the address cannot be listened on.
    """
    if not address:
        yield None
        return
    host, port = _parse(address)
    runner = web.AppRunner(_application(tally, readiness), access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            text = f"cannot listen on {address}: {reason_of(error)}; choose another address, or none"
            raise _refused(text) from None
        bound = runner.addresses[0]
        yield bound[0], bound[1]
    finally:
        with anyio.move_on_after(2 * _SHUTDOWN_S, shield=True):
            await runner.cleanup()


def _parse(address: str) -> tuple[str, int]:
    try:
        return parse_listen(address)
    except ValueError:
        raise _refused(f"must be host:port, got {address!r}") from None


def _refused(text: str) -> SettingsError:
    return SettingsError([f"telemetry.http: {text}"])


def _application(tally: Tally, readiness: Readiness) -> web.Application:
    registry = make_registry(tally)

    async def livez(_: web.Request) -> web.Response:
        return _json({"alive": True})

    async def readyz(_: web.Request) -> web.Response:
        reason = readiness()
        return _json({"ready": reason is None, "reason": reason}, status=200 if reason is None else 503)

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=render(registry), headers={"Content-Type": CONTENT_TYPE})

    async def status(_: web.Request) -> web.Response:
        return web.Response(text=status_page(tally, readiness()), content_type="text/html")

    # A probe has no body; what comes all the same is not read.
    application = web.Application(client_max_size=1024)
    application.on_response_prepare.append(_add_headers)
    application.add_routes(
        [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", metrics), web.get("/", status)]
    )
    return application


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add them to error pages as well, which would otherwise name library and version."""
    response.headers.update(_HEADERS)


def _json(content: object, *, status: int = 200) -> web.Response:
    body = msgspec.json.encode(content)
    return web.Response(body=body, status=status, content_type="application/json")
