"""Whether and when a claim is sent again; the only importer of tenacity.

tenacity's strategies say how long to wait and when to stop; its loop is not used. `AsyncRetrying` sleeps inside the
task that made the attempt, so that each of 10,000 claims in back-off would be a task, and a restart would forget how
many attempts were spent. Here a back-off holds neither slot nor task: the decision is a value, the due time goes into
the ledger, and the worker that finds it there continues. Each decision gets a `RetryCallState` of its own, because one
that is shared between claims mixes up their counts.

Full jitter: "Exponential Backoff And Jitter", AWS Architecture Blog; a wait is drawn between zero and the exponential
ceiling, so that claims that failed together do not come back together. Retry-After (RFC 9110 §10.2.3) is a floor below
the draw and not a replacement of it.
"""

from typing import Any, Self

import anyio
import msgspec
import tenacity
from tenacity import RetryCallState, stop_after_attempt, stop_before_delay, wait_random_exponential
from tenacity.wait import wait_base

from worker.settings.sections import RetrySettings

LONGEST_FLOOR_S = 300.0  # no server may park a claim for longer than this

_STRATEGIES_ONLY = tenacity.Retrying()


class Again(msgspec.Struct, frozen=True, gc=False):
    """Send the claim again, `after_s` seconds from now at the earliest."""

    after_s: float


class GiveUp(msgspec.Struct, frozen=True, gc=False):
    """Do not send it again; `code` is ``attempts_exhausted`` or ``deadline_exceeded``."""

    code: str


class _Floor(wait_base):
    """Wait what the server asked for."""

    def __call__(self, retry_state: RetryCallState) -> float:
        floor_s: float = retry_state.kwargs["floor_s"]
        return floor_s


class RetryPolicy:
    """Decides about one claim at a time and remembers nothing."""

    def __init__(self, settings: RetrySettings) -> None:
        self.most_attempts = settings.max_attempts
        self._wait = _Floor() + wait_random_exponential(multiplier=settings.base_s, max=settings.max_s)
        self._attempts = stop_after_attempt(settings.max_attempts)
        self._deadline = stop_before_delay(settings.deadline_s)
        self._longest_wait_s = settings.max_s + LONGEST_FLOOR_S

    def decide(self, attempts: int, elapsed_s: float, *, floor_s: float = 0.0) -> Again | GiveUp:
        """Decide what becomes of a claim whose attempt has just ended in a way that may be repeated.

        `attempts` counts those charged, this one included if it was. `elapsed_s` runs from the claim's first attempt
        and leaves out the time in which the gate was shut. `floor_s` is what the server asked everybody to wait.
        """
        state = _state(attempts, elapsed_s, floor_s=min(max(floor_s, 0.0), LONGEST_FLOOR_S))
        if attempts > 0 and self._attempts(state):
            return GiveUp("attempts_exhausted")
        state.upcoming_sleep = self._wait(state)
        if self._deadline(state):
            return GiveUp("deadline_exceeded")
        return Again(state.upcoming_sleep)

    def time_left_s(self, due_at: float, now: float) -> float:
        """Seconds until a claim with this due time from the ledger may go, by the wall clock.

        Never more than the longest wait there is: a wall clock that jumped must not park claims for years.
        """
        return min(max(due_at - now, 0.0), self._longest_wait_s)


class Backoff:
    """The pauses between probes of one thing in place: an endless ``async for`` that sleeps between its rounds.

    ::

        async for round_number in Backoff(1.0, 60.0):
            if await healthy():
                break

    Waits are drawn between `base_s` and an exponential ceiling of at most `max_s`: spread over time, yet never nearly
    zero, as one prober gains nothing by haste. With `sleep_first` there is a pause before the first round as well.
    """

    def __init__(self, base_s: float, max_s: float, *, sleep_first: bool = False) -> None:
        self._wait = wait_random_exponential(multiplier=base_s, max=max_s, min=base_s)
        self._offset = 1 if sleep_first else 0
        self._rounds = 0

    def next_wait_s(self) -> float:
        """Draw the pause before the next round and count that round."""
        pauses = self._rounds + self._offset
        self._rounds += 1
        return self._wait(_state(pauses, 0.0)) if pauses else 0.0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> int:
        await anyio.sleep(self.next_wait_s())
        return self._rounds


def _state(attempts: int, elapsed_s: float, **kwargs: Any) -> RetryCallState:
    """Describe one claim's past to tenacity's strategies; an attempt not charged waits like the first."""
    state = RetryCallState(_STRATEGIES_ONLY, None, (), kwargs)
    state.attempt_number = max(attempts, 1)
    state.start_time = 0.0
    state.outcome_timestamp = elapsed_s
    return state
