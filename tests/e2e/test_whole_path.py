import json
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.harness import Simulator, Site, log_lines, wait_until
from tests.oracle import (
    assert_ledger_at_rest,
    assert_one_result_each,
    assert_silent_about,
    read_results,
    whole_lines,
)
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec


def put(folder: Path, claims: int, *, files: int = 1, first: int = 1, prefix: str = "batch", magic: str = "") -> None:
    spec = GeneratorSpec(
        claims=claims, first_ordinal=first, control_number=first, planted={magic: 1.0} if magic else {}
    )
    write_folder(folder, files=files, claims_per_file=claims, spec=spec, prefix=prefix)


def test_a_folder_of_batches_becomes_one_result_per_claim_and_an_archive(site: Site, simulator: Simulator) -> None:
    put(site.inbox, 1, files=40)
    put(site.inbox, 60, first=1000, prefix="large")

    done = site.run_once()

    results = read_results(site.results)
    assert done.returncode == 0
    assert_one_result_each(results, 100)
    assert_ledger_at_rest(site.ledger)
    assert list(site.inbox.iterdir()) == []
    assert len([path for path in site.archive.rglob("*.837") if path.is_file()]) == 41
    meanings = {answer["patient_control_number"]: answer["meaning"] for answer in simulator.get("answers")}
    assert {r["patient_control_number"]: r["disposition"] for r in results} == {
        r["patient_control_number"]: meanings[r["patient_control_number"]] for r in results
    }


def test_results_and_their_folders_are_private(site: Site) -> None:
    put(site.inbox, 1)

    site.run_once()

    assert site.results.stat().st_mode & 0o777 == 0o600
    assert site.results.parent.stat().st_mode & 0o777 == 0o700
    assert site.ledger.stat().st_mode & 0o777 == 0o600


def test_logs_are_json_lines_with_one_line_per_claim_and_no_claim_content(site: Site) -> None:
    put(site.inbox, 25)
    data = next(site.inbox.iterdir()).read_text()
    canaries = [*{line.split("*")[3] for line in data.splitlines() if line.startswith("NM1*IL")}, "simulator-secret"]

    done = site.run_once()

    lines = log_lines(done.stdout)
    assert sum(line["event"] == "claim.completed" for line in lines) == 25
    assert all({"ts", "level", "event"} <= line.keys() for line in lines)
    numbers = [result["patient_control_number"] for result in read_results(site.results)]
    assert_silent_about([*canaries, *numbers], done.stdout, done.stderr)


def test_three_ways_to_fail_are_told_in_words_that_a_billing_clerk_understands(site: Site) -> None:
    put(site.inbox, 1, first=900_001, prefix="rejected", magic="REJ7-")
    put(site.inbox, 1, first=900_002, prefix="unchecked", magic="ERRX-")
    dental = GeneratorSpec(claims=1, first_ordinal=900_003, guide="005010X224A2")
    write_folder(site.inbox, files=1, spec=dental, prefix="dental")

    site.run_once()

    told = {result["disposition"]: result["reason"]["text"] for result in read_results(site.results)}
    assert told.keys() == {"rejected", "undelivered", "invalid"}
    assert told["rejected"].startswith("The payer's check rejected the claim")
    assert told["undelivered"].startswith("Not checked: no usable answer after 6 attempts")
    assert told["invalid"].startswith("Not sent: dental claims are not enabled")


def test_a_file_that_is_no_x12_is_quarantined_with_its_reason_and_a_half_written_one_is_left_alone(site: Site) -> None:
    (site.inbox / "letter.txt").write_text("Dear payer, please find enclosed")
    put(site.inbox, 5, prefix="half")
    half = next(site.inbox.glob("half*"))
    half.write_bytes(half.read_bytes()[:-200])

    done = site.run_once()

    reason = json.loads((site.quarantine / "letter.txt.reason.json").read_bytes())
    assert done.returncode == 0
    assert reason["code"] == "not_x12"
    assert [path.name for path in site.inbox.iterdir()] == [half.name]
    assert read_results(site.results) == []
    assert any(line["event"] == "input.unready" for line in log_lines(done.stdout))


@pytest.mark.fault(4)
@pytest.mark.parametrize("after_results", [1, 150, 390])
def test_a_kill_in_the_middle_and_a_new_start_leave_one_result_per_claim(
    site: Site, own_simulator: Simulator, after_results: int
) -> None:
    put(site.inbox, 300)
    put(site.inbox, 1, files=100, first=1000, prefix="single")
    site.environ["PRECHECK_API__BASE_URL"] = own_simulator.origin

    killed = site.start("run")
    wait_until(lambda: len(whole_lines(site.results)) >= after_results)
    killed.stop(signal.SIGKILL)
    done = site.run_once()

    assert done.returncode == 0
    assert_one_result_each(read_results(site.results), 400)
    assert_ledger_at_rest(site.ledger)


@pytest.mark.fault(15)
def test_sigterm_stops_taking_lets_calls_end_and_loses_nothing(site: Site, own_simulator: Simulator) -> None:
    put(site.inbox, 400)
    site.environ["PRECHECK_API__BASE_URL"] = own_simulator.origin

    drained = site.start("run", PRECHECK_FLOW__RATE_PER_S="100")  # so that some are left, however late it is told
    wait_until(lambda: len(whole_lines(site.results)) >= 5)
    drained.stop(signal.SIGTERM)
    before = len(read_results(site.results))
    done = site.run_once()

    results = read_results(site.results)
    assert drained.returncode == 0
    assert before < 400
    assert done.returncode == 0
    assert_one_result_each(results, 400)
    assert all(result["ambiguous_attempts"] == 0 for result in results)
    assert_silent_about([], drained.stdout, drained.stderr)


def test_the_same_file_again_is_told_again_and_not_sent_again(site: Site, simulator: Simulator) -> None:
    put(site.inbox, 10, first=5000)
    copy = next(site.inbox.iterdir()).read_bytes()
    site.run_once()
    asked = simulator.get("stats")["prechecks"]

    (site.inbox / "again.837").write_bytes(copy)
    done = site.run_once()

    results = read_results(site.results)
    first, second = results[:10], results[10:]
    definitive = [one for one in first if one["disposition"] not in ("undetermined", "review", "undelivered")]
    assert done.returncode == 0
    assert_one_result_each(results, 20)
    assert simulator.get("stats")["prechecks"] - asked <= 10 - len(definitive) + 5
    assert {one["duplicate_of"] for one in second} >= {one["result_id"] for one in definitive}
    assert all(one["attempts"] == 0 for one in second if one["duplicate_of"])


@pytest.mark.fault(89)
@pytest.mark.fault(90)
def test_what_the_service_did_although_the_gateway_said_504_is_told_once_and_its_doubts_are_counted(
    site: Site, own_simulator: Simulator
) -> None:
    site.environ["PRECHECK_API__BASE_URL"] = own_simulator.origin
    own_simulator.set_faults(http_504=0.3, http_500=0.1)
    put(site.inbox, 100, magic="OK-")

    done = site.run_once(PRECHECK_RETRY__MAX_ATTEMPTS="20", PRECHECK_RETRY__BUDGET_RATIO="0.9")

    results = read_results(site.results)
    answers = {answer["patient_control_number"]: answer for answer in own_simulator.get("answers")}
    assert done.returncode == 0
    assert_one_result_each(results, 100)
    assert {result["disposition"] for result in results} == {"accepted"}
    assert all(result["attempts"] == answers[result["patient_control_number"]]["attempts"] for result in results)
    assert all(
        result["transaction_id"] == answers[result["patient_control_number"]]["transaction_id"] for result in results
    )
    faults = own_simulator.get("stats")["faults"]
    assert sum(result["ambiguous_attempts"] for result in results) == faults["http_504"] > 10


@pytest.mark.fault(71)
def test_refused_credentials_end_a_once_run_with_4_and_leave_every_claim_pending(
    site: Site, simulator: Simulator
) -> None:
    put(site.inbox, 10)
    asked = simulator.get("stats")["prechecks"]

    done = site.run_once(PRECHECK_AUTH__CLIENT_SECRET="wr0ng-s3cret")

    lines = log_lines(done.stdout)
    assert done.returncode == 4
    assert read_results(site.results) == []
    assert simulator.get("stats")["prechecks"] == asked
    assert [line["advice"] for line in lines if line["event"] == "gate.shut"]
    assert_silent_about(["wr0ng-s3cret"], done.stdout, done.stderr)


@pytest.mark.fault(68)
def test_an_unreachable_token_endpoint_is_waited_for_and_the_input_is_not_touched(tmp_path: Path) -> None:
    site = Site(tmp_path, "http://127.0.0.1:9")
    put(site.inbox, 10)

    waiting = site.start("run", "--once")
    wait_until(lambda: waiting.has_logged("gate.shut"))
    time.sleep(2.0)  # the claim of this test: for this long nothing happens to the input
    untouched = [path.name for path in site.inbox.iterdir()]
    waiting.stop(signal.SIGTERM)

    assert untouched == ["batch-000001.837"]
    assert waiting.returncode == 0
    assert [line["reason"] for line in log_lines(waiting.stdout) if line["event"] == "gate.shut"] == ["outage"]
    assert_silent_about([], waiting.stdout, waiting.stderr)
