"""What the client does when its token is refused, and the health endpoint."""

import asyncio
import time
from email.utils import formatdate

import anyio
import pytest

from tests.integration.clients import (
    REJECTED,
    always,
    client_of,
    make_claim,
    sending,
    settings_for,
)
from tests.integration.faultserver import (
    Conversation,
    FaultServer,
    Received,
    Script,
    answering,
    granting,
)
from worker.errors import CredentialsRefused, TokenUnavailable
from worker.precheck import open_client


class TestTokensRefused:
    @pytest.mark.fault(75)
    async def test_a_revoked_token_makes_one_fetch_and_one_repeat_of_each_call(self) -> None:
        valid = {"token-1"}

        async def grant(talk: Conversation, request: Received) -> None:
            await asyncio.sleep(0.02)
            await talk.answer(200, {"access_token": f"token-{len(tokens.requests)}", "token_type": "bearer"})

        async def check(talk: Conversation, request: Received) -> None:
            await asyncio.sleep(0.05)
            await talk.answer(*((200, REJECTED) if request.bearer in valid else (401, {"message": "canary"})))

        async with (
            FaultServer(answering(grant)) as tokens,
            FaultServer(answering(check)) as server,
            open_client(settings_for(server.origin, tokens.origin)) as client,
        ):
            await client.attempt(make_claim())
            valid = {"token-2"}
            async with anyio.create_task_group() as calls:
                for ordinal in range(500):
                    calls.start_soon(client.attempt, make_claim(ordinal))

        assert len(tokens.requests) == 2
        assert len(server.requests) == 1 + 2 * 500
        assert [request.bearer for request in server.requests].count("token-2") == 500

    @pytest.mark.fault(75)
    async def test_tokens_that_worked_may_be_revoked_again_and_again(self) -> None:
        async def grant(talk: Conversation, request: Received) -> None:
            await talk.answer(200, {"access_token": f"token-{len(tokens.requests)}", "token_type": "bearer"})

        async def revoke_after_each_claim(talk: Conversation, request: Received) -> None:
            used = [earlier.bearer for earlier in server.requests[:-1]]
            await talk.answer(*((401, b"") if request.bearer in used else (200, REJECTED)))

        async with (
            FaultServer(answering(grant)) as tokens,
            FaultServer(answering(revoke_after_each_claim)) as server,
            open_client(settings_for(server.origin, tokens.origin)) as client,
        ):
            for _ in range(10):
                await client.attempt(make_claim())

        assert len(tokens.requests) == 10

    @pytest.mark.fault(76)
    async def test_401_for_ever_ends_in_refused_credentials_without_hammering(self) -> None:
        codes: list[str] = []

        async def grant(talk: Conversation, request: Received) -> None:
            await talk.answer(200, {"access_token": f"token-{len(tokens.requests)}", "token_type": "bearer"})

        async with (
            FaultServer(answering(grant)) as tokens,
            FaultServer(always(401, {"message": "canary"})) as server,
            open_client(settings_for(server.origin, tokens.origin)) as client,
        ):

            async def call() -> None:
                with pytest.raises(CredentialsRefused) as caught:
                    await client.attempt(make_claim())
                assert "canary" not in str(caught.value)
                codes.append(caught.value.code)

            for _ in range(3):
                async with anyio.create_task_group() as calls:
                    for _ in range(100):
                        calls.start_soon(call)

        assert codes == ["unauthorized"] * 300
        assert len(tokens.requests) == 2
        assert len(server.requests) <= 200

    @pytest.mark.fault(77)
    async def test_403_is_refused_credentials(self) -> None:
        async with FaultServer(always(403, b"<html>canary</html>")) as server, client_of(server.origin) as client:
            with pytest.raises(CredentialsRefused) as caught:
                await client.attempt(make_claim())

        assert caught.value.code == "forbidden"
        assert "canary" not in str(caught.value)
        assert len(server.requests) == 1

    async def test_without_a_token_nothing_is_sent(self) -> None:
        async with (
            FaultServer(always(503)) as tokens,
            FaultServer(always(body=REJECTED)) as server,
            open_client(settings_for(server.origin, tokens.origin)) as client,
        ):
            with pytest.raises(TokenUnavailable, match="token_http_503"):
                await client.attempt(make_claim())

        assert server.connections == 0


class TestHealth:
    @pytest.mark.parametrize("body", [b"OK", b'{"status":"UP"}', b""])
    async def test_200_is_healthy_whatever_the_body(self, body: bytes) -> None:
        async with FaultServer(always(200, body)) as server, client_of(server.origin) as client:
            assert await client.healthy() is True

        (request,) = server.requests
        assert (request.method, request.path) == ("GET", "/oihub/pre-service/v1/healthcheck")
        assert request.bearer == "canary-token-1"

    @pytest.mark.parametrize(
        "script",
        [always(204), always(301), always(401), always(429), always(500), sending(), sending(b"rubbish\r\n\r\n")],
        ids=["204", "301", "401", "429", "500", "closed", "rubbish"],
    )
    async def test_anything_else_is_not_and_raises_nothing(self, script: Script) -> None:
        async with FaultServer(script) as server, client_of(server.origin) as client:
            assert await client.healthy() is False

    @pytest.mark.parametrize("status", [403, 404, 405, 410])
    async def test_one_that_is_not_there_or_not_for_us_says_nothing(self, status: int) -> None:
        async with FaultServer(always(status)) as server, client_of(server.origin) as client:
            assert await client.healthy() is None

    @pytest.mark.fault(76)
    async def test_one_that_takes_no_token_of_ours_says_nothing_and_ends_none(self) -> None:
        async def check(talk: Conversation, request: Received) -> None:
            await talk.answer(*((401, b"") if request.method == "GET" else (200, REJECTED)))

        async with (
            FaultServer(granting()) as tokens,
            FaultServer(answering(check)) as server,
            open_client(settings_for(server.origin, tokens.origin)) as client,
        ):
            assert [await client.healthy() for _ in range(4)] == [False, None, None, None]
            verdict = await client.attempt(make_claim())

        assert verdict.http_status == 200
        assert len(tokens.requests) == 2

    @pytest.mark.parametrize(
        "date",
        [
            "",
            "soon",
            "Wed, 21 Oct 99999999999999999 07:28:00 GMT",
            "Wed, 21 Oct 2015 99999999999999999999:28:00 GMT",
            "Wed, 21 Oct 2015 07:28:00 +99999999999999",
        ],
    )
    async def test_a_date_that_is_none_says_nothing_of_the_clock_and_ends_no_worker(self, date: str) -> None:
        async with FaultServer(always(200, Date=date)) as server, client_of(server.origin) as client:
            health = await client.ask_health()

        assert (health.status, health.clock_ahead_s) == (200, None)

    async def test_the_clock_is_held_against_the_services(self) -> None:
        date = formatdate(time.time() - 3600, usegmt=True)
        async with FaultServer(always(200, Date=date)) as server, client_of(server.origin) as client:
            health = await client.ask_health()

        assert health.clock_ahead_s == pytest.approx(3600, abs=60)

    async def test_no_token_is_not_healthy(self) -> None:
        async with (
            FaultServer(always(500)) as tokens,
            FaultServer(always(200)) as server,
            open_client(settings_for(server.origin, tokens.origin)) as client,
        ):
            assert await client.healthy() is False

        assert server.connections == 0

    async def test_a_revoked_token_is_replaced_for_the_next_time(self) -> None:
        async def check(talk: Conversation, request: Received) -> None:
            await talk.answer(401 if len(server.requests) == 1 else 200)

        async with (
            FaultServer(granting()) as tokens,
            FaultServer(answering(check)) as server,
            open_client(settings_for(server.origin, tokens.origin)) as client,
        ):
            assert [await client.healthy(), await client.healthy()] == [False, True]

        assert len(tokens.requests) == 2
