"""The worker dies at each step of a claim's way, starts again, and nothing is lost, doubled or asked without need."""

import json
import signal
from collections import Counter

import pytest

from tests.e2e.harness import WORKER, Run, Simulator, Site, log_lines, wait_until
from tests.faults.crashing import BROKEN, claims_in_flight, die, hold_against, put, put_usual, recover, refusal, rows
from tests.oracle import read_results


@pytest.mark.fault(1)
@pytest.mark.parametrize("passes", [1, 2])
def test_a_batch_that_was_read_and_not_noted_is_read_again(site: Site, passes: int) -> None:
    given = put_usual(site.inbox)

    died = die(site, f"after_read:{passes}")
    (noted,), in_flight = rows(site, "SELECT count(*) FROM batches")[0], claims_in_flight(site)
    results = recover(site, given, died)

    assert noted < given.files
    assert {result["attempts"] for result in results if result["claim_id"] not in in_flight} == {1}


@pytest.mark.fault(2)
@pytest.mark.parametrize("passes", [1, 50])
def test_a_claim_noted_as_in_flight_and_not_sent_is_sent_and_counts_two_attempts(site: Site, passes: int) -> None:
    given = put_usual(site.inbox)

    died = die(site, f"after_inflight:{passes}")
    in_flight = claims_in_flight(site)
    results = recover(site, given, died)

    spent = {result["claim_id"]: (result["attempts"], result["ambiguous_attempts"]) for result in results}
    assert in_flight
    assert {claim for claim, cost in spent.items() if cost == (2, 1)} == in_flight
    assert {cost for claim, cost in spent.items() if claim not in in_flight} == {(1, 0)}


@pytest.mark.fault(3)
def test_a_claim_whose_request_was_being_written_is_sent_again_and_counts_as_ambiguous(site: Site) -> None:
    trace = site.root / "trace"
    watch = ("strace", "-f", "-qq", "-yy", "-s", "16", "-o", str(trace), "-e", "trace=write")
    if refused := refusal((*watch, "true")):
        pytest.skip(f"no strace here: {refused}")
    given = put_usual(site.inbox)

    died, in_flight, cut = [], set[str](), False
    for writes in (60, 75, 90):  # of one thread; its others count as well, and now and then one of them is hit
        inject = ("-e", f"inject=write:signal=KILL:when={writes}")
        killed = Run(site, ("run",), {"PRECHECK_TELEMETRY__LOG_LEVEL": "error"}, program=(*watch, *inject, *WORKER))
        died.append(killed.wait())
        in_flight |= claims_in_flight(site)
        cut = cut or _cut_in_a_request(trace.read_text())
    results = recover(site, given, *died)

    assert {killed.returncode for killed in died} == {-signal.SIGKILL}
    assert cut
    assert {result["claim_id"] for result in results if result["ambiguous_attempts"]} == in_flight


@pytest.mark.fault(4)
@pytest.mark.parametrize("passes", [1, 50])
def test_an_answer_that_died_with_the_worker_is_asked_for_again_and_counts_as_ambiguous(
    site: Site, simulator: Simulator, passes: int
) -> None:
    given = put_usual(site.inbox)
    asked = simulator.get("stats")["prechecks"]

    died = die(site, f"after_response:{passes}")
    in_flight = claims_in_flight(site)
    results = recover(site, given, died)

    assert simulator.get("stats")["prechecks"] - asked > given.claims.total()
    assert in_flight
    assert {result["claim_id"] for result in results if result["ambiguous_attempts"] >= 1} == in_flight


@pytest.mark.fault(5)
@pytest.mark.parametrize("moment", ["before_commit", "after_commit"])
def test_a_commit_is_there_as_a_whole_or_not_at_all(site: Site, moment: str) -> None:
    given = put_usual(site.inbox)

    died = [die(site, f"{moment}:{passes}") for passes in (1, 3, 12)]

    recover(site, given, *died)


@pytest.mark.fault(6)
@pytest.mark.parametrize("passes", [1, 3])
def test_a_torn_record_is_cut_off_logged_and_written_again_once(site: Site, passes: int) -> None:
    given = put_usual(site.inbox)

    died = die(site, f"sink_torn:{passes}")
    torn = site.results.read_bytes()
    done = site.run_once()

    results = hold_against(site, given, died, done)
    (repaired,) = [line for line in log_lines(done.stdout) if line["event"] == "sink.tail_repaired"]
    whole = torn.rfind(b"\n") + 1
    assert repaired["torn_bytes"] == len(torn) - whole > 0
    assert site.results.read_bytes().startswith(torn[:whole])
    assert {result["attempts"] for result in results} <= {1, 2}


@pytest.mark.fault(7)
def test_records_written_and_not_synced_are_there_once(site: Site) -> None:
    given = put_usual(site.inbox)

    died = [die(site, f"sink_after_write:{passes}") for passes in (1, 3)]

    recover(site, given, *died)


@pytest.mark.fault(8)
@pytest.mark.parametrize("passes", [1, 3])
def test_records_synced_whose_position_is_not_noted_are_found_and_not_written_again(site: Site, passes: int) -> None:
    given = put_usual(site.inbox)

    died = die(site, f"sink_after_fsync:{passes}")
    written = site.results.read_bytes()
    (noted,) = rows(site, "SELECT coalesce(max(seq), 0) FROM sinks")[0]
    recover(site, given, died)

    assert written.count(b"\n") > noted
    assert site.results.read_bytes().startswith(written)


@pytest.mark.fault(8)
def test_a_worker_whose_sink_does_not_read_back_what_it_holds_fails_this_suite(site: Site) -> None:
    given = put_usual(site.inbox)
    died = die(site, "sink_after_fsync:1")

    done = Run(site, ("run", "--once"), {}, program=(*BROKEN, "without_rescan")).wait()

    ids = [result["result_id"] for result in read_results(site.results)]
    assert done.returncode == 0
    assert len(ids) > len(set(ids)) == given.claims.total()
    with pytest.raises(AssertionError):
        hold_against(site, given, died, done)


@pytest.mark.fault(9)
def test_a_batch_done_and_still_in_the_work_folder_is_archived_without_another_call_or_record(
    site: Site, simulator: Simulator
) -> None:
    given = put(site.inbox, files=1, claims=20)

    died = die(site, "after_mark:1")
    asked, written = simulator.get("stats")["prechecks"], site.results.read_bytes()
    recover(site, given, died)

    assert simulator.get("stats")["prechecks"] == asked
    assert site.results.read_bytes() == written


@pytest.mark.fault(9)
def test_batches_done_beside_others_under_way_are_not_sent_again(site: Site) -> None:
    given = put_usual(site.inbox)

    died = die(site, "after_mark:3")
    done = {result["claim_id"] for result in read_results(site.results)}
    results = recover(site, given, died)

    assert done
    assert {result["attempts"] for result in results if result["claim_id"] in done} == {1}


@pytest.mark.fault(9)
def test_files_of_acknowledgements_that_a_crash_came_between_are_all_there_once_and_whole(
    site: Site, simulator: Simulator
) -> None:
    site.environ["PRECHECK_OUTPUT__URLS"] = json.dumps(["jsonl:spool/out/results.jsonl", "edi:spool/out/edi"])
    given = put(site.inbox, files=2, claims=10)
    folder = site.root / "spool/out/edi"
    points = ("edi_drafted:2", "edi_linked:1", "edi_published:1", "edi_published:2", "after_complete:1")
    # All claims may be answered before the first death: then every one of these is a death without a new answer.
    site.environ["PRECHECK_INPUT__POISON_AFTER"] = str(len(points) + 1)

    died = [die(site, point) for point in points]
    asked, written = simulator.get("stats")["prechecks"], site.results.read_bytes()
    results = recover(site, given, *died)

    assert simulator.get("stats")["prechecks"] == asked
    assert site.results.read_bytes() == written
    stems = {result["claim_id"].partition(":")[0] for result in results}
    assert {path.name for path in folder.iterdir()} == {
        f"{stem}.{ending}" for stem in stems for ending in ("999", "277ca", "summary.json")
    }
    summaries = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    assert [summary["claims"] for summary in summaries] == [10, 10]
    for kind in ("999", "277ca"):
        received = [result[f"x12_{kind}"] for result in results if result[f"x12_{kind}"]]
        told = "".join(path.read_text() for path in folder.glob(f"*.{kind}"))
        assert Counter(told.splitlines()) == Counter("\n".join(received).splitlines())


@pytest.mark.fault(10)
def test_after_the_move_to_the_archive_nothing_is_left_to_do(site: Site, simulator: Simulator) -> None:
    given = put(site.inbox, files=1, claims=20)

    died = die(site, "after_move:1")
    asked, written = simulator.get("stats")["prechecks"], site.results.read_bytes()
    recover(site, given, died)

    assert simulator.get("stats")["prechecks"] == asked
    assert site.results.read_bytes() == written


@pytest.mark.fault(12)
def test_eleven_deaths_in_a_row_while_recovering_are_recovered_from(site: Site) -> None:
    given = put_usual(site.inbox)
    points = (
        "recovery_tail_found:1",
        "recovery_tail_found:1",
        "recovery_tail_cut:1",
        "recovery_tail_synced:1",
        "recovery_work_moved:1",
        "recovery_work_moved:40",
        "recovery_work_emptied:1",
        "recovery_recalled:1",
        "recovery_work_moved:2",
        "recovery_recalled:1",
        "recovery_work_emptied:1",
    )

    died = [die(site, point) for point in ("sink_torn:2", *points)]

    recover(site, given, *died)


@pytest.mark.fault(20)
@pytest.mark.parametrize("fault", ["with_a_ledger_bug", "with_a_lost_ledger_thread"])
def test_a_bug_in_the_ledgers_thread_ends_the_worker_within_seconds_and_loses_nothing(site: Site, fault: str) -> None:
    given = put_usual(site.inbox)

    failed = Run(site, ("run",), {}, program=(*BROKEN, fault))
    wait_until(lambda: failed.has_logged("worker.started"))
    failed.wait(within_s=10.0)

    assert failed.returncode > 0
    recover(site, given, failed)


def _cut_in_a_request(trace: str) -> bool:
    """Tell whether the write that never returned was that of a claim: its line, or the last one of its thread."""
    lines = [line.split(maxsplit=1) for line in trace.splitlines() if "write" in line]
    dead = next((thread for thread, call in reversed(lines) if call.endswith("= ?")), None)
    calls = [call for thread, call in lines if thread == dead and "write(" in call]
    return bool(calls) and "POST /oihub" in calls[-1]
