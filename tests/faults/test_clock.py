"""Clocks that jump, start anew or stand in an odd zone: times in records may look odd, and nothing else does."""

import os
import signal
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.harness import WORKER, Run, Simulator, Site, wait_until
from tests.faults.crashing import hold_against, put, put_usual, recover, refusal, rows
from tests.oracle import results_so_far

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
DEFERRED = "SELECT count(*) FROM attempts WHERE due_at > 0"
TEN_YEARS_S = 10 * 365 * 86_400


class WallClock:
    """A wall clock that can be set while the worker runs; its monotonic clock goes on as it is."""

    def __init__(self, site: Site) -> None:
        if FAKETIME is None:
            pytest.skip("libfaketime is not installed")
        self._file = site.root / "clock"
        self.set("+0")
        self.environ = {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_NO_CACHE": "1",
        }

    def set(self, offset: str) -> None:
        draft = self._file.with_suffix(".new")
        draft.write_text(offset)
        draft.rename(self._file)


def await_results(site: Site, count: int) -> None:
    wait_until(lambda: len(results_so_far(site.results)) == count)


def years(results: list[dict[str, str]]) -> set[int]:
    return {datetime.fromisoformat(result["completed_at"]).year - datetime.now(UTC).year for result in results}


@pytest.mark.fault(65)
def test_a_wall_clock_that_jumps_by_ten_years_stops_neither_calls_nor_retries_nor_tokens(
    site: Site, flaky_simulator: Simulator
) -> None:
    clock = WallClock(site)
    site.environ["PRECHECK_API__BASE_URL"] = flaky_simulator.origin

    jumping = site.start("run", **clock.environ)
    given = put(site.inbox, files=6, claims=4, magic="")
    for number, offset in enumerate(("+10y", "-10y"), start=1):
        wait_until(lambda: jumping.has_logged("claim.completed"))
        clock.set(offset)
        flaky_simulator.revoke()
        given += put(site.inbox, files=6, claims=4, first=100 * number, prefix=f"at{offset}", magic="")
        await_results(site, given.claims.total())
    wait_until(lambda: not list((site.root / "spool/work").rglob("*.837")))
    jumping.stop(signal.SIGTERM)

    results = hold_against(site, given, jumping)
    assert jumping.returncode == 0
    assert {10, -10} <= years(results)


@pytest.mark.fault(65)
@pytest.mark.parametrize(
    "offset",
    [
        pytest.param(
            "+10y",
            marks=pytest.mark.skipif(
                "PRECHECK_LARGE" not in os.environ,
                reason="waits the five minutes that no wait exceeds: PRECHECK_LARGE=1",
            ),
        ),
        "-10y",
    ],
)
def test_what_is_due_by_a_wrong_clock_is_not_put_off_for_years(
    site: Site, flaky_simulator: Simulator, offset: str
) -> None:
    given = put(site.inbox, files=1, claims=20)
    clock = WallClock(site)
    flaky_simulator.set_faults(http_500=1.0, http_504=0.0, http_429=0.0)
    site.environ["PRECHECK_API__BASE_URL"] = flaky_simulator.origin

    clock.set(offset)
    failing = site.start("run", PRECHECK_RETRY__BASE_S="30", PRECHECK_RETRY__MAX_S="30", **clock.environ)
    wait_until(lambda: site.ledger.exists() and (0,) not in rows(site, DEFERRED))
    failing.stop(signal.SIGKILL)
    flaky_simulator.set_faults(http_500=0.0)

    done = site.run_once(within_s=400.0)

    assert done.returncode == 0
    hold_against(site, given, failing, done)


@pytest.mark.fault(66)
def test_a_monotonic_clock_of_ten_years_that_starts_anew_changes_nothing(site: Site) -> None:
    later = ("unshare", "--time", "--fork", "--kill-child", "--monotonic", str(TEN_YEARS_S))
    if refused := refusal((*later, "true")):
        pytest.skip(f"no time namespaces here: {refused}")
    given = put_usual(site.inbox)

    died = [
        Run(site, ("run",), {"CRASH": crash}, program=(*program, *WORKER)).wait()
        for crash, program in (("after_response:50", later), ("after_response:20", ()), ("after_response:30", later))
    ]

    assert all(run.returncode != 0 for run in died)
    recover(site, given, *died)


@pytest.mark.fault(67)
@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "XXX+23:59YYY,M1.1.0/0,M12.5.6/23", "no/such/zone"])
def test_all_times_are_those_of_utc_whatever_zone_the_machine_is_in(site: Site, zone: str) -> None:
    given = put(site.inbox, files=3)
    began = datetime.now(UTC)

    done = site.run_once(TZ=zone, LC_ALL="tr_TR.UTF-8")

    for result in hold_against(site, given, done):
        times = [result[key] for key in ("received_at", "first_sent_at", "completed_at")]
        assert all(time.endswith("Z") for time in times)
        read = [began - timedelta(seconds=1), *map(datetime.fromisoformat, times), datetime.now(UTC)]
        assert all(before <= after for before, after in pairwise(read))
