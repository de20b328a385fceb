"""The seam to a ledger beyond what the flow asks of it: what composition and command line use of one of any kind."""

from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

from worker.ledger.balance import Balance
from worker.ledger.parked import ParkedClaim, ParkedFilter, ParkedGroup
from worker.ports import BatchSummary, Earlier, Emission, Ledger, ReplayBatch

BEFORE_ALL = -(1 << 62)


class LedgerReads(Protocol):
    """What can be asked while workers may be running on it; nothing is changed.

    What is read with a `limit` are pages, as `worker.ports.Ledger` has them.

    :raises worker.errors.StateError: from every method, if the ledger cannot be read.
    """

    async def results(
        self,
        *,
        disposition: str | None = None,
        reason_code: str | None = None,
        batch: str | None = None,
        after: int = BEFORE_ALL,
        limit: int = 1000,
    ) -> Sequence[Emission]:
        """Read results that match, in order of `seq` from above `after`; of each claim the latest only.

        `batch` is a batch's id or name; what is None does not matter. `seq` serves to read on, and need not be the
        place in an outbox.
        """
        ...

    async def results_of(self, batch_number: int, after_ordinal: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Read the latest record of each claim of the batch, with its ordinal, in order from above `after_ordinal`."""
        ...

    async def parked(
        self, wanted: ParkedFilter | None = None, *, after: tuple[int, int] = (0, 0), limit: int = 1000
    ) -> Sequence[ParkedClaim]:
        """Read parked claims in order of batch and ordinal, from above `after` (batch number, ordinal)."""
        ...

    async def parked_groups(self, wanted: ParkedFilter | None = None) -> Sequence[ParkedGroup]:
        """Count parked claims by batch, disposition and reason, in order of batch."""
        ...

    async def replay_batches(self, claims: Mapping[int, int]) -> Sequence[ReplayBatch]:
        """Describe batches of which some claims are to be sent again; `claims` maps batch number to how many."""
        ...

    async def earlier(self, batch_number: int) -> Earlier:
        """Tell what claims of the batch that are sent again supersede, and what that has cost already."""
        ...

    async def newest_batch(self) -> int:
        """Tell the number of the batch that was opened last; 0 if there is none."""
        ...

    async def open_now(self) -> Sequence[int]:
        """Tell the numbers of the batches that are being worked on."""
        ...

    async def balance(
        self, *, newer_than: int = 0, also: Sequence[int] = (), after: int = 0, limit: int = 500
    ) -> Sequence[Balance]:
        """Balance batches: those newer than a number and those in `also`; in order, from above number `after`.

        A worker of a fleet balances those that it opened last.
        """
        ...

    async def summaries(self, *, open_only: bool = False, limit: int = 100) -> Sequence[BatchSummary]:
        """Describe the newest batches, newest first."""
        ...

    async def dispositions(self, batch_number: int) -> dict[str, int]:
        """Count the batch's claims by the disposition of their latest result."""
        ...

    async def totals(self) -> dict[str, int]:
        """Count the claims of all batches by the disposition of their latest result."""
        ...

    async def noted(self, key: str) -> str | None:
        """Recall what `note` remembered."""
        ...


class WholeLedger(LedgerReads, Ledger, Protocol):
    """A ledger as the worker that works on it has it."""

    async def purge(self, before: float) -> int:
        """Delete content of batches finished before `before` (epoch seconds); returns how many results.

        Only what the sinks have taken. Batches are still recognised and counted afterwards.
        """
        ...

    async def answered(self, refs: Sequence[str], environment: str) -> Mapping[str, int]:
        """Tell how many claims of the batches that were delivered under these refs have an answer."""
        ...


@runtime_checkable
class FleetReads(LedgerReads, Protocol):
    """What can be asked of a ledger that a fleet shares."""

    async def fleet_noted(self, key: str) -> str | None:
        """Recall what was noted for all workers."""
        ...

    async def living(self) -> Sequence[str]:
        """Name the workers that are at work on the ledger now."""
        ...


@runtime_checkable
class FleetLedger(WholeLedger, FleetReads, Protocol):
    """A ledger that a fleet shares, as one of its workers has it."""

    async def hold_parked(self) -> None:
        """Be the only one of the fleet who sends parked claims again, until the ledger is closed.

        :raises worker.errors.StateHeld: if another worker is at it.
        """
        ...
