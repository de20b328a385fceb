"""A fleet of three on one broker and one PostgreSQL, killed every few seconds, the servers too: one row per claim.

Each engine twice: workers with ledgers of their own, and with one ledger in the PostgreSQL that takes the results.

By hand only, for it wants a machine of its own: 400 claims for a first impression, 20000 for the whole.

    PRECHECK_BROKER_CLAIMS=400 pytest tests/faults/test_broker_campaign.py -s
"""

import os
import signal
import time
from collections import Counter
from pathlib import Path
from random import Random

import msgspec
import pytest

from tests.brokers import PLACES, Place, finish
from tests.e2e.harness import Run, Simulator, Site, wait_until
from tests.oracle import read_results, results_so_far
from tests.postgres import Cluster, SharedLedger, Table, cluster
from tests.processes import Server
from tests.servers import running
from tests.sqs import Relay
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec

CLAIMS = int(os.environ.get("PRECHECK_BROKER_CLAIMS", "400"))
CLAIMS_A_MESSAGE = 10
WORKERS = 3
LONG = CLAIMS > 2000
RATE_PER_S = 200 if LONG else 25
KILL_EVERY_S = 4.0 if LONG else 2.0
BROKER_RESTARTS = 2 if LONG else 1
WITHIN_S = 1800.0 if LONG else 300.0


class Fleet:
    """Workers with result files of their own, on one broker and one table of results; on one ledger, if given."""

    def __init__(
        self,
        root: Path,
        simulator: Simulator,
        claims: Place,
        results: Place,
        table: Table,
        ledger: SharedLedger | None,
    ) -> None:
        self.sites = [Site(root / f"worker{number}", simulator.origin) for number in range(WORKERS)]
        for number, site in enumerate(self.sites):
            if ledger is not None:
                site.environ |= {
                    "PRECHECK_STATE__URL": ledger.url,
                    "PRECHECK_STATE__WORKER_NAME": f"worker{number}",
                }
            site.environ |= {
                "PRECHECK_INPUT__URL": claims.url,
                "PRECHECK_INPUT__PREFETCH": "12",
                "PRECHECK_INPUT__LEASE_S": "3",
                "PRECHECK_OUTPUT__URLS": msgspec.json.encode(
                    [f"jsonl:{site.results}", results.url, table.url]
                ).decode(),
                "PRECHECK_FLOW__RATE_PER_S": str(RATE_PER_S),
                "PYTHONPYCACHEPREFIX": str(root / "bytecode"),
            }
            site.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        self.runs = [self.start(number) for number in range(WORKERS)]
        self.kills = 0

    def start(self, number: int) -> Run:
        return self.sites[number].start("run", "--create")

    def kill(self, number: int) -> None:
        """Kill one with SIGKILL and start it again; it must not have ended by itself."""
        killed = self.runs[number].stop(signal.SIGKILL)
        assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
        self.kills += 1
        self.runs[number] = self.start(number)

    def told(self) -> Counter[str]:
        """Count in how many result files each result stands; a line that a kill tore is passed over."""
        told: Counter[str] = Counter()
        for site in self.sites:
            told.update({result["result_id"] for result in results_so_far(site.results)})
        return told

    def finished(self) -> bool:
        """Let one of them look once whether anything is left."""
        return self.sites[0].run_once().returncode == 0

    def revive(self) -> None:
        """Start again what found the database of its ledger away at its start, as any orchestrator would."""
        for number, run in enumerate(self.runs):
            if run.process.poll() is not None:
                ended = run.wait()
                assert ended.returncode == 3, ended.stderr.decode()
                assert ended.stderr.startswith(b"precheck-worker: postgresql://"), ended.stderr.decode()
                self.runs[number] = self.start(number)

    def all_started(self) -> bool:
        self.revive()
        return all(run.has_logged("worker.started") for run in self.runs)

    def drain(self) -> None:
        wait_until(self.all_started)  # before, nobody listens
        for run in self.runs:
            run.process.send_signal(signal.SIGTERM)
        for run in self.runs:
            run.wait(within_s=120)
            assert run.returncode == 0, run.stderr.decode()


def harass(fleet: Fleet, server: Server | Relay, database: Cluster, claims: int) -> None:
    """Kill workers in turn, broker and database as the work goes on, until every claim has its result."""
    dice = Random(1)
    deadline = time.monotonic() + WITHIN_S
    broker_at = [claims * (number + 1) // (BROKER_RESTARTS + 2) for number in range(BROKER_RESTARTS)]
    database_at = claims // 2
    next_kill = time.monotonic() + KILL_EVERY_S
    victim = 0
    while len(told := fleet.told()) < claims:
        assert time.monotonic() < deadline, f"{len(told)} of {claims} claims have their result"
        if broker_at and len(told) >= broker_at[0]:
            broker_at.pop(0)
            server.restart()
        if database_at and len(told) >= database_at:
            database_at = 0
            database.stop()
            database.start()
        if time.monotonic() >= next_kill and fleet.runs[victim].has_logged("worker.started"):
            fleet.kill(victim)
            victim = (victim + 1) % WORKERS
            next_kill = time.monotonic() + dice.uniform(0.5, 1.5) * KILL_EVERY_S
        fleet.revive()
        time.sleep(0.1)
    assert not broker_at
    assert not database_at


@pytest.mark.slow
@pytest.mark.skipif(
    "PRECHECK_BROKER_CLAIMS" not in os.environ, reason="a campaign, run by hand: PRECHECK_BROKER_CLAIMS=400"
)
@pytest.mark.fault(43)
@pytest.mark.fault(107)
@pytest.mark.fault(108)
@pytest.mark.parametrize("shared", [False, True], ids=["own ledgers", "shared ledger"])
@pytest.mark.parametrize("engine", PLACES)
def test_a_fleet_that_is_killed_with_its_broker_leaves_one_result_per_claim(
    engine: str, shared: bool, tmp_path: Path, simulator: Simulator
) -> None:
    messages = CLAIMS // CLAIMS_A_MESSAGE
    given = write_folder(
        tmp_path / "given", files=messages, claims_per_file=CLAIMS_A_MESSAGE, spec=GeneratorSpec(claims=1)
    )
    with running(engine, tmp_path / "broker") as server, cluster() as database:
        table = Table(database.url)
        kind = PLACES[engine]
        claims, results = kind(tmp_path, server.url), kind(tmp_path, server.url)
        site = Site(tmp_path / "producer", simulator.origin)
        enqueued = site.run("enqueue", str(given[0].parent), "--create", "--to", claims.url)
        assert enqueued.returncode == 0, enqueued.stderr.decode()
        ledger = SharedLedger(database.url) if shared else None
        fleet = Fleet(tmp_path, simulator, claims, results, table, ledger)
        began = time.monotonic()
        try:
            harass(fleet, server, database, CLAIMS)
            took_s = time.monotonic() - began
        finally:
            fleet.drain()
        # What a worker held when it was killed comes again once its lease is over, and is recognised or done again.
        wait_until(lambda: fleet.finished() and finish(claims.left()) == 0, within_s=120)
        assert finish(claims.letters()) == []
        published = Counter(msgspec.json.decode(one.body)["result_id"] for one in finish(results.published()))
        rows = [tuple(row) for row in table.ask("SELECT patient_control_number, result_id FROM {}")]

    told = fleet.told()
    by_claim: dict[str, set[str]] = {}
    for each in fleet.sites:
        lines = read_results(each.results)
        assert Counter(line["result_id"] for line in lines).most_common(1)[0][1] == 1
        for line in lines:
            by_claim.setdefault(line["patient_control_number"], set()).add(line["result_id"])
    assert len(by_claim) == CLAIMS
    assert {len(ids) for ids in by_claim.values()} == {1}
    assert published.keys() == told.keys()
    assert {number for number, _ in rows} == by_claim.keys()
    assert len(rows) == CLAIMS
    assert {result_id for _, result_id in rows} == told.keys()
    print(  # noqa: T201 - the long form's figures
        f"\n{engine}, {'shared ledger' if shared else 'own ledgers'}: {CLAIMS} claims, {fleet.kills} workers,"
        f" {BROKER_RESTARTS} brokers and one database killed in {took_s:.0f} s; rows {len(rows)},"
        f" told by several workers: {sum(count > 1 for count in told.values())},"
        f" published twice: {sum(count > 1 for count in published.values())}"
    )
