"""A disk whose fsync takes its time: the flow goes at its pace, nothing piles up, and the worker is heard from."""

import time

import pytest

from tests.e2e.harness import Simulator, Site, fetch, log_lines, wait_until
from tests.faults.crashing import hold_against, put, rows
from tests.faults.test_full_disk import failing
from tests.processes import free_port


@pytest.mark.fault(35)
def test_a_slow_disk_slows_the_flow_down_and_nothing_else(site: Site) -> None:
    given = put(site.inbox, files=1, claims=400)
    site.environ["PRECHECK_FLOW__MAX_IN_FLIGHT"] = "20"
    site.environ["PRECHECK_TELEMETRY__LOG_LEVEL"] = "debug"

    done = failing(site, ("out/results.jsonl", "state/ledger.db-wal"), "fsync,fdatasync:delay_enter=300000").wait()

    assert done.returncode == 0
    assert "loop.blocked" not in {line["event"] for line in log_lines(done.stdout)}
    hold_against(site, given, done)


@pytest.mark.fault(35)
def test_while_the_disk_is_slow_answers_do_not_pile_up_and_probes_are_answered_at_once(
    site: Site, simulator: Simulator
) -> None:
    most_in_flight, port = 20, free_port()
    given = put(site.inbox, files=1, claims=1000)
    site.environ["PRECHECK_FLOW__MAX_IN_FLIGHT"] = str(most_in_flight)
    site.environ["PRECHECK_TELEMETRY__HTTP"] = f"127.0.0.1:{port}"
    asked = simulator.get("stats")["prechecks"]

    run = failing(site, ("out/results.jsonl", "state/ledger.db-wal"), "fsync,fdatasync:delay_enter=1000000")
    wait_until(lambda: run.has_logged("worker.started"))
    unstored, probes_s = [], []
    while not run.has_logged("books.balanced") and run.process.poll() is None:
        began = time.monotonic()
        if answers(port):
            probes_s.append(time.monotonic() - began)
        sent = simulator.get("stats")["prechecks"] - asked
        unstored.append(sent - rows(site, "SELECT count(*) FROM results")[0][0])
        time.sleep(0.05)
    run.wait()

    assert run.returncode == 0
    assert len(probes_s) > 50
    assert max(probes_s) < 0.5
    # What is about to be stored is bounded, and what is being sent by then.
    assert most_in_flight < max(unstored) <= most_in_flight + 256 + most_in_flight
    hold_against(site, given, run)


def answers(port: int) -> bool:
    """Probe whether the worker lives; False once it has begun to leave."""
    try:
        return fetch(f"http://127.0.0.1:{port}/livez")[0] == 200
    except OSError:
        return False
