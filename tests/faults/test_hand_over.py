"""A worker dies with batches begun, another takes them over and dies as well: wherever, every claim is told once.

Each has a ledger and a results file of its own; they share the input folder.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.e2e.harness import Run, Simulator, Site, log_lines, wait_until
from tests.faults.crashing import Given, claims_in_flight, die, put_usual
from tests.faults.test_shared_folder import entries, sites_on
from tests.oracle import assert_ledger_at_rest, assert_one_result_each, read_results

# At the first, two dozen files and more are in work that nothing was answered of.
DEATHS = ("after_response:40", "sink_after_fsync:2", "after_mark:2")
STEPS = (
    "inherited:1",
    "set_aside:1",
    "recovery_work_moved:1",
    "recovery_work_moved:3",
    "recovery_work_emptied:1",
    "recovery_recalled:1",
    "after_response:20",
)


@pytest.fixture
def sites(tmp_path: Path, simulator: Simulator, bytecode: Path) -> list[Site]:
    """Three workers on one folder, as fast as they can be."""
    sites = sites_on(tmp_path, simulator, bytecode, 3)
    for site in sites:
        del site.environ["PRECHECK_FLOW__RATE_PER_S"]
    return sites


def end_all(sites: Sequence[Site]) -> list[Run]:
    """Let each in turn end what it finds."""
    done = [site.run_once() for site in sites]
    assert [(run.returncode, run.stderr) for run in done] == [(0, b"")] * len(sites)
    return done


def hold_against(sites: Sequence[Site], given: Given) -> list[list[dict[str, object]]]:
    """In = out over all results files together, none twice, all ledgers at rest; return the results of each."""
    of_each = [read_results(site.results) for site in sites]
    everything = [result for results in of_each for result in results]
    assert_one_result_each(everything, given.claims.total())
    assert Counter(result["patient_control_number"] for result in everything) == given.claims
    spool = sites[0].root / "spool"
    assert entries(sites[0].inbox) == entries(spool / "work") == []
    assert len(entries(spool / "archive")) == given.files
    for site in sites:
        if site.ledger.exists():
            assert_ledger_at_rest(site.ledger)
            assert site.run("status", "--reconcile").returncode == 0
    return of_each


def told(run: Run, event: str) -> list[dict[str, object]]:
    return [line for line in log_lines(run.stdout) if line["event"] == event]


@pytest.mark.fault(51)
@pytest.mark.parametrize("death", DEATHS)
def test_what_a_dead_worker_was_told_is_not_asked_again_and_goes_out_to_its_own_sink(
    sites: list[Site], simulator: Simulator, death: str
) -> None:
    first, second, _ = sites
    for site in sites:
        site.environ["PRECHECK_OUTPUT__URLS"] = json.dumps(["jsonl:spool/out/results.jsonl", "edi:spool/out/edi"])
    given = put_usual(first.inbox)
    asked = simulator.get("stats")["prechecks"]
    die(first, death)
    in_flight = claims_in_flight(first)

    (done,) = end_all([second])

    of_each = hold_against(sites, given)
    assert told(done, "ledger.inherited")
    assert simulator.get("stats")["prechecks"] - asked <= given.claims.total() + len(in_flight)
    ambiguous = {result["claim_id"] for result in of_each[1] if result["ambiguous_attempts"]}
    assert ambiguous == in_flight
    summaries = [json.loads(path.read_text()) for site in sites for path in site.root.glob("spool/out/edi/*.json")]
    assert len({summary["batch_name"] for summary in summaries}) == len(summaries) == given.files
    assert sum(summary["claims"] for summary in summaries) == given.claims.total()


@pytest.mark.fault(51)
@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("step", STEPS)
def test_the_heir_dies_at_a_step_and_whoever_goes_on_tells_every_claim_once(
    sites: list[Site], death: str, step: str
) -> None:
    first, second, third = sites
    given = put_usual(first.inbox)
    die(first, death)
    died = second.start("run", "--once", CRASH=step).wait()
    order = {
        0: [second],
        1: [first, second],
        2: [third],
    }[(DEATHS.index(death) + STEPS.index(step)) % 3]

    end_all(order)

    hold_against(sites, given)
    # Nothing is left for an heir to recall where everything was done.
    assert died.returncode in ((-9, 0) if death.startswith("after_mark") else (-9,))


@pytest.mark.fault(51)
@pytest.mark.parametrize("step", STEPS)
def test_the_dead_worker_starts_again_while_another_heir_comes(sites: list[Site], step: str) -> None:
    first, second, third = sites
    given = put_usual(first.inbox)
    die(first, DEATHS[0])
    die_once(second, step)

    runs = [site.start("run", "--once") for site in (first, second, third)]
    ended = [run.wait().returncode for run in runs]
    end_all(sites)

    assert ended == [0, 0, 0]
    hold_against(sites, given)


def die_once(site: Site, step: str) -> None:
    assert site.start("run", "--once", CRASH=step).wait().returncode == -9


@pytest.mark.fault(51)
def test_a_chain_of_heirs_that_die_tells_every_claim_once(sites: list[Site]) -> None:
    given = put_usual(sites[0].inbox)
    for life in range(9):
        sites[life % 3].start("run", CRASH=f"after_response:{20 + life}").wait()

    end_all([sites[1]])

    of_each = hold_against(sites, given)
    assert all(of_each)


@pytest.mark.fault(51)
def test_without_the_dead_workers_ledger_its_batches_are_begun_anew_and_one_line_says_so(sites: list[Site]) -> None:
    first, second, _ = sites
    given = put_usual(first.inbox)
    die(first, DEATHS[0])
    for file in first.ledger.parent.iterdir():
        file.unlink()

    (done,) = end_all([second])

    told_second = read_results(second.results)
    assert [line["level"] for line in told(done, "ledger.missed")] == ["warning"]
    assert Counter(r["patient_control_number"] for r in told_second) <= given.claims
    everything = {r["patient_control_number"] for r in (*told_second, *read_results(first.results))}
    assert everything == set(given.claims)


@pytest.mark.fault(51)
def test_a_ledger_at_the_same_path_that_is_another_ones_is_left_alone(sites: list[Site]) -> None:
    first, second, third = sites
    put_usual(first.inbox)
    die(first, DEATHS[0])
    third.environ["PRECHECK_INPUT__URL"] = f"dir:{third.inbox}"
    assert third.run_once().returncode == 0
    for file in first.ledger.parent.iterdir():
        file.unlink()
    for file in third.ledger.parent.iterdir():
        file.rename(first.ledger.parent / file.name)
    before = first.ledger.read_bytes()

    (done,) = end_all([second])

    assert "is another one" in str(told(done, "ledger.missed")[0]["detail"])
    assert first.ledger.read_bytes() == before


@pytest.mark.fault(51)
def test_results_that_cannot_be_brought_to_the_dead_workers_sink_stay_and_come_out_at_its_next_start(
    sites: list[Site],
) -> None:
    first, second, _ = sites
    given = put_usual(first.inbox)
    die(first, "sink_after_write:2")
    aside = first.results.rename(first.results.with_name("aside"))
    first.results.mkdir()

    (done,) = end_all([second])
    first.results.rmdir()
    aside.rename(first.results)
    end_all([first])

    assert [line["level"] for line in told(done, "results.left")] == ["error"]
    hold_against(sites, given)


@pytest.mark.fault(51)
def test_batches_stay_with_a_worker_that_holds_their_ledger_again(sites: list[Site]) -> None:
    first, second, _ = sites
    given = put_usual(first.inbox)
    die(first, DEATHS[0])
    elsewhere = sites[2].inbox
    holder = first.start("run", PRECHECK_INPUT__URL=f"dir:{elsewhere}")
    wait_until(lambda: holder.has_logged("worker.started"))

    (waited,) = end_all([second])
    left = entries(first.root / "spool/work")
    holder.stop(15)
    end_all([second])

    assert [line["level"] for line in told(waited, "ledger.awaited")] == ["warning"]
    assert left
    hold_against(sites, given)
