"""What the ledger is given and gives back: a row, or some of it, as the flow knows it."""

from typing import Literal

import msgspec

from worker.claim import Batch, Claim


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A delivery about to be worked on, as the ledger wants to know it.

    `sha256` is hex of the batch's bytes, `total` the number of its claims, which the survey has counted. `reserved`
    is the ordinal up to which first attempts are noted with the entry, should it be new: see `Ledger.reserve`.
    """

    sha256: str
    ref: str
    name: str
    size: int
    received_at: float
    total: int | None = None
    reserved: int = 0


class Spent(msgspec.Struct, frozen=True, gc=False):
    """What earlier attempts of an unfinished claim cost. `due_at`: seconds since the epoch, 0.0 = now."""

    attempts: int
    ambiguous_attempts: int
    first_sent_at: float | None
    due_at: float


class OpenedBatch(msgspec.Struct, frozen=True):
    """A batch and what is already known of it.

    `answered` holds the ordinals that have their result in the ledger. Ordinals up to `dispatched_through`
    that are not in it may have been sent by a process that died: `spent` says what that cost, claim by claim
    (ordinals missing from it and not above `dispatched_through` spent one attempt, outcome unknown).
    `last_seq` is the highest position of the batch's results in the outbox, 0 for none. `done`: it was
    settled before; only the source does not know yet. `original` is the earlier batch of equal bytes, if any.
    `reserved` is what was noted for a new one as it arrived, and is 0 for one that was known. `awaited` is an earlier
    batch of equal bytes that is not done, where there is no `original`; for a new one nothing is `reserved` then.
    `awaited_elsewhere`: it is in work at another worker, which shares this ledger and lives.
    """

    batch: Batch
    answered: frozenset[int] = frozenset()
    dispatched_through: int = 0
    spent: dict[int, Spent] = {}
    last_seq: int = 0
    total: int | None = None
    done: bool = False
    original: Batch | None = None
    awaited: Batch | None = None
    awaited_elsewhere: bool = False
    reserved: int = 0


class Earlier(msgspec.Struct, frozen=True):
    """What claims of a batch that are sent again supersede.

    `generations` maps each answered ordinal to the generation of its latest result. `spent` says what attempts of
    the generation after that have cost already, in a process that died; most claims have none.
    """

    generations: dict[int, int] = {}
    spent: dict[int, Spent] = {}


class Record(msgspec.Struct, frozen=True, gc=False):
    """A result on its way into the ledger: `body` is the encoded record.

    `parked` is the claim if it can be sent again later (undelivered and the like).
    """

    batch_number: int
    ordinal: int
    generation: int
    result_id: str
    disposition: str
    reason_code: str | None
    body: bytes
    parked: Claim | None = None


class Position(msgspec.Struct, frozen=True, gc=False):
    """How far a sink has come: the last `seq` it made durable, and the sink's own `cursor`."""

    seq: int = 0
    cursor: str | None = None


class BatchSummary(msgspec.Struct, frozen=True, gc=False):
    """A batch in numbers. `counts` maps disposition to claims; `total` is None where it was not told.

    A batch is ``elsewhere`` if another ledger goes on with it, or nobody has begun it.
    """

    batch: Batch
    state: Literal["open", "done", "elsewhere"]
    total: int | None
    counts: dict[str, int]
    parked: int = 0
    in_retry: int = 0
