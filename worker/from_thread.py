"""Asking the event loop from a thread that a task of it waits for."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.from_thread

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def ask_loop(ask: Callable[[*Ts], Awaitable[T]], *given: *Ts) -> T:
    """Have the loop run this to its end, although the task that waits for our thread may have been cancelled.

    What a thread asks for runs in that task's cancel scope. If it is cancelled already, anyio 4.16 waits there for
    ever, with all of a core, for a cancellation that nobody delivers: a worker told to stop while it took over did not
    end.
    """
    return ask_loop_within(math.inf, ask, *given)


def ask_loop_within(within_s: float, ask: Callable[[*Ts], Awaitable[T]], *given: *Ts) -> T:
    """Do as `ask_loop`, and wait so long for the answer.

    :raises TimeoutError: if there is none by then.
    """

    async def shielded() -> T:
        with anyio.fail_after(within_s, shield=True):
            answer = await ask(*given)
        return answer  # noqa: RET504 - from within the block, mypy would take the shield for one that may swallow

    return anyio.from_thread.run(shielded)


def is_awaited() -> bool:
    """Tell whether the task that waits for this thread has not been cancelled."""
    try:
        anyio.from_thread.check_cancelled()
    except asyncio.CancelledError:
        return False
    return True
