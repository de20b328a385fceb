"""Who is spoken to at all: TLS, proxies, the environment, the settings."""

import contextlib
import datetime
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from tests.integration.clients import (
    REJECTED,
    always,
    client_of,
    failing_attempt,
    make_claim,
    sending,
    settings_for,
    stalling,
)
from tests.integration.faultserver import (
    Conversation,
    FaultServer,
    Script,
    granting,
)
from worker.errors import NotSent, SettingsError, TokenUnavailable
from worker.precheck import open_client
from worker.precheck.endpoints import resolve_endpoints
from worker.result import Disposition
from worker.settings import ApiSettings, AuthSettings, Settings


def server_side(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@contextmanager
def alerting_server(tls: ssl.SSLContext) -> Iterator[str]:
    """Serve one connection from a thread: asyncio resets a connection whose handshake fails and sends no alert.

    Nor does this one close before the client has: a request on its way would meet a reset that overtakes the alert.
    """

    def serve() -> None:
        raw, _ = listener.accept()
        with raw, raw.dup() as kept:
            kept.settimeout(5)
            with contextlib.suppress(OSError), tls.wrap_socket(raw, server_side=True) as secured:
                secured.recv(65_536)
            with contextlib.suppress(OSError):
                kept.shutdown(socket.SHUT_WR)
                while kept.recv(65_536):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"https://localhost:{listener.getsockname()[1]}"
        thread.join()


class TestTls:
    async def test_a_server_we_trust_is_spoken_to(self, authority: trustme.CA, ca_file: str) -> None:
        async with (
            FaultServer(always(body=REJECTED), tls=server_side(authority)) as server,
            client_of(server.origin, ca_file=ca_file) as client,
        ):
            verdict = await client.attempt(make_claim())

        assert verdict.disposition is Disposition.REJECTED

    @pytest.mark.fault(103)
    @pytest.mark.parametrize("fault", ["unknown authority", "another host", "expired"])
    async def test_a_server_we_cannot_trust_gets_nothing(self, fault: str, authority: trustme.CA, ca_file: str) -> None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        long_ago = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
        certificate = {
            "unknown authority": trustme.CA().issue_cert("localhost"),
            "another host": authority.issue_cert("other.example"),
            "expired": authority.issue_cert("localhost", not_after=long_ago),
        }[fault]
        certificate.configure_cert(tls)

        async with (
            FaultServer(always(body=REJECTED), tls=tls) as server,
            client_of(server.origin, ca_file=ca_file) as client,
        ):
            error = await failing_attempt(client)

        assert isinstance(error, NotSent)
        assert error.code == "tls_error"
        assert server.requests == []

    @pytest.mark.fault(103)
    async def test_a_port_without_tls_gets_nothing(self, ca_file: str) -> None:
        heard = b""

        async def complain(talk: Conversation) -> None:
            nonlocal heard
            heard = await talk.receive_some()
            await talk.answer(400, b"no TLS here")

        async with (
            FaultServer(complain) as server,
            client_of(f"https://localhost:{server.port}", ca_file=ca_file) as client,
        ):
            error = await failing_attempt(client)

        assert isinstance(error, NotSent)
        assert error.code == "tls_error"
        assert heard[:1] == b"\x16"  # a TLS handshake and nothing of ours

    @pytest.mark.fault(103)
    async def test_a_server_that_knows_only_old_tls_gets_nothing(self, authority: trustme.CA, ca_file: str) -> None:
        tls = server_side(authority)
        tls.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings(action="ignore"):
            tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_1

        with alerting_server(tls) as origin:
            async with client_of(origin, ca_file=ca_file) as client:
                error = await failing_attempt(client)

        assert isinstance(error, NotSent)
        assert error.code == "tls_error"

    async def test_the_systems_authorities_do_not_include_ours(self, authority: trustme.CA) -> None:
        async with (
            FaultServer(always(body=REJECTED), tls=server_side(authority)) as server,
            client_of(server.origin) as client,
        ):
            error = await failing_attempt(client)

        assert error.code == "tls_error"

    async def test_a_client_certificate_is_presented(self, authority: trustme.CA, ca_file: str, tmp_path: Path) -> None:
        tls = server_side(authority)
        tls.verify_mode = ssl.CERT_REQUIRED
        authority.configure_trust(tls)
        pem = tmp_path / "client.pem"
        authority.issue_cert("client@example.org").private_key_and_cert_chain_pem.write_to_path(str(pem))

        async with (
            FaultServer(always(body=REJECTED), tls=tls) as server,
            client_of(server.origin, ca_file=ca_file, client_cert=str(pem)) as client,
        ):
            verdict = await client.attempt(make_claim())
        with alerting_server(tls) as origin:
            async with client_of(origin, ca_file=ca_file) as client:
                error = await failing_attempt(client)

        assert verdict.disposition is Disposition.REJECTED
        assert error.code == "tls_error"


class TestTheEnvironmentIsNotListenedTo:
    @pytest.mark.fault(105)
    async def test_its_proxies_are_not_used(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async with FaultServer(always(502)) as proxy, FaultServer(always(body=REJECTED)) as server:
            for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, proxy.origin)
            async with client_of(server.origin) as client:
                verdict = await client.attempt(make_claim())

        assert verdict.disposition is Disposition.REJECTED
        assert proxy.connections == 0

    @pytest.mark.fault(105)
    async def test_its_passwords_are_not_sent(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password canary\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

        async with (
            FaultServer(granting()) as tokens,
            FaultServer(always(body=REJECTED)) as server,
            open_client(settings_for(server.origin, tokens.origin)) as client,
        ):
            await client.attempt(make_claim())

        assert "authorization" not in tokens.requests[0].headers
        assert server.requests[0].headers["authorization"] == "Bearer canary-token-1"

    @pytest.mark.fault(105)
    async def test_its_authorities_are_not_trusted(
        self, authority: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", ca_file)
        monkeypatch.setenv("SSL_CERT_DIR", str(Path(ca_file).parent))

        async with (
            FaultServer(always(body=REJECTED), tls=server_side(authority)) as server,
            client_of(server.origin) as client,
        ):
            error = await failing_attempt(client)

        assert error.code == "tls_error"

    @pytest.mark.fault(105)
    async def test_session_keys_are_not_written_down(
        self, authority: trustme.CA, ca_file: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))

        async with (
            FaultServer(always(body=REJECTED), tls=server_side(authority)) as server,
            client_of(server.origin, ca_file=ca_file) as client,
        ):
            await client.attempt(make_claim())

        assert not (tmp_path / "keys").exists()


async def tunnel(talk: Conversation) -> None:
    """Be a proxy: connect to whom the client names and carry the bytes both ways."""
    request = await talk.receive()
    assert request is not None
    host, _, port = request.path.partition(":")
    async with await anyio.connect_tcp(host, int(port)) as server:
        await talk.send(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def carry_back() -> None:
            async for data in server:
                await talk.send(data)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(carry_back)
            while data := await talk.receive_some():
                await server.send(data)
            tasks.cancel_scope.cancel()


class TestAProxy:
    @pytest.mark.fault(106)
    async def test_a_proxy_carries_what_it_cannot_read(self, authority: trustme.CA, ca_file: str) -> None:
        tls = server_side(authority)
        async with (
            FaultServer(granting(), tls=tls) as tokens,
            FaultServer(always(body=REJECTED), tls=tls) as server,
            FaultServer(tunnel) as proxy,
        ):
            settings = settings_for(server.origin, tokens.origin, ca_file=ca_file, proxy=proxy.origin)
            async with open_client(settings) as client:
                verdict = await client.attempt(make_claim())

        assert verdict.disposition is Disposition.REJECTED
        assert [request.method for request in proxy.requests] == ["CONNECT", "CONNECT"]
        assert not any("authorization" in request.headers for request in proxy.requests)

    @pytest.mark.fault(106)
    @pytest.mark.parametrize(
        ("script", "code"),
        [
            (always(407), "proxy_refused"),
            (always(502), "proxy_refused"),
            (sending(), "connect_failed"),
            (sending(end=Conversation.reset), "connect_failed"),
            (stalling, "connect_timeout"),
        ],
        ids=["407", "502", "closed", "reset", "silent"],
    )
    async def test_a_proxy_that_fails_is_not_passed_by(
        self, script: Script, code: str, authority: trustme.CA, ca_file: str
    ) -> None:
        tls = server_side(authority)
        async with (
            FaultServer(granting(), tls=tls) as tokens,
            FaultServer(always(body=REJECTED), tls=tls) as server,
            FaultServer(script) as proxy,
        ):
            settings = settings_for(
                server.origin, tokens.origin, ca_file=ca_file, proxy=proxy.origin, connect_timeout_s=0.5
            )
            async with open_client(settings) as client:
                with pytest.raises(TokenUnavailable, match=f"token_{code}"):
                    await client.attempt(make_claim())

        assert (tokens.connections, server.connections) == (0, 0)

    @pytest.mark.fault(106)
    async def test_a_proxy_that_is_not_there_is_told(self, ca_file: str) -> None:
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            proxy = f"http://127.0.0.1:{bound.getsockname()[1]}"
            settings = settings_for("https://localhost", "https://localhost/token", ca_file=ca_file, proxy=proxy)
            async with open_client(settings) as client:
                with pytest.raises(TokenUnavailable, match="token_proxy_unreachable"):
                    await client.attempt(make_claim())


class TestOpening:
    @pytest.mark.parametrize(
        ("settings", "name"),
        [
            (Settings(api=ApiSettings(base_url="http://api.example")), "api.base_url"),
            (Settings(api=ApiSettings(base_url="ftp://api.example")), "api.base_url"),
            (Settings(api=ApiSettings(base_url="https://api.example/path")), "api.base_url"),
            (Settings(api=ApiSettings(base_url="https://user:canary@api.example")), "api.base_url"),
            (Settings(auth=AuthSettings(token_url="http://login.example/token")), "auth.token_url"),
            (Settings(api=ApiSettings(base_url="http://127.0.0.1:1", proxy="http://proxy.example:3128")), "api.proxy"),
            (Settings(environment="sandbox", api=ApiSettings(proxy="socks5://proxy.example")), "api.proxy"),
            (Settings(api=ApiSettings(ca_file="/no/such/file")), "api.ca_file"),
            (Settings(api=ApiSettings(client_cert="/no/such/file")), "api.client_cert"),
            (Settings(api=ApiSettings(codes={"000": "fine"})), "api.codes"),
        ],
    )
    async def test_what_must_not_be_is_a_named_setting(self, settings: Settings, name: str) -> None:
        with pytest.raises(SettingsError) as caught:
            async with open_client(settings):
                pass

        assert name in str(caught.value)
        assert "canary" not in str(caught.value)

    async def test_an_encrypted_key_is_refused_without_asking_for_its_passphrase(self, tmp_path: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"canary")
        )
        pem = trustme.CA().issue_cert("client.example")
        (tmp_path / "client.pem").write_bytes(key + pem.cert_chain_pems[0].bytes())
        settings = Settings(api=ApiSettings(client_cert=str(tmp_path / "client.pem")))

        with pytest.raises(SettingsError, match=r"api\.client_cert"):
            async with open_client(settings):
                pass

    async def test_nothing_is_sent_before_the_first_claim(self) -> None:
        async with (
            FaultServer(granting()) as tokens,
            FaultServer(always()) as server,
            open_client(settings_for(server.origin, tokens.origin)),
        ):
            await anyio.sleep(0.05)

        assert (tokens.connections, server.connections) == (0, 0)

    async def test_what_is_raised_inside_comes_out_as_it_is(self) -> None:
        with pytest.raises(ZeroDivisionError):
            async with client_of("http://127.0.0.1:1"):
                _ = 1 / 0

    @pytest.mark.parametrize(
        ("environment", "origin"),
        [
            ("simulator", "http://127.0.0.1:8377"),
            ("sandbox", "https://sandbox-apigw.optum.com"),
            ("production", "https://apigw.optum.com"),
        ],
    )
    def test_the_environment_chooses_the_origin(self, environment: Any, origin: str) -> None:
        endpoints = resolve_endpoints(Settings(environment=environment))

        assert endpoints.origin == origin
        assert str(endpoints.precheck) == f"{origin}/oihub/pre-service/v1/claim/precheck"
        assert str(endpoints.health) == f"{origin}/oihub/pre-service/v1/healthcheck"
        assert str(endpoints.token) == f"{origin}/apip/auth/sntl/v1/token"
