"""A fleet on a queue, stopped at random and started again: told once or twice, or killed, wherever it is.

Each round has queues of its own, one to three workers with ledgers of their own or a shared one, and dice by its
number. In the end all workers are let work in peace, and everything is held against what was given. CI plays one round
an engine, the long form is ``PRECHECK_STOPS=100 pytest -n 2 tests/faults/test_random_stops.py -rP``.
"""

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from tests.brokers import PLACES, Place, finish
from tests.e2e.harness import Run, Simulator, Site, wait_until
from tests.oracle import assert_silent_about, read_results, results_so_far
from tests.postgres import SharedLedger
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec

ROUNDS = int(os.environ.get("PRECHECK_STOPS", "1"))
FIRST = int(os.environ.get("PRECHECK_STOPS_FIRST", "0"))
ENGINES = tuple(PLACES)
KNOW_IDS = {"nats", "redis", "sqs-fifo"}
DRAIN_S = 2.0
WITHIN_S = DRAIN_S + 8.0  # the machine is shared, and a start that is told to stop may be in the middle of its imports
MESSAGES, CLAIMS_A_MESSAGE = 16, 4
RATE_PER_S = 15.0  # so slow that there is work for as long as they are stopped
TERM, INT, KILL = signal.SIGTERM, signal.SIGINT, signal.SIGKILL
# What is sent, and how long before the next.
STOPS: Sequence[tuple[tuple[signal.Signals, float], ...]] = (
    ((TERM, 0.0),),
    ((TERM, 0.0),),
    ((INT, 0.0),),
    ((TERM, 0.3), (TERM, 0.0)),
    ((INT, 0.2), (TERM, 0.0)),
    ((TERM, 0.05), (KILL, 0.0)),
    ((KILL, 0.0),),
)
SOFT_CODES = {0, 130, 143}


class Stopped(msgspec.Struct, frozen=True):
    """A worker that ended: how, and whether what it had in flight may have been cut."""

    run: Run
    rough: bool


class Fleet:
    """Workers with folders and result files of their own, on one queue of claims and one of results."""

    def __init__(
        self, root: Path, origin: str, size: int, claims: Place, results: Place, ledger: SharedLedger | None
    ) -> None:
        self.sites = [Site(root / f"worker{number}", origin) for number in range(size)]
        self.runs: dict[int, Run] = {}
        self.ended: list[Stopped] = []
        for number, site in enumerate(self.sites):
            site.environ |= {
                "PRECHECK_INPUT__URL": claims.url,
                "PRECHECK_INPUT__PREFETCH": "8",
                "PRECHECK_INPUT__LEASE_S": "2",
                # Who is told to stop twice dies of that with batches begun, as one that is killed does.
                "PRECHECK_INPUT__POISON_AFTER": "100",
                "PRECHECK_OUTPUT__URLS": msgspec.json.encode([f"jsonl:{site.results}", results.url]).decode(),
                "PRECHECK_TELEMETRY__DRAIN_S": str(DRAIN_S),
                "PYTHONPYCACHEPREFIX": str(root.parent / "bytecode"),
            }
            if ledger is not None:
                site.environ |= {
                    "PRECHECK_STATE__URL": ledger.url,
                    "PRECHECK_STATE__WORKER_NAME": f"worker{number}",
                }
            site.environ.pop("PYTHONDONTWRITEBYTECODE", None)

    def start_all(self, *, rate_per_s: float) -> None:
        """Start those that are not there; all together begin so many calls a second."""
        of_each = str(rate_per_s / len(self.sites))
        for number, site in enumerate(self.sites):
            if number not in self.runs:
                self.runs[number] = site.start("run", "--create", PRECHECK_FLOW__RATE_PER_S=of_each)

    def started(self, number: int) -> bool:
        run = self.runs[number]
        assert run.process.poll() is None, run.wait().stderr.decode()
        return run.has_logged("worker.started")

    def stop(self, number: int, signals: Sequence[tuple[signal.Signals, float]]) -> None:
        """Send signals to a worker and wait for its end, which must be one of those foreseen, and in time."""
        run = self.runs.pop(number)
        began = time.monotonic()
        for one, pause_s in signals:
            run.process.send_signal(one)
            time.sleep(pause_s)
        run.wait(within_s=WITHIN_S)
        killed = signals[-1][0] == KILL
        assert run.returncode in (SOFT_CODES | {-KILL} if killed else SOFT_CODES), run.stderr.decode()
        assert b'"task.failed"' not in run.stdout
        cut = time.monotonic() - began >= DRAIN_S
        self.ended.append(Stopped(run, rough=cut or killed or len(signals) > 1 or run.returncode != 0))

    def told(self) -> set[str]:
        """Name the claims that have a result; a line that is being written, or was torn, is passed over."""
        return {result["patient_control_number"] for site in self.sites for result in results_so_far(site.results)}

    def end_in_peace(self, numbers: set[str], claims: Place) -> None:
        """Let all work until every claim has its result; what the dead held comes again once its lease is over."""
        self.start_all(rate_per_s=300.0)
        wait_until(lambda: self.told() >= numbers and all(map(self.started, self.runs)), within_s=60)
        for number in list(self.runs):
            self.stop(number, [(TERM, 0.0)])
            assert self.ended[-1].run.returncode == 0, self.ended[-1].run.stderr.decode()
        wait_until(lambda: finish(claims.left()) == 0 or self._once(), within_s=60)

    def _once(self) -> bool:
        done = self.sites[0].run_once()
        assert done.returncode == 0, done.stderr.decode()
        time.sleep(0.5)
        return False


def stop_at_random(fleet: Fleet, dice: Random) -> None:
    """Stop workers and start them again, most of them at work."""
    for _ in range(dice.randint(2, 4)):
        fleet.start_all(rate_per_s=RATE_PER_S)
        number = dice.randrange(len(fleet.sites))
        if dice.random() < 0.3:
            # What Python does of Ctrl-C while it prepares itself is its own affair: a traceback, or to pass over it.
            wait_until(partial(listens, fleet.runs[number]))
            time.sleep(dice.uniform(0.0, 1.1))
        else:
            wait_until(partial(fleet.started, number))
            time.sleep(dice.uniform(0.0, 1.0))
        fleet.stop(number, dice.choice(STOPS))


def listens(run: Run) -> bool:
    """Tell whether the first lines of our program have run, which have it listen to SIGTERM."""
    caught = re.search(r"SigCgt:\s+(\w+)", Path(f"/proc/{run.process.pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> (TERM - 1) & 1)


def counted(results: Sequence[dict[str, Any]]) -> Counter[str]:
    return Counter(result["result_id"] for result in results)


@pytest.fixture(scope="module")
def steady() -> Iterator[Simulator]:
    """A service that accepts every claim, one in fifty later than a drain waits for it."""
    with Simulator("--profile", "fast", "--latency-scale", "0.1") as simulator:
        yield simulator


@pytest.mark.slow
@pytest.mark.fault(15)
@pytest.mark.fault(16)
@pytest.mark.fault(107)
@pytest.mark.usefixtures("obedience")
@pytest.mark.parametrize("number", range(FIRST, FIRST + ROUNDS))
@pytest.mark.parametrize("engine", ENGINES)
def test_a_fleet_that_is_stopped_at_random_tells_every_claim_once(
    engine: str, number: int, tmp_path: Path, steady: Simulator
) -> None:
    dice = Random(f"{engine} {number}")
    shared = (number + ENGINES.index(engine)) % 2 == 1
    first = dice.randrange(1, 10**6)
    spec = GeneratorSpec(claims=1, seed=first, first_ordinal=first * 100, planted={"OK-": 1.0})
    paths = write_folder(tmp_path / "given", files=MESSAGES, claims_per_file=CLAIMS_A_MESSAGE, spec=spec)
    given = Counter(
        line.split("*")[1] for path in paths for line in path.read_text().splitlines() if line.startswith("CLM*")
    )
    claims, results = PLACES[engine](tmp_path), PLACES[engine](tmp_path)
    ledger = SharedLedger() if shared else None
    asked_before = steady.get("stats")["prechecks"]
    fleet = Fleet(tmp_path, steady.origin, dice.randint(1, 3), claims, results, ledger)

    try:
        for path in paths:
            claims.put(path.name, path.read_bytes())
        stop_at_random(fleet, dice)
        fleet.end_in_peace(set(given), claims)
        letters = finish(claims.letters())
        published = [msgspec.json.decode(one.body) for one in finish(results.published())]
        books = [site.run("status", "--reconcile") for site in fleet.sites if shared or site.ledger.exists()]
        unfinished = ledger and ledger.ask("SELECT count(*) FROM {}.batches WHERE finished_at IS NULL")[0][0]
    finally:
        Run.end_all()
        for place in (claims, results):
            place.remove()
        if ledger is not None:
            ledger.remove()
    asked = steady.get("stats")["prechecks"] - asked_before
    of_each = [read_results(site.results) for site in fleet.sites]
    everything = [result for lines in of_each for result in lines]
    told = counted(everything)
    assert letters == []
    assert [(run.returncode, run.stderr) for run in books] == [(0, b"")] * len(books)
    assert {r["disposition"] for r in everything} == {"accepted"}
    assert Counter({r["patient_control_number"]: 1 for r in everything}) == given
    assert len(told) == len(given)  # one result for each, and no second generation
    assert all(set(counted(lines).values()) <= {1} for lines in of_each)
    assert counted(published).keys() == told.keys()
    if engine in KNOW_IDS:
        assert set(counted(published).values()) == {1}
    if shared:
        assert unfinished == 0
        # Who goes on with a batch tells all of it; two that tell the same claim tell what the ledger has of it.
        assert len({msgspec.json.encode(result) for result in everything}) == len(given)
    rough = sum(one.rough for one in fleet.ended)
    if shared or len(fleet.sites) == 1:
        attempts = {r["patient_control_number"]: r["attempts"] for r in everything}
        assert len(given) <= asked <= sum(attempts.values())
        assert max(attempts.values()) <= 1 + rough
        if not rough and len(fleet.sites) == 1:
            assert len(published) == len(given)
    assert_silent_about(list(given), *(part for one in fleet.ended for part in (one.run.stdout, one.run.stderr)))
    print(  # noqa: T201 - the long form's figures
        f"\n{engine} {number}: {len(fleet.sites)} workers, {'shared' if shared else 'own'}; stopped"
        f" {Counter(one.run.returncode for one in fleet.ended)}, asked again"
        f" {asked - len(given)}, published twice {len(published) - len(given)}"
    )
