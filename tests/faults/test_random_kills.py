"""SIGKILL at random, start again at once, until all is done: promises 1 and 3.

The time to the next kill counts from the moment the worker is up, for a process needs longer than that to load its
modules; every fifth kill comes earlier, while it loads, opens or recovers. CI runs the short form, the long one is
``PRECHECK_KILLS=300 pytest tests/faults/test_random_kills.py``.
"""

import os
import signal
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.e2e.harness import Run, Simulator, Site, wait_until
from tests.faults.crashing import claims_in_flight, put, recover
from tests.oracle import assert_ledger_at_rest, read_results

KILLS = int(os.environ.get("PRECHECK_KILLS", "30"))
SEEDS = (1, 2)
KILLS_BESIDE_ANOTHER = KILLS // 5
CLAIMS_A_LIFE = 60
# On a busy machine five lives in a row may end before a first answer, and that is how a poisoned batch looks.
NEVER_POISONED = {"PRECHECK_INPUT__POISON_AFTER": str(KILLS + 1)}


def kill_at_random(site: Site, dice: Random) -> Run:
    """Start the worker and kill it a moment later; it must not have ended by itself."""
    run = site.start("run")
    if dice.random() < 0.2:
        time.sleep(dice.uniform(0.1, 0.8))
    else:
        wait_until(lambda: run.has_logged("worker.started") or run.process.poll() is not None)
        time.sleep(dice.uniform(0.1, 0.4))
    killed = run.stop(signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    return killed


def archived(site: Site) -> int:
    return sum(1 for path in site.archive.rglob("*.837*") if path.is_file())


@pytest.mark.slow
@pytest.mark.fault(11)
@pytest.mark.parametrize("seed", SEEDS)
def test_kills_at_random_leave_one_result_per_claim_with_the_verdict_of_the_service(
    site: Site, flaky_simulator: Simulator, seed: int
) -> None:
    dice = Random(seed)
    kills = (KILLS - KILLS_BESIDE_ANOTHER) // len(SEEDS)
    site.environ["PRECHECK_API__BASE_URL"] = flaky_simulator.origin
    site.environ |= NEVER_POISONED
    given = put(site.inbox, files=1, claims=kills * CLAIMS_A_LIFE // 2, first=100_000, prefix="large", magic="")

    killed, in_the_middle = [], 0
    for life in range(kills):
        some = CLAIMS_A_LIFE // 4
        given += put(site.inbox, files=some, first=1 + life * some, prefix=f"life{life}", magic="")
        killed.append(kill_at_random(site, dice))
        in_the_middle += site.ledger.exists() and claims_in_flight(site) != set()
    print(f"\n{in_the_middle} of {kills} kills hit claims in flight")  # noqa: T201 - the long form's figures
    results = recover(site, given, *killed)

    meanings = {answer["patient_control_number"]: answer["meaning"] for answer in flaky_simulator.get("answers")}
    assert in_the_middle > kills // 4
    assert {r["patient_control_number"]: r["disposition"] for r in results} == {
        number: meanings[number] for number in given.claims
    }


@pytest.mark.slow
@pytest.mark.fault(11)
def test_of_two_workers_on_one_folder_one_is_killed_at_random_and_the_other_takes_over(
    site: Site, tmp_path: Path
) -> None:
    dice = Random(3)
    site.environ |= NEVER_POISONED
    site.environ["PRECHECK_FLOW__RATE_PER_S"] = "200"  # else the one that is never killed leaves nothing to the other
    beside = Site(tmp_path / "beside", site.environ["PRECHECK_API__BASE_URL"])
    beside.environ = {**site.environ, "PRECHECK_INPUT__URL": f"dir:{site.inbox}"}
    given = put(site.inbox, files=25, claims=20)
    steady = beside.start("run")

    try:
        for life in range(KILLS_BESIDE_ANOTHER):
            given += put(site.inbox, files=6, claims=20, first=1000 * (life + 1), prefix=f"life{life}")
            kill_at_random(site, dice)
        wait_until(lambda: archived(site) == given.files)
    finally:
        steady.stop(signal.SIGTERM)

    killed, steadfast = (Counter(one["result_id"] for one in read_results(one.results)) for one in (site, beside))
    by_both = {result_id.partition(":")[0] for result_id in killed} & {one.partition(":")[0] for one in steadfast}
    numbers = {one["patient_control_number"] for each in (site, beside) for one in read_results(each.results)}
    print(f"\n{KILLS_BESIDE_ANOTHER} kills, {len(by_both)} batches begun by one and ended by the other")  # noqa: T201 - the long form's figures
    assert steady.returncode == 0
    assert set(killed.values()) | set(steadfast.values()) == {1}
    assert numbers == set(given.claims)
    told = Counter([*killed, *steadfast])
    assert [result_id for result_id, count in told.items() if count > 1] == []
    assert_ledger_at_rest(beside.ledger)
