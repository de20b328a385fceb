"""The seams: one Protocol per neighbour of the flow, and the values that cross it.

Every implementation and every fake in `worker.testing` passes the same conformance tests. A seam names only
its contract: who calls, how often, and what holds on return.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import msgspec

from worker.claim import Batch, Claim, Delivery
from worker.result import Verdict

# --- api ---------------------------------------------------------------------------------------------


class Api(Protocol):
    """The service that checks claims."""

    async def attempt(self, claim: Claim) -> Verdict:
        """Post the claim once and say what the answer means.

        Called concurrently, up to the limiter's bound. A first 401 is answered inside with one repeat.

        :raises worker.errors.NotSent: if the claim cannot have been processed.
        :raises worker.errors.Ambiguous: if it may have been.
        :raises worker.errors.TokenUnavailable: if there is no token for now; nothing was sent.
        :raises worker.errors.CredentialsRefused: if token endpoint or API refuse who we are.
        """
        ...

    async def authorize(self) -> None:
        """Make sure that there is a token, waiting for one request at most; called before the input is touched.

        :raises worker.errors.TokenUnavailable: if there is none for now.
        :raises worker.errors.CredentialsRefused: if we are refused one.
        """
        ...

    async def healthy(self) -> bool:
        """Ask the health endpoint once; never raises, False for any failure."""
        ...


# --- source ------------------------------------------------------------------------------------------


class Source(Protocol):
    """Gives deliveries of batches. One task calls `take`; others call the rest, concurrently with it."""

    async def open(self) -> None:
        """Prepare the place and take back what an earlier process of ours held when it died.

        :raises worker.errors.SettingsError: if the place cannot exist as configured.
        """
        ...

    async def take(self, limit: int, *, wait: bool = True) -> Sequence[Delivery]:
        """Take up to `limit` ready batches for this worker alone; nobody else gets them until released.

        With `wait`, returns at least one, however long that takes; cancelling is safe and loses none.
        Without, returns an empty sequence once nothing is ready nor about to be decided.

        :raises worker.errors.SourceUnavailable: if the input cannot be reached for now.
        """
        ...

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """All results of these batches are in all sinks: archive or acknowledge. Idempotent."""
        ...

    async def refuse(self, delivery: Delivery, code: str, text: str) -> None:
        """Quarantine a batch that can never be processed, with its reason, where a person finds it."""
        ...

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give batches back unfinished, on a drain; they are taken again later with the same `ref`."""
        ...

    async def left_over(self) -> Sequence[str]:
        """Names of inputs that are there but not ready, for the one warning at the end of a `--once` run."""
        ...

    async def close(self) -> None:
        """Let go of everything; what is not settled stays ours to find again."""
        ...


# --- ledger ------------------------------------------------------------------------------------------


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A delivery about to be worked on, as the ledger wants to know it.

    `sha256` is hex of the batch's bytes, `total` the number of its claims, which the survey has counted.
    """

    sha256: str
    ref: str
    name: str
    size: int
    received_at: float
    total: int | None = None


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
    """

    batch: Batch
    answered: frozenset[int] = frozenset()
    dispatched_through: int = 0
    spent: dict[int, Spent] = {}
    last_seq: int = 0
    total: int | None = None
    done: bool = False
    original: Batch | None = None


class Earlier(msgspec.Struct, frozen=True):
    """What claims of a batch that are sent again supersede.

    `generations` maps each answered ordinal to the generation of its latest result. `spent` says what attempts of
    the generation after that have cost already, in a process that died; most claims have none.
    """

    generations: dict[int, int] = {}
    spent: dict[int, Spent] = {}


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
        """Read up to `limit` of them, as their next generation, in order from above `after`: batch number, ordinal."""
        ...


class Record(msgspec.Struct, frozen=True, gc=False):
    """A result on its way into the ledger: `body` is the encoded record.

    `parked` is the claim's interchange if the claim can be sent again later (undelivered and the like),
    `transaction_id` the service's, kept to see one id used for two claims.
    """

    batch_number: int
    ordinal: int
    generation: int
    result_id: str
    disposition: str
    reason_code: str | None
    transaction_id: str | None
    body: bytes
    parked: Claim | None = None


class Emission(msgspec.Struct, frozen=True, gc=False):
    """A result on its way out of the ledger; `seq` grows without holes being meaningful."""

    seq: int
    batch_number: int
    result_id: str
    body: bytes


class Position(msgspec.Struct, frozen=True, gc=False):
    """How far a sink has come: the last `seq` it made durable, and the sink's own `cursor`."""

    seq: int = 0
    cursor: str | None = None


class BatchSummary(msgspec.Struct, frozen=True, gc=False):
    """A batch in numbers. `counts` maps disposition to claims; `total` is None where it was not told."""

    batch: Batch
    state: str  # open | done
    total: int | None
    counts: dict[str, int]
    parked: int = 0
    in_retry: int = 0


class Ledger(Protocol):
    """The durable memory. Every method that changes something returns once the change is on disk.

    Called concurrently; calls that wait at the same time share one commit. Times are seconds since the
    epoch, never monotonic values.

    :raises worker.errors.StorageFull: from every writing method, if there is no room: nothing was changed,
        call again.
    :raises worker.errors.StateError: from every method, if the ledger cannot be trusted any more.
    """

    async def open_batches(self, arrivals: Sequence[Arrival]) -> Sequence[OpenedBatch]:
        """Note that these deliveries are being worked on; recognise those seen before by `sha256` and `ref`.

        A known pair comes back with all that is known of it. A new pair gets a new batch; if the same bytes
        were delivered before under another ref, `original` names the first finished such batch.
        """
        ...

    async def reserve(self, marks: Mapping[int, int]) -> None:
        """Note that first attempts may be under way from now on; await it before the first byte of any of them.

        `marks` maps a batch's number to the ordinal up to which its claims may have been sent for the first time.
        """
        ...

    async def retract(self, marks: Mapping[int, int]) -> None:
        """Unsay part of what `reserve` noted: of each batch nothing above this ordinal was sent, nor will be now."""
        ...

    async def dispatch(self, claim: Claim, attempt: int) -> None:
        """Note that attempt number `attempt` of the claim is about to be made; await it before the first byte.

        For claims that had an attempt before, in this process or another; of first attempts `reserve` is told.
        """
        ...

    async def defer(self, claim: Claim, spent: Spent) -> None:
        """Note that an attempt ended without a verdict and when the next one is due."""
        ...

    async def record(self, records: Sequence[Record]) -> Sequence[int]:
        """Store results, exactly one per result_id; returns their places in the outbox, in the order given.

        Where a result is already there nothing changes and the known place is returned.
        """
        ...

    async def finish(self, batch_numbers: Sequence[int]) -> None:
        """Note that all results of these batches are in all sinks, *before* the source is told."""
        ...

    async def outbox(self, after: int, limit: int) -> Sequence[Emission]:
        """Read up to `limit` results with a `seq` above `after`, in order."""
        ...

    async def results_of(self, batch_number: int, after_ordinal: int, limit: int) -> Sequence[bytes]:
        """Read the batch's latest result records in order of ordinal, from above `after_ordinal`."""
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

    async def close(self) -> None:
        """Commit what waits and let go of the store."""
        ...


# --- sink --------------------------------------------------------------------------------------------


class Sink(Protocol):
    """Takes results out. One task calls it, in order of `seq`; idempotent on `result_id`."""

    @property
    def name(self) -> str:
        """The sink's key in the ledger: stable across restarts for the same target."""
        ...

    async def open(self, cursor: str | None) -> None:
        """Prepare the target, repair what a crash left, and learn which results after `cursor` are there.

        :raises worker.errors.SettingsError: if the target cannot be as configured.
        :raises worker.errors.StateError: if it is not what we left or cannot be written.
        """
        ...

    async def write(self, emissions: Sequence[Emission]) -> str | None:
        """Make these results durable and return the new cursor; results already there are skipped.

        :raises worker.errors.StorageFull: if there is no room; nothing torn, call again with the same.
        :raises worker.errors.StateError: if the target cannot be trusted any more.
        """
        ...

    async def complete(self, batch: Batch, records: AsyncIterator[bytes]) -> None:
        """All results of the batch have been through `write`; `records` gives them again by ordinal.

        Called at least once per batch, again after a crash; raises like `write`.
        """
        ...

    async def close(self) -> None:
        """Let go of the target."""
        ...
