"""What holds for all tests: no worker outlives its test, and no example of a property is judged by the time it takes;
machines are shared and noisy."""

from collections.abc import Iterator

import hypothesis
import pytest

from tests.e2e.harness import Run
from tests.faultcatalogue import table

hypothesis.settings.register_profile("precheck", deadline=None)
hypothesis.settings.load_profile("precheck")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-table", action="store_true", help="print the catalogue of faults with its tests, and end")


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    if not config.getoption("--fault-table"):
        return None
    print(table())  # noqa: T201 - what was asked for
    return 0


@pytest.fixture(autouse=True)
def none_left() -> Iterator[None]:
    """End the workers that a failed test did not wait for."""
    yield
    Run.end_all()
