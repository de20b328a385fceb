"""A worker's part of the limits that its fleet shares, and what holds while nobody can say how large that is.

::

    ask ──▶ the fleet's place ──▶ granted: so many slots, so many leaves to begin a call
                  │
                  └─ out of reach ──▶ lost: no more than the share at once; the share itself after `grace_s`

Nothing is asked for per call: a part is taken for a while, and adapted a few times a second. A part that is made
smaller is given up in two steps, first here, so that no further call begins, and with the next asking there, once the
calls above it have ended. The share is the rule of a fleet without a common place: the limit by the number of workers.
When the place is lost, another worker may still have calls under way beyond its own share; hence the grace.
"""

import math
import sys
from collections.abc import Callable

import anyio
import msgspec

from worker.flow.bell import Bell
from worker.flow.rate import Rate
from worker.ports.fleet import Ask, Grant
from worker.settings import FlowSettings

UNBOUNDED = sys.maxsize
LEAST_SLOTS = 4  # asked for by a worker with nothing to do, so that the first claims need not wait
STOCK_S = 0.5  # leaves asked for at once: what the whole rate gives in so long


class SharedLimits(msgspec.Struct, frozen=True):
    """The limits of the whole fleet, 0 for none, and by how many workers they are divided if they must be."""

    max_in_flight: int = 0
    rate_per_s: float = 0.0
    workers: int = 1

    @property
    def share(self) -> int:
        """How many calls each worker may have under way without asking."""
        return self.max_in_flight // self.workers if self.max_in_flight else UNBOUNDED


def limits_of(flow: FlowSettings) -> SharedLimits:
    """Give the limits of the whole fleet, as they are set."""
    return SharedLimits(flow.shared_max_in_flight, flow.shared_rate_per_s, flow.shared_workers)


class Quota:
    """What this worker may use now. Invariant: calls begin only while fewer than `slots` are under way."""

    def __init__(
        self, limits: SharedLimits, *, grace_s: float, clock: Callable[[], float] = anyio.current_time
    ) -> None:
        self.limits = limits
        self.slots = 0 if limits.max_in_flight else UNBOUNDED
        self.away = False
        self.changed = Bell()  # rings whenever more may be possible than before
        self.needed = Bell()  # rings when leaves have run out
        self.share_rate = Rate(limits.rate_per_s / limits.workers, clock=clock)
        self._grace_s = grace_s
        self._clock = clock
        self._lost_at = math.inf
        self._leaves = 0
        self._used = self._missed = 0  # leaves since the last asking: taken, and found wanting
        self._pressed = False
        self._peak = 0

    def room_for(self, in_flight: int) -> bool:
        """Tell whether another call may begin beside so many; a refusal is remembered for the next asking."""
        if in_flight < self.slots:
            self._peak = max(self._peak, in_flight + 1)
            return True
        self._pressed = True
        return False

    def take_leave(self) -> bool:
        """Take leave to begin one call, if there is one."""
        if not self.limits.rate_per_s:
            return True
        if self.away:
            return self.share_rate.try_acquire()
        if self._leaves:
            self._leaves -= 1
            self._used += 1
            return True
        self._missed += 1
        self.needed.ring()
        return False

    def return_leave(self) -> None:
        """Give a leave back that was not used."""
        if self.limits.rate_per_s and not self.away:
            self._leaves += 1
            self._used -= 1

    def ask(self, in_flight: int, limit: int) -> Ask:
        """Say what is needed: all that the worker's own limit allows if it was pressed, otherwise some reserve."""
        peak, pressed = max(self._peak, in_flight), self._pressed
        self._peak, self._pressed = in_flight, False
        most = self.limits.max_in_flight
        wanted = min(limit, most) if pressed else min(limit, most, max(LEAST_SLOTS, 2 * peak))
        return Ask(max(wanted, 1), max(self.slots, in_flight) if most else 0, self._leaves_to_ask())

    def _leaves_to_ask(self) -> int:
        """Say how many leaves are missing; what nobody needed since the last asking is void, so that none pile up."""
        used, missed = self._used, self._missed
        self._used = self._missed = 0
        stock = math.ceil(self.limits.rate_per_s * STOCK_S) if missed else 2 * used
        self._leaves = min(self._leaves, stock)
        return stock - self._leaves

    def granted(self, grant: Grant) -> None:
        """Take what was granted."""
        self.away, self._lost_at = False, math.inf
        if self.limits.max_in_flight:
            self.slots = grant.slots
        self._leaves += grant.leaves
        self.changed.ring()

    def lost(self) -> None:
        """Go by the rule: the place cannot be reached. To be called again until it can."""
        now = self._clock()
        self.away, self._lost_at, self._leaves = True, min(self._lost_at, now), 0
        share = self.limits.share
        # A worker that never had a part may have one call: it must not stand still until the grace is over.
        self.slots = share if now >= self._lost_at + self._grace_s else max(1, min(self.slots, share))
        self.changed.ring()
