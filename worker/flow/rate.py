"""How many attempts may begin per second, and the pause that a server's Retry-After asks of everybody.

The bucket is kept as one number, the theoretical arrival time of the next attempt (the "generic cell rate
algorithm" of ITU-T I.371): no refilling, no drift. Over any T seconds at most ``rate * T + burst`` attempts
begin, retries included.
"""

from collections.abc import Callable

import anyio

_BURST_S = 0.1  # how much of a second's rate may begin at once: more than a timer's error, less than a wave


class Rate:
    """The bound on attempts begun per second; a `rate_per_s` of 0 means none, but `hold_until` still counts.

    First come, first served; a waiter that is cancelled takes nothing.
    """

    def __init__(self, rate_per_s: float = 0.0, *, clock: Callable[[], float] = anyio.current_time) -> None:
        self._interval_s = 1.0 / rate_per_s if rate_per_s > 0 else 0.0
        self._slack_s = self._interval_s * (max(1.0, rate_per_s * _BURST_S) - 1.0)
        self._clock = clock
        self._next_at = float("-inf")
        self._held_until = float("-inf")
        self._turn = anyio.Lock()

    def hold_until(self, moment: float) -> None:
        """Let no attempt begin before `moment`; a pause is never shortened."""
        self._held_until = max(self._held_until, moment)

    def try_acquire(self) -> bool:
        """Take leave to begin one attempt now, if nothing has to wait."""
        if self._turn.locked():
            return False
        return self._take() <= 0.0

    async def acquire(self) -> None:
        """Wait for leave to begin one attempt."""
        async with self._turn:
            while (wait_s := self._take()) > 0.0:  # noqa: ASYNC110 - what is awaited is a time, and it may move
                await anyio.sleep(wait_s)

    def _take(self) -> float:
        """Take one leave and return 0.0, or say how many seconds are missing and take none."""
        if not self._interval_s and self._held_until == float("-inf"):
            return 0.0
        now = self._clock()
        earliest = max(self._next_at - self._slack_s, self._held_until)
        if now < earliest:
            return earliest - now
        self._held_until = float("-inf") if not self._interval_s else self._held_until
        self._next_at = max(self._next_at, now) + self._interval_s
        return 0.0
