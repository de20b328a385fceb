"""An operator pauses submission, of a worker that runs or of one that is started later."""

import json
import signal
from typing import Any

from tests.e2e.harness import Run, Simulator, Site, fetch, log_lines, wait_until
from tests.e2e.test_whole_path import put
from tests.oracle import assert_ledger_at_rest, assert_one_result_each, assert_silent_about, read_results, whole_lines
from tests.processes import free_port

LISTEN = "127.0.0.1:{port}"


def readiness(port: int) -> dict[str, Any]:
    status, body = fetch(f"http://127.0.0.1:{port}/readyz")
    return {"status": status, **json.loads(body)}


def start_on(site: Site, port: int) -> Run:
    run = site.start("run", PRECHECK_TELEMETRY__HTTP=LISTEN.format(port=port))
    wait_until(lambda: run.has_logged("worker.started"))
    return run


def test_a_running_worker_pauses_is_not_ready_says_so_and_goes_on_when_resumed(
    site: Site, simulator: Simulator
) -> None:
    asked, port = simulator.get("stats")["prechecks"], free_port()
    run = start_on(site, port)

    paused = site.run("pause", "--reason", "vendor maintenance")
    wait_until(lambda: run.has_logged("gate.shut"))
    put(site.inbox, 20)
    told, ready, status = readiness(port), None, site.run("status")
    still = simulator.get("stats")["prechecks"]
    resumed = site.run("resume")
    wait_until(lambda: len(whole_lines(site.results)) == 20)
    ready = readiness(port)
    run.stop(signal.SIGTERM)

    (alarm,) = [line for line in log_lines(run.stdout) if line["event"] == "gate.shut"]
    assert (paused.returncode, resumed.returncode, run.returncode) == (0, 0, 0)
    assert (alarm["reason"], alarm["detail"]) == ("operator", "vendor maintenance")
    assert (told["status"], told["reason"]) == (503, "gate shut: operator")
    assert b"vendor maintenance; go on with: precheck-worker resume" in status.stdout
    assert still == asked
    assert ready["status"] == 200
    assert_one_result_each(read_results(site.results), 20)
    assert_ledger_at_rest(site.ledger)
    assert_silent_about([], run.stdout, run.stderr)


def test_a_pause_holds_for_the_worker_that_is_started_after_a_kill(site: Site, own_simulator: Simulator) -> None:
    site.environ["PRECHECK_API__BASE_URL"] = own_simulator.origin
    put(site.inbox, 400)

    first = site.start("run", PRECHECK_FLOW__RATE_PER_S="10")  # so that most are left, however late the pause comes
    wait_until(lambda: len(whole_lines(site.results)) >= 5)
    site.run("pause")
    wait_until(lambda: first.has_logged("gate.shut"))
    first.stop(signal.SIGKILL)
    asked = own_simulator.get("stats")["prechecks"]
    second = site.start("run", "--once")
    wait_until(lambda: second.has_logged("worker.started"))
    meanwhile = own_simulator.get("stats")["prechecks"]
    site.run("resume")
    done = second.wait()

    assert meanwhile == asked < 400
    assert done.returncode == 0
    assert_one_result_each(read_results(site.results), 400)
    assert_ledger_at_rest(site.ledger)


def test_words_that_are_no_reason_and_a_resume_without_a_pause(site: Site) -> None:
    refused = site.run("pause", "--reason", "two\nlines")
    resumed = site.run("resume")

    assert (refused.returncode, resumed.returncode) == (2, 0)
    assert b"--reason" in refused.stderr
    assert b"was not paused" in resumed.stdout
