"""The simulator over HTTP: the API's endpoints, and a control surface of its own.

============================== ==========================================================================
POST /apip/auth/sntl/v1/token  token, form only; POST /apip/auth/v2/token the older one, JSON
GET  …/v1/healthcheck          ``OK`` with a good bearer
POST …/v1/claim/precheck       the check of one claim
any other path                 401, as the vendor's gateway answers
…    /_simulator/…             `worker.simulator.control`, for loopback only
============================== ==========================================================================

Everything the simulator answers is decided in `worker.simulator.precheck`; here it is only received, delayed and
sent. Source: contract.md §1 to §4.
"""

from collections.abc import Callable

import anyio
from aiohttp import web
from anyio.abc import TaskStatus

from worker.errors import SettingsError
from worker.settings.urls import is_loopback
from worker.simulator.config import SimulatorConfig
from worker.simulator.control import Controls
from worker.simulator.draws import draw
from worker.simulator.hostile import hostile_reply
from worker.simulator.precheck import Decision, Precheck
from worker.simulator.reply import Reply, message_reply
from worker.simulator.sending import send, whole
from worker.simulator.token import client_refused, token_failure

_SHUTDOWN_S = 1.0


class Endpoints:
    """The handlers of one simulator; `precheck` decides, these speak HTTP."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.precheck = Precheck(config)
        self._stats = self.precheck.stats

    def application(self) -> web.Application:
        """Make the application with all routes."""
        config = self.precheck.config
        app = web.Application(client_max_size=config.max_request_bytes)
        app.add_routes(
            [
                web.post(config.precheck_path, self.check_claim),
                web.post(config.token_path, self.issue_token),
                web.post(config.token_v2_path, self.issue_v2_token),
                web.get(config.health_path, self.report_health),
                *Controls(self.precheck).routes(),
                web.route("*", "/{path:.*}", self.refuse_path),
            ]
        )
        return app

    async def check_claim(self, request: web.Request) -> web.StreamResponse:
        """Answer one claim after the time it takes."""
        stats = self._stats
        stats.in_flight += 1
        stats.max_in_flight = max(stats.max_in_flight, stats.in_flight)
        try:
            body = await request.read()
            decision = self.precheck.decide(request.headers, request.content_type, body)
            if decision.reply.delay_s > 0.0:
                await anyio.sleep(decision.reply.delay_s)
            return await self._send_answer(request, decision)
        finally:
            stats.in_flight -= 1

    async def _send_answer(self, request: web.Request, decision: Decision) -> web.StreamResponse:
        reply, transport = decision.reply, request.transport
        sent = transport is not None and not transport.is_closing()
        decision.book(sent=sent)
        self._stats.count(reply.status if sent and reply.arrives else 0)
        return await send(request, reply)

    async def issue_token(self, request: web.Request) -> web.Response:
        """Answer the default token endpoint."""
        return await self._issue(request, self.precheck.tokens.answer_form)

    async def issue_v2_token(self, request: web.Request) -> web.Response:
        """Answer the older token endpoint."""
        return await self._issue(request, self.precheck.tokens.answer_json)

    async def _issue(self, request: web.Request, answer: Callable[[str, bytes], Reply]) -> web.Response:
        stats, faults = self._stats, self.precheck.faults
        stats.token_calls += 1
        stats.token_calls_in_flight += 1
        stats.max_token_calls_in_flight = max(stats.max_token_calls_in_flight, stats.token_calls_in_flight)
        try:
            body = await request.read()
            if self.precheck.config.token_delay_s > 0.0:
                await anyio.sleep(self.precheck.config.token_delay_s)
        finally:
            stats.token_calls_in_flight -= 1
        if self.precheck.out:
            return whole(message_reply(503, "Service Unavailable"))
        if faults.token_refused:
            return whole(client_refused())
        drawn = draw(self.precheck.config.seed, "token", "", stats.token_calls)
        if drawn < faults.token_500:
            return whole(token_failure())
        if drawn < faults.token_500 + faults.token_page:
            return whole(hostile_reply("login_page", ""))
        return whole(answer(request.content_type, body))

    async def report_health(self, request: web.Request) -> web.Response:
        """Say OK to whoever has a good token."""
        self._stats.health_calls += 1
        if self.precheck.out or self.precheck.faults.health_down:
            return whole(message_reply(503, "Service Unavailable"))
        if not self.precheck.tokens.good(request.headers.get("Authorization")):
            return whole(message_reply(401, "Unauthorized"))
        return web.Response(text="OK")

    async def refuse_path(self, _: web.Request) -> web.Response:
        """Answer 401 to any unknown URL, good token or not, as was seen of the vendor (contract.md §2)."""
        return whole(message_reply(401, "Unauthorized"))


async def serve(
    config: SimulatorConfig,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    allow_any_host: bool = False,
    ready: Callable[[str], object] | None = None,
    task_status: TaskStatus[str] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. `ready` and `task_status` get the origin, ``http://host:port``, once it accepts calls.

    The simulator knows no TLS and its answers echo claims, so it listens on loopback only unless told otherwise.

    :raises SettingsError: if `host` is not loopback and `allow_any_host` is false.
    :raises OSError: if the port cannot be bound.
    """
    if not allow_any_host and not is_loopback(host):
        raise SettingsError(["simulator: listens on loopback only; --any-host opens it to others"])
    runner = web.AppRunner(Endpoints(config).application(), access_log=None, shutdown_timeout=_SHUTDOWN_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, backlog=1024).start()
        bound_host, bound_port, *_ = runner.addresses[0]
        origin = f"http://[{bound_host}]:{bound_port}" if ":" in bound_host else f"http://{bound_host}:{bound_port}"
        if ready is not None:
            ready(origin)
        task_status.started(origin)
        await anyio.sleep_forever()
    finally:
        with anyio.CancelScope(shield=True):
            await runner.cleanup()
