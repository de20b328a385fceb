"""Many claims: memory stays flat, one result each, a kill in the middle included.

CI runs the short form. The long one of the README: ``PRECHECK_LARGE=1 pytest tests/e2e/test_large.py -s``.
"""

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.harness import Run, Simulator, Site, wait_until
from tests.oracle import assert_ledger_at_rest, assert_one_result_each, read_results
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec

LARGE = os.environ.get("PRECHECK_LARGE") == "1"
FILES = 20_000 if LARGE else 1_000
CLAIMS_IN_ONE = 200_000 if LARGE else 5_000
MOST_BYTES = 200 << 20
WITHIN_S = 1_800.0


@pytest.fixture
def large_site(site: Site) -> Site:
    # The simulator remembers every claim; what is measured is the worker alone.
    del site.environ["PRECHECK_RETRY__BASE_S"], site.environ["PRECHECK_RETRY__MAX_S"]
    return site


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def run_with_a_kill_in_the_middle(site: Site, claims: int) -> Run:
    killed = site.start("run")
    wait_until(lambda: lines(site.results) >= claims // 2, within_s=WITHIN_S)
    killed.stop(signal.SIGKILL)
    done = site.run_once(within_s=WITHIN_S)
    print(f"\n{claims:,} claims, peak {max(killed.peak_bytes, done.peak_bytes) / 1e6:.0f} MB")  # noqa: T201 - the long form's figures
    assert max(killed.peak_bytes, done.peak_bytes) < MOST_BYTES
    return done


@pytest.mark.slow
@pytest.mark.fault(11)
def test_a_folder_of_one_claim_files_survives_a_kill_in_flat_memory(large_site: Site) -> None:
    write_folder(large_site.inbox, files=FILES)

    done = run_with_a_kill_in_the_middle(large_site, FILES)

    assert done.returncode == 0
    assert_one_result_each(read_results(large_site.results), FILES)
    assert_ledger_at_rest(large_site.ledger)


@pytest.mark.slow
@pytest.mark.fault(11)
def test_one_large_file_survives_a_kill_in_flat_memory(large_site: Site) -> None:
    write_folder(large_site.inbox, files=1, claims_per_file=CLAIMS_IN_ONE, spec=GeneratorSpec(claims=1, seed=7))

    done = run_with_a_kill_in_the_middle(large_site, CLAIMS_IN_ONE)

    assert done.returncode == 0
    assert_one_result_each(read_results(large_site.results), CLAIMS_IN_ONE)
    assert_ledger_at_rest(large_site.ledger)


@pytest.mark.slow
def test_a_small_file_is_not_delayed_by_the_large_one_before_it(large_site: Site, own_simulator: Simulator) -> None:
    large_site.environ["PRECHECK_API__BASE_URL"] = own_simulator.origin
    write_folder(large_site.inbox, files=1, claims_per_file=5_000, spec=GeneratorSpec(claims=1, seed=8), prefix="large")
    running = large_site.start("run")
    wait_until(lambda: lines(large_site.results) >= 50)

    spec = GeneratorSpec(claims=1, seed=9, planted={"OK-": 1.0})
    write_folder(large_site.inbox, files=1, spec=spec, prefix="small")
    wait_until(lambda: any("small" in path.name for path in large_site.archive.rglob("*.837")))
    running.stop(signal.SIGTERM)

    told = [result["batch_name"].partition("-")[0] for result in read_results(large_site.results)]
    assert told.index("small") < 5_000  # so many were there before it in the other
