"""The bound on calls in flight: what every limiter offers, the waiting that all share, and the fixed one.

Per attempt, never over a back-off. What an attempt's end says to the limiter:

========== ========================================================================================
``ok``     the service answered, whatever the answer says about the claim
``lost``   the service did not cope: 429, 5xx, time-out, refused or broken connection
``ignore`` says nothing about capacity: 401, no token, never started, a lost race for an idle connection
========== ========================================================================================
"""

from collections import deque
from enum import Enum
from typing import Protocol

import anyio


class Signal(Enum):
    """What an attempt's end says about the service's capacity."""

    OK = "ok"
    LOST = "lost"
    IGNORE = "ignore"


class Limiter(Protocol):
    """Bounds the attempts in flight. Every successful acquire is followed by exactly one `release`."""

    @property
    def limit(self) -> int:
        """How many attempts may be in flight."""
        ...

    @property
    def in_flight(self) -> int:
        """How many are."""
        ...

    @property
    def reason(self) -> str:
        """Why the limit is what it is, in one word, for logs and the status page."""
        ...

    @property
    def last_good(self) -> int | None:
        """A limit that is known to have worked, to be remembered across restarts; None while unknown."""
        ...

    def try_acquire(self) -> bool:
        """Take a slot if one is free and nobody waits."""
        ...

    async def acquire(self) -> None:
        """Wait for a slot, first come, first served; cancelling is safe and loses none."""
        ...

    def release(self, signal: Signal, latency_s: float) -> None:
        """Give the slot back; `latency_s` runs from acquiring the slot to the attempt's end."""
        ...

    def restart(self) -> None:
        """Begin slowly again, after an outage."""
        ...


class Slots:
    """Counted slots under a bound that may move while some are taken.

    Nobody overtakes a waiter; the task that frees a slot hands it over to the waiter, so that it cannot be lost between
    two tasks. Lowering the bound takes no slot away: those above it run out.
    """

    def __init__(self, limit: int) -> None:
        self.in_flight = 0
        self._limit = limit
        self._waiters: deque[anyio.Event] = deque()

    @property
    def limit(self) -> int:
        """How many slots may be taken."""
        return self._limit

    def resize(self, limit: int) -> None:
        """Move the bound."""
        self._limit = limit
        self._hand_over()

    def try_acquire(self) -> bool:
        """Take a slot if one is free and nobody waits."""
        if self.in_flight >= self._limit or self._waiters:
            return False
        self.in_flight += 1
        return True

    async def acquire(self) -> None:
        """Wait for a slot; cancelling is safe."""
        if self.try_acquire():
            return
        handed_over = anyio.Event()
        self._waiters.append(handed_over)
        try:
            await handed_over.wait()
        except BaseException:
            if handed_over.is_set():
                self.release()
            else:
                self._waiters.remove(handed_over)
            raise

    def release(self) -> None:
        """Give a slot back."""
        self.in_flight -= 1
        if self._waiters:
            self._hand_over()

    def _hand_over(self) -> None:
        while self._waiters and self.in_flight < self._limit:
            self.in_flight += 1
            self._waiters.popleft().set()


class FixedLimiter:
    """Bounds the attempts in flight by one number, whatever happens (`flow.mode = "fixed"`)."""

    reason = "fixed"
    last_good: int | None = None

    def __init__(self, limit: int) -> None:
        self._slots = Slots(limit)
        self.try_acquire = self._slots.try_acquire

    @property
    def limit(self) -> int:
        """How many attempts may be in flight."""
        return self._slots.limit

    @property
    def in_flight(self) -> int:
        """How many are."""
        return self._slots.in_flight

    async def acquire(self) -> None:
        """Wait for a slot, first come, first served."""
        await self._slots.acquire()

    def release(self, signal: Signal, latency_s: float) -> None:
        """Give the slot back."""
        self._slots.release()

    def restart(self) -> None:
        """Change nothing: fixed is fixed."""
