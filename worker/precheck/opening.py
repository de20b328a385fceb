"""Puts the client together and takes it apart: TLS, connections, token provider."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import anyio
import anyio.to_thread

from worker.flow.allowance import ANSWER_BYTES, Allowance
from worker.precheck.client import PrecheckClient
from worker.precheck.endpoints import resolve_endpoints
from worker.precheck.guard import GuardedConnector
from worker.precheck.tls import build_ssl_context
from worker.precheck.token import TokenProvider
from worker.precheck.token_endpoint import HttpTokenEndpoint
from worker.settings import Settings


@asynccontextmanager
async def open_client(settings: Settings, large: Allowance | None = None) -> AsyncIterator[PrecheckClient]:
    """Give the client for what the settings name; its token task runs, and its connections live, until left.

    `large` is what large answers may take of memory, shared with all that keep them; by default it is the client's own.
    Nothing is sent before it is used. What is raised inside comes out as it is, not in a group.

    :raises worker.errors.SettingsError: if an address must not be talked to or a certificate cannot be used.
    """
    endpoints = resolve_endpoints(settings)
    ssl_context = await anyio.to_thread.run_sync(build_ssl_context, settings.api)
    async with _open_session(GuardedConnector(ssl_context)) as session:
        token_endpoint = HttpTokenEndpoint(session, endpoints, settings.auth, settings.api.connect_timeout_s)
        tokens = TokenProvider(token_endpoint, endpoints.origin)
        client = PrecheckClient(session, settings, endpoints, tokens, large or Allowance(ANSWER_BYTES))
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(tokens.run)
                yield client
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            if len(group.exceptions) > 1:
                raise
            raise group.exceptions[0] from group.exceptions[0].__cause__


def _open_session(connector: aiohttp.BaseConnector) -> aiohttp.ClientSession:
    """Make a session that adds nothing of its own: no cookies, no proxy or password of the environment."""
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        raise_for_status=False,
        skip_auto_headers=("User-Agent",),
    )
