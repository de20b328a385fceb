import signal
from collections.abc import Iterator

import anyio
import pytest

from worker.signals import listeners_kept


@pytest.fixture
def listener() -> Iterator[object]:
    """A listener for SIGTERM, as a start has one."""
    before = signal.getsignal(signal.SIGTERM)

    def listen(*_: object) -> None:
        """Hear it."""

    signal.signal(signal.SIGTERM, listen)
    yield listen
    signal.signal(signal.SIGTERM, before)


async def test_who_listened_for_a_signal_before_the_flow_did_listens_again_after_it(listener: object) -> None:
    with listeners_kept(signal.SIGTERM), anyio.open_signal_receiver(signal.SIGTERM):
        meanwhile = signal.getsignal(signal.SIGTERM)

    assert meanwhile is not listener
    assert signal.getsignal(signal.SIGTERM) is listener
