"""Told to stop at random, from the first moment on and in any weather: it ends in time, nothing is lost or told twice.

Another worker on the same folder is killed now and then, so that there is something to take over. Most are stopped once
they are up, the others while they start; a second and a third signal may follow. CI runs the short form, the long one
is ``PRECHECK_DRAINS=300 pytest tests/faults/test_random_drains.py -s``.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random

import pytest

from tests.e2e.harness import Simulator, Site, wait_until
from tests.faults.crashing import Given, put
from tests.faults.test_hand_over import hold_against
from tests.faults.test_shared_folder import sites_on

DRAINS = int(os.environ.get("PRECHECK_DRAINS", "8"))
SEED = int(os.environ.get("PRECHECK_DRAINS_SEED", "21"))
DRAIN_S = 1.0
WITHIN_S = DRAIN_S + 6.0
FAIR = {"http_500": 0.0, "http_504": 0.0, "health_down": False, "outage": False}
FAIR |= {"token_refused": False, "bearer_refused": False}
UNREACHABLE = "unreachable"
WEATHERS: Mapping[str, Mapping[str, object]] = {
    "fair": {},
    "failing": {"http_500": 0.5, "http_504": 0.5},
    "unhealthy": {"http_504": 1.0, "health_down": True},
    "outage": {"outage": True},
    "no token": {"token_refused": True},
    "no entitlement": {"bearer_refused": True},
    UNREACHABLE: {},
}
SIGNALS: Sequence[tuple[signal.Signals, ...]] = (
    (signal.SIGTERM,),
    (signal.SIGTERM,),
    (signal.SIGINT,),
    (signal.SIGTERM, signal.SIGTERM),
    (signal.SIGINT, signal.SIGTERM),
    (signal.SIGTERM, signal.SIGTERM, signal.SIGTERM),
)
# Before the first line of our program runs, signals end it as they end any process.
CODES = {0, 130, 143, -signal.SIGTERM, -signal.SIGINT}


def leave_something(site: Site, dice: Random) -> None:
    """Let another worker begin something and die of it."""
    run = site.start("run")
    wait_until(lambda: run.has_logged("worker.started") or run.process.poll() is not None)
    time.sleep(dice.uniform(0.0, 0.5))
    run.stop(signal.SIGKILL)


def stop_at_random(site: Site, dice: Random, weather: str) -> tuple[int, float]:
    """Start a worker and tell it to stop, once or more often; returns how it ended, and after how long."""
    unreachable = {"PRECHECK_API__BASE_URL": "http://127.0.0.1:9"} if weather == UNREACHABLE else {}
    run = site.start("run", **unreachable)
    if dice.random() < 0.3:
        time.sleep(dice.uniform(0.1, 1.5))
    else:
        wait_until(lambda: run.has_logged("worker.started") or run.process.poll() is not None)
        time.sleep(1.5 * dice.random() ** 2)
    began = time.monotonic()
    for number in dice.choice(SIGNALS):
        run.process.send_signal(number)
        time.sleep(dice.choice((0.0, 0.01, 0.3)))
    run.wait(within_s=WITHIN_S)
    assert run.returncode in CODES, run.stderr.decode()
    assert b"task.failed" not in run.stdout
    return run.returncode, time.monotonic() - began


@pytest.mark.slow
@pytest.mark.fault(15)
@pytest.mark.fault(16)
@pytest.mark.fault(51)
@pytest.mark.usefixtures("obedience")
def test_told_to_stop_at_random_the_worker_ends_in_time_and_every_claim_is_told_once(
    tmp_path: Path, bytecode: Path
) -> None:
    dice = Random(SEED)
    simulator = Simulator("--profile", "fast", "--latency-scale", "0.05")
    site, other = sites_on(tmp_path, simulator, bytecode, 2)
    for one in (site, other):
        # A worker that is told to stop twice dies of that with batches begun, as one that they kill does.
        one.environ |= {"PRECHECK_INPUT__POISON_AFTER": str(2 * DRAINS), "PRECHECK_TELEMETRY__DRAIN_S": str(DRAIN_S)}
    given = Given(0, Counter(), frozenset())
    ended: list[tuple[float, int, str]] = []

    try:
        for life in range(DRAINS):
            first = 1 + life * 10_000
            given += put(site.inbox, files=8, first=first, prefix=f"life{life}")
            if dice.random() < 0.3:
                given += put(
                    site.inbox, files=1, claims=dice.choice((100, 300)), first=first + 100, prefix=f"large{life}"
                )
            if dice.random() < 0.3:
                simulator.set_faults(**FAIR)
                leave_something(other, dice)
            weather = dice.choice([*WEATHERS])
            simulator.set_faults(**{**FAIR, **WEATHERS[weather]})
            code, took_s = stop_at_random(site, dice, weather)
            ended.append((took_s, code, weather))
        simulator.set_faults(**FAIR)
        done = [one.run_once(within_s=600, PRECHECK_FLOW__RATE_PER_S="0") for one in (site, other)]
        print(f"\n{Counter(code for _, code, _ in ended)}, the slowest {sorted(ended)[-3:]}")  # noqa: T201 - the long form's figures
    finally:
        simulator.close()

    assert [(run.returncode, run.stderr) for run in done] == [(0, b"")] * 2
    hold_against([site, other], given)
    assert 0 in {code for _, code, _ in ended}
