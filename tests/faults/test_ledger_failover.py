"""The shared ledger's server dies, and its replica takes its place: with all that was confirmed, or with less."""

import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest

from tests.conformance.test_ledger import opened, record
from tests.e2e.harness import Simulator, wait_until
from tests.faults.crashing import put
from tests.faults.fleet import Fleet
from tests.oracle import assert_one_result_each, read_results
from tests.postgres import Cluster, SharedLedger, cluster
from worker.errors import SinkUnavailable, StateError
from worker.ports import Ledger, Record

pytestmark = [pytest.mark.slow, pytest.mark.fault(43)]


@pytest.fixture
def server() -> Iterator[Cluster]:
    """A server that can have a replica."""
    with cluster(wal_level="replica", max_wal_senders=2) as one:
        yield one


@pytest.fixture
def own_simulator() -> Iterator[Simulator]:
    """A simulator that takes 50 ms."""
    simulator = Simulator("--profile", "fast", "--latency-scale", "0.02")
    yield simulator
    simulator.close()


def on_both(server: Cluster, standby: Cluster) -> SharedLedger:
    """Name the ledger by both hosts, the replica first."""
    return SharedLedger(server.url.replace("127.0.0.1", f"127.0.0.1:{standby.port},127.0.0.1"))


async def patiently(ledger: Ledger, one: Record) -> None:
    """Store a result, waiting as the worker does while the server is out of reach."""
    while True:
        try:
            await ledger.record([one])
        except SinkUnavailable:
            await anyio.sleep(0.05)
        else:
            return


def test_a_failover_in_the_middle_is_followed_and_costs_no_result(
    tmp_path: Path, server: Cluster, own_simulator: Simulator
) -> None:
    with server.standby() as standby:
        fleet = Fleet(tmp_path, own_simulator, on_both(server, standby), PRECHECK_FLOW__RATE_PER_S="40")
        try:
            fleet.start(0, 1)
            given = [put(site.inbox, files=6, claims=25, first=1 + 500 * n) for n, site in enumerate(fleet.sites)]
            wait_until(lambda: min(map(len, fleet.told())) >= 20)
            server.stop()
            wait_until(lambda: all(run.has_logged("sink.unavailable") for run in fleet.runs))
            standby.promote()
            wait_until(lambda: fleet.states()[True] == 12)
            runs = [run.stop(signal.SIGTERM) for run in fleet.runs]
            status = fleet.sites[0].run("status", "--reconcile")
        finally:
            fleet.none_left()
    server.start()

    fleet.assert_waited_and_told_all(runs, given, status)


async def test_a_server_that_lost_what_it_confirmed_is_not_written_to(server: Cluster) -> None:
    with server.standby(synchronous=False) as standby:
        shared = on_both(server, standby)
        async with shared.opened("one") as ledger:
            batch = (await opened(ledger, total=9)).batch
            await ledger.record([record(batch, 1)])
            await anyio.sleep(1.0)  # the replica has that
            standby.stop()
            await ledger.record([record(batch, 2)])
            server.stop()
            standby.start()
            standby.promote()

            with pytest.raises(StateError, match="has lost what it confirmed"), anyio.fail_after(30):
                await patiently(ledger, record(batch, 3))

        assert shared.ask("SELECT ordinal FROM {}.results") == [(1,)]
        async with shared.opened("one") as restarted:
            known = await opened(restarted, total=9)
            await restarted.record([record(batch, 2)])
        assert known.answered == frozenset({1})
    server.start()


def test_a_worker_whose_server_lost_what_it_confirmed_stops_and_goes_on_when_it_is_started_again(
    tmp_path: Path, server: Cluster, own_simulator: Simulator
) -> None:
    with server.standby(synchronous=False) as standby:
        fleet = Fleet(tmp_path, own_simulator, on_both(server, standby), PRECHECK_FLOW__RATE_PER_S="40")
        try:
            (first,) = fleet.start(0)
            given = put(fleet.sites[0].inbox, files=6, claims=25)
            wait_until(lambda: len(fleet.told()[0]) >= 20)
            standby.stop()
            before = len(fleet.told()[0])
            wait_until(lambda: len(fleet.told()[0]) >= before + 20)
            server.stop()
            standby.start()
            standby.promote()
            first.wait()
            (second,) = fleet.start(0)
            wait_until(lambda: fleet.states()[True] == 6)
            second.stop(signal.SIGTERM)
            status = fleet.sites[0].run("status", "--reconcile")
        finally:
            fleet.none_left()
    server.start()

    assert (first.returncode, second.returncode) == (3, 0), first.stderr.decode() + second.stderr.decode()
    assert b"has lost what it confirmed" in first.stderr
    results = read_results(fleet.sites[0].results)
    assert_one_result_each(results, 150)
    assert Counter(result["patient_control_number"] for result in results) == given.claims
    assert b"150 claims in = 150 results + 0 pending" in status.stdout
