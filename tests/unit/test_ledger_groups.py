"""A group of changes takes few statements whatever its size, and no row is lost where it takes several."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

import anyio

from worker.claim import Batch, Claim
from worker.ledger import SqliteLedger, open_ledger
from worker.ledger.rows import MOST_ROWS
from worker.ports import Arrival, Record, Spent
from worker.x12 import ClaimFacts

MANY = 2 * MOST_ROWS + 7
FACTS = ClaimFacts(payer_id="87726")


def arrival(number: int, *, ref: str = "r", total: int | None = 1) -> Arrival:
    return Arrival(f"{number:020x}".ljust(64, "0"), ref, f"{number}.837", 10, 1.0, total)


def claim(batch: Batch, ordinal: int, generation: int = 1) -> Claim:
    return Claim(batch=batch, ordinal=ordinal, interchange=b"ISA*%d~" % ordinal, facts=FACTS, generation=generation)


def record(batch: Batch, ordinal: int, disposition: str = "accepted", *, generation: int = 1) -> Record:
    result_id = f"{batch.batch_id}:{ordinal}:{generation}"
    parked = claim(batch, ordinal) if disposition == "undelivered" else None
    body = result_id.encode()
    return Record(batch.number, ordinal, generation, result_id, disposition, None, body, parked)


async def together(calls: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """Make all the calls at the same time, so that they share one commit."""

    async def make(call: Callable[[], Awaitable[object]]) -> None:
        await call()

    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(make, call)


async def opened(ledger: SqliteLedger, many: int, *, start: int = 0) -> list[Batch]:
    return [each.batch for each in await ledger.open_batches([arrival(start + n) for n in range(many)])]


def statements(ledger: SqliteLedger) -> list[str]:
    """Collect what the ledger's writer executes from now on."""
    executed: list[str] = []
    ledger._writer._db.set_trace_callback(executed.append)
    return executed


async def test_a_group_takes_as_many_statements_for_many_claims_as_for_one(tmp_path: Path) -> None:
    taken: list[int] = []
    async with open_ledger(f"sqlite:{tmp_path}/l.db") as ledger:
        executed = statements(ledger)
        for many, start in ((1, 0), (MOST_ROWS, 100)):
            executed.clear()
            batches = await opened(ledger, many, start=start)
            await together([partial(ledger.dispatch, claim(batch, 1), 1) for batch in batches])
            await together([partial(ledger.record, [record(batch, 1)]) for batch in batches])
            await ledger.finish([batch.number for batch in batches])
            taken.append(len(executed))

    assert taken[0] == taken[1] < 25


async def test_more_deliveries_than_fit_a_statement_are_opened_in_their_order(tmp_path: Path) -> None:
    async with open_ledger(f"sqlite:{tmp_path}/l.db") as ledger:
        first = await ledger.open_batches([arrival(n, ref="a") for n in range(0, MANY, 2)])
        await ledger.finish([each.batch.number for each in first])
        mixed = await ledger.open_batches([arrival(n, ref=ref) for n in range(MANY) for ref in ("a", "b", "a")])

    assert [each.batch.number for each in first] == list(range(1, len(first) + 1))
    for n in range(MANY):
        one, other, again = mixed[3 * n : 3 * n + 3]
        stem = f"{n:020x}"
        assert (one.batch.batch_id, other.batch.batch_id, again.batch) == (stem, f"{stem}-2", one.batch)
        assert other.batch.number > one.batch.number
        assert (one.done, other.done) == (n % 2 == 0, False)
        assert other.original == (one.batch if n % 2 == 0 else None)
        assert one.original is None


async def test_more_claims_than_fit_a_statement_are_all_written(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/l.db"
    ordinals = range(1, MANY + 1)
    async with open_ledger(url) as ledger:
        batches = await opened(ledger, MANY)
        last = batches[-1]
        sent = [partial(ledger.reserve, {batch.number: 3}) for batch in batches]
        deferred = [partial(ledger.defer, claim(last, n), Spent(n, 0, 0.1 * n, 5.0)) for n in ordinals]
        stored = [partial(ledger.record, [record(batch, 1)]) for batch in batches]
        await together([*sent, *deferred, *stored])
    async with open_ledger(url) as ledger:
        again = await ledger.open_batches([arrival(n) for n in range(MANY)])

        assert [each.dispatched_through for each in again] == [3] * MANY
        assert [each.answered for each in again] == [{1}] * MANY
        assert sorted(each.last_seq for each in again) == list(ordinals)
        assert again[-1].spent == {n: Spent(n, 0, 0.1 * n, 5.0) for n in ordinals if n != 1}
        assert await ledger.totals() == {"accepted": MANY}

        await ledger.finish([each.batch.number for each in again])
        assert await ledger.summaries(open_only=True) == []
        assert (await ledger.open_batches([arrival(MANY - 1)]))[0].spent == {}


async def test_replays_of_many_claims_at_once_take_the_places_of_the_earlier_results(tmp_path: Path) -> None:
    async with open_ledger(f"sqlite:{tmp_path}/l.db") as ledger:
        (one, other) = await opened(ledger, 2)
        lost = [record(batch, n, "undelivered") for n in range(1, MANY + 1) for batch in (one, other)]
        await together([partial(ledger.record, [each]) for each in lost])
        parked = await ledger.parked(limit=1000)
        await together([partial(ledger.dispatch, each.claim, 1) for each in parked])

        again = [record(one, n, generation=2) for n in range(1, MANY + 1)]
        await together([partial(ledger.record, [each]) for each in again])

        assert len(parked) == 2 * MANY
        assert await ledger.dispositions(one.number) == {"accepted": MANY}
        assert await ledger.dispositions(other.number) == {"undelivered": MANY}
        assert [(each.claim.batch, each.claim.attempts) for each in await ledger.parked(limit=1000)] == [
            (other, 1)
        ] * MANY
        assert [summary.in_retry for summary in await ledger.summaries()] == [MANY, 0]


async def test_known_results_among_many_new_ones_keep_their_places(tmp_path: Path) -> None:
    seqs: dict[int, int] = {}
    async with open_ledger(f"sqlite:{tmp_path}/l.db") as ledger:
        (batch,) = await opened(ledger, 1)
        known = {n: (await ledger.record([record(batch, n)]))[0].seq for n in (5, MANY)}

        async def store(ordinal: int) -> None:
            seqs[ordinal] = (await ledger.record([record(batch, ordinal, "rejected")]))[0].seq

        await together([partial(store, n) for n in range(1, MANY + 1)])

        held = {int(each.result_id.split(":")[1]): each.seq for each in await ledger.outbox(0, 1000)}
        assert known.items() <= seqs.items()
        assert seqs == held
        assert await ledger.totals() == {"accepted": 2, "rejected": MANY - 2}
