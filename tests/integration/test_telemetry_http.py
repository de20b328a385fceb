"""Probes, metrics and status page over a real socket."""

import json
import socket

import aiohttp
import pytest

from worker.errors import SettingsError
from worker.tally import Tally
from worker.telemetry import serve_probes

ANYWHERE = "127.0.0.1:0"


def ready() -> str | None:
    return None


async def get(bound: tuple[str, int] | None, path: str, method: str = "GET") -> tuple[int, str, dict[str, str]]:
    assert bound is not None
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://{bound[0]}:{bound[1]}{path}") as answer,
    ):
        return answer.status, await answer.text(), dict(answer.headers)


async def test_a_worker_that_takes_claims_is_alive_and_ready() -> None:
    async with serve_probes(ANYWHERE, Tally(), ready) as bound:
        live, _, _ = await get(bound, "/livez")
        status, body, headers = await get(bound, "/readyz")

    assert live == 200
    assert status == 200
    assert json.loads(body) == {"ready": True, "reason": None}
    assert headers["Cache-Control"] == "no-store"


async def test_readiness_follows_the_worker_and_says_why_not() -> None:
    reasons = ["gate shut: outage", None]

    async with serve_probes(ANYWHERE, Tally(), lambda: reasons.pop(0)) as bound:
        status, body, _ = await get(bound, "/readyz")
        later, _, _ = await get(bound, "/readyz")

    assert status == 503
    assert json.loads(body) == {"ready": False, "reason": "gate shut: outage"}
    assert later == 200


async def test_an_unready_worker_is_still_alive() -> None:
    async with serve_probes(ANYWHERE, Tally(), lambda: "not started") as bound:
        status, _, _ = await get(bound, "/livez")

    assert status == 200


async def test_metrics_are_those_of_this_moment() -> None:
    tally = Tally()

    async with serve_probes(ANYWHERE, tally, ready) as bound:
        tally.claim_completed("accepted", 2400)
        status, body, headers = await get(bound, "/metrics")

    assert status == 200
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'precheck_claims_total{disposition="accepted"} 1.0' in body


async def test_the_status_page_is_html_that_may_load_nothing() -> None:
    async with serve_probes(ANYWHERE, Tally(), ready) as bound:
        status, body, headers = await get(bound, "/")

    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert 'http-equiv="refresh"' in body


@pytest.mark.parametrize(("path", "method", "status"), [("/secrets", "GET", 404), ("/livez", "POST", 405)])
async def test_there_is_nothing_else(path: str, method: str, status: int) -> None:
    async with serve_probes(ANYWHERE, Tally(), ready) as bound:
        found, _, headers = await get(bound, path, method)

    assert found == status
    assert "aiohttp" not in headers.get("Server", "")


async def test_without_an_address_nothing_listens() -> None:
    async with serve_probes("", Tally(), ready) as bound:
        assert bound is None


async def test_an_address_in_use_is_a_problem_of_the_settings() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"

        with pytest.raises(SettingsError, match=r"^telemetry\.http: cannot listen on 127\.0\.0\.1:") as caught:
            async with serve_probes(address, Tally(), ready):
                pytest.fail("it listens")

    assert f"cannot listen on {address}: Address already in use; choose another" in str(caught.value)


@pytest.mark.parametrize("address", ["192.0.2.1:0", "nowhere"])
async def test_an_address_that_is_not_ours_is_a_problem_of_the_settings(address: str) -> None:
    with pytest.raises(SettingsError, match=r"^telemetry\.http: "):
        async with serve_probes(address, Tally(), ready):
            pytest.fail("it listens")


async def test_the_port_is_free_again_at_the_end() -> None:
    async with serve_probes(ANYWHERE, Tally(), ready) as bound:
        assert bound is not None

    with socket.create_server(bound):
        pass
