"""SIGTERM while nobody listens for it: before the flow is up, and once it is down.

The kernel ends no process 1 by a signal that it has no handler for. A container that was told to stop while its worker
started would go on as if nothing had been said, until it was killed.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


def end_when_told() -> None:
    """End the process at once on SIGTERM, as another than process 1 would: a start has nothing that is not on disk."""
    signal.signal(signal.SIGTERM, _end)


@contextmanager
def listeners_kept(*numbers: int) -> Iterator[None]:
    """Have those listen again afterwards who did before; asyncio leaves the default, which process 1 does not have."""
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, listener in before.items():
            signal.signal(number, listener)


def _end(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)
