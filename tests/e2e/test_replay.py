"""What an operator does with results, as commands: retry, submit --force, results, the books."""

import csv
import json
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.harness import Run, Simulator, Site, log_lines, wait_until
from tests.oracle import (
    assert_ledger_at_rest,
    assert_one_result_each,
    assert_silent_about,
    read_results,
    results_so_far,
)
from tests.spools import batch
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec


def park(site: Site, first: int, **magic: int) -> list[Path]:
    """Have claims parked that later attempts may bring through, a file a magic value; where these are archived."""
    names = []
    for place, (prefix, claims) in enumerate(magic.items()):
        spec = GeneratorSpec(claims=claims, first_ordinal=first + 100 * place, planted={f"{prefix}-": 1.0})
        names += [
            path.name for path in write_folder(site.inbox, files=1, claims_per_file=claims, spec=spec, prefix=prefix)
        ]
    done = site.run_once(PRECHECK_RETRY__MAX_ATTEMPTS="1")
    assert done.returncode == 0
    return [path for name in names for path in site.archive.rglob(name)]


def latest(site: Site) -> Counter[str]:
    """Count claims by the disposition of their latest result in the results file, as its reader would."""
    by_claim = {}
    for result in sorted(read_results(site.results), key=lambda result: result["generation"]):
        by_claim[result["claim_id"]] = result["disposition"]
    return Counter(by_claim.values())


def events(run: Run) -> dict[str, dict[str, object]]:
    return {line["event"]: line for line in log_lines(run.stdout)}


def test_retry_brings_through_what_recovers_and_parks_the_rest_again(site: Site) -> None:
    park(site, 710_001, S503=3, INCR=2, ERRX=2)
    before = latest(site)

    shown = site.run("retry", "--dry-run")
    done = site.run("retry")

    results = read_results(site.results)
    replayed = [result for result in results if result["generation"] == 2]
    assert before == {"undelivered": 5, "review": 2}
    assert (shown.returncode, done.returncode) == (0, 1)
    assert b"7 claims would be sent again" in shown.stdout
    assert latest(site) == {"accepted": 5, "undelivered": 2}
    assert_one_result_each(results, 14)
    assert all(result["supersedes"] == result["claim_id"] + ":1" for result in replayed)
    assert b"2 claims not simply accepted; the reasons: precheck-worker results\n" in done.stderr
    assert_ledger_at_rest(site.ledger)


def test_retry_of_the_matching_claims_alone_succeeds_if_all_of_them_are_accepted(site: Site) -> None:
    park(site, 711_001, S503=2, ERRX=2)

    chosen = site.run("retry", "--disposition", "undelivered", "--reason", "503", "--since", "1h")
    nothing = site.run("retry", "--batch", "no-such.837")
    old = site.run("retry", "--until", "2020-01-01")

    assert (chosen.returncode, nothing.returncode, old.returncode) == (0, 0, 0)
    assert b"nothing is parked that matches" in nothing.stderr
    assert b"nothing is parked that matches" in old.stderr
    assert latest(site) == {"accepted": 2, "undelivered": 2}


def test_retry_refuses_beside_a_running_worker_and_says_why(site: Site) -> None:
    park(site, 713_001, S503=1)
    worker = site.start("run")
    try:
        wait_until(lambda: any(site.root.glob("spool/work/*")))
        refused = site.run("retry")
    finally:
        worker.stop(signal.SIGTERM)

    assert refused.returncode == 3
    assert b"held by another process" in refused.stderr
    assert latest(site) == {"undelivered": 1}


@pytest.mark.fault(4)
@pytest.mark.parametrize("point", ["after_response:12", "sink_after_write:1", "after_mark:1"])
def test_a_retry_that_is_killed_and_begun_again_loses_nothing_and_sends_no_result_twice(
    site: Site, own_simulator: Simulator, point: str
) -> None:
    site.environ["PRECHECK_API__BASE_URL"] = own_simulator.origin
    site.environ["PRECHECK_OUTPUT__URLS"] = json.dumps([f"jsonl:{site.results}", f"edi:{site.root}/spool/out/edi"])
    park(site, 714_001, S503=30)

    killed = site.run("retry", CRASH=point)
    done = site.run("retry")

    results = read_results(site.results)
    assert killed.returncode == -signal.SIGKILL
    assert done.returncode == 0
    assert latest(site) == {"accepted": 30}
    assert_one_result_each(results, 60)
    assert_ledger_at_rest(site.ledger)
    assert_silent_about([], killed.stdout, killed.stderr, done.stdout, done.stderr)
    assert len(list((site.root / "spool/out/edi").glob("*.r30.summary.json"))) == 1


def test_a_forced_submit_sends_every_claim_again_and_supersedes_what_it_said_before(site: Site) -> None:
    (path,) = park(site, 715_001, S503=3)
    site.run("submit", str(path))
    untouched = len(read_results(site.results))

    done = site.run("submit", str(path), "--force")

    results = read_results(site.results)
    assert untouched == 3
    assert done.returncode == 0
    assert_one_result_each(results, 6)
    assert {result["supersedes"] for result in results[3:]} == {result["result_id"] for result in results[:3]}
    assert latest(site) == {"accepted": 3}
    assert_ledger_at_rest(site.ledger)
    assert path.exists()


def test_results_are_masked_unless_told_otherwise_and_filtered(site: Site) -> None:
    park(site, 716_001, ERRX=2, REJ7=2)
    records = read_results(site.results)
    secrets = [record[name] for record in records for name in ("patient_control_number", "provider_npi")]

    table = site.run("results", "--disposition", "rejected")
    masked = site.run("results", "--format", "json")
    full = site.run("results", "--format", "json", "--show-phi", "--limit", "3")
    rows = site.run("results", "--format", "csv", "--reason", "ERR837", "--show-phi")

    assert_silent_about(secrets, table.stdout, masked.stdout)
    assert b"A7:562" in table.stdout
    assert b"ERR837" not in table.stdout
    assert [json.loads(line) for line in full.stdout.splitlines()] == records[:3]
    assert b"there are more" in full.stderr
    assert [json.loads(line)["x12_277ca"] for line in masked.stdout.splitlines()] == [None] * 4
    found = [row["patient_control_number"] for row in csv.DictReader(rows.stdout.decode().splitlines())]
    assert found == [one["patient_control_number"] for one in records if one["disposition"] == "undelivered"]


def test_no_text_of_a_claim_is_a_formula_in_a_spreadsheet_and_numbers_stay_numbers(site: Site) -> None:
    numbers = ["=1+1", "@SUM(A1)", "-2+3", "+cmd", "-12.50", "A=1"]
    for place, number in enumerate(numbers):
        claim = batch(place + 1).replace(b"INVENTED1*100", f"{number}*-100".encode())
        (site.inbox / f"claim-{place}.837").write_bytes(claim)
    assert site.run_once().returncode == 0

    rows = site.run("results", "--format", "csv", "--show-phi")
    exact = site.run("results", "--format", "json", "--show-phi")

    shown = list(csv.DictReader(rows.stdout.decode().splitlines()))
    assert {row["patient_control_number"] for row in shown} == {
        "'=1+1", "'@SUM(A1)", "'-2+3", "'+cmd", "-12.50", "A=1",
    }  # fmt: skip
    assert {row["total_charge"] for row in shown} == {"-100"}
    assert {json.loads(line)["patient_control_number"] for line in exact.stdout.splitlines()} == set(numbers)


def test_a_once_run_balances_its_books_and_says_so(site: Site) -> None:
    spec = GeneratorSpec(claims=5, first_ordinal=717_001, planted={"OK-": 1.0})
    write_folder(site.inbox, files=2, claims_per_file=5, spec=spec, prefix="books")

    done = site.run_once()
    told = site.run("status", "--reconcile", "--json")

    line = events(done)["books.balanced"]
    assert (line["batches"], line["claims"], line["dispositions"], line["pending"]) == (2, 10, {"accepted": 10}, 0)
    assert json.loads(told.stdout)["unbalanced"] == 0
    assert told.returncode == 0


def test_books_that_do_not_balance_end_a_run_with_3_and_are_named_by_status(site: Site) -> None:
    (path,) = park(site, 718_001, S503=3)
    with closing(sqlite3.connect(site.ledger)) as db, db:
        db.execute("UPDATE batches SET total = 4")

    run = site.run("retry", "--log-file", "retry.log")
    told = site.run("status", "--reconcile")

    logged = {line["event"] for line in log_lines((site.root / "retry.log").read_bytes())}
    assert (run.returncode, told.returncode) == (3, 3)
    assert b"do not balance" in run.stderr
    assert "books.unbalanced" in logged
    assert b"finished with 3 results for 4 claims" in told.stdout
    assert path.name.encode() in told.stdout


def test_a_submit_that_was_stopped_does_not_claim_success(site: Site, own_simulator: Simulator) -> None:
    site.environ["PRECHECK_API__BASE_URL"] = own_simulator.origin
    spec = GeneratorSpec(claims=400, first_ordinal=719_001, planted={"OK-": 1.0})
    (path,) = write_folder(site.root / "outgoing", files=1, claims_per_file=400, spec=spec, prefix="long")

    stopped = site.start("submit", str(path), PRECHECK_FLOW__MAX_IN_FLIGHT="2")
    wait_until(lambda: len(results_so_far(site.results)) >= 5)
    stopped.stop(signal.SIGTERM)
    done = site.run("submit", str(path))

    assert stopped.returncode == 1
    assert b"not finished" in stopped.stdout
    assert done.returncode == 0
    assert_one_result_each(read_results(site.results), 400)
