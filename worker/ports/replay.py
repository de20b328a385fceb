"""The seam to the parked claims that are sent again."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from worker.claim import Batch, Claim


class ReplayBatch(msgspec.Struct, frozen=True):
    """A batch of which `claims` parked claims are to be sent again.

    `done`: it was settled. `last_seq` is the highest position of its results in the outbox.
    """

    batch: Batch
    claims: int
    total: int | None
    done: bool
    last_seq: int


class Replayable(Protocol):
    """The parked claims that a replay sends again; they stay the same while it goes on."""

    async def batches(self, also: Sequence[int] = ()) -> Sequence[ReplayBatch]:
        """Describe the batches they are of, in order of number, and those numbered in `also`."""
        ...

    async def claims(self, after: tuple[int, int], limit: int) -> Sequence[Claim]:
        """Read a page of them, as their next generation, in order from above `after`: batch number, ordinal.

        It ends before `limit` with the claim that makes it longer than `worker.ports.PAGE_BYTES`.
        """
        ...
