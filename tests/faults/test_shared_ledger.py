"""Workers, as processes, on one ledger in PostgreSQL: killed, told the same twice, paused, their database restarted."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import PLACES, Place, finish
from tests.e2e.harness import Simulator, log_lines, wait_until
from tests.faults.crashing import put
from tests.faults.fleet import NAMES, Fleet
from tests.oracle import assert_one_result_each, read_results
from tests.postgres import SharedLedger, cluster

POISONED = str(Path(__file__).with_name("poisoned_worker.py"))


@pytest.fixture
def own_simulator() -> Iterator[Simulator]:
    """A simulator that the test may change: 50 ms latency, no faults."""
    simulator = Simulator("--profile", "fast", "--latency-scale", "0.02")
    yield simulator
    simulator.close()


@pytest.fixture
def ledger() -> Iterator[SharedLedger]:
    """One schema for one test."""
    shared = SharedLedger()
    yield shared
    shared.remove()


@pytest.fixture(params=["folder", "redis", "rabbitmq", "nats", "sqs"])
def claims(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place | None]:
    """Where both take claims from: a folder (none is given), or a broker whose messages come again."""
    if request.param == "folder":
        yield None
        return
    place = PLACES[request.param](tmp_path)
    yield place
    place.remove()


@pytest.mark.slow
@pytest.mark.fault(2)
@pytest.mark.fault(51)
@pytest.mark.fault(107)
def test_what_a_killed_worker_had_begun_is_gone_on_with_and_no_claim_that_has_its_answer_is_sent_again(
    tmp_path: Path, own_simulator: Simulator, ledger: SharedLedger, claims: Place | None
) -> None:
    shared_folder = tmp_path / "alpha/spool/in"
    fleet = Fleet(
        tmp_path,
        own_simulator,
        ledger,
        PRECHECK_INPUT__URL=claims.url if claims else f"dir:{shared_folder}",
        PRECHECK_INPUT__LEASE_S="2",
        PRECHECK_FLOW__RATE_PER_S="60",
    )
    try:
        (alpha,) = fleet.start(0)
        given = put(shared_folder if claims is None else tmp_path / "alpha", files=1, claims=200)
        if claims is not None:
            (sent,) = (tmp_path / "alpha").glob("*.837")
            claims.put(sent.name, sent.read_bytes())
        wait_until(lambda: len(fleet.told()[0]) >= 40)
        killed = alpha.stop(signal.SIGKILL)
        stored = ledger.ask("SELECT count(*) FROM {}.results")[0][0]
        (beta,) = fleet.start(1)
        wait_until(lambda: fleet.states()[True] == 1)
        beta.stop(signal.SIGTERM)
    finally:
        fleet.none_left()

    results = read_results(fleet.sites[1].results)
    assert killed.returncode == -signal.SIGKILL
    assert beta.returncode == 0, beta.stderr.decode()
    # All of them: those that the killed one had stored, too, for whether its sinks have them nobody can ask.
    assert_one_result_each(results, 200)
    assert Counter(result["patient_control_number"] for result in results) == given.claims
    assert {*fleet.told()[0]} <= {*fleet.told()[1]}
    repeats = sum(result["ambiguous_attempts"] for result in results)
    assert stored >= 40
    assert own_simulator.get("stats")["prechecks"] <= 200 + repeats
    assert repeats <= 200 - stored


@pytest.mark.slow
@pytest.mark.fault(2)
def test_results_that_a_killed_worker_had_stored_and_not_brought_out_are_brought_out_by_the_next(
    tmp_path: Path, own_simulator: Simulator, ledger: SharedLedger
) -> None:
    fleet = Fleet(tmp_path, own_simulator, ledger, PRECHECK_INPUT__URL=f"dir:{tmp_path / 'alpha/spool/in'}")
    try:
        put(fleet.sites[0].inbox, files=1, claims=1)
        (killed,) = fleet.start(0, CRASH="sink_torn:1")
        killed.wait()
        fleet.start(1)
        wait_until(lambda: fleet.states()[True] == 1)
        ended = fleet.runs[1].stop(signal.SIGTERM)
    finally:
        fleet.none_left()

    assert (killed.returncode, ended.returncode) == (-signal.SIGKILL, 0)
    assert list(map(len, fleet.told())) == [0, 1]
    assert own_simulator.get("stats")["prechecks"] == 1


@pytest.mark.slow
def test_a_file_given_to_a_second_worker_while_the_first_is_at_it_is_told_again_and_not_sent_again(
    tmp_path: Path, own_simulator: Simulator, ledger: SharedLedger
) -> None:
    fleet = Fleet(tmp_path, own_simulator, ledger, PRECHECK_FLOW__RATE_PER_S="25")
    try:
        fleet.start(0, 1)
        put(fleet.sites[0].inbox, files=1, claims=150)
        wait_until(lambda: fleet.states()[False] == 1)
        (taken,) = (fleet.sites[0].root / "spool").rglob("*.837*")
        content = taken.read_bytes()
        (fleet.sites[1].inbox / "again.837").write_bytes(content)
        wait_until(lambda: fleet.runs[1].has_logged("batch.waiting"))
        under_way = fleet.states()
        wait_until(lambda: fleet.states()[True] == 2)
        (fleet.sites[1].inbox / "later.837").write_bytes(content)
        wait_until(lambda: fleet.states()[True] == 3)
        runs = [run.stop(signal.SIGTERM) for run in fleet.runs]
    finally:
        fleet.none_left()

    first, second = (read_results(site.results) for site in fleet.sites)
    assert [run.returncode for run in runs] == [0, 0]
    assert under_way == {False: 2}
    assert own_simulator.get("stats")["prechecks"] == 150
    assert_one_result_each(first + second, 450)
    assert Counter(one["duplicate_of"] for one in second) == dict.fromkeys((one["result_id"] for one in first), 2)
    assert sum(line["event"] == "batch.waiting" for line in log_lines(runs[1].stdout)) == 1


@pytest.mark.slow
@pytest.mark.fault(43)
def test_a_database_that_dies_in_the_middle_pauses_the_fleet_and_costs_no_result(
    tmp_path: Path, own_simulator: Simulator
) -> None:
    with cluster() as server:
        fleet = Fleet(tmp_path, own_simulator, SharedLedger(server.url), PRECHECK_FLOW__RATE_PER_S="40")
        try:
            fleet.start(0, 1)
            given = [put(site.inbox, files=6, claims=25, first=1 + 500 * n) for n, site in enumerate(fleet.sites)]
            wait_until(lambda: min(map(len, fleet.told())) >= 20)
            server.stop()
            wait_until(lambda: all(run.has_logged("sink.unavailable") for run in fleet.runs))
            server.start()
            wait_until(lambda: fleet.states()[True] == 12)
            runs = [run.stop(signal.SIGTERM) for run in fleet.runs]
            status = fleet.sites[0].run("status", "--reconcile")
        finally:
            fleet.none_left()

    fleet.assert_waited_and_told_all(runs, given, status)


@pytest.mark.slow
def test_the_commands_work_on_the_ledger_of_a_fleet(
    tmp_path: Path, own_simulator: Simulator, ledger: SharedLedger
) -> None:
    fleet = Fleet(
        tmp_path, own_simulator, ledger, PRECHECK_RETRY__MAX_ATTEMPTS="1", PRECHECK_TELEMETRY__LOG_LEVEL="info"
    )
    alpha, beta = fleet.sites
    missing = alpha.run("run", "--once"), alpha.run("status"), alpha.run("pause"), alpha.run("check")
    try:
        fleet.start(0, 1)
        twin = alpha.run("run", "--once")
        paused = beta.run("pause", "--reason", "maintenance")
        wait_until(lambda: all(run.has_logged("gate.shut") for run in fleet.runs))
        told_pause = alpha.run("status")
        resumed = alpha.run("resume")
        own_simulator.set_faults(http_500=1.0)
        put(alpha.inbox, files=1, claims=3)
        wait_until(lambda: fleet.states()[True] == 1)
        own_simulator.set_faults(http_500=0.0)
        put(beta.inbox, files=1, claims=4, first=100)
        wait_until(lambda: fleet.states()[True] == 2)
        for run in fleet.runs:
            run.stop(signal.SIGTERM)
    finally:
        fleet.none_left()
    parked = beta.run("retry", "--dry-run")
    retried = beta.run("retry")
    results, status = alpha.run("results", "--format", "json"), alpha.run("status", "--json")
    report, check = alpha.run("report"), alpha.run("check")
    books = alpha.run("status", "--reconcile", "--json")

    assert [run.returncode for run in missing] == [2, 2, 2, 2]
    assert all(b"create it: precheck-worker run --create" in run.stderr + run.stdout for run in missing)
    assert twin.returncode == 3
    assert b"a worker named alpha is at work on it; give each a name of its own: state.worker_name" in twin.stderr
    assert (paused.returncode, resumed.returncode, resumed.stdout) == (0, 0, b"resumed\n")
    assert b"maintenance; go on with" in told_pause.stdout
    assert parked.stdout.endswith(b"3 claims would be sent again\n")
    assert retried.returncode == 0, retried.stderr.decode() + retried.stdout.decode()
    told = [json.loads(line) for line in results.stdout.splitlines()]
    assert Counter((one["generation"], one["disposition"]) for one in told) == {
        (2, "accepted"): 3, (1, "accepted"): 4,
    }  # fmt: skip
    assert json.loads(status.stdout)["totals"] == {"accepted": 7}
    assert {*map(len, fleet.told())} == {3, 7}
    assert report.returncode == 0, report.stderr.decode()
    assert b"state     a ledger that a fleet shares, 7 claims in it" in check.stdout
    sums = json.loads(books.stdout)
    assert (sums["claims"], sums["results"], sums["pending"], sums["unbalanced"]) == (7, 7, 0, 0)


@pytest.mark.slow
@pytest.mark.fault(109)
def test_a_message_that_kills_every_worker_of_a_fleet_ends_with_the_dead_letters_whoever_had_it(
    tmp_path: Path, ledger: SharedLedger
) -> None:
    place = PLACES["redis"](tmp_path)
    for name in ("a", "poison", "b"):
        place.put(name, name.encode())

    ends: list[int] = []
    while not ends or (ends[-1] and len(ends) < 10):
        command = [sys.executable, POISONED, place.url, ledger.url, NAMES[len(ends) % 2]]
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        ended = subprocess.run(command, env=environ, stderr=subprocess.PIPE, timeout=60, check=False)
        assert ended.returncode in (0, -signal.SIGKILL), ended.stderr.decode()
        ends.append(ended.returncode)

    assert ends == [-signal.SIGKILL] * 5 + [0]
    assert [letter.name for letter in finish(place.letters())] == ["poison"]
    assert ledger.ask("SELECT count(*) FROM {}.notes WHERE key LIKE 'in work:%'")[0][0] == 0
    place.remove()
