"""The whole worker on a folder that goes away, holds odd names, or the same name or bytes twice."""

import os
import signal
import time

import pytest

from tests.e2e.harness import Simulator, Site, fetch, log_lines, wait_until
from tests.faults.crashing import hold_against, put
from tests.oracle import assert_ledger_at_rest, assert_one_result_each, read_results
from tests.processes import free_port
from tests.spools import ODD_NAMES

LOOKED_AGAIN_S = 3.0


def ready(port: int) -> int:
    status, _ = fetch(f"http://127.0.0.1:{port}/readyz")
    return status


@pytest.mark.fault(63)
@pytest.mark.parametrize("way", ["run", "run --once"])
def test_a_folder_that_goes_away_is_told_as_an_error_and_waited_for_and_is_not_an_empty_one(
    site: Site, way: str
) -> None:
    port = free_port()
    away = site.root / "spool.away"
    given = put(site.inbox, files=40)
    run = site.start(*way.split(), PRECHECK_FLOW__RATE_PER_S="10", PRECHECK_TELEMETRY__HTTP=f"127.0.0.1:{port}")
    wait_until(lambda: run.has_logged("claim.completed"))
    was_ready = ready(port)

    site.inbox.rename(away)
    wait_until(lambda: run.has_logged("input.unavailable"))
    wait_until(lambda: ready(port) == 503)
    wait_until(lambda: len(list(site.archive.rglob("*.837"))) == given.files)
    time.sleep(LOOKED_AGAIN_S)  # a run that took the folder for empty would end now
    waits = run.process.poll() is None
    away.rename(site.inbox)
    given += put(site.inbox, files=3, first=100, prefix="later")
    wait_until(lambda: run.has_logged("input.available"))
    if way == "run":
        wait_until(lambda: len(list(site.archive.rglob("*.837"))) == given.files)
        run.process.send_signal(signal.SIGTERM)
    run.wait()

    assert (was_ready, waits, run.returncode) == (200, True, 0)
    (told,) = [line for line in log_lines(run.stdout) if line["event"] == "input.unavailable"]
    assert told["level"] == "error"
    assert str(site.inbox) in str(told["detail"])
    hold_against(site, given, run)


@pytest.mark.fault(59)
def test_files_of_odd_names_have_results_and_log_lines_that_every_reader_can_read(site: Site) -> None:
    site.environ["PRECHECK_OUTPUT__URLS"] = '["jsonl:spool/out/results.jsonl", "edi:spool/out/edi"]'
    given = put(site.inbox, files=len(ODD_NAMES))
    for path, name in zip(sorted(site.inbox.iterdir()), ODD_NAMES, strict=True):
        os.rename(os.fsencode(path), os.fsencode(site.inbox) + b"/" + name)  # noqa: PTH104 - names that are no text

    done = site.run_once()

    assert done.returncode == 0, done.stderr.decode()
    results = read_results(site.results)
    assert_one_result_each(results, given.claims.total())
    shown = [result["batch_name"] for result in results]
    assert all(name.isprintable() and "\u202e" not in name for name in shown)
    assert len(set(shown)) == len(ODD_NAMES)
    settled = [line["batch"] for line in log_lines(done.stdout) if line["event"] == "batch.settled"]
    for told, name in zip(sorted(settled), sorted(shown), strict=True):
        assert name.startswith(told.removesuffix("…"))  # the log shortens what is very long
    assert {os.fsencode(path.name) for path in site.archive.glob("*/*")} == set(ODD_NAMES)
    stems = {result["claim_id"].partition(":")[0] for result in results}
    assert {path.name.partition(".")[0] for path in (site.root / "spool/out/edi").iterdir()} == stems
    assert_ledger_at_rest(site.ledger)


@pytest.mark.fault(61)
def test_where_the_settings_say_so_equal_files_are_both_sent(site: Site, simulator: Simulator) -> None:
    given = put(site.inbox, files=1, claims=5)
    (first,) = site.inbox.iterdir()
    (site.inbox / "again.837").write_bytes(first.read_bytes())
    asked = simulator.get("stats")["prechecks"]

    done = site.run_once(PRECHECK_INPUT__DUPLICATES="submit")

    results = read_results(site.results)
    assert done.returncode == 0, done.stderr.decode()
    assert_one_result_each(results, 2 * given.claims.total())
    assert simulator.get("stats")["prechecks"] - asked == 2 * given.claims.total()
    assert {(result["duplicate_of"], result["attempts"]) for result in results} == {(None, 1)}
    assert {result["batch_name"] for result in results} == {first.name, "again.837"}


@pytest.mark.fault(62)
def test_a_name_used_again_for_other_content_is_another_batch_with_results_of_its_own(site: Site) -> None:
    given = put(site.inbox, files=1, claims=2)
    (name,) = [path.name for path in site.inbox.iterdir()]
    done = [site.run_once()]
    given += put(site.inbox, files=1, claims=3, first=100)
    again = [path.name for path in site.inbox.iterdir()]
    done.append(site.run_once())

    assert again == [name]
    results = hold_against(site, given, *done)
    assert {result["batch_name"] for result in results} == {name}
    assert len({result["batch_id"] for result in results}) == 2
    assert {result["duplicate_of"] for result in results} == {None}
    assert sorted(path.name for path in site.archive.glob("*/*")) == [name, f"{name}.2"]
