"""What the tests of the folder share."""

from pathlib import Path

import pytest

from tests.spools import Clock, SpoolFolder


@pytest.fixture
def spool(tmp_path: Path) -> SpoolFolder:
    """A spool of this test's own."""
    return SpoolFolder(tmp_path / "spool")


@pytest.fixture
def clock() -> Clock:
    """A monotonic clock that the test can move forward."""
    return Clock()
