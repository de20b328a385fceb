"""The seam to the memory of the flow: how far every batch, claim and sink has come."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from worker.claim import Claim
from worker.ports.entries import Arrival, BatchSummary, Earlier, OpenedBatch, Position, Record, Spent
from worker.ports.sink import Emission


class Ledger(Protocol):
    """The durable memory. Every method that changes something returns once the change is on disk.

    Called concurrently; calls that wait at the same time share one commit. Times are seconds since the
    epoch, never monotonic values. What is read with a `limit` is a page: it ends before the limit with the record that
    makes it longer than `PAGE_BYTES`, so that only an empty one says that there is no more.

    :raises worker.errors.StorageFull: from every writing method, if there is no room: nothing was changed,
        call again.
    :raises worker.errors.StateError: from every method, if the ledger cannot be trusted any more.
    """

    async def open_batches(self, arrivals: Sequence[Arrival]) -> Sequence[OpenedBatch]:
        """Note that these deliveries are being worked on; recognise those seen before by `sha256` and `ref`.

        A known pair comes back with all that is known of it. A new pair gets a new batch; if the same bytes
        were delivered before under another ref, `original` names the first finished such batch, or `awaited` the
        first that is not. What a new one's arrival has `reserved` is noted in the same commit, unless it has
        something to wait for.
        """
        ...

    async def reserve(self, marks: Mapping[int, int]) -> None:
        """Note that first attempts may be under way from now on; await it before the first byte of any of them.

        `marks` maps a batch's number to the ordinal up to which its claims may have been sent for the first time.
        """
        ...

    async def retract(self, marks: Mapping[int, int]) -> None:
        """Take back part of what `reserve` noted: of each batch nothing above this ordinal was or will be sent."""
        ...

    async def dispatch(self, claim: Claim, attempt: int) -> None:
        """Note that attempt number `attempt` of the claim is about to be made; await it before the first byte.

        For claims that had an attempt before, in this process or another; of first attempts `reserve` is told.
        """
        ...

    async def defer(self, claim: Claim, spent: Spent) -> None:
        """Note that an attempt ended without a verdict and when the next one is due."""
        ...

    async def record(self, records: Sequence[Record]) -> Sequence[Emission]:
        """Store results, exactly one per result_id; returns what stands in the outbox of them, in the order given.

        Where a result is already there nothing changes and the known place is returned; if another worker stored it,
        in a ledger that several share, with that worker's record.
        """
        ...

    async def finish(self, batch_numbers: Sequence[int]) -> None:
        """Note that all results of these batches are in all sinks, *before* the source is told."""
        ...

    async def outbox(self, after: int, limit: int) -> Sequence[Emission]:
        """Read up to `limit` results with a `seq` above `after`, in order."""
        ...

    async def results_of(self, batch_number: int, after_ordinal: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Read the latest record of each claim of the batch, with its ordinal, in order from above `after_ordinal`."""
        ...

    async def earlier(self, batch_number: int) -> Earlier:
        """Tell what claims of the batch that are sent again supersede, and what that has cost already."""
        ...

    async def position(self, sink: str) -> Position:
        """Tell how far the sink named `sink` has come; the start for an unknown one."""
        ...

    async def advance(self, sink: str, position: Position) -> None:
        """Note how far a sink has come, after the sink has made it durable."""
        ...

    async def summaries(self, *, open_only: bool = False, limit: int = 100) -> Sequence[BatchSummary]:
        """Describe the newest batches, newest first."""
        ...

    async def note(self, key: str, value: str) -> None:
        """Remember a small fact across restarts (the last good limit, a pause by an operator)."""
        ...

    async def noted(self, key: str) -> str | None:
        """Recall what `note` remembered."""
        ...

    def end_by(self, deadline: float) -> None:
        """Have no change wait for an answer beyond this time of the event loop's clock: it raises StorageFull then."""
        ...

    async def close(self) -> None:
        """Commit what waits and let go of the store."""
        ...
