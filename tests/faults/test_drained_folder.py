"""A worker is stopped with batches begun: whoever goes on with them, no answer is asked for again or told by two."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.harness import Run, Simulator, Site, wait_until
from tests.faults.crashing import Given, claims_in_flight, put
from tests.faults.test_hand_over import end_all, hold_against, told
from tests.faults.test_shared_folder import entries, sites_on

CLAIMS = 100


@pytest.fixture
def sites(tmp_path: Path, simulator: Simulator, bytecode: Path) -> list[Site]:
    """Three workers on one folder, as fast as they can be."""
    sites = sites_on(tmp_path, simulator, bytecode, 3)
    for site in sites:
        del site.environ["PRECHECK_FLOW__RATE_PER_S"]
    return sites


def put_and_stop(site: Site, *, small: int) -> tuple[Given, Run]:
    """Put in two large files and then so many small ones, and stop a worker that has answered some of the former."""
    given = put(site.inbox, files=2, claims=CLAIMS, prefix="large")
    run = site.start("run", PRECHECK_FLOW__RATE_PER_S="20")
    wait_until(lambda: run.has_logged("claim.completed"))
    given += put(site.inbox, files=small, first=1000) if small else Given(0, Counter(), frozenset())
    wait_until(lambda: len(entries(site.inbox)) == 0)
    return given, run.stop(signal.SIGTERM)


@pytest.mark.fault(15)
@pytest.mark.fault(51)
@pytest.mark.parametrize("successor", [0, 1], ids=["the same", "another"])
def test_what_a_stopped_worker_has_begun_is_gone_on_with_and_what_it_has_not_is_anybodys(
    sites: list[Site], simulator: Simulator, successor: int
) -> None:
    asked = simulator.get("stats")["prechecks"]
    given, stopped = put_and_stop(sites[0], small=100)
    put_back, kept = entries(sites[0].inbox), entries(sites[0].root / "spool/work")

    (done,) = end_all([sites[successor]])

    assert stopped.returncode == 0
    assert len(put_back) > 50
    assert len([name for name in kept if "large" in name]) == 2
    assert all(".r-" in name for name in kept)
    of_each = hold_against(sites[: successor + 1], given)
    assert simulator.get("stats")["prechecks"] - asked == given.claims.total()
    costs = {(result["attempts"], result["ambiguous_attempts"]) for results in of_each for result in results}
    assert costs == {(1, 0)}
    assert all(of_each)
    assert [line["batches"] for line in told(done, "worker.succeeded")] == [len(kept)]
    assert told(done, "worker.taken_over") == []


@pytest.mark.fault(15)
@pytest.mark.fault(51)
def test_a_stopped_worker_starts_again_while_another_goes_on_with_what_it_has_left(
    sites: list[Site], simulator: Simulator
) -> None:
    asked = simulator.get("stats")["prechecks"]
    given, _ = put_and_stop(sites[0], small=0)

    runs = [site.start("run", "--once") for site in sites]
    ended = [run.wait().returncode for run in runs]
    end_all(sites)

    assert ended == [0, 0, 0]
    hold_against(sites, given)
    assert simulator.get("stats")["prechecks"] - asked == given.claims.total()


@pytest.mark.fault(15)
@pytest.mark.fault(51)
def test_workers_that_are_stopped_again_and_again_tell_every_claim_once(
    sites: list[Site], simulator: Simulator
) -> None:
    asked = simulator.get("stats")["prechecks"]
    given, _ = put_and_stop(sites[0], small=0)

    for life in range(1, 8):
        run = sites[life % 3].start("run", PRECHECK_FLOW__RATE_PER_S="20")
        wait_until(lambda run=run: run.has_logged("claim.completed"))  # type: ignore[misc]  # the run of this turn
        assert run.stop(signal.SIGTERM).returncode == 0
    end_all([sites[0]])

    hold_against(sites, given)
    assert simulator.get("stats")["prechecks"] - asked == given.claims.total()


@pytest.mark.fault(15)
@pytest.mark.fault(51)
def test_what_was_being_sent_when_the_time_to_drain_was_over_is_sent_again_by_the_heir_and_counts_as_ambiguous(
    sites: list[Site], simulator: Simulator
) -> None:
    first, second, _ = sites
    given = put(first.inbox, files=1, claims=30)
    slow = Simulator("--profile", "fast", "--latency-scale", "4")
    try:
        run = first.start("run", PRECHECK_API__BASE_URL=slow.origin, PRECHECK_TELEMETRY__DRAIN_S="0.2")
        wait_until(lambda: slow.get("stats")["in_flight"] > 0)
        run.stop(signal.SIGTERM)
    finally:
        slow.close()
    in_flight = claims_in_flight(first)

    end_all([second])

    of_each = hold_against(sites[:2], given)
    assert run.returncode == 0
    assert in_flight
    assert {result["claim_id"] for result in of_each[1] if result["ambiguous_attempts"]} == in_flight
