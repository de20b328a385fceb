"""The batches being worked on: how far each one is, and which are ready to be settled.

A batch is *open* from its entry in the ledger until its delivery is settled::

    opened ── all claims answered ──▶ finished ── all results in all sinks ──▶ settled
"""

from collections import Counter, deque
from collections.abc import Iterator

from worker.claim import Batch, Claim, Delivery
from worker.flow.bell import Bell
from worker.ports import Earlier, OpenedBatch


class OpenBatch:
    """One open batch. `fresh` holds claims that are split, pending and not yet dispatched.

    `sent` is the ordinal of the last claim that left `fresh`, `reserved` the one up to which first attempts are noted
    in the ledger, `asked` the one for which that was asked (`worker.reserving`). `waiting` counts its claims
    between two attempts.

    `earlier` is set where its claims are sent although they have a result. `partial` says that claims outside this
    run have none: once this run has answered its own, the batch leaves the board and is not settled.
    """

    __slots__ = (
        "answered", "asked", "batch", "counts", "delivery", "earlier", "fresh", "last_seq", "opened", "partial",
        "reserved", "sent", "total", "waiting", "wants_more",
    )  # fmt: skip

    def __init__(self, opened: OpenedBatch, delivery: Delivery) -> None:
        self.opened = opened
        self.batch: Batch = opened.batch
        self.delivery = delivery
        self.total = opened.total
        self.answered = len(opened.answered)
        self.last_seq = opened.last_seq
        self.counts: Counter[str] = Counter()
        self.fresh: deque[Claim] = deque()
        self.waiting = 0
        self.earlier: Earlier | None = None
        self.partial = False
        self.sent = opened.dispatched_through
        self.reserved = self.asked = max(opened.dispatched_through, opened.reserved)
        self.wants_more = Bell()

    @property
    def finished(self) -> bool:
        """All of its claims have their result in the ledger."""
        return self.total is not None and self.answered >= self.total


class Board:
    """All open batches, and the finished ones in the order in which they wait for the sinks."""

    def __init__(self) -> None:
        self._open: dict[int, OpenBatch] = {}
        self._finished: list[OpenBatch] = []
        self._changed = Bell()
        self._settler = Bell()
        self.newest = 0  # the highest place in the outbox that an open batch has a result at

    @property
    def finished(self) -> int:
        """Count the batches that are finished and not yet settled."""
        return len(self._finished)

    def watched_by(self, bell: Bell) -> None:
        """Ring this bell, too, when a batch finishes."""
        self._settler = bell

    def __len__(self) -> int:
        """Count the open batches."""
        return len(self._open)

    def __iter__(self) -> Iterator[OpenBatch]:
        """Walk the open batches, oldest first."""
        return iter(self._open.values())

    def find(self, number: int) -> OpenBatch | None:
        """Return the open batch with this ledger number, if it is open."""
        return self._open.get(number)

    def open(self, batch: OpenBatch) -> None:
        """Add a batch; one that is already finished (found again after a crash) goes straight to settling."""
        self._open[batch.batch.number] = batch
        self._note(batch)

    def answered(self, batch: OpenBatch, seq: int, disposition: str) -> None:
        """Note that one more claim of the batch has its result in the ledger, at `seq` of the outbox."""
        batch.answered += 1
        batch.counts[disposition] += 1
        batch.last_seq = max(batch.last_seq, seq)
        self.newest = max(self.newest, seq)
        self._note(batch)

    def finished_through(self, seq: int) -> list[OpenBatch]:
        """Return the finished batches whose results all lie at or before `seq`; they stay until `close`."""
        return [batch for batch in self._finished if batch.last_seq <= seq]

    def close(self, batches: list[OpenBatch]) -> None:
        """Forget settled batches."""
        closed = {batch.batch.number for batch in batches}
        for number in closed:
            self._open.pop(number, None)
        self._finished = [batch for batch in self._finished if batch.batch.number not in closed]
        self._changed.ring()

    async def changed(self) -> None:
        """Wait until a batch finishes or closes."""
        await self._changed.wait()

    def _note(self, batch: OpenBatch) -> None:
        if batch.finished:
            self._finished.append(batch)
            self._changed.ring()
            self._settler.ring()
