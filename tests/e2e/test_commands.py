import json
import os
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.e2e.harness import Simulator, Site, fetch, log_lines, wait_until
from tests.oracle import assert_one_result_each, assert_silent_about, read_results
from tests.processes import free_port
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec


def claim_file(folder: Path, name: str, magic: str, ordinal: int) -> Path:
    spec = GeneratorSpec(claims=1, first_ordinal=ordinal, planted={magic: 1.0})
    (path,) = write_folder(folder, files=1, spec=spec, prefix=name)
    return path


def test_submit_succeeds_only_if_every_claim_was_accepted_and_leaves_the_file(site: Site) -> None:
    good = claim_file(site.root / "outgoing", "good", "OK-", 700_001)

    done = site.run("submit", str(good))

    assert done.returncode == 0
    assert b"1 accepted" in done.stdout
    assert good.exists()
    assert [result["disposition"] for result in read_results(site.results)] == ["accepted"]


def test_a_log_file_of_the_name_that_others_take_for_stdout_is_refused(site: Site) -> None:
    good = claim_file(site.root / "outgoing", "good", "OK-", 700_007)

    refused = site.run("submit", str(good), "--log-file", "-")

    assert refused.returncode == 2
    assert b"--log-file: - is no file" in refused.stderr
    assert not (site.root / "-").exists()


def test_submit_of_a_rejected_claim_or_of_no_x12_ends_with_1_and_says_so(site: Site) -> None:
    bad = claim_file(site.root / "outgoing", "bad", "REJ7-", 700_002)
    letter = site.root / "outgoing/letter.txt"
    letter.write_text("not an 837")

    done = site.run("submit", str(bad.parent))

    assert done.returncode == 1
    assert b"1 rejected" in done.stdout
    assert b"not processed: not_x12" in done.stdout


def test_submit_of_a_file_checked_before_sends_nothing_and_tells_the_same(site: Site, simulator: Simulator) -> None:
    good = claim_file(site.root / "outgoing", "once", "OK-", 700_003)
    site.run("submit", str(good))
    asked = simulator.get("stats")["prechecks"]

    again = site.run("submit", str(good))

    assert again.returncode == 0
    assert b"checked before" in again.stdout
    assert simulator.get("stats")["prechecks"] == asked


@pytest.mark.parametrize("command", ["submit --force outgoing", "retry"])
def test_submit_and_retry_leave_the_port_of_the_probes_to_a_worker(site: Site, command: str) -> None:
    stuck = claim_file(site.root / "outgoing", "stuck", "ERRX-", 700_009)
    environ = {"PRECHECK_RETRY__MAX_ATTEMPTS": "1"}
    site.run("submit", str(stuck), **environ)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environ["PRECHECK_TELEMETRY__HTTP"] = f"127.0.0.1:{taken.getsockname()[1]}"

        done = site.run(*command.split(), **environ)

    assert done.returncode == 1
    assert b"undelivered" in done.stdout
    assert b"telemetry.http" not in done.stderr


def test_submit_says_what_it_cannot_send_again_for_it_is_past_its_retention(site: Site) -> None:
    old = claim_file(site.root / "outgoing", "old", "OK-", 700_012)
    site.run("submit", str(old))
    purging = site.start("run", PRECHECK_STATE__RETENTION_DAYS="0")
    wait_until(lambda: purging.has_logged("ledger.purged"))
    purging.stop(signal.SIGTERM)

    forced, results = site.run("submit", "--force", str(old)), site.run("results")

    (row,) = [line.split() for line in forced.stdout.decode().splitlines() if line.startswith(old.name)]
    assert row[1:4] == ["1", "1", "accepted"]
    assert "not sent again: older than state.retention_days; submit a copy of it" in " ".join(row)
    assert b"older than state.retention_days" in results.stderr


def test_submit_of_a_copy_says_whose_results_it_tells_again(site: Site) -> None:
    first = claim_file(site.root / "outgoing", "first", "OK-", 700_007)
    site.run("submit", str(first))
    copy = first.with_name("copy.837")
    copy.write_bytes(first.read_bytes())

    done = site.run("submit", str(copy))

    assert f"same as {first.name}, checked before".encode() in done.stdout


@pytest.mark.parametrize("command", ["inspect outgoing/shifted.837", "results", "results --format json"])
def test_what_stands_in_the_place_of_a_charge_is_masked(site: Site, command: str) -> None:
    path = claim_file(site.root / "outgoing", "shifted", "OK-", 700_008)
    path = path.rename(path.with_name("shifted.837"))
    path.write_text(re.sub(r"(CLM\*[^*]*\*)[^*]*", r"\1CANARY JANE", path.read_text()))
    site.run("submit", str(path))

    done = site.run(*command.split())

    assert done.stdout
    assert b"CANARY" not in done.stdout + done.stderr
    assert b"CANARY JANE" in site.run(*command.split(), "--show-phi").stdout


@pytest.mark.parametrize("command", ["inspect outgoing/shifted.837", "results", "results --format csv"])
@pytest.mark.parametrize(
    ("stands", "known", "shown"),
    [
        ("W123456789", "", "••••••••89"),
        ("DOE", "", "•••"),
        ("W123456789", "W123456789", "W123456789"),
        ("SX109", "", "SX109"),
    ],
)
def test_what_may_be_a_member_in_the_place_of_a_payer_is_masked(
    site: Site, command: str, stands: str, known: str, shown: str
) -> None:
    path = claim_file(site.root / "outgoing", "shifted", "OK-", 700_010)
    path = path.rename(path.with_name("shifted.837"))
    path.write_text(re.sub(r"(NM1\*PR\*(?:[^*~]*\*){7})[^*~]*", rf"\g<1>{stands}", path.read_text()))
    site.environ["PRECHECK_CLAIMS__PAYERS"] = json.dumps([known] if known else ["87726"])
    site.run("submit", str(path))

    done = site.run(*command.split())

    assert shown in done.stdout.decode()
    assert (stands in done.stdout.decode()) is (stands == shown)
    assert stands in site.run(*command.split(), "--show-phi").stdout.decode()


def test_inspect_masks_identifiers_unless_told_otherwise_and_needs_no_network(site: Site) -> None:
    path = claim_file(site.root / "outgoing", "look", "OK-", 700_004)

    masked = site.run("inspect", str(path), PRECHECK_API__BASE_URL="http://127.0.0.1:9")
    shown = site.run("inspect", str(path), "--show-phi")

    number = next(line.split("*")[1] for line in path.read_text().splitlines() if line.startswith("CLM*"))
    assert (masked.returncode, shown.returncode) == (0, 0)
    assert_silent_about([number], masked.stdout, masked.stderr)
    assert number.encode() in shown.stdout
    assert b"1 claim would be sent" in masked.stdout


def test_inspect_names_what_would_be_refused(site: Site) -> None:
    dental = GeneratorSpec(claims=2, guide="005010X224A2")
    (path,) = write_folder(site.root / "outgoing", files=1, claims_per_file=2, spec=dental)

    done = site.run("inspect", str(path))

    assert done.returncode == 1
    assert b"2 claims would be refused: claim_type_not_enabled" in done.stdout


def test_check_says_ok_for_each_thing_that_is_well(site: Site) -> None:
    done = site.run("check")

    whats = [line.split()[1] for line in done.stdout.decode().splitlines() if line.startswith("ok")]
    assert done.returncode == 0
    assert {"settings", "input", "output", "state", "token", "health", "clock"} <= set(whats)


def test_check_names_refused_credentials_and_a_missing_folder_with_the_way_out(site: Site) -> None:
    site.inbox.rmdir()

    missing = site.run("check")
    refused = site.run("check", PRECHECK_AUTH__CLIENT_SECRET="wr0ng-s3cret", PRECHECK_INPUT__URL=f"dir:{site.root}")

    assert missing.returncode == 2
    assert b"mkdir -p" in missing.stdout
    assert refused.returncode == 4
    assert b"FAIL  token" in refused.stdout
    assert_silent_about(["wr0ng-s3cret"], refused.stdout, refused.stderr)


def test_status_counts_what_was_done(site: Site) -> None:
    claim_file(site.inbox, "counted", "OK-", 700_005)
    site.run_once()

    told = json.loads(site.run("status", "--json").stdout)

    assert told["totals"] == {"accepted": 1}
    assert [batch["state"] for batch in told["batches"]] == ["done"]


def test_the_times_in_the_json_of_status_are_written_as_those_in_the_results(site: Site) -> None:
    claim_file(site.inbox, "timed", "OK-", 700_006)
    site.run_once()
    site.run("pause")

    told, books = (json.loads(site.run("status", *more, "--json").stdout) for more in ((), ("--reconcile",)))

    (result,) = read_results(site.results)
    assert told["batches"][0]["batch"]["received_at"] == result["received_at"]
    assert books["shown"][0]["batch"]["received_at"] == result["received_at"]
    for time in (told["paused"]["since"], told["limit"]["noted_at"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)


def test_status_tells_whether_a_worker_is_running(site: Site) -> None:
    run = site.start("run")
    wait_until(lambda: run.has_logged("worker.started"))
    beside = site.run("status")
    run.process.send_signal(signal.SIGTERM)
    run.wait()
    after, as_json = site.run("status"), json.loads(site.run("status", "--json").stdout)

    assert beside.stdout.splitlines()[-1] == b"a worker is running on this ledger"
    assert after.stdout.splitlines()[-1] == b"no worker is running on this ledger"
    assert (as_json["running"], as_json["workers"]) == (False, None)


def test_status_without_a_ledger_says_that_there_is_none(site: Site) -> None:
    done = site.run("status")

    assert done.returncode == 3
    assert b"ledger" in done.stderr
    assert not site.ledger.parent.exists()


@pytest.mark.fault(36)
def test_every_wrong_setting_is_named_at_once_before_any_input_is_touched(site: Site) -> None:
    claim_file(site.inbox, "untouched", "OK-", 700_006)
    config = site.root / "bad.toml"
    config.write_text(
        '[flow]\nmax_in_fligth = 3\n[retry]\nbase_s = -1\n[auth]\nclient_secret = "pl4nted"\n[input]\nurl = 7\n'
    )

    done = site.run("run", "--config", str(config), PRECHECK_NONSENSE__X="1")

    err = done.stderr.decode()
    assert done.returncode == 2
    for named in ("max_in_fligth", "max_in_flight", "retry.base_s", "input.url", "PRECHECK_NONSENSE__X"):
        assert named in err
    assert len(list(site.inbox.iterdir())) == 1
    assert_silent_about(["pl4nted"], done.stdout, done.stderr)


def test_a_folder_that_does_not_exist_is_a_named_setting_with_the_way_out(site: Site) -> None:
    done = site.run("run", "--once", PRECHECK_INPUT__URL="dir:nowhere/in")

    assert done.returncode == 2
    assert b"nowhere/in" in done.stderr
    assert b"mkdir -p" in done.stderr


def test_a_results_file_that_was_deleted_is_written_anew_under_another_name(site: Site) -> None:
    claim_file(site.inbox, "kept", "OK-", 700_010)
    site.run_once()
    site.results.unlink()
    claim_file(site.inbox, "more", "OK-", 700_011)

    refused = site.run_once()
    done = site.run_once(PRECHECK_OUTPUT__URLS='["jsonl:spool/out/again.jsonl"]')

    assert (refused.returncode, done.returncode) == (3, 0)
    assert b"name another file in output.urls" in refused.stderr
    assert_one_result_each(read_results(site.results.with_name("again.jsonl")), 2)


def test_a_second_worker_on_the_same_ledger_is_refused(site: Site) -> None:
    first = site.start("run")
    try:
        wait_until(lambda: site.ledger.exists() and (site.root / "spool/work").exists())
        second = site.run_once()
    finally:
        first.stop(15)

    assert second.returncode == 3
    assert b"another" in second.stderr


def test_what_ends_the_worker_stands_in_its_log_as_well(site: Site) -> None:
    claim_file(site.inbox, "first", "OK-", 700_012)
    site.run_once()
    site.results.unlink()

    ended = site.run_once()

    last = log_lines(ended.stdout)[-1]
    assert ended.returncode == 3
    assert (last["event"], last["level"], last["exit_code"]) == ("worker.failed", "error", 3)
    assert ended.stderr.decode() == f"precheck-worker: {last['detail']}\n"


def test_files_set_aside_are_told_by_the_status_the_metrics_and_the_log(site: Site) -> None:
    (site.inbox / "letter.txt").write_text("not an 837")
    (site.inbox / "empty.837").touch()
    address = f"127.0.0.1:{free_port()}"

    worker = site.start("run", PRECHECK_TELEMETRY__HTTP=address)
    wait_until(lambda: len(list(site.quarantine.glob("*.reason.json"))) == 2)
    wait_until(lambda: b"\nprecheck_batches_refused_total 2.0\n" in fetch(f"http://{address}/metrics")[1])
    (site.inbox / ".late.837.tmp").touch()
    worker.stop(signal.SIGTERM)
    (site.inbox / "late.837").touch()
    told, as_json = site.run("status").stdout.decode(), json.loads(site.run("status", "--json").stdout)

    assert "spool/in: 1 file not taken yet; spool/quarantine: 2 files set aside, the reason beside each" in told
    assert (as_json["input"]["waiting"], as_json["input"]["quarantined"]) == (1, 2)
    assert log_lines(worker.stdout)[-1]["refused"] == 2


def test_a_once_run_that_may_take_no_longer_says_what_goes_on_and_ends_with_1(
    site: Site, own_simulator: Simulator
) -> None:
    claim_file(site.inbox, "slow", "OK-", 700_011)
    own_simulator.set_faults(outage=True)

    done = site.run_once(PRECHECK_API__BASE_URL=own_simulator.origin, PRECHECK_FLOW__ONCE_TIMEOUT_S="1")

    assert done.returncode == 1
    assert b"flow.once_timeout_s reached" in done.stderr
    assert b"the same command goes on with what has no result" in done.stderr
    assert {"worker.timed_out", "input.unready"} <= {line["event"] for line in log_lines(done.stdout)}
    assert len(list(site.inbox.iterdir())) == 1


def test_a_log_file_that_nobody_reads_is_refused_and_not_waited_for(site: Site) -> None:
    path = claim_file(site.root / "outgoing", "good", "OK-", 700_013)
    os.mkfifo(site.root / "log")

    done = site.start("submit", str(path), "--log-file", "log").wait(within_s=20)

    assert done.returncode == 2
    assert b"--log-file: log cannot be written" in done.stderr


def test_an_outage_is_told_by_the_status(site: Site, own_simulator: Simulator) -> None:
    own_simulator.set_faults(outage=True)

    worker = site.start("run", PRECHECK_API__BASE_URL=own_simulator.origin)
    wait_until(lambda: worker.has_logged("gate.shut"))
    wait_until(lambda: b"submission was paused then: outage; the worker's log says" in site.run("status").stdout)
    as_json = json.loads(site.run("status", "--json").stdout)
    worker.stop(signal.SIGTERM)

    assert as_json["limit"]["gate"] == "outage"


def test_help_has_examples_for_every_command_and_each_can_be_pasted(site: Site) -> None:
    commands = re.findall(r"^  (\w+)  ", site.run("--help").stdout.decode().partition("Commands:")[2], re.MULTILINE)
    assert len(commands) == 14
    for command in commands:
        done = site.run(command, "--help", COLUMNS="60")

        examples = done.stdout.decode().partition("Examples:")[2].split("\n")
        assert done.returncode == 0
        # A line that goes on with another one is two commands to a shell.
        starts = {(line.split() or [""])[0].partition("=")[0] for line in examples}
        assert "precheck-worker" in starts
        assert starts <= {"precheck-worker", "curl", "PRECHECK_INPUT__URL", ""}


def test_an_unknown_command_ends_with_2(site: Site) -> None:
    done = site.run("frobnicate")

    assert done.returncode == 2
    assert b"frobnicate" in done.stderr


@pytest.mark.slow
def test_the_demo_balances_its_books(site: Site) -> None:
    done = site.run("demo", "--claims", "300")

    assert done.returncode == 0
    assert b"The books balance" in done.stdout


@pytest.mark.slow
def test_the_demo_prints_what_the_readme_shows(site: Site) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    shown = readme.partition("```text\nResults\n")[2].partition("\n```")[0].splitlines()

    done = site.run("demo")

    printed = [line.rstrip() for line in done.stdout.decode().splitlines()]
    timed = [line for line in shown if " calls (" in line]
    assert done.returncode == 0
    assert len(timed) == 1
    assert [line for line in shown if line not in timed and line not in printed] == []


def test_a_demo_that_is_stopped_says_so_and_not_that_its_books_do_not_balance(site: Site) -> None:
    demo = site.start("demo", "--claims", "5000")
    log = site.root / "precheck-demo/worker.log"
    wait_until(lambda: log.exists() and b"claim.completed" in log.read_bytes())

    done = demo.stop(signal.SIGINT)

    assert done.returncode == 1
    assert b"stopped by SIGINT: " in done.stderr
    assert b"balance" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("simulate --fault http_500=abc", "--fault: http_500 must be a number, got 'abc'"),
        ("simulate --fault outage=maybe", "--fault: outage must be true or false, got 'maybe'"),
        ("simulate --fault capacity=lots", "--fault: capacity must be one of queueing, shedding, "),
        (
            "enqueue spool --to kafka://broker",
            "--to: no broker is known for 'kafka:', known are amqp:, nats:, redis:, sqs:",
        ),
        ("retry --since 5m --until 12h", "--since: must be before --until"),
        ("bench --json nowhere/figures.json", "--json: cannot write nowhere/figures.json: No such file or directory"),
    ],
)
def test_a_mistake_on_the_command_line_is_told_with_what_is_meant(site: Site, command: str, told: str) -> None:
    done = site.run(*command.split())

    assert done.returncode == 2
    assert told in done.stderr.decode()


def test_a_port_that_is_taken_is_told_in_a_few_words(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = site.run("simulate", "--port", str(port))

    assert done.returncode == 2
    assert f"--port: cannot listen on 127.0.0.1:{port}: Address already in use\n" in done.stderr.decode()


def test_help_is_had_by_its_short_name_as_well(site: Site) -> None:
    for command in ((), ("status",)):
        assert site.run(*command, "-h").stdout == site.run(*command, "--help").stdout != b""
