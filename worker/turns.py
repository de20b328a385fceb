"""Which claim goes next: due repeats first, then the open batches in turns, one claim each.

So a batch of 200,000 claims does not delay the single claim that arrives after it, and claims that wait for
their next attempt are in nobody's way: they hold no slot and no task, only their place here.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice

import anyio

from worker.batches import OpenBatch
from worker.claim import Claim
from worker.effort import Effort
from worker.flow.bell import Bell
from worker.flow.budget import RetryBudget

LOW_WATER = 64
SHORTEST_PAUSE_S = 0.01


class Turns:
    """The queue in front of the gate. One task calls `wait` and `pop`; anybody offers and defers.

    `most_waiting` bounds the claims between two attempts: beyond it no fresh claim is started until some of
    them have ended. `allowance` is how many claims this run may begin at all, None for any number. `clock` is a
    steady one.
    """

    def __init__(
        self,
        budget: RetryBudget,
        *,
        most_waiting: int,
        allowance: int | None = None,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._budget = budget
        self._most_waiting = most_waiting
        self._allowance = allowance
        self._clock = clock
        self._turns: deque[OpenBatch] = deque()
        self._due: list[tuple[float, int, Effort]] = []
        self._order = count()
        self._changed = Bell()
        self.fresh = 0

    @property
    def waiting(self) -> int:
        """Count the claims between two attempts."""
        return len(self._due)

    @property
    def spent(self) -> bool:
        """Whether this run may begin no further claim although there are some."""
        return self._allowance == 0 and self.fresh > 0

    def offer(self, batch: OpenBatch, claims: Iterable[Claim]) -> None:
        """Append fresh claims of a batch; the batch takes its turn as long as it has some."""
        before = len(batch.fresh)
        batch.fresh.extend(claims)
        self.fresh += len(batch.fresh) - before
        if not before and batch.fresh:
            self._turns.append(batch)
            self._changed.ring()

    def defer(self, effort: Effort, after_s: float) -> None:
        """Keep a claim for `after_s` seconds at least."""
        heapq.heappush(self._due, (self._clock() + after_s, next(self._order), effort))
        self._changed.ring()

    async def wait(self) -> None:
        """Return once `pop` has something to give."""
        while not self.any_now:
            with anyio.move_on_after(self._pause_s()):
                await self._changed.wait()

    def pop(self) -> Effort | None:
        """Take the next claim; None if there is none right now."""
        if self._repeat_allowed():
            return heapq.heappop(self._due)[2]
        if not self._fresh_allowed():
            return None
        batch = self._turns.popleft()
        claim = batch.fresh.popleft()
        batch.sent = max(batch.sent, claim.ordinal)
        self.fresh -= 1
        if self._allowance is not None:
            self._allowance -= 1
        if batch.fresh:
            self._turns.append(batch)
        if len(batch.fresh) < LOW_WATER:
            batch.wants_more.ring()
        return Effort(batch, claim)

    @property
    def any_now(self) -> bool:
        """Whether `pop` has something to give."""
        return self._fresh_allowed() or self._repeat_allowed()

    def upcoming(self, claims: int) -> Iterator[tuple[OpenBatch, int]]:
        """Look at the fresh claims that come next, about so many: each batch with the last ordinal among them."""
        if not self._turns:
            return
        share = max(1, claims // len(self._turns))
        for batch in islice(self._turns, claims):
            yield batch, batch.fresh[min(share, len(batch.fresh)) - 1].ordinal

    def _fresh_allowed(self) -> bool:
        return bool(self._turns) and len(self._due) < self._most_waiting and self._allowance != 0

    def _repeat_allowed(self) -> bool:
        if not self._due:
            return False
        now = self._clock()
        return self._due[0][0] <= now and self._budget.allows_retry(now)

    def _pause_s(self) -> float | None:
        """Say how long nothing changes by time alone; None for ever."""
        if not self._due:
            return None
        now = self._clock()
        return max(SHORTEST_PAUSE_S, self._due[0][0] - now, self._budget.next_at(now) - now)
