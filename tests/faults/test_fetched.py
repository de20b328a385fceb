"""A worker of a fleet that is killed with a fetched object in work leaves it to nobody but its next start."""

import json
import signal
import stat
from pathlib import Path

import pytest

from tests.brokers import RedisPlace, finish
from tests.e2e.harness import Simulator, wait_until
from tests.faults.fleet import Fleet
from tests.oracle import assert_one_result_each, read_results
from tests.postgres import SharedLedger
from tests.s3 import Store
from worker.claim import SMALL_BYTES
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec

CLAIMS = 40


@pytest.mark.slow
@pytest.mark.fault(2)
def test_a_fetched_object_lies_in_the_workers_own_folder_and_not_past_its_next_start(
    tmp_path: Path, simulator: Simulator
) -> None:
    place, store, ledger = RedisPlace(tmp_path), Store(), SharedLedger()
    (path,) = write_folder(tmp_path / "given", files=1, claims_per_file=CLAIMS, spec=GeneratorSpec(claims=1))
    store.put("large.837", path.read_bytes() + b"\r\n" * SMALL_BYTES)
    fleet = Fleet(
        tmp_path,
        simulator,
        ledger,
        PRECHECK_INPUT__URL=place.url,
        PRECHECK_INPUT__LEASE_S="2",
        PRECHECK_INPUT__REFERENCE_BUCKETS=json.dumps([store.place()]),
        PRECHECK_FLOW__RATE_PER_S="20",
    )
    folder = fleet.sites[0].root / "spool/fetched/alpha"
    try:
        enqueued = fleet.sites[0].run("enqueue", store.reference("large.837"), "--create")
        (first,) = fleet.start(0)
        wait_until(lambda: len(fleet.told()[0]) >= 5)
        (fetched,) = folder.iterdir()
        modes = [stat.S_IMODE(one.stat().st_mode) for one in (folder, fetched)]
        first.stop(signal.SIGKILL)
        left = list(folder.iterdir())
        (second,) = fleet.start(0)
        at_start = fetched.exists()
        wait_until(lambda: fleet.states()[True] == 1 and finish(place.left()) == 0)
        second.stop(signal.SIGTERM)
    finally:
        fleet.none_left()
        place.remove()
        store.remove()
        ledger.remove()

    assert enqueued.returncode == 0, enqueued.stdout.decode()
    assert modes == [0o700, 0o600]
    assert (left, at_start) == ([fetched], False)
    assert second.returncode == 0, second.stderr.decode()
    assert_one_result_each(read_results(fleet.sites[0].results), CLAIMS)
    assert list(folder.iterdir()) == []
