"""What holds for all tests: no example of a property is judged by the time it takes; machines are shared and noisy."""

import os

import hypothesis

hypothesis.settings.register_profile("precheck", deadline=None)
hypothesis.settings.load_profile("precheck")


def pytest_xdist_auto_num_workers() -> int:
    """Say how many tests run at a time with ``-n auto``: they wait for processes and disks most of their time."""
    return min(8, (os.cpu_count() or 1) + 1)
