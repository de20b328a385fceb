"""What the process suffers as a whole: out of memory, stopped, blocked, and bugs in the middle of its work."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import WORKER, Run, Simulator, Site, log_lines, wait_until
from tests.faults.crashing import BROKEN, hold_against, put, put_usual, recover
from tests.oracle import assert_ledger_at_rest, read_results, whole_lines

MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")
TOO_LITTLE_BYTES = 48 << 20  # a worker that does nothing has about 60 MB
ENOUGH_BYTES = 160 << 20


@contextlib.contextmanager
def limited_memory(most_bytes: int) -> Iterator[tuple[str, ...]]:
    """Give the beginning of a command line whose program may have so much memory; skips where that is not permitted."""
    group = MEMORY_GROUPS / f"precheck-{os.getpid()}-{time.monotonic_ns()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no memory control group can be made here: {error.strerror}")
    try:
        (group / "memory.limit_in_bytes").write_text(str(most_bytes))
        yield ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh", *WORKER)
    finally:
        wait_until(lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()


@pytest.mark.fault(13)
def test_out_of_memory_is_one_more_way_to_die(site: Site) -> None:
    given = put_usual(site.inbox)

    with limited_memory(TOO_LITTLE_BYTES) as limited:
        killed = Run(site, ("run", "--once"), {}, program=limited).wait()

    assert killed.returncode == -signal.SIGKILL
    recover(site, given, killed)


@pytest.mark.fault(13)
@pytest.mark.slow
def test_a_large_batch_among_small_ones_needs_no_more_memory_than_is_promised(site: Site) -> None:
    given = put_usual(site.inbox) + put(site.inbox, files=1, claims=1500, first=10_000, prefix="larger")

    with limited_memory(ENOUGH_BYTES) as limited:
        done = Run(site, ("run", "--once"), {}, program=limited).wait()

    assert done.returncode == 0
    hold_against(site, given, done)


@pytest.mark.fault(14)
def test_a_worker_that_is_stopped_for_a_while_finds_its_calls_timed_out_and_sends_them_again(
    site: Site, simulator: Simulator
) -> None:
    slow = Simulator("--profile", "fast", "--latency-scale", "1")
    given = put(site.inbox, files=20)
    try:
        site.environ |= {"PRECHECK_API__BASE_URL": slow.origin, "PRECHECK_API__ATTEMPT_TIMEOUT_S": "3"}
        site.environ |= {"PRECHECK_API__CONNECT_TIMEOUT_S": "3", "PRECHECK_TELEMETRY__LOG_LEVEL": "debug"}
        stopped = site.start("run")
        wait_until(lambda: slow.get("stats")["in_flight"] > 0)
        stopped.process.send_signal(signal.SIGSTOP)
        time.sleep(5.0)  # longer than an attempt may take
        stopped.process.send_signal(signal.SIGCONT)
        site.environ["PRECHECK_API__BASE_URL"] = simulator.origin
        wait_until(lambda: stopped.has_logged("claim.retried") or bool(whole_lines(site.results)))
        stopped.stop(signal.SIGTERM)
    finally:
        slow.close()

    assert stopped.returncode == 0
    recover(site, given, stopped)


@pytest.mark.fault(14)
def test_a_worker_that_is_stopped_keeps_what_it_has_taken(site: Site, tmp_path: Path) -> None:
    site.environ["PRECHECK_FLOW__RATE_PER_S"] = "20"
    beside = Site(tmp_path / "beside", site.environ["PRECHECK_API__BASE_URL"])
    beside.environ = {**site.environ, "PRECHECK_INPUT__URL": f"dir:{site.inbox}"}
    given = put(site.inbox, files=1, claims=60)

    stopped = site.start("run")
    wait_until(lambda: stopped.has_logged("claim.completed"))
    stopped.process.send_signal(signal.SIGSTOP)
    peer = beside.run_once()
    stopped.process.send_signal(signal.SIGCONT)
    wait_until(lambda: stopped.has_logged("batch.settled"))
    stopped.stop(signal.SIGTERM)

    assert (peer.returncode, stopped.returncode) == (0, 0)
    assert read_results(beside.results) == []
    hold_against(site, given, stopped)


@pytest.mark.fault(21)
def test_a_blocked_event_loop_is_told_with_the_place_and_costs_nothing(site: Site) -> None:
    given = put_usual(site.inbox)

    done = Run(site, ("run", "--once"), {}, program=(*BROKEN, "with_a_blocked_loop")).wait()

    lines = {line["event"]: line for line in log_lines(done.stdout)}
    assert done.returncode == 0
    assert "broken_worker.py" in lines["loop.blocked"]["frames"][-1]
    assert lines["loop.freed"]["elapsed_s"] >= 3.0
    hold_against(site, given, done)


@pytest.mark.fault(19)
def test_a_bug_in_reading_an_answer_harms_that_claim_only(site: Site) -> None:
    given = put_usual(site.inbox)

    done = Run(site, ("run", "--once"), {}, program=(*BROKEN, "with_a_bug_in_reading_answers")).wait()

    results = hold_against(site, given, done)
    harmed = [result for result in results if result["disposition"] == "review"]
    told = [line["claim_id"] for line in log_lines(done.stdout) if line["event"] == "task.failed"]
    assert done.returncode == 0
    assert len(harmed) == given.claims.total() // 5
    assert {result["reason"]["code"] for result in harmed} == {"internal_error"}
    assert sorted(told) == sorted(result["claim_id"] for result in harmed)


@pytest.mark.fault(19)
def test_a_worker_that_logs_local_variables_fails_this_suite(site: Site) -> None:
    given = put(site.inbox, files=10)

    done = Run(site, ("run", "--once"), {}, program=(*BROKEN, "that_logs_local_variables")).wait()

    assert done.returncode == 0
    with pytest.raises(AssertionError, match="was found in the output"):
        hold_against(site, given, done)


@pytest.mark.fault(19)
def test_a_bug_in_cutting_a_batch_harms_that_batch_only(site: Site) -> None:
    given = put_usual(site.inbox)
    put(site.inbox, files=1, claims=2, first=5000, prefix="bad", magic="E999-")
    put(site.inbox, files=1, claims=300, first=6000, prefix="worse", magic="E999-")

    done = Run(site, ("run", "--once"), {}, program=(*BROKEN, "with_a_bug_in_splitting")).wait()

    (quarantined,) = site.quarantine.glob("*.837")
    results = read_results(site.results)
    lost = [result for result in results if result["batch_name"].startswith("worse")]
    sound = [result for result in results if not result["batch_name"].startswith("worse")]
    assert done.returncode == 0
    assert quarantined.name.startswith("bad")
    assert {(result["disposition"], result["reason"]["code"]) for result in lost} == {("invalid", "internal_error")}
    assert len(lost) == 300
    assert sorted(result["patient_control_number"] for result in sound) == sorted(given.claims)
    assert_ledger_at_rest(site.ledger)
