"""The token endpoint over real sockets: what it is asked, and everything it may answer."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from structlog.testing import capture_logs
from yarl import URL

from tests.integration.faultserver import (
    Conversation,
    FaultServer,
    Received,
    Script,
    answering,
    granting,
    response,
)
from worker.errors import CredentialsRefused, TokenUnavailable
from worker.precheck.endpoints import Endpoints
from worker.precheck.guard import GuardedConnector
from worker.precheck.token_endpoint import HttpTokenEndpoint
from worker.settings import AuthSettings

SECRET = "canary&secret=ü%"


def always(status: int, body: object = b"", **headers: str) -> Script:
    async def answer(talk: Conversation, request: Received) -> None:
        await talk.answer(status, body, **headers)

    return answering(answer)


def saying(data: bytes) -> Script:
    async def say(talk: Conversation) -> None:
        await talk.receive()
        await talk.send(data)

    return say


@asynccontextmanager
async def endpoint_at(origin: str, **auth: Any) -> AsyncIterator[HttpTokenEndpoint]:
    url = URL(origin + "/apip/auth/sntl/v1/token")
    endpoints = Endpoints(origin="https://api.example", precheck=url, health=url, token=url, proxy=None)
    settings = AuthSettings(**({"client_id": "me", "client_secret": SECRET} | auth))
    connector = GuardedConnector(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
        yield HttpTokenEndpoint(session, endpoints, settings, connect_timeout_s=2.0)


async def unavailable(script: Script, **auth: Any) -> TokenUnavailable:
    async with FaultServer(script) as server, endpoint_at(server.origin, **auth) as endpoint:
        with pytest.raises(TokenUnavailable) as caught:
            await endpoint.fetch()
    assert not told(caught.value)
    return caught.value


async def refused(script: Script, **auth: Any) -> CredentialsRefused:
    async with FaultServer(script) as server, endpoint_at(server.origin, **auth) as endpoint:
        with pytest.raises(CredentialsRefused) as caught:
            await endpoint.fetch()
    assert not told(caught.value)
    return caught.value


def told(error: Exception) -> bool:
    """Whether an error says anything that it must not."""
    chained = error.__context__ is not None and not error.__suppress_context__
    return chained or "canary" in f"{error!r} {error} {error.args} {error.__cause__!r}"


class TestAsking:
    async def test_a_form_by_default(self) -> None:
        async with FaultServer(granting("token-1")) as server, endpoint_at(server.origin) as endpoint:
            grant = await endpoint.fetch()

        (request,) = server.requests
        assert (grant.value, grant.lifetime_s) == ("token-1", 3600)
        assert (request.method, request.path) == ("POST", "/apip/auth/sntl/v1/token")
        assert request.headers["content-type"] == "application/x-www-form-urlencoded"
        assert "authorization" not in request.headers
        assert request.form == {"grant_type": "client_credentials", "client_id": "me", "client_secret": SECRET}

    async def test_json_and_a_scope_if_so_configured(self) -> None:
        async with (
            FaultServer(granting()) as server,
            endpoint_at(server.origin, token_encoding="json", scope="precheck") as endpoint,
        ):
            await endpoint.fetch()

        (request,) = server.requests
        assert request.headers["content-type"] == "application/json"
        assert json.loads(request.body) == {
            "grant_type": "client_credentials",
            "client_id": "me",
            "client_secret": SECRET,
            "scope": "precheck",
        }

    @pytest.mark.fault(79)
    async def test_the_secret_is_read_from_its_file_each_time(self, tmp_path: Path) -> None:
        file = tmp_path / "secret"
        async with (
            FaultServer(granting()) as server,
            endpoint_at(server.origin, client_secret="", client_secret_file=str(file)) as endpoint,
        ):
            for content in (b"one\n", b"two\r\n", b"three"):
                file.write_bytes(content)
                await endpoint.fetch()

        assert [request.form["client_secret"] for request in server.requests] == ["one", "two", "three"]

    @pytest.mark.fault(79)
    async def test_a_file_changed_replaced_or_gone_is_seen(self, tmp_path: Path) -> None:
        file = tmp_path / "secret"
        file.write_bytes(b"one")
        seen: list[bool] = []

        async with (
            FaultServer(always(503)) as server,
            endpoint_at(server.origin, client_secret="", client_secret_file=str(file)) as endpoint,
        ):
            for change in (lambda: None, lambda: file.write_bytes(b"other"), lambda: file.unlink()):
                with pytest.raises(TokenUnavailable):
                    await endpoint.fetch()
                change()
                seen.append(endpoint.rotated())

        assert seen == [False, True, True]

    async def test_a_secret_that_is_no_file_is_never_another(self) -> None:
        async with FaultServer(granting()) as server, endpoint_at(server.origin) as endpoint:
            assert not endpoint.rotated()

    @pytest.mark.fault(79)
    async def test_a_secret_rotated_while_the_old_one_is_refused_is_tried_at_once(self, tmp_path: Path) -> None:
        data, link = tmp_path / "..data", tmp_path / "secret"
        for name, content in (("v1", "old"), ("v2", "new")):
            (tmp_path / name).mkdir()
            (tmp_path / name / "secret").write_text(content)
        data.symlink_to("v1")
        link.symlink_to("..data/secret")

        async def check(talk: Conversation, request: Received) -> None:
            if request.form["client_secret"] == "new":
                await talk.answer(200, {"access_token": "token", "token_type": "bearer"})
                return
            # As Kubernetes does it: a new link is renamed over the old one.
            (tmp_path / "..tmp").symlink_to("v2")
            (tmp_path / "..tmp").rename(data)
            await talk.answer(401, {"error": "invalid_client"})

        async with (
            FaultServer(answering(check)) as server,
            endpoint_at(server.origin, client_secret="", client_secret_file=str(link)) as endpoint,
        ):
            await endpoint.fetch()

        assert len(server.requests) == 2

    @pytest.mark.fault(78)
    @pytest.mark.parametrize("fault", ["missing", "empty", "folder", "not text"])
    async def test_an_unusable_secret_file_is_told_and_nothing_is_asked(self, fault: str, tmp_path: Path) -> None:
        file = tmp_path / "secret"
        match fault:
            case "empty":
                file.write_bytes(b"\n")
            case "folder":
                file.mkdir()
            case "not text":
                file.write_bytes(b"canary\xff\xfe")
            case _:
                pass

        async with (
            FaultServer(granting()) as server,
            endpoint_at(server.origin, client_secret="", client_secret_file=str(file)) as endpoint,
        ):
            with pytest.raises(TokenUnavailable, match="client_secret_unreadable") as caught:
                await endpoint.fetch()

        assert not told(caught.value)
        assert server.connections == 0


class TestRefusals:
    @pytest.mark.fault(71)
    @pytest.mark.parametrize("status", [400, 401, 403])
    @pytest.mark.parametrize(
        "body",
        [
            {"status": "401", "failureReason": "InvalidClient", "Errors": [f"canary {SECRET}"]},
            {"error": "invalid_client", "error_description": f"canary {SECRET}"},
        ],
        ids=["default endpoint", "V2"],
    )
    async def test_an_invalid_client_is_told_with_what_to_check(self, status: int, body: dict[str, Any]) -> None:
        error = await refused(always(status, body))

        assert error.code == "invalid_client"
        assert "match the environment" in str(error)
        assert "http://127.0.0.1" in str(error)

    @pytest.mark.parametrize(
        ("status", "body", "code"),
        [
            (401, b"<html>canary</html>", "invalid_client"),
            (400, {"error": "invalid_scope"}, "invalid_scope"),
            (400, b"canary", "token_request_refused"),
            (403, b"", "token_request_refused"),
            (415, {"failureReason": "canary"}, "token_request_refused"),
        ],
    )
    async def test_other_final_refusals_are_told_apart(self, status: int, body: object, code: str) -> None:
        error = await refused(always(status, body))

        assert error.code == code
        assert str(status) in str(error)

    @pytest.mark.fault(81)
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_a_redirect_is_not_followed_with_the_secret(self, status: int) -> None:
        async with FaultServer(granting()) as elsewhere:
            error = await unavailable(always(status, location=elsewhere.origin))

        assert error.code == f"token_http_{status}"
        assert elsewhere.connections == 0


class TestTrouble:
    @pytest.mark.fault(70)
    @pytest.mark.parametrize(
        ("script", "code"),
        [
            (always(200, b"<html>canary</html>"), "token_bad_json"),
            (always(200, b""), "token_bad_json"),
            (always(200, []), "token_bad_json"),
            (always(200, {}), "token_unusable"),
            (always(200, {"access_token": "canary token", "token_type": "bearer"}), "token_unusable"),
            (always(200, {"access_token": "canary", "token_type": "mac"}), "token_not_bearer"),
            (always(200, {"access_token": "canary" * 20_000}), "token_response_too_large"),
            (always(200, b"canary", Content_Encoding="gzip"), "token_content_encoding"),
            (always(503, b"<html>canary</html>"), "token_http_503"),
            (always(404, b"canary"), "token_http_404"),
            (saying(b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"access_token": "canary'), "token_truncated"),
            (saying(b"canary\r\n\r\n"), "token_bad_http"),
            (saying(b""), "token_disconnected"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    async def test_what_is_no_token_is_none_for_now(self, script: Script, code: str) -> None:
        error = await unavailable(script)

        assert (error.code, error.retry_after_s) == (code, 0)

    @pytest.mark.fault(72)
    @pytest.mark.parametrize(("retry_after", "seconds"), [("120", 120), ("999999", 300), ("soon", 0)])
    async def test_a_wish_to_be_left_alone_is_passed_on_within_bounds(self, retry_after: str, seconds: float) -> None:
        error = await unavailable(always(429, b"", Retry_After=retry_after))

        assert (error.code, error.retry_after_s) == ("token_http_429", seconds)

    @pytest.mark.fault(68)
    async def test_an_endpoint_that_is_not_there_is_none_for_now(self) -> None:
        async with FaultServer(granting()) as server:
            origin = server.origin

        async with endpoint_at(origin) as endpoint:
            with pytest.raises(TokenUnavailable, match="token_connect_refused"):
                await endpoint.fetch()

    @pytest.mark.fault(68)
    async def test_a_name_that_does_not_resolve_is_none_for_now(self) -> None:
        async with endpoint_at("https://claims.invalid") as endpoint:
            with pytest.raises(TokenUnavailable, match="token_dns_failed") as caught:
                await endpoint.fetch()

        assert not told(caught.value)

    @pytest.mark.fault(68)
    async def test_an_endpoint_whose_certificate_nobody_vouches_for_gets_no_secret(self) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("localhost").configure_cert(tls)

        async with FaultServer(granting(), tls=tls) as server, endpoint_at(server.origin) as endpoint:
            with pytest.raises(TokenUnavailable, match="token_tls_error") as caught:
                await endpoint.fetch()

        assert not told(caught.value)
        assert server.requests == []

    @pytest.mark.fault(70)
    async def test_nothing_of_an_answer_is_logged(self) -> None:
        with capture_logs() as logged:
            await unavailable(saying(response(200, b"canary")))
            await refused(always(401, {"error": "canary"}))

        assert "canary" not in repr(logged)
