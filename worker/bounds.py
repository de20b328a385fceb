"""How much of a run may be in memory at once, whatever the input holds: all of it follows from the calls under way."""

from typing import Self

import msgspec


class Bounds(msgspec.Struct, frozen=True):
    """The most open batches, claims cut and not begun, claims between two attempts, results on their way to the disk.

    Claims are bounded by their bytes as well, as one may have eight megabytes; usual ones reach their number first.
    `waiting_batches` bounds the batches that claims between two attempts are of: the rest of `batches` is for those
    under way, and for fresh ones to be there in time.
    """

    batches: int
    fresh: int
    waiting: int
    waiting_batches: int
    fresh_bytes: int
    waiting_bytes: int
    drafts: int

    @classmethod
    def beside(cls, most_in_flight: int) -> Self:
        """Say how much room there is beside so many calls under way."""
        batches = max(512, 4 * most_in_flight)
        claims_bytes = max(64 << 20, most_in_flight << 16)
        return cls(
            batches=batches,
            fresh=max(20_000, 4 * most_in_flight),
            waiting=max(10_000, 4 * most_in_flight),
            waiting_batches=batches - most_in_flight,
            fresh_bytes=claims_bytes,
            waiting_bytes=claims_bytes,
            drafts=most_in_flight + 256,
        )
