"""An attempt that takes several of the broker's leases: the message stays its worker's, and the claim is sent once."""

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import Place, finish
from tests.e2e.harness import Simulator, Site, wait_until
from tests.oracle import results_so_far
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec

MESSAGES = 4
LEASE_S = 3.0


@pytest.fixture
def slow_simulator() -> Iterator[Simulator]:
    """Give one that takes half a second at least, and 15 s for the slowest of the claims here."""
    simulator = Simulator("--profile", "fast", "--latency-scale", "0.8")
    yield simulator
    simulator.close()


def told(sites: Sequence[Site]) -> list[dict[str, Any]]:
    """Read what both have told so far."""
    return [result for site in sites for result in results_so_far(site.results)]


@pytest.mark.slow
@pytest.mark.fault(107)
def test_a_claim_whose_attempt_outlasts_the_lease_is_sent_once_and_told_once(
    tmp_path: Path, place: Place, slow_simulator: Simulator
) -> None:
    """RabbitMQ has no lease, but a connection that must give signs of life; the others are told at a third of it."""
    spec = GeneratorSpec(claims=1, planted={"OK-": 1.0})
    paths = write_folder(tmp_path / "given", files=MESSAGES, claims_per_file=1, spec=spec)
    sites = [Site(tmp_path / name, slow_simulator.origin) for name in ("one", "other")]
    for site in sites:
        site.environ |= {"PRECHECK_INPUT__URL": place.url, "PRECHECK_INPUT__LEASE_S": str(LEASE_S)}
    runs = [site.start("run", "--create") for site in sites]
    wait_until(lambda: all(run.has_logged("worker.started") for run in runs))
    for path in paths:
        place.put(path.name, path.read_bytes())

    wait_until(lambda: len(told(sites)) >= MESSAGES and finish(place.left()) == 0)
    for run in runs:
        run.stop(signal.SIGTERM)

    results = told(sites)
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr.decode() + runs[1].stderr.decode()
    assert Counter(result["patient_control_number"] for result in results).most_common(1)[0][1] == 1
    assert len(results) == MESSAGES
    assert slow_simulator.get("stats")["prechecks"] == MESSAGES
    assert max(result["latency_ms"] for result in results) > 3000 * LEASE_S
    assert finish(place.letters()) == []
