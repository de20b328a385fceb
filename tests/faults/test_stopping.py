"""SIGTERM, SIGINT, SIGHUP at every stage: stop taking, end what is under way, store it, leave; at once on a second."""

import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import WORKER, Run, Simulator, Site, log_lines, wait_until
from tests.faults.crashing import BROKEN, claims_in_flight, put, recover, refusal, rows
from tests.oracle import assert_silent_about, read_results
from worker.upkeep import ECHO_S

SLOW_TOKENS = (sys.executable, str(Path(__file__).with_name("slow_tokens.py")))
SOON_S = 6.0
ALONE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@pytest.fixture
def slow_simulator() -> Iterator[Simulator]:
    """A simulator that needs half a second or more for an answer."""
    simulator = Simulator("--profile", "fast", "--latency-scale", "0.2")
    yield simulator
    simulator.close()


def stop(run: Run, *signals: int) -> float:
    """Send signals, the second once the first is obeyed; return the seconds until the worker has ended."""
    began = time.monotonic()
    for number in signals:
        run.process.send_signal(number)
        wait_until(lambda: run.has_logged("worker.draining") or run.process.poll() is not None)
        time.sleep(2 * ECHO_S)  # what comes at the same time is the same signal once more
    run.wait()
    return time.monotonic() - began


@pytest.mark.fault(15)
def test_an_idle_worker_ends_at_once_and_well(site: Site) -> None:
    idle = site.start("run")
    wait_until(lambda: idle.has_logged("worker.started"))

    taken_s = stop(idle, signal.SIGTERM)

    assert idle.returncode == 0
    assert taken_s < SOON_S
    assert_silent_about([], idle.stdout, idle.stderr)


@pytest.mark.fault(15)
def test_calls_under_way_are_ended_and_stored_and_what_was_not_begun_stays_pending(
    site: Site, simulator: Simulator, slow_simulator: Simulator
) -> None:
    given = put(site.inbox, files=1, claims=30)
    site.environ["PRECHECK_API__BASE_URL"] = slow_simulator.origin

    drained = site.start("run")
    wait_until(lambda: slow_simulator.get("stats")["in_flight"] > 0)
    stop(drained, signal.SIGTERM)
    stored, in_flight = read_results(site.results), claims_in_flight(site)
    site.environ["PRECHECK_API__BASE_URL"] = simulator.origin
    results = recover(site, given, drained)

    assert drained.returncode == 0
    assert 0 < len(stored) < 30
    assert in_flight == set()
    assert {(result["attempts"], result["ambiguous_attempts"]) for result in results} == {(1, 0)}


@pytest.mark.fault(15)
def test_a_claim_between_two_attempts_is_parked_in_the_ledger_and_has_no_result_yet(
    site: Site, flaky_simulator: Simulator
) -> None:
    given = put(site.inbox, files=1, claims=8)
    flaky_simulator.set_faults(http_500=1.0, http_504=0.0, http_429=0.0)
    site.environ |= {"PRECHECK_API__BASE_URL": flaky_simulator.origin, "PRECHECK_TELEMETRY__LOG_LEVEL": "debug"}

    backing_off = site.start("run", PRECHECK_RETRY__BASE_S="3", PRECHECK_RETRY__MAX_S="3")
    wait_until(lambda: backing_off.has_logged("claim.retried"))
    taken_s = stop(backing_off, signal.SIGTERM)
    waiting, stored = rows(site, "SELECT attempts, in_flight FROM attempts"), read_results(site.results)
    flaky_simulator.set_faults(http_500=0.0)
    results = recover(site, given, backing_off)

    assert backing_off.returncode == 0
    assert taken_s < SOON_S
    assert waiting
    assert all(attempts >= 1 and not in_flight for attempts, in_flight in waiting)
    assert stored == []
    assert all(result["attempts"] >= 2 and result["ambiguous_attempts"] == 0 for result in results)


@pytest.mark.fault(15)
def test_a_worker_waiting_for_its_first_token_ends_well_and_has_touched_nothing(site: Site) -> None:
    given = put(site.inbox, files=3)
    slow = Simulator("5", program=SLOW_TOKENS)
    try:
        fetching = site.start("run", PRECHECK_API__BASE_URL=slow.origin)
        wait_until(lambda: slow.get("stats")["token_calls_in_flight"] > 0)
        taken_s = stop(fetching, signal.SIGTERM)
    finally:
        slow.close()

    assert fetching.returncode == 0
    assert taken_s < SOON_S
    assert len(list(site.inbox.iterdir())) == 3
    recover(site, given, fetching)


@pytest.mark.fault(15)
def test_a_sink_in_the_middle_of_its_fsync_ends_it_before_the_worker_leaves(site: Site) -> None:
    given = put(site.inbox, files=1, claims=30)

    drained = Run(site, ("run",), {}, program=(*BROKEN, "with_slow_fsync"))
    wait_until(lambda: site.results.exists() and site.results.stat().st_size > 0)
    stop(drained, signal.SIGTERM)
    (noted,) = rows(site, "SELECT max(seq) FROM sinks")[0]
    (answered,) = rows(site, "SELECT count(*) FROM results")[0]

    assert drained.returncode == 0
    assert len(read_results(site.results)) == noted == answered
    recover(site, given, drained)


@pytest.mark.fault(15)
@pytest.mark.usefixtures("obedience")
@pytest.mark.parametrize("further", [[], [signal.SIGHUP], [signal.SIGTERM]])
def test_a_closed_terminal_drains_however_often_it_is_told_and_whoever_else_tells(
    site: Site, slow_simulator: Simulator, further: list[int]
) -> None:
    put(site.inbox, files=1, claims=5)
    site.environ["PRECHECK_API__BASE_URL"] = slow_simulator.origin

    drained = site.start("run")
    wait_until(lambda: slow_simulator.get("stats")["in_flight"] > 0)
    stop(drained, signal.SIGHUP, *further)

    assert drained.returncode == 0
    assert [line["signal"] for line in log_lines(drained.stdout) if line["event"] == "worker.draining"] == ["SIGHUP"]
    assert {result["ambiguous_attempts"] for result in read_results(site.results)} == {0}
    assert claims_in_flight(site) == set()


@pytest.mark.fault(15)
@pytest.mark.parametrize("twice", [(signal.SIGTERM, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)])
def test_a_signal_that_comes_twice_at_once_as_from_timeout_drains(
    site: Site, slow_simulator: Simulator, twice: tuple[int, int]
) -> None:
    put(site.inbox, files=1, claims=5)
    site.environ["PRECHECK_API__BASE_URL"] = slow_simulator.origin

    drained = site.start("run")
    wait_until(lambda: slow_simulator.get("stats")["in_flight"] > 0)
    for number in twice:
        drained.process.send_signal(number)
    drained.wait()

    assert drained.returncode == 0
    assert claims_in_flight(site) == set()


@pytest.mark.fault(15)
def test_the_echo_of_a_signal_changes_nothing_for_a_worker_that_has_nothing_to_end(site: Site) -> None:
    idle = site.start("run")
    wait_until(lambda: idle.has_logged("worker.started"))

    idle.process.send_signal(signal.SIGTERM)
    time.sleep(ECHO_S / 5)
    idle.process.send_signal(signal.SIGTERM)
    idle.wait()

    assert idle.returncode == 0


@pytest.mark.fault(15)
def test_a_worker_under_nohup_outlives_its_terminal(site: Site, slow_simulator: Simulator) -> None:
    put(site.inbox, files=1, claims=5)
    site.environ["PRECHECK_API__BASE_URL"] = slow_simulator.origin

    kept = Run(site, ["run", "--once"], {}, program=("nohup", *WORKER))
    wait_until(lambda: slow_simulator.get("stats")["in_flight"] > 0)
    kept.process.send_signal(signal.SIGHUP)
    kept.wait()

    assert kept.returncode == 0
    assert b"worker.draining" not in kept.stdout
    assert len(read_results(site.results)) == 5


@pytest.mark.fault(16)
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_ends_the_drain_at_once_and_loses_nothing(
    site: Site, simulator: Simulator, slow_simulator: Simulator, number: int, code: int
) -> None:
    given = put(site.inbox, files=1, claims=30)
    site.environ["PRECHECK_API__BASE_URL"] = slow_simulator.origin

    aborted = site.start("run")
    wait_until(lambda: slow_simulator.get("stats")["in_flight"] > 0)
    taken_s = stop(aborted, number, number)
    in_flight = claims_in_flight(site)
    site.environ["PRECHECK_API__BASE_URL"] = simulator.origin
    results = recover(site, given, aborted)

    assert aborted.returncode == code
    assert taken_s < SOON_S
    assert {result["claim_id"] for result in results if result["ambiguous_attempts"]} == in_flight


def tell_process_1(run: Run) -> None:
    """Send SIGTERM to the process that is the first of its namespace."""
    (inner,) = Path(f"/proc/{run.process.pid}/task/{run.process.pid}/children").read_text().split()
    os.kill(int(inner), signal.SIGTERM)
    run.wait(within_s=SOON_S)


@pytest.mark.fault(17)
def test_as_process_1_of_its_namespace_the_worker_obeys_sigterm(site: Site) -> None:
    if refused := refusal((*ALONE, "true")):
        pytest.skip(f"no namespaces here: {refused}")
    given = put(site.inbox, files=5)

    run = Run(site, ("run",), {}, program=(*ALONE, *WORKER))
    wait_until(lambda: run.has_logged("batch.settled"))
    tell_process_1(run)

    assert run.returncode == 0
    recover(site, given, run)


@pytest.mark.fault(17)
def test_as_process_1_a_worker_that_is_still_starting_obeys_sigterm(site: Site) -> None:
    if refused := refusal((*ALONE, "true")):
        pytest.skip(f"no namespaces here: {refused}")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60.0)
        state = f"postgresql://nobody@127.0.0.1:{silent.getsockname()[1]}/none?schema=none&sslmode=disable"

        run = Run(site, ("run",), {"PRECHECK_STATE__URL": state}, program=(*ALONE, *WORKER))
        asking, _ = silent.accept()
        with asking:
            tell_process_1(run)

    assert run.returncode == 143
    assert_silent_about([], run.stdout, run.stderr)


@pytest.mark.fault(16)
def test_a_second_signal_is_heard_although_the_log_stands_before_a_pipe_that_nobody_reads(
    site: Site, tmp_path: Path
) -> None:
    given = put(site.inbox, files=300)
    os.mkfifo(pipe := tmp_path / "log")
    unread = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(unread, fcntl.F_SETPIPE_SZ, 4096)
    try:
        stuck = Run(site, ("run",), {}, program=("sh", "-c", f'exec "$@" > {pipe}', "sh", *WORKER))
        wait_until(lambda: "pipe" in Path(f"/proc/{stuck.process.pid}/wchan").read_text())
        stuck.process.send_signal(signal.SIGTERM)
        time.sleep(10 * ECHO_S)  # a process that waits for its turn hears the first late, and nothing tells when
        stuck.process.send_signal(signal.SIGTERM)
        stuck.wait(within_s=SOON_S)
    finally:
        os.close(unread)

    assert stuck.returncode == 143
    recover(site, given, stuck)
