"""The ledger in memory."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence, Set
from itertools import islice

from anyio.lowlevel import checkpoint

from worker.claim import ID_DIGITS, Batch, Claim
from worker.errors import StateError
from worker.ports import Arrival, BatchSummary, Earlier, Emission, OpenedBatch, Position, Record, Spent, page_of


class MemoryLedger:
    """`worker.ports.Ledger` in memory. What it holds outlives `close`, as if it were opened again.

    While `failure` is set, every method that changes something raises it and changes nothing.
    """

    def __init__(self, *, environment: str = "") -> None:
        self.failure: StateError | None = None
        self.records: dict[tuple[int, int, int], tuple[int, Record]] = {}
        self.notes: dict[str, str] = {}
        self.positions: dict[str, Position] = {}
        self._environment = environment
        self._batches: list[Batch] = []
        self._deliveries: dict[tuple[str, str], Batch] = {}
        self._marks: Counter[int] = Counter()
        self._spent: dict[tuple[int, int, int], tuple[Spent, bool]] = {}
        self._totals: dict[int, int] = {}
        self._finished: set[int] = set()
        self._of_batch: defaultdict[int, list[Record]] = defaultdict(list)
        self._of_bytes: defaultdict[str, list[Batch]] = defaultdict(list)
        self._of_stem: Counter[str] = Counter()

    async def open_batches(self, arrivals: Sequence[Arrival]) -> Sequence[OpenedBatch]:
        """Recognise or add the deliveries."""
        await self._change()
        return [self._open(arrival) for arrival in arrivals]

    async def reserve(self, marks: Mapping[int, int]) -> None:
        """Note first attempts about to be made."""
        await self._change()
        for number, ordinal in marks.items():
            self._marks[number] = max(self._marks[number], ordinal)

    async def retract(self, marks: Mapping[int, int]) -> None:
        """Note first attempts that were not made."""
        await self._change()
        for number, ordinal in marks.items():
            self._marks[number] = min(self._marks[number], ordinal)

    async def dispatch(self, claim: Claim, attempt: int) -> None:
        """Note an attempt about to be made."""
        await self._change()
        key = (claim.batch.number, claim.ordinal, claim.generation)
        known = self._spent.get(key)
        ambiguous = max(claim.ambiguous_attempts, known[0].ambiguous_attempts if known else 0)
        first_sent_at = (known[0].first_sent_at if known else None) or claim.first_sent_at
        self._spent[key] = (Spent(attempt, ambiguous, first_sent_at, 0.0), True)

    async def defer(self, claim: Claim, spent: Spent) -> None:
        """Note a failed attempt."""
        await self._change()
        self._spent[claim.batch.number, claim.ordinal, claim.generation] = (spent, False)

    async def record(self, records: Sequence[Record]) -> Sequence[Emission]:
        """Store each result once."""
        await self._change()
        return [self._store(record) for record in records]

    def _store(self, record: Record) -> Emission:
        key = (record.batch_number, record.ordinal, record.generation)
        if key not in self.records:
            self.records[key] = (len(self.records) + 1, record)
            self._of_batch[record.batch_number].append(record)
        seq, known = self.records[key]
        return Emission(seq, known.batch_number, known.result_id, known.body)

    async def finish(self, batch_numbers: Sequence[int]) -> None:
        """Note that these batches are done."""
        await self._change()
        self._finished.update(batch_numbers)

    async def outbox(self, after: int, limit: int) -> Sequence[Emission]:
        """Read results in order."""
        await checkpoint()
        rows = page_of(islice(self.records.values(), after, after + limit), lambda row: len(row[1].body))
        return [Emission(seq, record.batch_number, record.result_id, record.body) for seq, record in rows]

    async def results_of(self, batch_number: int, after_ordinal: int, limit: int) -> Sequence[tuple[int, bytes]]:
        """Read the batch's latest records."""
        await checkpoint()
        latest = self._latest(batch_number)
        found = ((ordinal, latest[ordinal].body) for ordinal in sorted(latest) if ordinal > after_ordinal)
        return page_of(islice(found, limit), lambda row: len(row[1]))

    async def earlier(self, batch_number: int) -> Earlier:
        """Tell what a repeat of the batch's claims supersedes."""
        await checkpoint()
        generations = {ordinal: record.generation for ordinal, record in self._latest(batch_number).items()}
        spent = {
            ordinal: Spent(spent.attempts, spent.ambiguous_attempts + in_flight, spent.first_sent_at, spent.due_at)
            for (number, ordinal, generation), (spent, in_flight) in self._spent.items()
            if number == batch_number and generation > 1 and generation == generations.get(ordinal, 0) + 1
        }
        return Earlier(generations, spent)

    async def position(self, sink: str) -> Position:
        """Tell how far the sink has come."""
        await checkpoint()
        return self.positions.get(sink, Position())

    async def advance(self, sink: str, position: Position) -> None:
        """Note how far the sink has come."""
        await self._change()
        self.positions[sink] = position

    async def summaries(self, *, open_only: bool = False, limit: int = 100) -> Sequence[BatchSummary]:
        """Describe the newest batches."""
        await checkpoint()
        wanted = [batch for batch in reversed(self._batches) if not (open_only and batch.number in self._finished)]
        return [self._summary(batch) for batch in wanted[:limit]]

    async def note(self, key: str, value: str) -> None:
        """Remember a small fact."""
        await self._change()
        self.notes[key] = value

    async def noted(self, key: str) -> str | None:
        """Recall it."""
        await checkpoint()
        return self.notes.get(key)

    def end_by(self, deadline: float) -> None:
        """Nothing here waits for an answer."""

    async def close(self) -> None:
        """Keep everything."""
        await checkpoint()

    async def _change(self) -> None:
        await checkpoint()
        if self.failure is not None:
            raise type(self.failure)(*self.failure.args)

    def _open(self, arrival: Arrival) -> OpenedBatch:
        equal = list(self._of_bytes[arrival.sha256])
        batch = known = self._deliveries.get((arrival.sha256, arrival.ref))
        reserved = 0
        if batch is None:
            reserved = arrival.reserved
            stem = arrival.sha256[:ID_DIGITS]
            earlier = self._of_stem[stem]
            batch_id = f"{stem}-{earlier + 1}" if earlier else stem
            batch = Batch(len(self._batches) + 1, batch_id, arrival.name, arrival.received_at, self._environment)
            self._batches.append(batch)
            self._of_stem[stem] += 1
            self._of_bytes[arrival.sha256].append(batch)
            self._deliveries[arrival.sha256, arrival.ref] = batch
            if arrival.total is not None:
                self._totals[batch.number] = arrival.total
        before = [other for other in equal if other.number < batch.number]
        original = next((other for other in before if other.number in self._finished), None)
        awaited = next(iter(before), None) if original is None else None
        if awaited is not None:
            reserved = 0
        answered = self._latest(batch.number)
        dispatched_through = self._marks[batch.number]
        self._marks[batch.number] = max(dispatched_through, reserved)
        return OpenedBatch(
            batch=batch,
            answered=frozenset(answered),
            dispatched_through=dispatched_through,
            spent=self._recalled(batch.number, answered.keys()) if known else {},
            last_seq=max((self._seq(record) for record in self._of_batch[batch.number]), default=0),
            total=self._totals.get(batch.number),
            done=batch.number in self._finished,
            original=original,
            awaited=awaited,
            reserved=reserved,
        )

    def _recalled(self, batch_number: int, answered: Set[int]) -> dict[int, Spent]:
        """Tell what unanswered claims have cost; an attempt that was in flight has an unknown outcome."""
        return {
            ordinal: Spent(spent.attempts, spent.ambiguous_attempts + in_flight, spent.first_sent_at, spent.due_at)
            for (number, ordinal, generation), (spent, in_flight) in self._spent.items()
            if number == batch_number and generation == 1 and ordinal not in answered
        }

    def _latest(self, batch_number: int) -> dict[int, Record]:
        ours = sorted(self._of_batch[batch_number], key=lambda record: record.generation)
        return {record.ordinal: record for record in ours}

    def _seq(self, record: Record) -> int:
        return self.records[record.batch_number, record.ordinal, record.generation][0]

    def _summary(self, batch: Batch) -> BatchSummary:
        latest = self._latest(batch.number)
        in_retry = sum(key[0] == batch.number and key not in self.records for key in self._spent)
        return BatchSummary(
            batch=batch,
            state="done" if batch.number in self._finished else "open",
            total=self._totals.get(batch.number),
            counts=dict(Counter(record.disposition for record in latest.values())),
            parked=sum(record.parked is not None for record in latest.values()),
            in_retry=in_retry,
        )
