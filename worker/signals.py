"""Signals while the event loop does not listen: before the flow is up, once it is down, and where it stands still.

The kernel ends no process 1 by a signal that it has no handler for. A container that was told to stop while its worker
started would go on as if nothing had been said, until it was killed. And a loop that stands still, be it in front of a
pipe that nobody reads, hears nothing: whoever insists is heard without it.
"""

import atexit
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


def end_when_told() -> None:
    """End the process at once on SIGTERM or SIGINT, as another than process 1 would: a start has nothing to save.

    An exception would not do, for one that comes while a library tidies up is printed and forgotten. While Python takes
    itself down it has no listeners any more, and the kernel would have the last word on how the process has ended: from
    there on, where nothing is left to end, signals are passed over.
    """
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell has it ignored in the background
        signal.signal(signal.SIGINT, _end)
    for number in (signal.SIGTERM, signal.SIGINT):
        atexit.register(signal.signal, number, signal.SIG_IGN)


def interrupt_when_told() -> None:
    """Have SIGINT raise KeyboardInterrupt again, once there is something to be taken down in order."""
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def listeners_kept(*numbers: int) -> Iterator[None]:
    """Have those listen again afterwards who did before; asyncio leaves the default, which process 1 does not have."""
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, listener in before.items():
            signal.signal(number, listener)


def pass_first_over(*, echo_s: float) -> None:
    """Pass over the first signal from here on, where there is nothing left to stop, and end the process on the next.

    One that comes within `echo_s` of the first is the same. Changes nothing where `end_when_told` was not called.
    """
    if signal.getsignal(signal.SIGTERM) is not _end:
        return
    first: float | None = None

    def hear(number: int, frame: FrameType | None) -> None:
        nonlocal first
        now = time.monotonic()
        if first is None:
            first = now
        elif now - first >= echo_s:
            _end(number, frame)

    for number in (signal.SIGTERM, signal.SIGINT):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, hear)


@contextmanager
def insistence_heard(*numbers: int, echo_s: float, within_s: float) -> Iterator[Callable[[], bool]]:
    """Tell whether a second of these signals has come, and end the process `within_s` seconds later, whatever holds it.

    One that comes within `echo_s` of the first is the same. Call it where the loop listens for them already: it is
    woken by what the kernel tells, whoever listens beside it.
    """
    first: float | None = None
    insisted = False

    def hear(number: int, _: FrameType | None) -> None:
        nonlocal first, insisted
        now = time.monotonic()
        if first is None:
            first = now
        elif now - first >= echo_s and not insisted:
            insisted = True
            last_resort = threading.Timer(within_s, os._exit, [128 + number])
            last_resort.daemon = True
            last_resort.start()

    with listeners_kept(*numbers):
        for number in numbers:
            signal.signal(number, hear)
        yield lambda: insisted


def _end(number: int, _: FrameType | None) -> None:
    os._exit(128 + number)
