"""Two files of equal bytes at once: one is sent, the other waits and tells its results again, across crashes."""

from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.harness import Simulator, Site
from tests.faults.crashing import claims_in_flight, die, put
from tests.oracle import assert_ledger_at_rest, assert_one_result_each, read_results


def put_twice(folder: Path, claims: int) -> None:
    """Put one batch under two names, as two files."""
    put(folder, files=1, claims=claims)
    (first,) = folder.iterdir()
    outgoing = folder.with_name("outgoing") / "again.837"
    outgoing.write_bytes(first.read_bytes())
    outgoing.rename(folder / outgoing.name)


@pytest.mark.fault(61)
@pytest.mark.parametrize("claims", [20, 1000])
def test_of_two_equal_files_at_once_one_is_sent(site: Site, simulator: Simulator, claims: int) -> None:
    put_twice(site.inbox, claims)
    asked = simulator.get("stats")["prechecks"]

    done = site.run_once()

    results = read_results(site.results)
    assert done.returncode == 0, done.stderr
    assert b'"event":"batch.waiting"' in done.stdout
    assert_one_result_each(results, 2 * claims)
    assert simulator.get("stats")["prechecks"] - asked == claims
    sent = {result["result_id"] for result in results if result["duplicate_of"] is None}
    assert {result["duplicate_of"] for result in results} == {*sent, None}
    assert len(sent) == claims
    assert_ledger_at_rest(site.ledger)


@pytest.mark.fault(61)
@pytest.mark.parametrize("death", ["after_commit:2", "after_response:10", "after_response:700", "after_mark:1"])
def test_a_crash_while_one_waits_for_the_other_loses_and_doubles_nothing(
    site: Site, simulator: Simulator, death: str
) -> None:
    claims = 1000
    put_twice(site.inbox, claims)
    asked = simulator.get("stats")["prechecks"]
    die(site, death)
    in_flight = claims_in_flight(site)

    done = site.run_once()

    results = read_results(site.results)
    assert done.returncode == 0, done.stderr
    assert_one_result_each(results, 2 * claims)
    assert set(Counter(result["patient_control_number"] for result in results).values()) == {2}
    assert len({claim.partition(":")[0] for claim in in_flight}) <= 1
    assert simulator.get("stats")["prechecks"] - asked <= claims + len(in_flight)
    assert sum(result["duplicate_of"] is not None for result in results) == claims
    assert_ledger_at_rest(site.ledger)
