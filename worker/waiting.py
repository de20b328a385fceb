"""Deliveries of bytes that are being worked on already: they wait for that batch, and then tell its results again.

Nothing of them is kept but what finds them again; they count for nothing and are in nobody's way. One whose equal is
not there (it may be found a moment later, after a restart) waits a little, one for which there is no room not at all:
it is sent as if it were alone. One whose equal is in work at another worker of the fleet is opened again now and then,
and so learns of its end, or of that worker's.
"""

from collections.abc import Callable, Sequence

import anyio
import msgspec
import structlog

from worker.batches import Board
from worker.claim import Delivery
from worker.flow.bell import Bell
from worker.ports import OpenedBatch
from worker.preparing import Prepared

MOST = 10_000
MOST_BYTES = 16 << 20
APPEARS_WITHIN_S = 10.0
ASKED_EVERY_S = 2.0
LOOK_S = 0.1


class _Waiting(msgspec.Struct):
    """One delivery, the number of the batch it waits for, and since when that is not on the board.

    `elsewhere`: another worker has it. Then it is asked again, now and then, whether it still has.
    """

    delivery: Delivery
    awaited: int
    missing_since: float | None
    elsewhere: bool = False


class Waiting:
    """Those that wait; `clock` is monotonic."""

    def __init__(
        self,
        board: Board,
        *,
        most: int = MOST,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._board = board
        self._most = most
        self._most_bytes = most_bytes
        self._clock = clock
        self._waiting: dict[str, _Waiting] = {}
        self._bytes = 0
        self._in_vain: set[str] = set()
        self._told: set[str] = set()
        self._admitted = Bell()

    def __len__(self) -> int:
        """Count them."""
        return len(self._waiting)

    @property
    def deliveries(self) -> Sequence[Delivery]:
        """What waits, without its bytes where they can be read again."""
        return [one.delivery for one in self._waiting.values()]

    def admit(self, one: Prepared, known: OpenedBatch) -> bool:
        """Let a delivery wait if there is something to wait for, and room; one that was begun goes on by itself."""
        ref, awaited = one.delivery.ref, known.awaited
        kept = None if awaited is None else self._kept_of(one, known)
        if awaited is None or kept is None:
            self._in_vain.discard(ref)
            self._told.discard(ref)
            return False
        self._bytes += len(kept.data or b"")
        there = self._board.find(awaited.number) is not None
        since = None if there else self._clock()
        self._waiting[ref] = _Waiting(kept, awaited.number, since, known.awaited_elsewhere)
        self._admitted.ring()
        if ref not in self._told:
            structlog.get_logger().info(
                "batch.waiting", batch=kept.name, batch_id=known.batch.batch_id, duplicate_of=awaited.batch_id
            )
        if known.awaited_elsewhere:
            self._told.add(ref)
        return True

    def _kept_of(self, one: Prepared, known: OpenedBatch) -> Delivery | None:
        """Give what is kept of a delivery while it waits; None if it shall not."""
        if known.answered or known.dispatched_through or one.delivery.ref in self._in_vain:
            return None
        kept = _stripped(one)
        room = len(self._waiting) < self._most and self._bytes + len(kept.data or b"") <= self._most_bytes
        return kept if room else None

    async def ready(self, limit: int) -> Sequence[Delivery]:
        """Give up to `limit` whose equal has been settled, or has not come; wait until there are some."""
        while True:
            if found := self._take(limit):
                return found
            while not self._waiting:
                await self._admitted.wait()
            with anyio.move_on_after(LOOK_S):
                await self._board.changed()

    def _take(self, limit: int) -> list[Delivery]:
        now = self._clock()
        taken: list[Delivery] = []
        for ref, one in list(self._waiting.items()):
            if len(taken) >= limit:
                break
            if self._may_go(one, now):
                del self._waiting[ref]
                self._bytes -= len(one.delivery.data or b"")
                taken.append(one.delivery)
        return taken

    def _may_go(self, one: _Waiting, now: float) -> bool:
        if self._board.find(one.awaited) is not None:
            one.missing_since, one.elsewhere = None, False
            return False
        if one.missing_since is None:
            return True  # it was there, and is settled
        if one.elsewhere:
            return now - one.missing_since >= ASKED_EVERY_S
        if now - one.missing_since < APPEARS_WITHIN_S:
            return False
        self._in_vain.add(one.delivery.ref)
        return True


def _stripped(one: Prepared) -> Delivery:
    delivery = one.delivery
    known = {"survey": one.survey, "sha256": one.sha256, "only": None}
    if delivery.kept_at is not None:
        known |= {"data": None, "path": delivery.kept_at}
    return msgspec.structs.replace(delivery, **known)
