"""What several tests of real folders and sockets share."""

from pathlib import Path

import pytest
import trustme

from tests.spools import Clock, SpoolFolder


@pytest.fixture
def spool(tmp_path: Path) -> SpoolFolder:
    """A spool of this test's own."""
    return SpoolFolder(tmp_path / "spool")


@pytest.fixture
def clock() -> Clock:
    """A monotonic clock that the test can move forward."""
    return Clock()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """One that certifies servers, and that nobody trusts unless told to."""
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    """Name the file by which a client trusts that authority."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")
