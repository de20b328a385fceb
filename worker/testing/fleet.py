"""The limits of a fleet in memory: the same rules as in Redis, on a clock of one's own."""

import math
from collections.abc import Callable

import anyio
import msgspec
from anyio.lowlevel import checkpoint

from worker.errors import FleetUnavailable
from worker.flow.quota import SharedLimits
from worker.ports.fleet import Ask, Grant


class _Part(msgspec.Struct):
    until: float
    held: int
    wants: int
    asked: int
    at: float


class MemoryPlace:
    """Where the parts of all workers are; `away` puts it out of reach."""

    def __init__(
        self, limits: SharedLimits, *, lease_s: float, clock: Callable[[], float] = anyio.current_time
    ) -> None:
        self.limits = limits
        self.lease_s = lease_s
        self.away = False
        self._clock = clock
        self._parts: dict[str, _Part] = {}
        self._born: float | None = None
        self._tokens = 0.0
        self._filled = self._asked_at = clock()

    def worker(self, name: str) -> "MemoryFleet":
        """Give one worker its way to it."""
        return MemoryFleet(self, name)

    def drop(self, name: str) -> None:
        """Forget a worker."""
        self._parts.pop(name, None)

    def renew(self, name: str, ask: Ask) -> Grant:
        """Divide anew for one worker."""
        now = self._clock()
        if self._born is None or now - self._asked_at > self.lease_s / 2:
            self._born = now
        self._asked_at = now
        self._parts = {other: part for other, part in self._parts.items() if part.until > now or other == name}
        before = self._parts.pop(name, None)
        slots = self._slots(name, ask, now) if self.limits.max_in_flight else 0
        leaves = self._leaves(ask, now, before.at if before else now) if self.limits.rate_per_s else 0
        self._parts[name] = _Part(now + self.lease_s, max(ask.kept, slots), ask.slots, ask.leaves, now)
        return Grant(slots, leaves)

    def _slots(self, name: str, ask: Ask, now: float) -> int:
        wanting = sorted([(ask.slots, name), *((part.wants, other) for other, part in self._parts.items())])
        rest, slots = self.limits.max_in_flight, 0
        for place, (wants, other) in enumerate(wanting):
            part = min(wants, rest // (len(wanting) - place))
            rest -= part
            slots = part if other == name else slots
        if now - (self._born or 0.0) < self.lease_s:
            slots = min(slots, max(ask.kept, 1))
        return max(0, min(slots, self.limits.max_in_flight - sum(part.held for part in self._parts.values())))

    def _leaves(self, ask: Ask, now: float, since: float) -> int:
        rate = self.limits.rate_per_s
        self._tokens = min(max(1.0, rate / 2), self._tokens + (now - self._filled) * rate)
        self._filled = now
        if not ask.leaves:
            return 0
        hungry = 1 + sum(part.asked > 0 for part in self._parts.values())
        part = math.ceil(min(now - since, 1.0) * rate / hungry)
        leaves = min(ask.leaves, max(part, 1), int(self._tokens))
        self._tokens -= leaves
        return leaves


class MemoryFleet:
    """`worker.ports.fleet.FleetLimits` for one worker."""

    def __init__(self, place: MemoryPlace, name: str) -> None:
        self._place = place
        self._name = name

    async def open(self) -> None:
        """See whether it is out of reach."""
        await self._reach()

    async def renew(self, ask: Ask) -> Grant:
        """Ask for a part."""
        await self._reach()
        return self._place.renew(self._name, ask)

    async def leave(self) -> None:
        """Give everything back."""
        await checkpoint()
        if not self._place.away:
            self._place.drop(self._name)

    async def close(self) -> None:
        """Do nothing."""
        await checkpoint()

    async def _reach(self) -> None:
        await checkpoint()
        if self._place.away:
            raise FleetUnavailable("fleet: out of reach")
