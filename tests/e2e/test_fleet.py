"""Two workers, as processes, within one limit that they share over a real Redis."""

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.brokers import REDIS_URL, need, own_name
from tests.e2e.harness import Run, Simulator, Site, log_lines, wait_until
from tests.e2e.test_whole_path import put
from tests.oracle import whole_lines
from tests.servers import running

TOTAL = 12
LEASE_S = 1.5


class Fleet:
    """Workers with folders of their own, on one service and one Redis."""

    def __init__(self, root: Path, simulator: Simulator, url: str, **environ: str) -> None:
        self.simulator = simulator
        self.sites = [Site(root / f"worker{number}", simulator.origin) for number in range(2)]
        for site in self.sites:
            put(site.inbox, 3000)
            site.environ |= {
                "PRECHECK_FLOW__MODE": "fixed",
                "PRECHECK_FLOW__SHARED_URL": url,
                "PRECHECK_FLOW__SHARED_WORKERS": "2",
                "PRECHECK_FLOW__SHARED_LEASE_S": str(LEASE_S),
                **environ,
            }
        self.runs: list[Run] = []

    def start(self) -> None:
        self.runs = [site.start("run") for site in self.sites]
        for run in self.runs:
            wait_until(lambda run=run: run.has_logged("worker.started"))  # type: ignore[misc]

    def stop(self) -> None:
        for run in self.runs:
            if run.process.poll() is None:
                run.stop(signal.SIGTERM)

    def most_in_flight(self, for_s: float) -> int:
        """Watch for a while how many calls are under way; gives the most."""
        most, deadline = 0, time.monotonic() + for_s
        while time.monotonic() < deadline:
            most = max(most, self.simulator.get("stats")["in_flight"])
            time.sleep(0.02)
        return most

    def done(self) -> list[int]:
        return [len(whole_lines(site.results)) for site in self.sites]


@pytest.fixture
def key() -> Iterator[str]:
    need(REDIS_URL)
    name = own_name()
    yield name
    with redis.Redis.from_url(REDIS_URL) as client:
        client.delete(name)


@pytest.mark.slow
def test_two_workers_stay_below_the_shared_limit_and_a_killed_ones_part_is_the_others(
    tmp_path: Path, own_simulator: Simulator, key: str
) -> None:
    fleet = Fleet(tmp_path, own_simulator, f"{REDIS_URL}?key={key}", PRECHECK_FLOW__SHARED_MAX_IN_FLIGHT=str(TOTAL))
    fleet.start()
    wait_until(lambda: own_simulator.get("stats")["in_flight"] >= TOTAL - 1)
    time.sleep(2 * LEASE_S)  # the second comes to its part as the first, which had all, is told and gives it up
    before = fleet.done()
    together = fleet.most_in_flight(2.0)
    after = fleet.done()

    fleet.runs[0].stop(signal.SIGKILL)
    time.sleep(LEASE_S / 2)  # by now its calls have ended, and its part is still its own
    wait_until(lambda: own_simulator.get("stats")["in_flight"] >= TOTAL - 1)
    fleet.stop()

    each = [end - begin for begin, end in zip(before, after, strict=True)]
    assert TOTAL - 1 <= together <= TOTAL
    assert min(each) > 0.35 * sum(each)
    assert own_simulator.get("stats")["max_in_flight"] <= TOTAL
    assert fleet.runs[1].returncode == 0


@pytest.mark.slow
def test_two_workers_keep_the_shared_rate(tmp_path: Path, own_simulator: Simulator, key: str) -> None:
    fleet = Fleet(tmp_path, own_simulator, f"{REDIS_URL}?key={key}", PRECHECK_FLOW__SHARED_RATE_PER_S="80")
    fleet.start()
    time.sleep(1.0)

    outer_began = time.monotonic()
    asked = own_simulator.get("stats")["prechecks"]
    inner_began = time.monotonic()
    time.sleep(4.0)
    inner_s = time.monotonic() - inner_began
    calls = own_simulator.get("stats")["prechecks"] - asked
    outer_s = time.monotonic() - outer_began
    fleet.stop()

    # The calls are those of a time between these two, for asking for their number takes a while as well.
    assert 0.85 * 80 * inner_s < calls <= 80 * (outer_s + 0.5) + 1


@pytest.mark.slow
def test_redis_that_dies_leaves_each_worker_its_share_with_one_warning_and_nobody_stops(
    tmp_path: Path, own_simulator: Simulator
) -> None:
    with running("redis", tmp_path / "redis") as server:
        fleet = Fleet(
            tmp_path,
            own_simulator,
            f"{server.url}?key=fleet",
            PRECHECK_FLOW__SHARED_MAX_IN_FLIGHT=str(TOTAL),
            PRECHECK_API__ATTEMPT_TIMEOUT_S="2",
            PRECHECK_API__CONNECT_TIMEOUT_S="1",
        )
        fleet.start()
        wait_until(lambda: own_simulator.get("stats")["in_flight"] >= TOTAL - 1)
        server.kill()
        time.sleep(1.0)
        before = fleet.done()
        time.sleep(4.0)
        meanwhile = fleet.done()
        server.start()
        wait_until(lambda: all(run.has_logged("fleet.available") for run in fleet.runs))
        wait_until(lambda: own_simulator.get("stats")["in_flight"] >= TOTAL - 1)
        fleet.stop()

    assert all(then > earlier for then, earlier in zip(meanwhile, before, strict=True))
    assert own_simulator.get("stats")["max_in_flight"] <= TOTAL
    for run in fleet.runs:
        told = [line for line in log_lines(run.stdout) if line["event"].startswith("fleet.")]
        assert [line["event"] for line in told] == ["fleet.unavailable", "fleet.available"]
        assert told[0]["limit"] == TOTAL // 2


def test_check_asks_for_the_shared_limits(site: Site, key: str) -> None:
    with redis.Redis.from_url(REDIS_URL) as client:
        client.set(key, "something else")
    environ = {"PRECHECK_FLOW__SHARED_MAX_IN_FLIGHT": "10"}

    wrong = site.run("check", PRECHECK_FLOW__SHARED_URL=f"{REDIS_URL}?key={key}", **environ)
    right = site.run("check", PRECHECK_FLOW__SHARED_URL=f"{REDIS_URL}?key={key}-2", **environ)
    away = site.run("check", PRECHECK_FLOW__SHARED_URL="redis://127.0.0.1:1/0", **environ)
    refused = site.run("run", "--once", PRECHECK_FLOW__SHARED_URL=f"{REDIS_URL}?key={key}", **environ)

    assert (wrong.returncode, right.returncode, away.returncode, refused.returncode) == (2, 0, 3, 2)
    assert b"is something else" in wrong.stdout
    assert b"shared limits can be asked for" in right.stdout
    assert b"the worker goes by its share until then" in away.stdout
    assert b"is something else" in refused.stderr
