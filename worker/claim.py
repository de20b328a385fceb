"""What travels through the flow before an answer: a delivery, its batch, its claims.

A *batch* is one input as delivered, a *claim* one single-claim interchange cut from it. Identity is made of
content, so that it is the same after any restart::

    batch_id   first 20 hex digits of the SHA-256 of the batch's bytes, then "-2", "-3" … for a later
               delivery of the same bytes
    claim_id   batch_id ":" ordinal; the ordinal counts from 1 in file order, refused claims included
    result_id  claim_id ":" generation; a replay is a new generation
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec

from worker.x12 import ClaimFacts, SplitClaim, Survey

CHUNK_BYTES = 1 << 18
ID_DIGITS = 20
SMALL_BYTES = 1 << 20  # a batch up to this size is read and cut at once, a larger one piece by piece


class Delivery(msgspec.Struct, frozen=True, eq=False):
    r"""One batch as a source hands it over; the source's own object for settling it.

    `name` is for people (a file's base name, undecodable bytes as ``\xNN``); it never builds a path.
    `ref` identifies this delivery to the ledger and survives a restart: the same file found again, or the
    same message redelivered, has the same ref; another delivery of equal bytes has another.
    `received_at` is seconds since the epoch. Exactly one of `data` and `path` is set: small batches come as
    bytes, large ones as a file that the source owns until the delivery is settled.
    `kept_at` is the file that also holds the bytes in `data`, if there is one.
    `survey` and `sha256` (hex) are set by a source that has already read the bytes, `only` if they are one claim.
    """

    name: str
    ref: str
    size: int
    received_at: float
    data: bytes | None = None
    path: Path | None = None
    kept_at: Path | None = None
    survey: Survey | None = None
    sha256: str | None = None
    only: SplitClaim | None = None

    def __repr__(self) -> str:
        """Name the delivery without its bytes: reprs end in logs."""
        return f"<Delivery {self.ref}>"

    def open(self) -> BinaryIO:
        """Open the bytes for reading from the start; blocking, so call it in a thread.

        :raises OSError: if the file cannot be opened or read.
        """
        if self.data is not None:
            return io.BytesIO(self.data)
        if self.path is None:
            raise ValueError("delivery: neither data nor path")
        return self.path.open("rb", buffering=0)

    def chunks(self, size: int = CHUNK_BYTES) -> Iterator[bytes]:
        """Yield the bytes in pieces of at most `size`; blocking, so call it in a thread."""
        if self.data is not None:
            yield self.data
            return
        with self.open() as stream:
            while chunk := stream.read(size):
                yield chunk


class Batch(msgspec.Struct, frozen=True, gc=False):
    """One batch as the ledger knows it. `number` is the ledger's short key, `received_at` seconds since the epoch."""

    number: int
    batch_id: str
    name: str
    received_at: float
    environment: str = ""


class Claim(msgspec.Struct, frozen=True, gc=False):
    """One claim, ready to be sent: the unit of submission.

    `interchange` is byte for byte the same whenever this claim is sent. `attempts` and `ambiguous_attempts`
    count what was spent before this object was made (earlier attempts, or attempts of a process that died).
    `first_sent_at` and `due_at` are seconds since the epoch; a `due_at` of 0.0 means now.
    """

    batch: Batch
    ordinal: int
    interchange: bytes
    facts: ClaimFacts
    generation: int = 1
    attempts: int = 0
    ambiguous_attempts: int = 0
    first_sent_at: float | None = None
    due_at: float = 0.0

    @property
    def claim_id(self) -> str:
        """The same after any restart and any replay."""
        return f"{self.batch.batch_id}:{self.ordinal}"

    @property
    def result_id(self) -> str:
        """Unique per claim and generation; every sink is idempotent on it."""
        return f"{self.batch.batch_id}:{self.ordinal}:{self.generation}"

    def __repr__(self) -> str:
        """Name the claim without its content: reprs end in logs."""
        return f"<Claim {self.result_id}>"
