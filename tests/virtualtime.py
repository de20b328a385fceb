"""A virtual-time event loop: hours of back-off pass at once and to the microsecond.

The loop's clock moves only when every task waits: then it jumps to the next timer. Whatever asks the loop for the time
(`anyio.current_time`, `anyio.sleep`, time-outs) lives in that time; `time.monotonic` does not. Use it three ways::

    run(main())                      # a coroutine, like asyncio.run

    @virtual_time                    # a test; fixtures work, async fixtures do not (they have their own loop)
    async def test_an_hour_of_back_off_is_instant(tmp_path): ...

    def pytest_asyncio_loop_factories(config, item):        # in a conftest.py, for a whole folder
        return {"virtual": VirtualTimeLoop}

Real sockets within the process work, for the kernel has their bytes before the next poll. With `threads` time stands,
and nothing else runs, while a thread of `anyio.to_thread` works: so runs with threads are the same every time as well,
as long as no two of them work at once. If nothing is left to wait for, `Stalled` is raised instead of hanging for ever.
"""

import asyncio
import functools
import selectors
import threading
import time
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, ParamSpec, TypeVar, TypeVarTuple, Unpack

import anyio
from anyio._backends._asyncio import WorkerThread

T = TypeVar("T")
P = ParamSpec("P")
Ts = TypeVarTuple("Ts")

START_S = 1_000.0  # not zero, so that code which takes 0.0 for "never" is found out
EPOCH_S = 1_750_000_000.0


class Stalled(RuntimeError):
    """Every task waits, no timer is set, and nothing came from outside: a lost wake-up."""


class _JumpingSelector(selectors.DefaultSelector):
    """Polls the real world, and instead of sleeping moves the loop's clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START_S
        self.stall_s = 5.0
        self.settle_threads: Callable[[], bool] = bool  # whether a thread brought something

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if self.settle_threads():
            timeout = 0
        events = super().select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            if not (events := super().select(self.stall_s)):
                raise Stalled("every task waits and no timer is set")
            return events
        self.now += timeout
        return []


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose time passes only while nothing can run.

    `stall_s`: real seconds until an endless wait is called `Stalled`. `threads`: nothing runs while a thread of
    `anyio.to_thread` works.
    """

    def __init__(self, *, stall_s: float = 5.0, threads: bool = False) -> None:
        self._jumping = _JumpingSelector()
        self._jumping.stall_s = stall_s
        self._brought: list[tuple[Callable[..., object], tuple[Any, ...], Context | None]] = []
        self._holding = threads
        super().__init__(self._jumping)
        if threads:
            self._jumping.settle_threads = self._settle_threads

    def time(self) -> float:
        return self._jumping.now

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        if not self._holding or not isinstance(threading.current_thread(), WorkerThread):
            return super().call_soon_threadsafe(callback, *args, context=context)
        self._brought.append((callback, args, context))  # kept until its turn does not depend on how fast it came
        return super().call_soon_threadsafe(_nothing)

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109
        """Wait for its threads in real time; from Python 3.12 on, a runner gives them 300 s of the loop's."""
        await super().shutdown_default_executor()

    def _settle_threads(self) -> bool:
        while any(
            isinstance(thread, WorkerThread) and thread.loop is self and thread.queue.unfinished_tasks
            for thread in threading.enumerate()
        ):
            time.sleep(0.0001)
        brought, self._brought = self._brought, []
        for callback, args, context in brought:
            self.call_soon(callback, *args, context=context)
        return bool(brought)


def _nothing() -> None:
    """Wake the loop."""


def wall_clock() -> float:
    """Seconds since the epoch that keep pace with virtual time."""
    return EPOCH_S + anyio.current_time()


def run(main: Coroutine[Any, Any, T], *, stall_s: float = 5.0, threads: bool = False) -> T:
    """Run a coroutine to its end in virtual time and return what it returns."""
    factory = functools.partial(VirtualTimeLoop, stall_s=stall_s, threads=threads)
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


def virtual_time(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Let an async test run in virtual time; to pytest it is an ordinary function."""

    @functools.wraps(test)
    def in_virtual_time(*args: P.args, **kwargs: P.kwargs) -> None:
        run(test(*args, **kwargs))

    return in_virtual_time
