"""Tokens and credentials, with the real worker and the simulator as processes of their own."""

import asyncio
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
import uvloop

from tests.e2e.harness import Simulator, Site, log_lines, wait_until
from tests.e2e.test_whole_path import put
from tests.oracle import assert_ledger_at_rest, assert_one_result_each, assert_silent_about, read_results, whole_lines
from tests.unit.simulator_calls import element, one_claim
from worker.claim import Batch, Claim
from worker.precheck import open_client
from worker.settings import ApiSettings, AuthSettings, Settings
from worker.settings.environment import SIMULATOR_CLIENT_ID, SIMULATOR_CLIENT_SECRET
from worker.x12 import ClaimFacts

CALLS = 5_000


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process, and those it starts, have a connection open for each of the calls."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CALLS + 1_000
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this process may open no more than {hard} files")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.fault(75)
def test_5000_concurrent_calls_with_a_revoked_token_make_one_refresh_and_one_repeat_each(
    many_files: None, own_simulator: Simulator
) -> None:
    settings = Settings(
        api=ApiSettings(base_url=own_simulator.origin, connect_timeout_s=60.0),
        auth=AuthSettings(client_id=SIMULATOR_CLIENT_ID, client_secret=SIMULATOR_CLIENT_SECRET),
    )
    claim = a_claim()

    async def main() -> list[str | None]:
        told: list[str | None] = []

        async def call() -> None:
            told.append((await client.attempt(claim)).disposition)

        async with open_client(settings) as client:
            await client.authorize()
            own_simulator.revoke()
            async with anyio.create_task_group() as calls:
                for _ in range(CALLS):
                    calls.start_soon(call)
        return told

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        told = runner.run(main())

    stats = own_simulator.get("stats")
    assert told == ["accepted"] * CALLS
    assert (stats["token_calls"], stats["max_token_calls_in_flight"]) == (2, 1)
    assert (stats["bearers_refused"], stats["prechecks"]) == (CALLS, 2 * CALLS)


def a_claim() -> Claim:
    x12 = one_claim("OK-")
    facts = ClaimFacts(
        patient_control_number=element(x12, "CLM*", 1),
        total_charge=element(x12, "CLM*", 2),
        payer_id=element(x12, "NM1*PR", 9),
        provider_tax_id=element(x12, "REF*EI", 2),
    )
    batch = Batch(number=1, batch_id="b" * 20, name="one.837", received_at=0.0)
    return Claim(batch, 1, x12.encode(), facts)


def test_tokens_that_live_two_seconds_fail_no_claim_and_are_asked_for_one_at_a_time(site: Site) -> None:
    put(site.inbox, 800, magic="OK-")

    with Simulator("--profile", "fast", "--latency-scale", "0.02", "--token-lifetime-s", "2") as simulator:
        done = site.run_once(PRECHECK_API__BASE_URL=simulator.origin, PRECHECK_FLOW__RATE_PER_S="200")
        stats, results = simulator.get("stats"), read_results(site.results)

    assert done.returncode == 0
    assert_one_result_each(results, 800)
    assert {(result["disposition"], result["attempts"]) for result in results} == {("accepted", 1)}
    assert stats["max_token_calls_in_flight"] == 1
    assert stats["token_calls"] >= 3
    assert not any(line["event"] == "gate.shut" for line in log_lines(done.stdout))


@pytest.mark.fault(71)
@pytest.mark.fault(79)
def test_refused_credentials_are_one_alarm_and_a_rotated_secret_ends_it_without_a_restart(
    site: Site, own_simulator: Simulator
) -> None:
    site.environ["PRECHECK_API__BASE_URL"] = own_simulator.origin
    secret = mounted_secret(site.root / "secrets", "wr0ng-s3cret")
    put(site.inbox, 50)

    run = site.start("run", PRECHECK_AUTH__CLIENT_ID="simulator", PRECHECK_AUTH__CLIENT_SECRET_FILE=str(secret))
    wait_until(lambda: run.has_logged("gate.shut"))
    time.sleep(3.0)  # the claim of this test: meanwhile nothing is sent, and the endpoint is left alone
    meanwhile = own_simulator.get("stats")
    pending = [path.name for path in site.inbox.iterdir()]
    rotate(secret, SIMULATOR_CLIENT_SECRET)
    wait_until(lambda: len(whole_lines(site.results)) == 50)
    run.stop(signal.SIGTERM)

    lines = log_lines(run.stdout)
    (alarm,) = [line for line in lines if line["event"] == "gate.shut"]
    assert (meanwhile["token_calls"], meanwhile["prechecks"], len(pending)) == (1, 0, 1)
    assert alarm["reason"] == "credentials"
    assert "invalid_client" in alarm["detail"]
    assert run.returncode == 0
    assert_one_result_each(read_results(site.results), 50)
    assert_ledger_at_rest(site.ledger)
    assert_silent_about(["wr0ng-s3cret", SIMULATOR_CLIENT_SECRET, "sim-"], run.stdout, run.stderr)


@pytest.mark.fault(76)
@pytest.mark.fault(77)
@pytest.mark.parametrize("fault", ["bearer_refused", "forbidden"])
def test_a_client_that_is_not_entitled_in_the_middle_of_a_run_keeps_its_claims_pending(
    site: Site, own_simulator: Simulator, fault: str
) -> None:
    site.environ["PRECHECK_API__BASE_URL"] = own_simulator.origin
    put(site.inbox, 400, magic="OK-")

    slowly = {"PRECHECK_FLOW__RATE_PER_S": "40"}  # so that most are left, however late the fault comes
    run = site.start("run", PRECHECK_FLOW__MODE="fixed", PRECHECK_FLOW__MAX_IN_FLIGHT="8", **slowly)
    wait_until(lambda: len(whole_lines(site.results)) >= 10)
    own_simulator.set_faults(**{fault: True})
    wait_until(lambda: run.has_logged("gate.shut"))
    before = own_simulator.get("stats")
    time.sleep(2.0)  # the claim of this test: for this long there is no call
    after = own_simulator.get("stats")
    own_simulator.set_faults(**{fault: False})
    run.stop(signal.SIGTERM)
    done = site.run_once()

    (alarm,) = [line for line in log_lines(run.stdout) if line["event"] == "gate.shut"]
    results = read_results(site.results)
    assert after["prechecks"] - before["prechecks"] <= 8
    assert after["token_calls"] - before["token_calls"] <= 1
    assert (alarm["reason"], len(alarm["correlation_ids"])) == ("credentials", 1)
    assert done.returncode == 0
    assert_one_result_each(results, 400)
    assert {result["disposition"] for result in results} == {"accepted"}
    assert {result["attempts"] for result in results} == {1}


def mounted_secret(folder: Path, content: str) -> Path:
    """Mount a secret as Kubernetes does: a link to a file in a folder that is a link itself."""
    folder.mkdir()
    (folder / "secret").symlink_to("..data/secret")
    rotate(folder / "secret", content)
    return folder / "secret"


def rotate(secret: Path, content: str) -> None:
    folder = secret.parent
    version = folder / f"..version-{len(list(folder.iterdir()))}"
    version.mkdir()
    (version / "secret").write_text(content + "\n")
    (folder / "..tmp").symlink_to(version.name)
    (folder / "..tmp").rename(folder / "..data")
