"""The worker dies between two steps of moving files, making its ledger, noting a retry, or ending a drain.

Whatever a death leaves lying about is gone once the next life has ended: no second reason in the quarantine, no empty
folder below ``work/``.
"""

import signal
from datetime import datetime
from pathlib import Path

import pytest

from tests.e2e.harness import Run, Simulator, Site, wait_until
from tests.faults.crashing import claims_in_flight, die, put, put_usual, recover, rows
from tests.faults.test_shared_folder import entries
from tests.spools import batch

NAME_BYTES = 255


def long_name(path: Path, *, room: int) -> Path:
    """Give a file a name that leaves so much room, beside its inode and a dash, in its entry in a work folder."""
    head = f"{path.stat().st_ino:x}-"
    return path.rename(path.with_name("n" * (NAME_BYTES - len(head) - room - len(".837")) + ".837"))


def die_draining(site: Site, at: str) -> Run:
    """Have the worker answer a little of what there is, and stop it; it must die at this pass of this step."""
    run = site.start("run", CRASH=at, PRECHECK_FLOW__RATE_PER_S="20")
    wait_until(lambda: run.has_logged("claim.completed"))
    run.stop(signal.SIGTERM)
    assert run.returncode == -signal.SIGKILL, f"{at} was not reached: {run.stderr.decode()}"
    return run


def nothing_lies_about(site: Site) -> bool:
    return not any((site.root / "spool/work").iterdir())


@pytest.mark.fault(1)
def test_a_ledger_half_made_is_made_again(site: Site) -> None:
    given = put(site.inbox, files=3)

    died = [die(site, point) for point in ("ledger_drafted:1", "ledger_made:1")]

    recover(site, given, *died)
    assert {path.name.partition("-")[0] for path in site.ledger.parent.iterdir()} <= {"ledger.db", "ledger.db.lock"}


@pytest.mark.fault(1)
@pytest.mark.parametrize("passes", [1, 40])
def test_a_file_taken_and_given_to_nobody_is_read_again(site: Site, passes: int) -> None:
    given = put_usual(site.inbox)

    died = die(site, f"taken:{passes}")
    in_flight = claims_in_flight(site)
    results = recover(site, given, died)

    assert {result["attempts"] for result in results if result["claim_id"] not in in_flight} == {1}
    assert nothing_lies_about(site)


@pytest.mark.fault(1)
def test_a_file_whose_name_leaves_no_room_is_taken_once_wherever_a_death_comes(site: Site) -> None:
    given = put(site.inbox, files=1, claims=20)
    long_name(next(site.inbox.iterdir()), room=-1)

    died = [die(site, point) for point in ("slot_made:1", "taken:1", "returned_renamed:1")]

    assert {result["attempts"] for result in recover(site, given, *died)} == {1}
    assert nothing_lies_about(site)


@pytest.mark.fault(12)
@pytest.mark.parametrize("room", [1000, 3], ids=["short", "long"])
def test_a_batch_begun_again_is_counted_once_however_its_new_name_is_made(site: Site, room: int) -> None:
    given = put(site.inbox, files=1, claims=20)
    if room < NAME_BYTES:
        long_name(next(site.inbox.iterdir()), room=room)
    points = ["returned_renamed:1"] if room >= NAME_BYTES else ["returned_slot_made:1", "returned_renamed:1"]

    died = [die(site, point) for point in ("after_read:1", *points)]

    assert {result["attempts"] for result in recover(site, given, *died)} == {1}
    assert nothing_lies_about(site)


@pytest.mark.fault(1)
def test_a_refused_file_has_one_reason_in_the_quarantine_wherever_a_death_comes(site: Site) -> None:
    given = put(site.inbox, files=3)
    (site.inbox / "bad.837").write_bytes(batch(claims=0))

    died = [die(site, point) for point in ("quarantine_noted:1", "quarantine_noted:1", "quarantine_moved:1")]

    recover(site, given, *died)
    assert {path.name for path in site.quarantine.iterdir()} == {"bad.837", "bad.837.reason.json"}


@pytest.mark.fault(10)
@pytest.mark.parametrize("moment", ["archive_moved", "archive_synced"])
def test_a_batch_on_its_way_to_the_archive_is_there_once(site: Site, simulator: Simulator, moment: str) -> None:
    given = put(site.inbox, files=3, claims=20)

    died = die(site, f"{moment}:1")
    asked, written = simulator.get("stats")["prechecks"], site.results.read_bytes()
    recover(site, given, died)

    told = written.count(b"\n")
    assert simulator.get("stats")["prechecks"] - asked <= given.claims.total() - told + len(claims_in_flight(site))
    assert site.results.read_bytes().startswith(written)


@pytest.mark.fault(8)
@pytest.mark.parametrize("passes", [1, 3])
def test_results_that_a_sink_has_and_the_ledger_does_not_know_of_are_not_told_again(site: Site, passes: int) -> None:
    given = put_usual(site.inbox)

    died = die(site, f"outbox_written:{passes}")
    written, noted = site.results.read_bytes(), position(site)
    recover(site, given, died)

    assert written.count(b"\n") > noted
    assert site.results.read_bytes().startswith(written)


@pytest.mark.fault(8)
@pytest.mark.parametrize("passes", [1, 3])
def test_a_position_that_the_ledger_knows_and_nobody_else_is_gone_on_from(site: Site, passes: int) -> None:
    given = put_usual(site.inbox)

    died = die(site, f"outbox_advanced:{passes}")
    written, noted = site.results.read_bytes(), position(site)
    recover(site, given, died)

    assert written.count(b"\n") == noted > 0
    assert site.results.read_bytes().startswith(written)


def position(site: Site) -> int:
    (seq,) = rows(site, "SELECT coalesce(max(seq), 0) FROM sinks")[0]
    return int(seq)


@pytest.mark.fault(5)
@pytest.mark.fault(66)
@pytest.mark.parametrize("passes", [1, 5])
def test_a_retry_that_was_noted_when_the_worker_died_is_made_when_it_is_due_and_costs_no_attempt(
    site: Site, flaky_simulator: Simulator, passes: int
) -> None:
    given = put(site.inbox, files=1, claims=8)
    flaky_simulator.set_faults(http_500=1.0, http_504=0.0, http_429=0.0)
    site.environ |= {
        "PRECHECK_API__BASE_URL": flaky_simulator.origin,
        "PRECHECK_RETRY__BASE_S": "3",
        "PRECHECK_RETRY__MAX_S": "3",
    }

    died = die(site, f"after_defer:{passes}")
    noted = rows(site, "SELECT batch_id, ordinal, attempts, due_at FROM attempts, batches WHERE number = batch_number")
    flaky_simulator.set_faults(http_500=0.0)
    results = {result["claim_id"]: result for result in recover(site, given, died)}

    assert len(noted) >= passes
    for batch_id, ordinal, attempts, due_at in noted:
        result = results[f"{batch_id}:{ordinal}"]
        assert (attempts, result["attempts"], result["ambiguous_attempts"]) == (1, 2, 0)
        assert datetime.fromisoformat(result["completed_at"]).timestamp() > due_at


@pytest.mark.fault(15)
@pytest.mark.parametrize("moment", ["before_give_back", "after_give_back"])
def test_a_death_at_the_end_of_a_drain_counts_claims_as_begun_only_until_the_ledger_knows_better(
    site: Site, moment: str
) -> None:
    given = put(site.inbox, files=3, claims=200)

    died = die_draining(site, f"{moment}:1")
    noted = claims_in_flight(site)
    results = recover(site, given, died)

    assert bool(noted) == (moment == "before_give_back")
    spent = {result["claim_id"]: (result["attempts"], result["ambiguous_attempts"]) for result in results}
    assert {claim for claim, cost in spent.items() if cost == (2, 1)} == noted
    assert {cost for claim, cost in spent.items() if claim not in noted} == {(1, 0)}
    assert nothing_lies_about(site)


@pytest.mark.fault(15)
@pytest.mark.parametrize("point", ["put_back:1", "put_back:3", "rested:1"])
def test_a_death_while_batches_are_given_back_leaves_each_in_one_place_and_its_answers_known(
    site: Site, simulator: Simulator, point: str
) -> None:
    given = put(site.inbox, files=40, claims=10)
    for path in site.inbox.iterdir():
        path.rename(path.with_name(path.name.replace("batch", "b" * 238)))
    asked = simulator.get("stats")["prechecks"]

    died = die_draining(site, point)
    back, kept = entries(site.inbox), entries(site.root / "spool/work")
    results = recover(site, given, died)

    assert len(back) + len(kept) == given.files
    assert simulator.get("stats")["prechecks"] - asked == given.claims.total()
    assert {(result["attempts"], result["ambiguous_attempts"]) for result in results} == {(1, 0)}
    assert nothing_lies_about(site)


@pytest.mark.fault(51)
def test_what_a_dead_worker_leaves_of_its_folder_is_cleared_away_wherever_its_heir_dies(site: Site) -> None:
    given = put(site.inbox, files=3)
    points = ("will_emptied:1", "will_written:1", "after_read:1", "recovery_owner_removed:1", "recovery_work_moved:1")

    died = [die(site, point) for point in points]

    recover(site, given, *died)
    assert nothing_lies_about(site)
