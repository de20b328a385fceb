"""The parked claims of one replay, as the flow asks for them."""

from collections import Counter
from collections.abc import Sequence

from worker.claim import Claim
from worker.ledger.parked import ParkedFilter
from worker.ledger.seam import FleetLedger, LedgerReads, WholeLedger
from worker.ports import ReplayBatch


class ParkedClaims:
    """`worker.ports.Replayable`: the parked claims that a filter lets through.

    Nobody else sends them meanwhile, and what this replay parks again lies behind the place it has come to, so every
    claim is given once.
    """

    def __init__(self, ledger: LedgerReads, wanted: ParkedFilter) -> None:
        self._ledger = ledger
        self._wanted = wanted

    @classmethod
    async def of(cls, ledger: WholeLedger, wanted: ParkedFilter) -> "ParkedClaims":
        """Find them in a ledger in which nobody else sends claims again.

        :raises worker.errors.StateHeld: if another worker does.
        """
        if isinstance(ledger, FleetLedger):
            await ledger.hold_parked()
        return cls(ledger, wanted)

    async def batches(self, also: Sequence[int] = ()) -> Sequence[ReplayBatch]:
        """Describe the batches they are of, in order of number, and those numbered in `also`."""
        claims = Counter(dict.fromkeys(also, 0))
        for group in await self._ledger.parked_groups(self._wanted):
            claims[group.batch.number] += group.claims
        return await self._ledger.replay_batches(claims)

    async def claims(self, after: tuple[int, int], limit: int) -> Sequence[Claim]:
        """Read up to `limit` of them, as their next generation, in order from above `after`: batch number, ordinal."""
        return [parked.claim for parked in await self._ledger.parked(self._wanted, after=after, limit=limit)]
