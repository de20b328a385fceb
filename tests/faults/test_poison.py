"""A file that kills whoever works on it goes to the quarantine after some deaths; no other file goes with it."""

import json
import signal
from functools import partial

import pytest

from tests.e2e.harness import Run, Site, wait_until
from tests.faults.broken_worker import POISON
from tests.faults.crashing import BROKEN, die, hold_against, put, rows
from tests.oracle import assert_one_result_each, read_results

DEATHS = 5
FEW = 3


def lives_until_the_end(site: Site, most: int, fault: str = "that_dies_in_splitting") -> list[Run]:
    """Start the worker that dies of the poison again and again, until it ends by itself."""
    lives: list[Run] = []
    while not lives or lives[-1].returncode == -signal.SIGKILL:
        assert len(lives) < most, "there is no end to it"
        lives.append(Run(site, ("run", "--once"), {}, program=(*BROKEN, fault)).wait())
    return lives


@pytest.mark.fault(13)
@pytest.mark.parametrize("innocent", [0, 40])
def test_a_file_that_kills_the_worker_goes_to_the_quarantine_and_the_others_get_their_results(
    site: Site, innocent: int
) -> None:
    poison = put(site.inbox, files=1, claims=3, first=9000, prefix="poison", magic=POISON)
    given = put(site.inbox, files=innocent, claims=2) if innocent else poison

    lives = lives_until_the_end(site, most=DEATHS + 2)

    (quarantined,) = site.quarantine.glob("*.837")
    reason = json.loads(quarantined.with_name(f"{quarantined.name}.reason.json").read_text())
    assert lives[-1].returncode == 0, lives[-1].stderr
    assert len(lives) == DEATHS + 1
    assert quarantined.name.startswith("poison")
    assert reason["code"] == "poison"
    assert "5 deaths of a worker in a row" in reason["text"]
    if innocent:
        hold_against(site, given, *lives)
    assert len(poison.claims) == 3


@pytest.mark.fault(13)
def test_the_deaths_are_counted_across_workers_that_take_over_from_each_other(site: Site) -> None:
    put(site.inbox, files=1, claims=3, first=9000, prefix="poison", magic=POISON)
    sites = [site, *(Site(site.root / f"other{number}", site.environ["PRECHECK_API__BASE_URL"]) for number in range(2))]
    for one in sites:
        one.environ["PRECHECK_INPUT__URL"] = f"dir:{site.inbox}"

    codes = []
    for life in range(DEATHS + 1):
        run = Run(sites[life % 3], ("run", "--once"), {}, program=(*BROKEN, "that_dies_in_splitting")).wait()
        codes.append(run.returncode)

    assert codes == [-signal.SIGKILL] * DEATHS + [0]
    assert [path.name.startswith("poison") for path in site.quarantine.glob("*.837")] == [True]


@pytest.mark.fault(13)
def test_a_file_of_which_every_life_has_answered_some_is_not_suspected_however_many_die(site: Site) -> None:
    given = put(site.inbox, files=1, claims=600)

    died = [die(site, f"after_commit:{8 + life % 3}") for life in range(2 * DEATHS)]
    answered = rows(site, "SELECT count(*) FROM results")[0][0]
    done = site.run_once()

    assert answered > 0
    assert done.returncode == 0, done.stderr
    hold_against(site, given, *died, done)


def has_begun(run: Run) -> bool:
    return run.has_logged("batch.opened") or run.has_logged("batch.resumed")


@pytest.mark.fault(13)
def test_stopping_in_order_is_no_death(site: Site) -> None:
    put(site.inbox, files=1, claims=600)
    site.environ["PRECHECK_FLOW__RATE_PER_S"] = "1"

    for _ in range(DEATHS + 1):
        run = site.start("run")
        wait_until(partial(has_begun, run))
        assert run.stop(signal.SIGTERM).returncode == 0
    del site.environ["PRECHECK_FLOW__RATE_PER_S"]
    assert site.run_once().returncode == 0

    assert_one_result_each(read_results(site.results), 600)


def quarantined_for(site: Site) -> tuple[str, str]:
    """Give the name of the one file in the quarantine, and the text of its reason."""
    (file,) = site.quarantine.glob("*.837")
    reason = json.loads(file.with_name(f"{file.name}.reason.json").read_text())
    assert reason["code"] == "poison"
    return file.name, reason["text"]


@pytest.mark.fault(13)
def test_a_small_file_that_kills_whoever_reads_it_in_the_input_folder_is_counted_from_the_second_death_on(
    site: Site,
) -> None:
    site.environ["PRECHECK_INPUT__POISON_AFTER"] = str(FEW)
    put(site.inbox, files=1, claims=1, first=9000, prefix="poison", magic=POISON)
    given = put(site.inbox, files=40)

    lives = lives_until_the_end(site, most=FEW + 3, fault="that_dies_in_reading")

    assert lives[-1].returncode == 0, lives[-1].stderr
    assert len(lives) == FEW + 2
    name, why = quarantined_for(site)
    assert name.startswith("poison")
    assert why == "it was being read at 3 deaths of a worker in a row"
    hold_against(site, given, *lives)


@pytest.mark.fault(13)
def test_a_large_file_that_kills_whoever_reads_it_is_counted_and_one_read_beside_it_is_innocent(site: Site) -> None:
    site.environ["PRECHECK_INPUT__POISON_AFTER"] = str(FEW)
    put(site.inbox, files=1, claims=3000, first=90_000, prefix="poison", magic=POISON)
    given = put(site.inbox, files=2, claims=3000)

    lives = lives_until_the_end(site, most=3 * FEW, fault="that_dies_in_reading")

    assert lives[-1].returncode == 0, lives[-1].stderr
    assert FEW < len(lives) <= FEW + 3
    assert quarantined_for(site)[0].startswith("poison")
    hold_against(site, given, *lives)


@pytest.mark.fault(13)
def test_deaths_of_reading_are_counted_across_workers_that_take_over_from_each_other(site: Site) -> None:
    put(site.inbox, files=1, claims=3000, first=90_000, prefix="poison", magic=POISON)
    sites = [site, *(Site(site.root / f"other{number}", site.environ["PRECHECK_API__BASE_URL"]) for number in range(2))]
    for one in sites:
        one.environ |= {"PRECHECK_INPUT__URL": f"dir:{site.inbox}", "PRECHECK_INPUT__POISON_AFTER": str(FEW)}

    codes = []
    for life in range(FEW + 1):
        run = Run(sites[life % 3], ("run", "--once"), {}, program=(*BROKEN, "that_dies_in_reading")).wait()
        codes.append(run.returncode)

    assert codes == [-signal.SIGKILL] * FEW + [0]
    assert quarantined_for(site)[0].startswith("poison")
