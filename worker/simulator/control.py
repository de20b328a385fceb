"""The simulator's control surface: what it answered, and what it is to do from now on. For callers on loopback only.

============================== ==========================================================================
GET  /_simulator/answers       JSON lines, one a claim: what was answered last (`worker.simulator.answers.Entry`)
GET  /_simulator/stats         counts (`worker.simulator.answers.Stats`)
GET  /_simulator/faults        the fault settings that hold
POST /_simulator/faults        a JSON object with members of `worker.simulator.config.FaultSettings`
POST /_simulator/profile       a JSON object {"name": …}: behave by another profile; the seed stays
POST /_simulator/revoke        all tokens end
============================== ==========================================================================
"""

from collections.abc import Awaitable, Callable

import msgspec
from aiohttp import web

from worker.settings.urls import is_loopback
from worker.simulator.faults import changed_faults
from worker.simulator.precheck import Precheck
from worker.simulator.profiles import changed_profile
from worker.simulator.reply import json_reply, message_reply
from worker.simulator.sending import whole

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Controls:
    """The handlers; `precheck` is whom they ask and change."""

    def __init__(self, precheck: Precheck) -> None:
        self._precheck = precheck

    def routes(self) -> list[web.RouteDef]:
        """Name the routes of all handlers."""
        return [
            web.get("/_simulator/answers", _local(self.list_answers)),
            web.get("/_simulator/stats", _local(self.show_stats)),
            web.get("/_simulator/faults", _local(self.show_faults)),
            web.post("/_simulator/faults", _local(self.change_faults)),
            web.post("/_simulator/profile", _local(self.change_profile)),
            web.post("/_simulator/revoke", _local(self.revoke_tokens)),
        ]

    async def list_answers(self, request: web.Request) -> web.StreamResponse:
        """Stream the books as JSON lines."""
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for lines in self._precheck.book.lines():
            await response.write(lines)
        await response.write_eof()
        return response

    async def show_stats(self, _: web.Request) -> web.Response:
        """Show the counts."""
        self._precheck.stats.claims = len(self._precheck.book)
        return whole(json_reply(200, self._precheck.stats))

    async def show_faults(self, _: web.Request) -> web.Response:
        """Show the fault settings."""
        return whole(json_reply(200, self._precheck.faults))

    async def change_faults(self, request: web.Request) -> web.Response:
        """Change some of the fault settings from now on; answer with all of them."""
        try:
            self._precheck.faults = changed_faults(self._precheck.faults, await request.read())
        except msgspec.DecodeError as error:
            return whole(message_reply(400, str(error)))
        return whole(json_reply(200, self._precheck.faults))

    async def change_profile(self, request: web.Request) -> web.Response:
        """Behave by another profile from now on; answer with its fault settings."""
        try:
            self._precheck.become(changed_profile(self._precheck.config, await request.read()))
        except msgspec.DecodeError as error:
            return whole(message_reply(400, str(error)))
        return whole(json_reply(200, self._precheck.faults))

    async def revoke_tokens(self, _: web.Request) -> web.Response:
        """End all tokens; answer how many there were."""
        return whole(json_reply(200, {"revoked": self._precheck.tokens.revoke_all()}))


def _local(handler: _Handler) -> _Handler:
    """Let only callers on this machine through, wherever the simulator listens: its books quote claims."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if not is_loopback(request.remote or ""):
            return whole(message_reply(403, "Forbidden"))
        return await handler(request)

    return guarded
