"""Limiter and rate of a worker in a fleet: its own, within its part of the fleet's (`worker.flow.quota`)."""

from collections.abc import Callable

import anyio

from worker.flow.limiter import Limiter, Signal
from worker.flow.quota import Quota
from worker.flow.rate import Rate


class SharedLimiter:
    """A `Limiter` that lets no more through than both the worker's own limiter and its quota allow.

    The own one learns from attempts as ever; while the quota is the narrower, it is never full and so does not grow.
    """

    def __init__(self, own: Limiter, quota: Quota) -> None:
        self._own = own
        self._quota = quota

    @property
    def limit(self) -> int:
        """How many attempts may be in flight."""
        return min(self._own.limit, self._quota.slots)

    @property
    def in_flight(self) -> int:
        """How many are."""
        return self._own.in_flight

    @property
    def reason(self) -> str:
        """Why the limit is what it is, in one word."""
        return "fleet" if self._quota.slots < self._own.limit else self._own.reason

    @property
    def last_good(self) -> int | None:
        """The own limiter's, to be remembered."""
        return self._own.last_good

    @property
    def own_limit(self) -> int:
        """How many the worker would have in flight if it were alone."""
        return self._own.limit

    def try_acquire(self) -> bool:
        """Take a slot if one is free and nobody waits."""
        return self._quota.room_for(self._own.in_flight) and self._own.try_acquire()

    async def acquire(self) -> None:
        """Wait for a slot; cancelling is safe and loses none."""
        while not self.try_acquire():
            await self._quota.changed.wait()

    def release(self, signal: Signal, latency_s: float) -> None:
        """Give the slot back."""
        self._own.release(signal, latency_s)
        self._quota.changed.ring()

    def restart(self) -> None:
        """Begin slowly again, after an outage."""
        self._own.restart()


class SharedRate(Rate):
    """A `Rate` that also takes one of the fleet's leaves for each attempt."""

    def __init__(self, rate_per_s: float, quota: Quota, *, clock: Callable[[], float] = anyio.current_time) -> None:
        super().__init__(rate_per_s, clock=clock)
        self._quota = quota

    def try_acquire(self) -> bool:
        """Take leave to begin one attempt now, if nothing has to wait."""
        if self._turn.locked() or not self._quota.take_leave():
            return False
        if self._take() <= 0.0:
            return True
        self._quota.return_leave()
        return False

    async def acquire(self) -> None:
        """Wait for leave to begin one attempt."""
        async with self._turn:
            while not self._quota.take_leave():
                if self._quota.away:
                    await self._quota.share_rate.acquire()
                    break
                await self._quota.changed.wait()
            while (wait_s := self._take()) > 0.0:  # noqa: ASYNC110 - what is awaited is a time, and it may move
                await anyio.sleep(wait_s)
