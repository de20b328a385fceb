"""The simulator and the stub over real sockets, called by an aiohttp client."""

import contextlib
import json
import re
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import anyio
import pytest

from tests.unit.simulator_calls import CREDENTIALS, body_of, complaints, element, one_claim
from worker.errors import SettingsError
from worker.simulator.app import serve
from worker.simulator.config import FaultSettings, SimulatorConfig
from worker.simulator.profiles import PROFILES, profile
from worker.simulator.stub import serve_stub

CONFIG = SimulatorConfig()


class Client:
    def __init__(self, session: aiohttp.ClientSession, origin: str) -> None:
        self._session = session
        self.origin = origin
        self.bearer = ""

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, bytes]:
        async with self._session.request(method, self.origin + path, **options) as response:
            return response.status, await response.read()

    async def fetch_token(self) -> int:
        status, body = await self.call("POST", CONFIG.token_path, data=CREDENTIALS)
        self.bearer = f"Bearer {json.loads(body).get('access_token')}"
        return status

    async def check(self, x12: str) -> tuple[int, bytes]:
        headers = {
            "Authorization": self.bearer,
            "Content-Type": "application/json",
            "providerTaxId": element(x12, "REF*EI", 2),
        }
        return await self.call("POST", CONFIG.precheck_path, data=body_of(x12), headers=headers)

    async def stats(self) -> dict[str, Any]:
        stats: dict[str, Any] = json.loads((await self.call("GET", "/_simulator/stats"))[1])
        return stats

    async def answers(self) -> list[dict[str, Any]]:
        _, lines = await self.call("GET", "/_simulator/answers")
        return [json.loads(line) for line in lines.splitlines()]


@asynccontextmanager
async def simulator(config: SimulatorConfig = CONFIG) -> AsyncIterator[Client]:
    async with anyio.create_task_group() as group, aiohttp.ClientSession() as session:
        origin = await group.start(serve, config)
        client = Client(session, origin)
        await client.fetch_token()
        yield client
        group.cancel_scope.cancel()


async def test_a_claim_is_checked_from_token_to_answer() -> None:
    x12 = one_claim()

    async with simulator() as client:
        status, body = await client.check(x12)
        answers = await client.answers()

    members = json.loads(body)["data"]["claimPreCheck"]
    assert status == 200
    assert element(members["x12Response277CA"], "TRN*2*" + element(x12, "CLM*", 1), 2) == element(x12, "CLM*", 1)
    assert answers == [
        {
            "patient_control_number": element(x12, "CLM*", 1),
            "attempts": 1,
            "http_status": 200,
            "meaning": "accepted",
            "transaction_id": members["transactionId"],
        }
    ]


async def test_the_books_tell_claims_of_equal_number_apart_and_count_attempts() -> None:
    first, second = one_claim("REJ-", control_number=1), one_claim("REJ-", control_number=2)

    async with simulator() as client:
        for x12 in (first, second, first):
            await client.check(x12)
        answers, stats = await client.answers(), await client.stats()

    assert sorted(answer["attempts"] for answer in answers) == [1, 2]
    assert {answer["meaning"] for answer in answers} == {"rejected"}
    assert (stats["prechecks"], stats["claims"], stats["statuses"]) == (3, 2, {"200": 3})


async def test_health_wants_a_good_token() -> None:
    async with simulator() as client:
        good = await client.call("GET", CONFIG.health_path, headers={"Authorization": client.bearer})
        bad, _ = await client.call("GET", CONFIG.health_path)

    assert good == (200, b"OK")
    assert bad == 401


async def test_json_at_the_form_endpoint_gets_415_and_the_older_one_takes_it() -> None:
    async with simulator() as client:
        refused, _ = await client.call("POST", CONFIG.token_path, json=CREDENTIALS)
        taken, _ = await client.call("POST", CONFIG.token_v2_path, json=CREDENTIALS)

    assert (refused, taken) == (415, 200)


async def test_a_good_token_on_an_unknown_url_gets_401() -> None:
    async with simulator() as client:
        status, _ = await client.call("POST", "/no/such/path", headers={"Authorization": client.bearer})

    assert status == 401


async def test_revoked_tokens_are_refused_until_a_new_one_is_fetched() -> None:
    async with simulator() as client:
        _, revoked = await client.call("POST", "/_simulator/revoke")
        refused, body = await client.check(one_claim())
        await client.fetch_token()
        good, _ = await client.check(one_claim())
        answers = await client.answers()

    assert json.loads(revoked) == {"revoked": 1}
    assert (refused, json.loads(body)) == (401, {"message": "Unauthorized", "statusCode": 401})
    assert good == 200
    assert answers[0]["attempts"] == 1


async def test_faults_can_be_changed_while_it_runs() -> None:
    async with simulator() as client:
        changed, settings = await client.call("POST", "/_simulator/faults", data=b'{"http_500": 1.0}')
        failed, _ = await client.check(one_claim())
        await client.call("POST", "/_simulator/faults", data=b'{"http_500": 0.0}')
        good, _ = await client.check(one_claim())
        wrong, _ = await client.call("POST", "/_simulator/faults", data=b'{"http_5000": 1.0}')
        answers = await client.answers()

    assert (changed, json.loads(settings)["http_500"]) == (200, 1.0)
    assert (failed, good, wrong) == (500, 200, 400)
    assert [(answer["attempts"], answer["meaning"]) for answer in answers] == [(2, "accepted")]


async def test_an_outage_takes_token_health_and_claims_down_but_not_the_control_surface() -> None:
    async with simulator(SimulatorConfig(faults=FaultSettings(outage=True))) as client:
        token = await client.fetch_token()
        health, _ = await client.call("GET", CONFIG.health_path)
        stats = await client.stats()

    assert (token, health) == (503, 503)
    assert stats["token_calls"] == 2


async def test_a_reset_connection_and_a_cut_answer_are_seen_as_such() -> None:
    async with simulator(SimulatorConfig(faults=FaultSettings(reset=1.0))) as client:
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.check(one_claim())
        await client.call("POST", "/_simulator/faults", data=b'{"reset": 0.0, "truncated": 1.0}')
        with pytest.raises(aiohttp.ClientPayloadError):
            await client.check(one_claim())
        answers, stats = await client.answers(), await client.stats()

    assert [(answer["attempts"], answer["http_status"], answer["meaning"]) for answer in answers] == [
        (2, 0, "undelivered")
    ]
    assert stats["statuses"] == {"0": 2}


async def answer_of(fault: str) -> bytes:
    """Ask for one claim over a socket of our own and return all that comes within a second, head and all."""
    x12 = one_claim("OK-")
    async with simulator() as client:
        await client.call("POST", "/_simulator/faults", data=json.dumps({fault: 1.0}))
        body = body_of(x12)
        head = (
            f"POST {CONFIG.precheck_path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Authorization: {client.bearer}\r\nproviderTaxId: {element(x12, 'REF*EI', 2)}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        host, _, port = client.origin.removeprefix("http://").partition(":")
        received = b""
        async with await anyio.connect_tcp(host, int(port)) as stream:
            await stream.send(head.encode() + body)
            with anyio.move_on_after(1.0), contextlib.suppress(anyio.EndOfStream):
                while len(received) < 5_000_000:
                    received += await stream.receive()
    return received


async def test_an_unsolicited_answer_is_the_same_once_more() -> None:
    received = await answer_of("unsolicited")

    (first, second) = received.split(b"HTTP/1.1 200 OK")[1:]
    assert first.partition(b"\r\n\r\n")[2] == second.partition(b"\r\n\r\n")[2]


async def test_a_late_408_follows_the_answer() -> None:
    received = await answer_of("late_408")

    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"408"]


async def test_an_unframed_answer_has_no_length_and_ends_in_the_middle() -> None:
    head, _, body = (await answer_of("unframed")).partition(b"\r\n\r\n")

    assert b"content-length" not in head.lower()
    assert b"chunked" not in head.lower()
    assert body.startswith(b'{"data"')
    assert not body.endswith(b"}}}")


async def test_an_endless_answer_comes_as_fast_as_it_is_taken_and_a_trickle_does_not() -> None:
    assert len(await answer_of("endless")) >= 5_000_000
    assert len(await answer_of("trickle")) < 1_000


@pytest.mark.parametrize("name", PROFILES)
async def test_every_profile_plays(name: str) -> None:
    """Nothing of the simulator's own goes wrong: what aiohttp would answer to that is no JSON of ours."""
    config = profile(name, latency_scale=0.0, gateway_timeout_s=0.2)
    headers = {"Content-Type": "application/json", "providerTaxId": element(one_claim(), "REF*EI", 2)}
    told: set[int] = set()

    async with anyio.create_task_group() as group, aiohttp.ClientSession() as session:
        client = Client(session, await group.start(serve, config))
        status, body = await client.call("POST", config.token_path, data=CREDENTIALS)
        token = json.loads(body).get("access_token") if status == 200 and body.startswith(b"{") else None
        for number in range(20):
            x12 = one_claim("OK-", first_ordinal=number + 1)
            bearer = {"Authorization": f"Bearer {token}", "providerTaxId": element(x12, "REF*EI", 2)}
            with contextlib.suppress(aiohttp.ClientError):
                posted = session.post(client.origin + config.precheck_path, data=body_of(x12), headers=headers | bearer)
                with anyio.move_on_after(1.0):
                    async with posted as response:
                        told.add(response.status)
                        if response.status == 500:
                            assert json.loads(await response.read())["statusCode"] == 500
        stats = await client.stats()
        group.cancel_scope.cancel()

    assert stats["prechecks"] == 20
    assert told or name in ("hostile", "odd")


async def test_the_profile_can_be_changed_while_it_runs() -> None:
    async with simulator() as client:
        await client.call("POST", "/_simulator/profile", data=b'{"name": "outage"}')
        down, _ = await client.check(one_claim())
        await client.call("POST", "/_simulator/profile", data=b'{"name": "fast"}')
        up, _ = await client.check(one_claim())
        wrong, told = await client.call("POST", "/_simulator/profile", data=b'{"name": "no-such"}')
        _, faults = await client.call("GET", "/_simulator/faults")

    assert (down, up, wrong) == (503, 200, 400)
    assert b"hostile" in told
    assert json.loads(faults)["outage"] is False


@pytest.mark.parametrize(
    ("fault", "token", "health"),
    [({"token_refused": True}, 401, 200), ({"token_page": 1.0}, 200, 200), ({"health_down": True}, 200, 503)],
    ids=lambda value: next(iter(value), "") if isinstance(value, dict) else None,
)
async def test_token_and_health_can_be_broken_by_themselves(fault: dict[str, object], token: int, health: int) -> None:
    async with simulator() as client:
        await client.call("POST", "/_simulator/faults", data=json.dumps(fault))
        status, body = await client.call("POST", CONFIG.token_path, data=CREDENTIALS)
        healthy, _ = await client.call("GET", CONFIG.health_path, headers={"Authorization": client.bearer})

    assert (status, healthy) == (token, health)
    assert body.startswith(b"{") is ("token_page" not in fault)


async def test_the_control_surface_is_for_loopback_only_wherever_it_listens() -> None:
    elsewhere = own_address()
    everywhere = "0.0.0.0"  # noqa: S104 - the test is about just that
    async with anyio.create_task_group() as group, aiohttp.ClientSession() as session:
        origin = await group.start(partial(serve, CONFIG, everywhere, allow_any_host=True))
        port = origin.rpartition(":")[2]
        from_here = await Client(session, f"http://127.0.0.1:{port}").call("GET", "/_simulator/stats")
        from_there = await Client(session, f"http://{elsewhere}:{port}").call("GET", "/_simulator/stats")
        group.cancel_scope.cancel()

    assert (from_here[0], from_there[0]) == (200, 403)


def own_address() -> str:
    """Return an address of this machine that is not loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing: TEST-NET-1, RFC 5737
        except OSError:
            pytest.skip("this machine has no address but loopback")
        address: str = probe.getsockname()[0]
    return address


async def test_calls_wait_side_by_side_and_the_most_at_one_time_is_counted() -> None:
    async with simulator(SimulatorConfig(latency_scale=0.05, token_delay_s=0.05)) as client:
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(client.check, one_claim("OK-", first_ordinal=number + 1))
            for _ in range(3):
                group.start_soon(client.call, "GET", CONFIG.health_path)
        async with anyio.create_task_group() as group:
            for _ in range(4):
                group.start_soon(client.fetch_token)
        stats = await client.stats()

    assert stats["max_in_flight"] > 10
    assert (stats["in_flight"], stats["token_calls_in_flight"]) == (0, 0)
    assert (stats["token_calls"], stats["max_token_calls_in_flight"]) == (5, 4)
    assert stats["health_calls"] == 3


async def test_an_answer_to_a_client_that_has_left_is_booked_as_none() -> None:
    async with simulator(SimulatorConfig(latency_scale=1.0)) as client:
        async with anyio.create_task_group() as impatient:
            impatient.start_soon(client.check, one_claim())
            with anyio.fail_after(60):
                while not (await client.stats())["in_flight"]:  # noqa: ASYNC110 - as below
                    await anyio.sleep(0.02)
            impatient.cancel_scope.cancel()
        with anyio.fail_after(60):
            while (await client.stats())["in_flight"]:  # noqa: ASYNC110 - the simulator knows, and it is asked by HTTP
                await anyio.sleep(0.02)
        answers = await client.answers()

    assert [(answer["attempts"], answer["http_status"], answer["meaning"]) for answer in answers] == [
        (1, 0, "undelivered")
    ]


async def test_a_request_that_is_too_large_gets_413() -> None:
    async with simulator(SimulatorConfig(max_request_bytes=2000)) as client:
        status, _ = await client.check(one_claim().replace("SAMPLE", "SAMPLE" * 300))

    assert status == 413


async def test_it_listens_on_loopback_only_unless_told() -> None:
    with pytest.raises(SettingsError, match="loopback"):
        await serve(CONFIG, "0.0.0.0")  # noqa: S104 - the refusal is what is tested

    everywhere = "0.0.0.0"  # noqa: S104 - the test is about just that
    async with anyio.create_task_group() as group:
        origin = await group.start(partial(serve, CONFIG, everywhere, allow_any_host=True))
        group.cancel_scope.cancel()
    assert origin.startswith("http://0.0.0.0:")


@asynccontextmanager
async def told_by_callback(server: Callable[..., Coroutine[Any, Any, None]], **options: Any) -> AsyncIterator[str]:
    """Run a server until the block ends; gives the origin that it told its callback."""
    origin, listening = "", anyio.Event()

    def ready(told: str) -> None:
        nonlocal origin
        origin = told
        listening.set()

    async with anyio.create_task_group() as group:
        group.start_soon(partial(server, ready=ready, **options))
        with anyio.fail_after(60):
            await listening.wait()
        yield origin
        group.cancel_scope.cancel()


async def test_the_callback_gets_the_origin_once_calls_are_accepted() -> None:
    async with told_by_callback(serve, config=CONFIG, host="localhost") as origin, aiohttp.ClientSession() as session:
        assert "claims" in await Client(session, origin).stats()


@asynccontextmanager
async def stub(delay_s: float = 0.0) -> AsyncIterator[Client]:
    async with told_by_callback(serve_stub, delay_s=delay_s) as origin, aiohttp.ClientSession() as session:
        yield Client(session, origin)


async def test_the_stub_accepts_every_claim_with_its_own_number_and_charge() -> None:
    claims = [
        one_claim("", first_ordinal=n, kind=kind) for n in range(1, 8) for kind in ("professional", "institutional")
    ]

    async with stub() as client:
        assert await client.fetch_token() == 200
        assert await client.call("GET", CONFIG.health_path) == (200, b"OK")
        answers = [json.loads((await client.check(x12))[1])["data"]["claimPreCheck"] for x12 in claims]
        missing, _ = await client.call("GET", "/elsewhere")

    assert missing == 404
    assert len({answer["transactionId"] for answer in answers}) == len(claims)
    for x12, answer in zip(claims, answers, strict=True):
        assert complaints(answer["x12ResponseData"]) == []
        assert complaints(answer["x12Response277CA"]) == []
        assert f"~TRN*2*{element(x12, 'CLM*', 1)}~" in answer["x12Response277CA"]
        assert f"~STC*A2:20*20250115*WQ*{element(x12, 'CLM*', 2)}~" in answer["x12Response277CA"]


async def test_the_stubs_answers_take_as_long_as_told_side_by_side() -> None:
    async with stub(delay_s=0.3) as client:
        await client.fetch_token()
        started = anyio.current_time()
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(client.check, one_claim())
        took_s = anyio.current_time() - started

    assert 0.3 <= took_s < 2.0


def test_the_stub_as_a_process_says_where_it_listens() -> None:
    command = [sys.executable, "-m", "worker.simulator.stub", "--port", "0", "--delay", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        process.terminate()

    assert told["origin"] == f"http://127.0.0.1:{told['port']}"
