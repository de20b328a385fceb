"""Clients of a `FaultServer`, and the scripts that most tests of the client need."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.integration.faultserver import (
    Conversation,
    FaultServer,
    Received,
    Script,
    answering,
    granting,
)
from worker.claim import Batch, Claim
from worker.errors import AttemptFailed
from worker.precheck import open_client
from worker.precheck.client import PrecheckClient
from worker.settings import ApiSettings, AuthSettings, Settings
from worker.x12 import ClaimFacts

INTERCHANGE = b"ISA*00*~NM1*IL*1*CANARYPHI*JANE~IEA*1*000000001~"
CANARIES = ("canary", "CANARYPHI", "JANE")
PAYLOAD = {"transactionId": "T1", "responseType": "837999", "statusCode": "701", "message": "canary"}
REJECTED = {"data": {"claimPreCheck": PAYLOAD}}  # 701 needs no 277CA to be a verdict


def make_claim(ordinal: int = 1, interchange: bytes = INTERCHANGE, tax_id: str = "123456789") -> Claim:
    batch = Batch(number=1, batch_id="b" * 20, name="one.837", received_at=0.0)
    return Claim(batch, ordinal, interchange, ClaimFacts(provider_tax_id=tax_id, payer_id="87726"))


def settings_for(origin: str, token_url: str, **api: Any) -> Settings:
    quick = {"attempt_timeout_s": 5.0, "connect_timeout_s": 2.0, "max_response_bytes": 100_000}
    return Settings(
        api=ApiSettings(base_url=origin, **{**quick, **api}),
        auth=AuthSettings(token_url=token_url, client_id="client", client_secret="canary-secret"),
    )


@asynccontextmanager
async def client_of(origin: str, **api: Any) -> AsyncIterator[PrecheckClient]:
    """Open a client for the API at `origin`, beside a token endpoint that works."""
    async with FaultServer(granting()) as tokens, open_client(settings_for(origin, tokens.origin, **api)) as client:
        yield client


async def failure_of(script: Script, **api: Any) -> AttemptFailed:
    """Make one attempt against this script and return how it failed; nothing secret may be in that."""
    async with FaultServer(script) as server, client_of(server.origin, **api) as client:
        return await failing_attempt(client)


async def failing_attempt(client: PrecheckClient) -> AttemptFailed:
    with pytest.raises(AttemptFailed) as caught:
        await client.attempt(make_claim())
    error = caught.value
    assert error.__cause__ is None
    assert error.__suppress_context__
    assert not any(canary in f"{error} {error!r} {error.args}" for canary in CANARIES)
    return error


def sending(*parts: bytes | float, end: Callable[[Conversation], Any] = Conversation.close) -> Script:
    """Read a request, then send these bytes, pausing for the numbers between them, and end the connection."""

    async def converse(talk: Conversation) -> None:
        if await talk.receive() is None:
            return
        for part in parts:
            if isinstance(part, float):
                await asyncio.sleep(part)  # the server's pace is what is tested
            else:
                await talk.send(part)
        end(talk)

    return converse


def always(status: int = 200, body: object = b"", **headers: str) -> Script:
    async def answer(talk: Conversation, request: Received) -> None:
        await talk.answer(status, body, **headers)

    return answering(answer)


async def stalling(talk: Conversation) -> None:
    await talk.receive()
    await talk.until_closed()
