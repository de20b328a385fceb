"""The limiter whose bound finds the service's capacity by itself; `worker.flow.bound` decides, this one counts."""

from collections.abc import Callable

import anyio
import msgspec

from worker.flow.bound import Bound
from worker.flow.limiter import Signal, Slots


class LimitChange(msgspec.Struct, frozen=True, gc=False):
    """What a limiter's observer is told: the new limit, the one before, and why."""

    limit: int
    before: int
    reason: str


class AdaptiveLimiter:
    """A `Limiter` whose bound finds the service's capacity. `on_change` is called after each change of the limit."""

    def __init__(
        self,
        initial: int,
        maximum: int,
        last_good: int | None = None,
        *,
        clock: Callable[[], float] = anyio.current_time,
        on_change: Callable[[LimitChange], None] | None = None,
    ) -> None:
        self._bound = Bound(initial, maximum, last_good)
        self._slots = Slots(int(self._bound.limit))
        self._clock = clock
        self._on_change = on_change

    @property
    def limit(self) -> int:
        """How many attempts may be in flight."""
        return self._slots.limit

    @property
    def in_flight(self) -> int:
        """How many are."""
        return self._slots.in_flight

    @property
    def reason(self) -> str:
        """Why the limit last changed, in one word."""
        return self._bound.reason

    @property
    def last_good(self) -> int | None:
        """The limit of the last full window without losses; None while there was none."""
        return None if self._bound.good is None else int(self._bound.good)

    def try_acquire(self) -> bool:
        """Take a slot if one is free and nobody waits."""
        slots = self._slots
        if slots.try_acquire():
            if slots.in_flight >= slots.limit:
                self._bound.full = True
            return True
        return False

    async def acquire(self) -> None:
        """Wait for a slot, first come, first served; cancelling is safe and loses none."""
        self._bound.full = True
        await self._slots.acquire()

    def release(self, signal: Signal, latency_s: float) -> None:
        """Give the slot back and learn from how the attempt ended."""
        bound = self._bound
        if self._slots.in_flight < 0.9 * self._slots.limit:
            bound.idle()
        if signal is Signal.OK:
            if bound.answered(latency_s):
                bound.close_window(self._clock())
        elif signal is Signal.LOST:
            bound.lost(self._clock(), latency_s)
        if int(bound.limit) != self._slots.limit:
            self._resize()
        self._slots.release()

    def restart(self) -> None:
        """Begin slowly again, after an outage, up to the limit that was last good."""
        self._bound.restart(self._clock())
        self._resize()

    def _resize(self) -> None:
        before, limit = self._slots.limit, int(self._bound.limit)
        self._slots.resize(limit)
        if self._on_change is not None and limit != before:
            self._on_change(LimitChange(limit, before, self._bound.reason))
