"""The global retry budget: retries live off fresh claims, so that a failing service is not buried under repeats.

Every first attempt earns a part of a retry, at a `ratio` of one half a whole one, and time earns `floor_per_s` retries
a second: a trickle that lets the last claims of a batch finish when no fresh ones come. What is earned and not used is
kept up to a bound. So in *any* span of `window_s` seconds or more, wherever it begins::

    retries <= ratio * attempts + floor_per_s * seconds

and in a shorter one at most `ratio * floor_per_s * window_s` more, or one where that is less. A count over a sliding
window would not keep that: its retries may follow the first attempts that pay for them at up to the window's distance,
and a span that begins between the two sees nothing but retries. A claim that finds the budget spent waits; that costs
it no attempt (design.md §7).

Why a budget beside a cap per claim: with six attempts each, a service that fails everything would see six times
its normal load, from all clients at once ("Addressing Cascading Failures", Site Reliability Engineering, ch. 22).
"""

import math
from collections.abc import Callable

import anyio

_ROUNDING = 1e-6  # of a retry: what is earned is a sum of fractions


class RetryBudget:
    """An account of attempts. Every `now` may be left out; then the clock is asked."""

    def __init__(
        self,
        ratio: float = 0.5,
        *,
        floor_per_s: int = 10,
        window_s: float = 10.0,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._earns = ratio
        self._costs = 1.0 - ratio
        self._earns_per_s = floor_per_s * self._costs
        self._most = max(ratio * floor_per_s * window_s, self._costs)
        self._balance = min(self._earns_per_s, self._most)  # not all: a worker may be started again and again
        self._balanced_at: float | None = None
        self._clock = clock

    def record(self, retry: bool, now: float | None = None) -> None:
        """Count an attempt that is about to be made."""
        self._balance = self._balance_at(self._clock() if now is None else now)
        self._balance = min(self._balance + (-self._costs if retry else self._earns), self._most)

    def allows_retry(self, now: float | None = None) -> bool:
        """Whether a retry may be made now; the caller that makes it says so with `record`."""
        return self._missing(self._clock() if now is None else now) <= 0.0

    def next_at(self, now: float | None = None) -> float:
        """Say when a retry will be allowed if nothing else is sent; fresh attempts may allow it sooner."""
        now = self._clock() if now is None else now
        missing = self._missing(now)
        if missing <= 0.0:
            return now
        return now + (missing + _ROUNDING / 2) / self._earns_per_s if self._earns_per_s else math.inf

    def _missing(self, now: float) -> float:
        return self._costs - _ROUNDING - self._balance_at(now)

    def _balance_at(self, now: float) -> float:
        """Bring the account up to this moment and say what is in it."""
        if self._balanced_at is None:
            self._balanced_at = now
        elif now > self._balanced_at:
            since_s = now - self._balanced_at
            self._balanced_at = now
            self._balance = min(self._balance + since_s * self._earns_per_s, self._most)
        return self._balance
