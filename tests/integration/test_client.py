"""Every way in which an attempt can end, against a server that really ends it that way."""

import asyncio
import contextlib
import gzip
import json
import logging
import socket
import time

import anyio
import pytest
from structlog.testing import capture_logs

from tests.integration.clients import (
    CANARIES,
    INTERCHANGE,
    REJECTED,
    always,
    client_of,
    failing_attempt,
    failure_of,
    make_claim,
    sending,
    stalling,
)
from tests.integration.faultserver import (
    Conversation,
    FaultServer,
    Received,
    Script,
    answering,
    in_turn,
    response,
)
from worker.errors import Ambiguous, AttemptFailed, CredentialsRefused, NotSent
from worker.result import AttemptClass, Disposition


class TestAnswers:
    async def test_a_verdict_has_what_the_answer_said(self) -> None:
        async with (
            FaultServer(always(body=REJECTED, x_optum_trace_id="trace-7")) as server,
            client_of(server.origin) as client,
        ):
            verdict = await client.attempt(make_claim())

        assert verdict.disposition is Disposition.REJECTED
        assert (verdict.http_status, verdict.status_code, verdict.transaction_id) == (200, "701", "T1")
        assert verdict.trace_id == "trace-7"
        assert verdict.correlation_id == server.requests[0].headers["x-optum-consumer-correlation-id"]

    async def test_the_request_is_the_contracts(self) -> None:
        async with FaultServer(always(body=REJECTED)) as server, client_of(server.origin) as client:
            await client.attempt(make_claim())

        (request,) = server.requests
        assert (request.method, request.path) == ("POST", "/oihub/pre-service/v1/claim/precheck")
        assert request.bearer == "canary-token-1"
        assert request.headers["providertaxid"] == "123456789"
        assert request.headers["content-type"] == "application/json"
        assert request.headers["accept-encoding"] == "identity"
        assert not request.headers.keys() & {"cookie", "user-agent", "environment", "transfer-encoding"}
        assert json.loads(request.body)["variables"]["input"]["x12RequestData"] == INTERCHANGE.decode()

    async def test_a_claim_of_many_megabytes_arrives_whole(self) -> None:
        claim = make_claim(interchange=b"ISA*00*~" + b"REF*EI*1~" * 500_000)

        async with FaultServer(always(body=REJECTED)) as server, client_of(server.origin) as client:
            await client.attempt(claim)

        (request,) = server.requests
        assert json.loads(request.body)["variables"]["input"]["x12RequestData"].encode() == claim.interchange

    async def test_a_claim_without_a_usable_tax_id_is_never_sent(self) -> None:
        async with FaultServer(always()) as server, client_of(server.origin) as client:
            verdict = await client.attempt(make_claim(tax_id="1\r\nX-Evil: 1"))

        assert verdict.disposition is Disposition.INVALID
        assert server.connections == 0

    @pytest.mark.fault(86)
    @pytest.mark.fault(89)
    @pytest.mark.parametrize(
        ("status", "attempt_class"),
        [
            (500, AttemptClass.TRANSIENT),
            (503, AttemptClass.TRANSIENT),
            (429, AttemptClass.TRANSIENT),
            (408, AttemptClass.TRANSIENT),
            (502, AttemptClass.AMBIGUOUS),
            (504, AttemptClass.AMBIGUOUS),
            (404, AttemptClass.DEFINITIVE),
            (413, AttemptClass.DEFINITIVE),
        ],
    )
    async def test_a_status_is_an_answer(self, status: int, attempt_class: AttemptClass) -> None:
        async with (
            FaultServer(always(status, b"<html>canary</html>", Retry_After="17")) as server,
            client_of(server.origin) as client,
        ):
            verdict = await client.attempt(make_claim())

        assert (verdict.http_status, verdict.attempt_class) == (status, attempt_class)
        assert verdict.retry_after_s == 17

    @pytest.mark.fault(91)
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    @pytest.mark.parametrize("location", ["", "/", "?again", "//", "file:///etc/passwd", "\x01"])
    async def test_a_redirect_is_not_followed(self, status: int, location: str) -> None:
        """Neither to another host, be it without TLS, nor to the same one for ever, nor to what is no address."""
        async with (
            FaultServer(always(body=REJECTED)) as elsewhere,
            FaultServer(always(status, location=location or elsewhere.origin)) as server,
            client_of(server.origin) as client,
        ):
            verdict = await client.attempt(make_claim())

        assert (verdict.disposition, verdict.at_the_end) == (None, Disposition.REVIEW)
        assert (len(server.requests), elsewhere.connections) == (1, 0)

    @pytest.mark.fault(92)
    async def test_interim_responses_are_passed_over(self) -> None:
        interim = b"HTTP/1.1 100 Continue\r\n\r\n" * 3 + b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"

        async with (
            FaultServer(sending(interim + response(200, REJECTED))) as server,
            client_of(server.origin) as client,
        ):
            verdict = await client.attempt(make_claim())

        assert verdict.disposition is Disposition.REJECTED

    @pytest.mark.fault(92)
    async def test_interim_responses_without_end_are_no_http(self) -> None:
        async def flood(talk: Conversation) -> None:
            await talk.receive()
            while not talk.closed:
                await talk.send(b"HTTP/1.1 100 Continue\r\n\r\n" * 200)

        error = await failure_of(flood)

        assert isinstance(error, Ambiguous)
        assert error.code == "bad_http"

    @pytest.mark.fault(92)
    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n" + response(200, REJECTED),
            b"HTTP/1.1 204 No Content\r\n\r\n",
            b"HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
        ],
        ids=["101", "204", "999"],
    )
    async def test_a_status_that_is_no_answer_is_no_verdict(self, answer: bytes) -> None:
        async with FaultServer(sending(answer)) as server, client_of(server.origin) as client:
            verdict = await client.attempt(make_claim())

        assert verdict.disposition is None
        assert verdict.attempt_class is AttemptClass.AMBIGUOUS

    async def test_cookies_are_not_kept(self) -> None:
        # By its name, for cookies of bare addresses are not kept by anybody.
        async with (
            FaultServer(always(body=REJECTED, Set_Cookie="session=canary")) as server,
            client_of(f"http://localhost:{server.port}") as client,
        ):
            await client.attempt(make_claim())
            await client.attempt(make_claim())

        assert len(server.requests) == 2
        assert not any("cookie" in request.headers for request in server.requests)


class TestNothingWasSent:
    @pytest.mark.fault(102)
    async def test_a_refused_connection(self) -> None:
        with socket.socket() as bound:  # bound, not listening
            bound.bind(("127.0.0.1", 0))
            async with client_of(f"http://127.0.0.1:{bound.getsockname()[1]}") as client:
                error = await failing_attempt(client)

        assert isinstance(error, NotSent)
        assert error.code == "connect_refused"

    @pytest.mark.fault(101)
    async def test_a_name_that_does_not_resolve(self) -> None:
        async with client_of("https://claims.invalid") as client:
            error = await failing_attempt(client)

        assert isinstance(error, NotSent)
        assert error.code == "dns_failed"

    @pytest.mark.fault(102)
    async def test_a_connection_that_is_never_accepted(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            address = listener.getsockname()
            # Fill the backlog, so that the kernel drops every further SYN.
            crowd = [socket.socket() for _ in range(4)]
            for sock in crowd:
                sock.setblocking(False)
                sock.connect_ex(address)
            async with client_of(f"http://127.0.0.1:{address[1]}", connect_timeout_s=0.3) as client:
                error = await failing_attempt(client)
            for sock in crowd:
                sock.close()

        assert isinstance(error, NotSent)
        assert error.code == "connect_timeout"


class TestNobodyKnows:
    @pytest.mark.fault(85)
    @pytest.mark.fault(98)
    @pytest.mark.parametrize(
        ("script", "code"),
        [
            (sending(), "disconnected"),
            (sending(end=Conversation.reset), "connection_reset"),
            (sending(b"HTTP/1.1 200 O"), "disconnected"),
            (sending(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncanary"), "truncated"),
            (sending(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ncanary\r\n"), "truncated"),
            (sending(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx", 0.1, end=Conversation.reset), "truncated"),
            (sending(b"SSH-2.0-canary\r\n"), "bad_http"),
            (sending(b"HTTP/1.1 200 OK\r\ncanary\r\n\r\n"), "bad_http"),
            (sending(b"HTTP/1.1 200 OK\r\nContent-Length: canary\r\n\r\n"), "bad_http"),
            (sending(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"), "bad_http"),
            (sending(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nXYZ\r\ncanary\r\n"), "bad_http"),
            (sending(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0.1, b"XYZ\r\ncanary\r\n"), "truncated"),
        ],
        ids=[
            "closed before answering", "reset before answering", "closed in the head", "closed in the body",
            "closed between chunks", "reset in the body", "another protocol", "a head that is none",
            "a length that is none", "two lengths", "chunks that are none", "chunks that are none, later",
        ],
    )  # fmt: skip
    async def test_a_broken_answer_is_ambiguous(self, script: Script, code: str) -> None:
        error = await failure_of(script)

        assert isinstance(error, Ambiguous)
        assert (error.code, error.charged) == (code, True)

    @pytest.mark.fault(104)
    async def test_silence_ends_with_the_time_for_an_attempt(self) -> None:
        error = await failure_of(stalling, attempt_timeout_s=0.3)

        assert isinstance(error, Ambiguous)
        assert error.code == "attempt_timeout"

    async def test_a_failure_names_the_id_it_was_sent_with(self) -> None:
        async with FaultServer(stalling) as server, client_of(server.origin, attempt_timeout_s=0.3) as client:
            error = await failing_attempt(client)

        assert error.correlation_id == server.requests[0].headers["x-optum-consumer-correlation-id"]

    @pytest.mark.fault(93)
    @pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"], ids=["head", "body"])
    async def test_a_trickle_does_not_prolong_an_attempt(self, head: bytes) -> None:
        drops = [part for byte in b"HTTP/1.1 200 OK" * 60 for part in (bytes([byte]), 0.02)]
        began = time.monotonic()

        error = await failure_of(sending(head, *drops), attempt_timeout_s=0.5)

        assert error.code == "attempt_timeout"
        assert time.monotonic() - began < 2

    @pytest.mark.fault(94)
    async def test_a_body_announced_too_large_is_not_read(self) -> None:
        error = await failure_of(sending(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n", 9.0))

        assert isinstance(error, Ambiguous)
        assert error.code == "response_too_large"

    @pytest.mark.fault(94)
    @pytest.mark.parametrize("framing", ["chunked", "until the end"])
    async def test_an_endless_body_is_cut_off(self, framing: str) -> None:
        sent = 0

        async def pour(talk: Conversation) -> None:
            nonlocal sent
            await talk.receive()
            if framing == "chunked":
                await talk.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                piece = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
            else:
                await talk.send(b"HTTP/1.1 200 OK\r\n\r\n")
                piece = b"x" * 0x4000
            while sent < 1 << 30 and not talk.closed:
                await talk.send(piece)
                sent += len(piece)

        error = await failure_of(pour)

        assert error.code == "response_too_large"
        assert sent < 50 << 20

    @pytest.mark.fault(94)
    @pytest.mark.parametrize(
        "head",
        [b"X: " + b"x" * 20_000 + b"\r\n", b"".join(b"X-%d: y\r\n" % n for n in range(500))],
        ids=["a long header", "many headers"],
    )
    async def test_a_head_beyond_all_measure_is_refused(self, head: bytes) -> None:
        error = await failure_of(sending(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + head + b"\r\n"))

        assert error.code == "bad_http"

    @pytest.mark.fault(85)
    @pytest.mark.fault(95)
    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "GZIP", "gzip, gzip", "x-unknown"])
    async def test_a_packed_answer_is_not_unpacked(self, encoding: str) -> None:
        bomb = gzip.compress(bytes(1 << 20))

        error = await failure_of(always(200, bomb, Content_Encoding=encoding))

        assert isinstance(error, Ambiguous)
        assert error.code == "content_encoding"

    @pytest.mark.fault(85)
    @pytest.mark.parametrize("broken", ["truncated", "bad CRC"])
    @pytest.mark.parametrize("framing", ["its length", "the end of the connection"])
    async def test_a_packed_answer_that_is_broken_is_no_success_either(self, broken: str, framing: str) -> None:
        packed = gzip.compress(json.dumps(REJECTED).encode())
        packed = packed[: len(packed) // 2] if broken == "truncated" else packed[:-8] + bytes(4) + packed[-4:]
        length = b"Content-Length: %d\r\n" % len(packed) if framing == "its length" else b""

        error = await failure_of(
            sending(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\n",
                length,
                b"\r\n",
                packed,
            )
        )

        assert isinstance(error, Ambiguous)
        assert error.code == "content_encoding"

    @pytest.mark.fault(85)
    @pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
    async def test_an_answer_without_a_length_is_no_success_where_the_connection_ends_it_early(
        self, share: float
    ) -> None:
        head, body = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n", json.dumps(REJECTED).encode()
        script = in_turn(sending(head + body[: int(share * len(body))]), sending(head + body))

        async with FaultServer(script) as server, client_of(server.origin) as client:
            cut, whole = await client.attempt(make_claim()), await client.attempt(make_claim())

        assert (cut.attempt_class, cut.disposition) == (AttemptClass.AMBIGUOUS, None)
        assert whole.disposition is Disposition.REJECTED

    @pytest.mark.parametrize(
        "rest",
        [b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\ncanar", b"Content-Length: 999\r\n\r\n<html>canary"],
        ids=["packed", "truncated"],
    )
    async def test_a_failing_status_speaks_for_itself_though_its_body_cannot_be_read(self, rest: bytes) -> None:
        async with (
            FaultServer(sending(b"HTTP/1.1 503 Busy\r\nRetry-After: 9\r\n" + rest)) as server,
            client_of(server.origin) as client,
        ):
            verdict = await client.attempt(make_claim())

        assert (verdict.http_status, verdict.attempt_class, verdict.retry_after_s) == (503, AttemptClass.TRANSIENT, 9)

    async def test_a_cancelled_attempt_leaves_no_connection_behind_that_could_answer_another_claim(self) -> None:
        asked, cancelled = anyio.Event(), anyio.Event()

        async def late(talk: Conversation, request: Received) -> None:
            if len(server.requests) == 1:
                asked.set()
                await cancelled.wait()
            await talk.answer(200, REJECTED)

        async with FaultServer(answering(late)) as server, client_of(server.origin) as client:
            async with anyio.create_task_group() as attempts:
                attempts.start_soon(client.attempt, make_claim())
                await asked.wait()
                attempts.cancel_scope.cancel()
            cancelled.set()
            await client.attempt(make_claim())

        assert server.connections == 2


async def test_a_thousand_attempts_at_once_wait_for_no_connection() -> None:
    async def answer(talk: Conversation, request: Received) -> None:
        await asyncio.sleep(0.3)  # so long that the calls overlap
        await talk.answer(200, REJECTED)

    async with (
        FaultServer(answering(answer)) as server,
        # Long ones: how fast a thousand connections are made is the machine's affair, that all are is the test's.
        client_of(server.origin, attempt_timeout_s=120.0, connect_timeout_s=60.0) as client,
        anyio.create_task_group() as calls,
    ):
        for ordinal in range(1000):
            calls.start_soon(client.attempt, make_claim(ordinal))

    assert len(server.requests) == server.connections == 1000


async def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    scripts = (
        sending(response(500, b"canary")),
        sending(b"HTTP/1.1 200 OK\r\ncanary\r\n\r\n"),
        sending(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\ncanary"),
        sending(end=Conversation.reset),
        always(401, b"canary"),
    )

    with capture_logs() as logged:
        async with FaultServer(in_turn(*scripts)) as server, client_of(server.origin) as client:
            for _ in range(8):
                with contextlib.suppress(AttemptFailed, CredentialsRefused):
                    await client.attempt(make_claim())

    shown = caplog.text + repr(logged)
    assert {entry["event"] for entry in logged} >= {"token.refreshed", "token.refused"}
    assert not any(canary in shown for canary in CANARIES)
