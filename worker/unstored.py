"""Results on their way to the disk: bounded by number and size, and stored in portions."""

from collections.abc import Sequence
from itertools import accumulate, takewhile
from typing import NamedTuple

import msgspec

from worker.batches import OpenBatch
from worker.claim import Claim
from worker.flow.allowance import LARGE_BYTES, Allowance
from worker.flow.bell import Bell
from worker.result import Disposition, Reason, Result

PORTION_BYTES = 8 << 20


class Draft(NamedTuple):
    """A result on its way to the disk. `parked` is its claim, if that may be sent again, `sent` if it was sent."""

    batch: OpenBatch
    result: Result
    parked: Claim | None
    sent: Claim | None = None

    @property
    def large_bytes(self) -> int:
        """Count what it holds of an answer, as text and as what is written; 0 if that is not large."""
        texts = (self.result.x12_277ca or "", self.result.x12_999 or "")
        size = sum(len(text) * (2 if text.isascii() else 8) for text in texts)
        return size if size > LARGE_BYTES else 0


class Unstored:
    """The drafts that wait, and those that are being stored. One task takes portions, any task may bring.

    `most` is how many there should be; what large ones hold is counted in `large`, beside that of others.
    """

    def __init__(self, most: int, large: Allowance) -> None:
        self._most = most
        self._large = large
        self._large_bytes = 0
        self._waiting: list[Draft] = []
        self._storing = 0
        self._more = Bell()
        self._fewer = Bell()

    @property
    def crowded(self) -> bool:
        """Whether there are so many, or such large ones, that no more should be brought."""
        many = len(self._waiting) + self._storing >= self._most
        return many or self._large_bytes >= self._large.most_bytes

    async def room(self) -> None:
        """Wait while it is crowded."""
        while self.crowded:
            await self._fewer.wait()

    async def emptied(self) -> None:
        """Wait until every one is stored."""
        while self._waiting or self._storing:
            await self._fewer.wait()

    def bring(self, one: Draft) -> None:
        """Add one, whether or not there is room."""
        self._waiting.append(one)
        if size := one.large_bytes:
            self._large_bytes += size
            self._large.add(size)
        self._more.ring()

    async def portion(self) -> Sequence[Draft]:
        """Wait for some and take them to be stored: all, or as many as are not too large together."""
        while not self._waiting:
            await self._more.wait()
        many = len(self._waiting)
        if self._large_bytes > PORTION_BYTES:
            sizes = accumulate(one.large_bytes for one in self._waiting)
            many = max(1, sum(1 for _ in takewhile(lambda size: size <= PORTION_BYTES, sizes)))
        portion, self._waiting = self._waiting[:many], self._waiting[many:]
        self._storing = many
        return portion

    def stored(self, portion: Sequence[Draft]) -> None:
        """Note that these, which were taken last, are on the disk."""
        self._storing = 0
        if self._large_bytes and (size := sum(one.large_bytes for one in portion)):
            self._large_bytes -= size
            self._large.give_back(size)
        self._fewer.ring()

    def doubt(self, claim_id: str, transaction_id: str, reason: Reason) -> None:
        """Have a person look at what waits with this transaction id, if the claim was sent."""
        for place, one in enumerate(self._waiting):
            if one.sent is not None and one.result.claim_id == claim_id and one.result.transaction_id == transaction_id:
                doubted = msgspec.structs.replace(one.result, disposition=Disposition.REVIEW, reason=reason)
                self._waiting[place] = one._replace(result=doubted, parked=one.sent)
