"""What holds for all tests: no example of a property is judged by the time it takes; machines are shared and noisy."""

import os

import hypothesis
import pytest

from tests.faultcatalogue import table

hypothesis.settings.register_profile("precheck", deadline=None)
hypothesis.settings.load_profile("precheck")


def pytest_xdist_auto_num_workers() -> int:
    """Say how many tests run at a time with ``-n auto``: they wait for processes and disks most of their time."""
    return min(8, (os.cpu_count() or 1) + 1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fault-table", action="store_true", help="print the catalogue of faults with its tests, and end")


def pytest_cmdline_main(config: pytest.Config) -> int | None:
    if not config.getoption("--fault-table"):
        return None
    print(table())  # noqa: T201 - what was asked for
    return 0
