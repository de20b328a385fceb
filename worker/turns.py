"""Which claim goes next: due repeats first, then the open batches in turns, one claim each.

So a batch of 200,000 claims does not delay the single claim that arrives after it, and claims that wait for
their next attempt are in nobody's way: they hold no slot and no task, only their place here. Where there are so many
repeats that nothing else would go, fresh claims have a share of their own (`worker.flow.share`).
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import count, islice

import anyio

from worker.batches import OpenBatch
from worker.claim import Claim
from worker.effort import Effort
from worker.flow.bell import Bell
from worker.flow.budget import RetryBudget
from worker.flow.share import MOST_REPEATS, FreshShare

LOW_WATER = 64
SHORTEST_PAUSE_S = 0.01


class Turns:
    """The queue in front of the gate. One task calls `wait` and `pop`; any task may offer and defer.

    `most_waiting` bounds the claims between two attempts, `most_waiting_bytes` what is sent of them, `most_batches` the
    batches they are of: beyond any no fresh claim is started until some of them have ended, and less and less often
    from half of it on. `most_fresh_bytes` is how much of fresh claims should be offered. `allowance` is how many claims
    this run may begin at all, None for any number. `clock` is a steady one.
    """

    def __init__(
        self,
        budget: RetryBudget,
        *,
        most_waiting: int,
        most_batches: int,
        most_waiting_bytes: float = math.inf,
        most_fresh_bytes: float = math.inf,
        allowance: int | None = None,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._budget = budget
        self._most_waiting = most_waiting
        self._most_batches = most_batches
        self._most_waiting_bytes = most_waiting_bytes
        self._most_fresh_bytes = most_fresh_bytes
        self._allowance = allowance
        self._clock = clock
        self._turns: deque[OpenBatch] = deque()
        self._due: list[tuple[float, int, Effort]] = []
        self._order = count()
        self._changed = Bell()
        self._share = FreshShare()
        self._batches = 0  # with claims between two attempts
        self._waiting_bytes = 0
        self._fresh_bytes = 0
        self._lighter = Bell()
        self.fresh = 0

    @property
    def waiting(self) -> int:
        """Count the claims between two attempts."""
        return len(self._due)

    @property
    def spent(self) -> bool:
        """Whether this run may begin no further claim although there are some."""
        return self._allowance == 0 and self.fresh > 0

    @property
    def heavy(self) -> bool:
        """Whether the fresh claims are so large together that no more should be offered."""
        return self._fresh_bytes >= self._most_fresh_bytes

    async def lighter(self) -> None:
        """Wait while `heavy`."""
        while self.heavy:
            await self._lighter.wait()

    def offer(self, batch: OpenBatch, claims: Iterable[Claim]) -> None:
        """Append fresh claims of a batch; the batch takes its turn as long as it has some."""
        before, offered = len(batch.fresh), list(claims)
        batch.fresh.extend(offered)
        self.fresh += len(offered)
        self._fresh_bytes += sum([len(claim.interchange) for claim in offered])
        if not before and offered:
            self._turns.append(batch)
            self._changed.ring()

    def defer(self, effort: Effort, after_s: float) -> None:
        """Keep a claim for at least `after_s` seconds."""
        heapq.heappush(self._due, (self._clock() + after_s, next(self._order), effort))
        self._waiting_bytes += len(effort.claim.interchange)
        effort.batch.waiting += 1
        self._batches += effort.batch.waiting == 1
        self._changed.ring()

    async def wait(self) -> None:
        """Return once `pop` has something to give."""
        while not self.any_now:
            with anyio.move_on_after(self._pause_s()):
                await self._changed.wait()

    def pop(self, *, most_repeats: int = MOST_REPEATS) -> Effort | None:
        """Take the next claim, a fresh one if possible after `most_repeats` repeats in a row; None if there is none."""
        if self._repeat_allowed() and not (self._share.owed(most_repeats) and self._fresh_allowed()):
            return self._pop_repeat()
        return self._pop_fresh() if self._fresh_allowed() else None

    def _pop_repeat(self) -> Effort:
        effort = heapq.heappop(self._due)[2]
        self._waiting_bytes -= len(effort.claim.interchange)
        effort.batch.waiting -= 1
        self._batches -= effort.batch.waiting == 0
        self._share.repeat_gone()
        return effort

    def _pop_fresh(self) -> Effort:
        batch = self._turns.popleft()
        claim = batch.fresh.popleft()
        batch.sent = max(batch.sent, claim.ordinal)
        self.fresh -= 1
        self._fresh_bytes -= len(claim.interchange)
        self._lighter.ring()
        self._share.fresh_gone(self._clock() if self._due else -math.inf)
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

    @property
    def _taken_up(self) -> float:
        """How much of the room claims between two attempts take up, of that which is shortest."""
        return max(
            len(self._due) / self._most_waiting,
            self._batches / self._most_batches,
            self._waiting_bytes / self._most_waiting_bytes,
        )

    @property
    def _fresh_at(self) -> float:
        """When a fresh claim may go; infinite if there is none, or no room for one."""
        if not self._turns or self._allowance == 0:
            return math.inf
        return self._share.next_at(self._taken_up) if self._due else -math.inf

    def _fresh_allowed(self) -> bool:
        at = self._fresh_at
        return at == -math.inf or at <= self._clock()

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
        repeat_at = max(self._due[0][0], self._budget.next_at(now))
        return max(SHORTEST_PAUSE_S, min(repeat_at, self._fresh_at) - now)
