"""The global retry budget: retries live off fresh claims, so that a failing service is not buried under repeats.

A retry is allowed while, over the last `window_s` seconds, retries are at most `ratio` of all attempts, or while fewer
than `floor_per_s` were made in the last second: a trickle that lets the last claims of a batch finish when
no fresh ones come. A claim that finds the budget spent waits; that costs it no attempt (design.md §7).

Why a budget beside a cap per claim: with six attempts each, a service that fails everything would see six times
its normal load, from all clients at once ("Addressing Cascading Failures", Site Reliability Engineering, ch. 22).
"""

from collections import deque
from collections.abc import Callable

import anyio


class RetryBudget:
    """Counts attempts over a sliding window. Every `now` may be left out; then the clock is asked."""

    def __init__(
        self,
        ratio: float = 0.5,
        *,
        floor_per_s: int = 10,
        window_s: float = 10.0,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._ratio = ratio
        self._floor_per_s = floor_per_s
        self._window_s = window_s
        self._clock = clock
        self._attempts: deque[float] = deque()
        self._retries: deque[float] = deque()

    def record(self, retry: bool, now: float | None = None) -> None:
        """Count an attempt that is about to be made."""
        now = self._clock() if now is None else now
        self._attempts.append(now)
        if retry:
            self._retries.append(now)
        self._forget(now)

    def allows_retry(self, now: float | None = None) -> bool:
        """Whether a retry may be made now; the caller that makes it says so with `record`."""
        now = self._clock() if now is None else now
        if self._floor_free_at() <= now:
            return True
        self._forget(now)
        return len(self._retries) + 1 <= self._ratio * (len(self._attempts) + 1)

    def next_at(self, now: float | None = None) -> float:
        """Say when a retry will be allowed if nothing else is sent; fresh attempts may allow it sooner."""
        now = self._clock() if now is None else now
        if self.allows_retry(now):
            return now
        return min(self._floor_free_at(), self._retries[0] + self._window_s)

    def _floor_free_at(self) -> float:
        """Say when fewer than `floor_per_s` retries lie within the last second."""
        if self._floor_per_s < 1:
            return float("inf")
        if len(self._retries) < self._floor_per_s:
            return float("-inf")
        return self._retries[-self._floor_per_s] + 1.0

    def _forget(self, now: float) -> None:
        """Drop what has left the window; at most a few entries a call."""
        horizon = now - self._window_s
        while self._attempts and self._attempts[0] <= horizon:
            self._attempts.popleft()
        while self._retries and self._retries[0] <= horizon:
            self._retries.popleft()
