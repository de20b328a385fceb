import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Simulator, Site


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    """One simulator for all crashes: it answers after some 25 ms and never fails by itself."""
    simulator = Simulator("--profile", "fast", "--latency-scale", "0.01")
    yield simulator
    simulator.close()


@pytest.fixture
def flaky_simulator() -> Iterator[Simulator]:
    """Claims of every outcome, and now and then 500, 504 or 429.

    No answer takes longer than a worker's start: one that outlives its worker would be booked as the claim's last.
    """
    simulator = Simulator("--profile", "demo", "--latency-scale", "0.005")
    yield simulator
    simulator.close()


@pytest.fixture
def obedience() -> Iterator[None]:
    """Have workers hear SIGINT and SIGHUP: they are ignored in what a shell has started in the background, or nohup."""
    before = {
        number: signal.signal(number, heard)
        for number, heard in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL))
    }
    yield
    for number, heard in before.items():
        signal.signal(number, heard)


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the many workers of these tests find what the first of them compiled."""
    return tmp_path_factory.mktemp("bytecode")


@pytest.fixture
def site(tmp_path: Path, simulator: Simulator, bytecode: Path) -> Site:
    """Folders and settings of a worker that talks to the shared simulator."""
    site = Site(tmp_path, simulator.origin)
    site.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    site.environ["PYTHONPYCACHEPREFIX"] = str(bytecode)
    return site
