"""A virtual-time event loop: hours of back-off pass at once and to the microsecond.

The loop's clock moves only when every task waits: then it jumps to the next timer. Whatever asks the loop for the time
(`anyio.current_time`, `anyio.sleep`, time-outs) lives in that time; `time.monotonic` does not. Use it three ways::

    run(main())                      # a coroutine, like asyncio.run

    @virtual_time                    # a test; fixtures work, async fixtures do not (they have their own loop)
    async def test_an_hour_of_back_off_is_instant(tmp_path): ...

    def pytest_asyncio_loop_factories(config, item):        # in a conftest.py, for a whole folder
        return {"virtual": VirtualTimeLoop}

Real sockets within the process work, for the kernel has their bytes before the next poll. Threads need `grace_s`: how
long the loop really waits for the outside world before it jumps. If nothing is left to wait for, `Stalled` is raised
instead of hanging for ever.
"""

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

import anyio

T = TypeVar("T")
P = ParamSpec("P")

START_S = 1_000.0  # not zero, so that code which takes 0.0 for "never" is found out
EPOCH_S = 1_750_000_000.0


class Stalled(RuntimeError):
    """Every task waits, no timer is set, and nothing came from outside: a lost wake-up."""


class _JumpingSelector(selectors.DefaultSelector):
    """Polls the real world, and instead of sleeping moves the loop's clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START_S
        self.grace_s = 0.0
        self.stall_s = 5.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            if not (events := super().select(self.stall_s)):
                raise Stalled("every task waits and no timer is set")
            return events
        if self.grace_s and (events := super().select(self.grace_s)):
            return events
        self.now += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while nothing can run.

    `grace_s`: real seconds to wait for threads and other processes before each jump. `stall_s`: real seconds until an
    endless wait is called `Stalled`.
    """

    def __init__(self, *, grace_s: float = 0.0, stall_s: float = 5.0) -> None:
        self._jumping = _JumpingSelector()
        self._jumping.grace_s, self._jumping.stall_s = grace_s, stall_s
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now


def wall_clock() -> float:
    """Seconds since the epoch that keep pace with virtual time."""
    return EPOCH_S + anyio.current_time()


def run(main: Coroutine[Any, Any, T], *, grace_s: float = 0.0, stall_s: float = 5.0) -> T:
    """Run a coroutine to its end in virtual time and return what it returns."""
    factory = functools.partial(VirtualTimeLoop, grace_s=grace_s, stall_s=stall_s)
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Let an async test run in virtual time; to pytest it is an ordinary function."""

    @functools.wraps(test)
    def in_virtual_time(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return in_virtual_time
