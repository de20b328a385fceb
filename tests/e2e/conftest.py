from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.brokers import PLACES, Place
from tests.e2e.harness import Simulator, Site


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    """One simulator without latency or faults for all tests that do not change it."""
    simulator = Simulator("--profile", "fast")
    yield simulator
    simulator.close()


@pytest.fixture
def own_simulator() -> Iterator[Simulator]:
    """A simulator that the test may change: 50 ms latency, no faults."""
    simulator = Simulator("--profile", "fast", "--latency-scale", "0.02")
    yield simulator
    simulator.close()


@pytest.fixture
def site(tmp_path: Path, simulator: Simulator) -> Site:
    """Folders and settings of a worker that talks to the shared simulator."""
    return Site(tmp_path, simulator.origin)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A queue, stream or the like of this test's own, on each engine."""
    made = PLACES[request.param](tmp_path)
    yield made
    made.remove()
