"""A source in memory."""

import hashlib
import math
import time
from collections import deque
from collections.abc import Sequence

import anyio
import msgspec
import structlog
from anyio.lowlevel import checkpoint

from worker.claim import Delivery
from worker.errors import SourceUnavailable
from worker.x12 import read_single


class MemorySource:
    """`worker.ports.Source` in memory. What is not settled outlives `close` and is given again, with the same `ref`.

    `unready` are the names that `left_over` tells. While `failure` is set, `take` raises it. Like a broker's, it has at
    most `prefetch` of them held at once.
    """

    def __init__(self, *, prefetch: float = math.inf) -> None:
        self._prefetch = prefetch
        self.failure: SourceUnavailable | None = None
        self.settled: list[Delivery] = []
        self.refused: list[tuple[Delivery, str, str]] = []
        self.unready: list[str] = []
        self._waiting: deque[Delivery] = deque()
        self._held: dict[str, Delivery] = {}
        self._arrived = anyio.Event()
        self._put = 0

    def put(self, name: str, data: bytes, *, read: bool = False) -> Delivery:
        """Deliver a batch, as a producer would; with `read`, a claim that comes alone has been read by the source."""
        self._put += 1
        delivery = Delivery(name=name, ref=f"memory:{self._put}", size=len(data), received_at=time.time(), data=data)
        if read and (single := read_single(data)):
            delivery = msgspec.structs.replace(
                delivery, survey=single.survey, sha256=hashlib.sha256(data).hexdigest(), only=single.claim
            )
        self.deliver(delivery)
        return delivery

    def deliver(self, delivery: Delivery) -> None:
        """Have this delivery taken in its turn."""
        self._wait_for_taker([delivery])

    @property
    def set_aside(self) -> int:
        """Count the refused; see `worker.ports.Source.set_aside`."""
        return len(self.refused)

    async def open(self) -> None:
        """Find again what was held."""
        await checkpoint()
        self._give_back(list(self._held))

    async def take(self, limit: int, *, wait: bool = True) -> Sequence[Delivery]:
        """Give what was put."""
        await checkpoint()
        if self.failure is not None:
            raise type(self.failure)(*self.failure.args)
        while wait and not self._room:
            self._arrived = anyio.Event()
            await self._arrived.wait()
        deliveries = [self._waiting.popleft() for _ in range(min(limit, self._room))]
        self._held.update({delivery.ref: delivery for delivery in deliveries})
        return deliveries

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Note what was settled, once."""
        await checkpoint()
        self.settled += [delivery for delivery in deliveries if self._held.pop(delivery.ref, None) is not None]
        self._arrived.set()

    async def refuse(self, delivery: Delivery, code: str, text: str) -> None:
        """Note what was refused, and why; tell as well."""
        await checkpoint()
        if self._held.pop(delivery.ref, None) is not None:
            structlog.get_logger().warning("input.quarantined", batch=delivery.name, code=code, detail=text)
            self.refused.append((delivery, code, text))
        self._arrived.set()

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give these again."""
        await checkpoint()
        self._give_back([delivery.ref for delivery in deliveries])

    async def left_over(self) -> Sequence[str]:
        """Tell the names in `unready`."""
        await checkpoint()
        return list(self.unready)

    async def close(self) -> None:
        """Keep everything."""
        await checkpoint()

    @property
    def _room(self) -> int:
        """How many of those that wait may be held now."""
        return int(min(len(self._waiting), max(0, self._prefetch - len(self._held))))

    def _give_back(self, refs: Sequence[str]) -> None:
        self._wait_for_taker([self._held.pop(ref) for ref in refs if ref in self._held])

    def _wait_for_taker(self, deliveries: Sequence[Delivery]) -> None:
        self._waiting.extend(deliveries)
        self._arrived.set()
