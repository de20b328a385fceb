"""What every ledger must do; SQLite's, PostgreSQL's and the one in memory are held to the same."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
import pytest
from msgspec.structs import replace

from tests.postgres import SharedLedger
from worker.claim import Batch, Claim
from worker.ledger import open_ledger
from worker.ports import PAGE_BYTES, Arrival, Ledger, OpenedBatch, Position, Record, Spent
from worker.testing import MemoryLedger
from worker.x12 import ClaimFacts

Place = Callable[[], AbstractAsyncContextManager[Ledger]]

SHA = "0123456789abcdef" * 4
OTHER_SHA = "fedcba9876543210" * 4


@pytest.fixture(params=["sqlite", "postgres", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Opens the same ledger again each time it is called, as a restarted worker would."""
    if request.param == "sqlite":
        yield lambda: open_ledger(f"sqlite:{tmp_path}/state/ledger.db")
        return
    if request.param == "postgres":
        shared = SharedLedger()
        yield shared.opened
        shared.remove()
        return
    kept = MemoryLedger()

    @asynccontextmanager
    async def memory() -> AsyncIterator[Ledger]:
        yield kept

    yield memory


def arrival(sha256: str = SHA, ref: str = "in/a.837", total: int | None = None) -> Arrival:
    return Arrival(sha256, ref, "a.837", 1000, 1_700_000_000.0, total)


def claim(batch: Batch, ordinal: int, **spent: object) -> Claim:
    return Claim(batch=batch, ordinal=ordinal, interchange=b"ISA*", facts=ClaimFacts(payer_id="87726"), **spent)  # type: ignore[arg-type]  # keywords of the struct


def record(
    batch: Batch, ordinal: int, *, generation: int = 1, disposition: str = "accepted", parked: Claim | None = None
) -> Record:
    result_id = f"{batch.batch_id}:{ordinal}:{generation}"
    body = b'{"schema":1,"result_id":"%b"}' % result_id.encode()
    return Record(batch.number, ordinal, generation, result_id, disposition, None, body, parked)


async def opened(ledger: Ledger, sha256: str = SHA, ref: str = "in/a.837", total: int | None = None) -> OpenedBatch:
    (batch,) = await ledger.open_batches([arrival(sha256, ref, total)])
    return batch


async def test_a_new_delivery_gets_a_batch_named_after_its_bytes(place: Place) -> None:
    async with place() as ledger:
        batch = await opened(ledger)

    assert batch.batch.batch_id == SHA[:20]
    assert batch.batch.name == "a.837"
    assert batch.batch.received_at == 1_700_000_000.0
    assert (batch.answered, batch.dispatched_through, batch.spent, batch.last_seq) == (frozenset(), 0, {}, 0)
    assert (batch.total, batch.done, batch.original) == (None, False, None)


async def test_the_same_delivery_is_the_same_batch_after_a_restart(place: Place) -> None:
    async with place() as ledger:
        first = await opened(ledger)
    async with place() as ledger:
        again = await opened(ledger)

    assert again == first


async def test_the_same_delivery_twice_in_one_call_is_one_batch(place: Place) -> None:
    async with place() as ledger:
        one, two = await ledger.open_batches([arrival(), arrival()])

    assert one.batch == two.batch


async def test_later_deliveries_of_equal_bytes_are_numbered(place: Place) -> None:
    async with place() as ledger:
        batches = await ledger.open_batches([arrival(ref=f"in/{n}.837") for n in range(3)])

    assert [batch.batch.batch_id for batch in batches] == [SHA[:20], f"{SHA[:20]}-2", f"{SHA[:20]}-3"]
    assert len({batch.batch.number for batch in batches}) == 3


async def test_equal_bytes_that_are_being_worked_on_are_awaited_until_they_are_finished(place: Place) -> None:
    async with place() as ledger:
        first, second, other = await ledger.open_batches(
            [
                Arrival(SHA, "in/1", "1", 1, 1.0, 5, reserved=5),
                Arrival(SHA, "in/2", "2", 1, 1.0, 5, reserved=5),
                Arrival("b" * 64, "in/3", "3", 1, 1.0, 5, reserved=5),
            ]
        )
        again = await opened(ledger, ref="in/2")
        await ledger.finish([first.batch.number])
        finished = await opened(ledger, ref="in/2")

        assert [one.awaited for one in (first, second, other, again)] == [None, first.batch, None, first.batch]
        assert [one.reserved for one in (first, second, other)] == [5, 0, 5]
        assert again.dispatched_through == 0
        assert (finished.awaited, finished.original) == (None, first.batch)


async def test_the_original_of_equal_bytes_is_the_first_finished_batch(place: Place) -> None:
    async with place() as ledger:
        open_one, finished, late = await ledger.open_batches([arrival(ref=f"in/{n}") for n in range(3)])
        other = await opened(ledger, OTHER_SHA, "in/other")
        await ledger.finish([finished.batch.number, other.batch.number])

        newest = await opened(ledger, ref="in/newest")

        assert newest.original == finished.batch
        assert (await opened(ledger, ref="in/2")).original == finished.batch
        assert (await opened(ledger, ref="in/0")).original is None
        assert (open_one.original, late.original) == (None, None)


async def test_answered_claims_are_known_after_a_restart(place: Place) -> None:
    async with place() as ledger:
        batch = (await opened(ledger, total=5)).batch
        for ordinal in (1, 3):
            await ledger.reserve({batch.number: ordinal})
        last = 0
        for ordinal in (3, 1):
            last = (await ledger.record([record(batch, ordinal)]))[0].seq
    async with place() as ledger:
        again = await opened(ledger)

    assert again.answered == {1, 3}
    assert again.dispatched_through == 3
    assert again.last_seq == last
    assert again.total == 5
    assert not again.done


@pytest.mark.fault(2)
async def test_a_first_attempt_without_an_end_is_told_by_the_mark(place: Place) -> None:
    async with place() as ledger:
        batch = (await opened(ledger)).batch
        await ledger.reserve({batch.number: 2})
        await ledger.reserve({batch.number: 1})
    async with place() as ledger:
        again = await opened(ledger)

    assert again.dispatched_through == 2
    assert again.spent == {}
    assert again.answered == frozenset()


async def test_first_attempts_can_be_noted_with_the_arrival_of_a_new_batch(place: Place) -> None:
    ahead = Arrival(SHA, "in/a.837", "a.837", 1000, 1_700_000_000.0, 5, reserved=3)
    async with place() as ledger:
        (new,) = await ledger.open_batches([ahead])
        assert (new.reserved, new.dispatched_through) == (3, 0)
    async with place() as ledger:
        assert (await opened(ledger)).dispatched_through == 3


async def test_an_arrival_that_is_known_notes_nothing(place: Place) -> None:
    async with place() as ledger:
        batch = (await opened(ledger, total=5)).batch
        await ledger.reserve({batch.number: 2})
        (known,) = await ledger.open_batches([Arrival(SHA, "in/a.837", "a.837", 1000, 1.0, 5, reserved=4)])
        assert (known.reserved, known.dispatched_through) == (0, 2)
    async with place() as ledger:
        assert (await opened(ledger)).dispatched_through == 2


async def test_what_was_noted_and_not_sent_can_be_unsaid(place: Place) -> None:
    async with place() as ledger:
        batch, other = (await opened(ledger)).batch, (await opened(ledger, OTHER_SHA, "in/other")).batch
        await ledger.reserve({batch.number: 9, other.number: 9})
        await ledger.retract({batch.number: 4})
    async with place() as ledger:
        assert (await opened(ledger)).dispatched_through == 4
        assert (await opened(ledger, OTHER_SHA, "in/other")).dispatched_through == 9


async def test_a_deferred_claim_keeps_what_it_spent_and_when_it_is_due(place: Place) -> None:
    spent = Spent(2, 1, 1_700_000_001.5, 1_700_000_060.25)
    async with place() as ledger:
        batch = (await opened(ledger)).batch
        await ledger.reserve({batch.number: 1})
        await ledger.defer(claim(batch, 1), Spent(1, 1, 1_700_000_001.5, 1.0))
        await ledger.dispatch(claim(batch, 1), 2)
        await ledger.defer(claim(batch, 1), spent)
    async with place() as ledger:
        assert (await opened(ledger)).spent == {1: spent}


@pytest.mark.fault(2)
async def test_a_later_attempt_without_an_end_counts_as_ambiguous(place: Place) -> None:
    async with place() as ledger:
        batch = (await opened(ledger)).batch
        await ledger.reserve({batch.number: 1})
        await ledger.defer(claim(batch, 1), Spent(1, 0, 1_700_000_001.5, 1_700_000_060.0))
        await ledger.dispatch(claim(batch, 1), 2)
    async with place() as ledger:
        assert (await opened(ledger)).spent == {1: Spent(2, 1, 1_700_000_001.5, 0.0)}


async def test_attempts_of_several_lives_add_up(place: Place) -> None:
    async with place() as ledger:
        batch = (await opened(ledger)).batch
        await ledger.reserve({batch.number: 1})
    async with place() as ledger:
        await ledger.dispatch(claim(batch, 1, attempts=1, ambiguous_attempts=1), 2)
    async with place() as ledger:
        assert (await opened(ledger)).spent == {1: Spent(2, 2, None, 0.0)}


async def test_a_claim_deferred_at_no_cost_that_was_then_sent_counts_as_ambiguous(place: Place) -> None:
    async with place() as ledger:
        batch = (await opened(ledger)).batch
        await ledger.reserve({batch.number: 1})
        await ledger.defer(claim(batch, 1), Spent(0, 0, None, 5.0))
    async with place() as ledger:
        assert (await opened(ledger)).spent == {1: Spent(0, 0, None, 5.0)}
        await ledger.dispatch(claim(batch, 1), 1)
    async with place() as ledger:
        assert (await opened(ledger)).spent == {1: Spent(1, 1, None, 0.0)}


async def test_answered_claims_have_nothing_left_to_spend(place: Place) -> None:
    async with place() as ledger:
        batch = (await opened(ledger)).batch
        await ledger.reserve({batch.number: 1})
        await ledger.defer(claim(batch, 1), Spent(1, 0, 1.0, 2.0))
        await ledger.dispatch(claim(batch, 1), 2)
        await ledger.record([record(batch, 1)])

        assert (await opened(ledger)).spent == {}
        assert (await ledger.summaries())[0].in_retry == 0


async def test_a_result_is_stored_once_and_keeps_its_place(place: Place) -> None:
    async with place() as ledger:
        batch = (await opened(ledger)).batch
        first = (await ledger.record([record(batch, 1)]))[0].seq
        other = (await ledger.record([record(batch, 2)]))[0].seq
        again = (await ledger.record([record(batch, 1, disposition="rejected")]))[0].seq

        assert again == first
        assert other > first
        assert [emission.seq for emission in await ledger.outbox(0, 10)] == [first, other]
        assert (await ledger.summaries())[0].counts == {"accepted": 2}


async def test_the_same_result_from_many_callers_at_once_is_stored_once(place: Place) -> None:
    seqs: list[int] = []
    async with place() as ledger:
        batch = (await opened(ledger)).batch

        async def store(ordinal: int) -> None:
            seqs.append((await ledger.record([record(batch, ordinal)]))[0].seq)

        async with anyio.create_task_group() as tasks:
            for ordinal in (1, 2, 1, 1, 3):
                tasks.start_soon(store, ordinal)

        assert len(set(seqs)) == 3
        assert {emission.seq for emission in await ledger.outbox(0, 10)} == set(seqs)
        assert (await ledger.summaries())[0].counts == {"accepted": 3}


async def test_the_outbox_gives_results_in_order_and_in_portions(place: Place) -> None:
    async with place() as ledger:
        batch = (await opened(ledger)).batch
        for ordinal in (3, 1, 2):
            await ledger.record([record(batch, ordinal)])

        first = await ledger.outbox(0, 2)
        rest = await ledger.outbox(first[-1].seq, 2)

        assert [emission.result_id for emission in (*first, *rest)] == [f"{SHA[:20]}:{n}:1" for n in (3, 1, 2)]
        assert first[0].body == record(batch, 3).body
        assert first[0].batch_number == batch.number
        assert await ledger.outbox(rest[-1].seq, 2) == []


async def test_a_page_ends_with_the_record_that_makes_it_too_long_and_is_never_empty_before_the_end(
    place: Place,
) -> None:
    async with place() as ledger:
        batch = (await opened(ledger)).batch
        sizes = [PAGE_BYTES // 2, PAGE_BYTES // 2, 10, 2 * PAGE_BYTES, 10]
        for ordinal, size in enumerate(sizes, start=1):
            await ledger.record([replace(record(batch, ordinal), body=bytes(size))])

        seq, ordinal = 0, 0
        emitted, told = [], []
        while emissions := await ledger.outbox(seq, 100):
            emitted.append([len(emission.body) for emission in emissions])
            seq = emissions[-1].seq
        while page := await ledger.results_of(batch.number, ordinal, 100):
            told.append([len(body) for _, body in page])
            ordinal = page[-1][0]

    assert emitted == told == [sizes[:3], sizes[3:4], sizes[4:]]


async def test_results_of_a_batch_come_by_ordinal_and_only_the_latest_of_each_claim(place: Place) -> None:
    async with place() as ledger:
        batch = (await opened(ledger)).batch
        other = (await opened(ledger, OTHER_SHA)).batch
        for ordinal in (2, 3, 1):
            await ledger.record([record(batch, ordinal, disposition="undelivered")])
        await ledger.record([record(other, 1)])
        await ledger.record([record(batch, 2, generation=2)])

        first = await ledger.results_of(batch.number, 0, 2)
        rest = await ledger.results_of(batch.number, 2, 2)

        assert first == [(1, record(batch, 1).body), (2, record(batch, 2, generation=2).body)]
        assert rest == [(3, record(batch, 3).body)]


async def test_a_replay_takes_the_place_of_the_earlier_result_in_the_counts(place: Place) -> None:
    async with place() as ledger:
        batch = (await opened(ledger)).batch
        sent = claim(batch, 1)
        await ledger.record([record(batch, 1, disposition="undelivered", parked=sent)])
        await ledger.record([record(batch, 2)])
        before = (await ledger.summaries())[0]
        await ledger.record([record(batch, 1, generation=2)])
        after = (await ledger.summaries())[0]

        assert (before.counts, before.parked) == ({"undelivered": 1, "accepted": 1}, 1)
        assert (after.counts, after.parked) == ({"accepted": 2}, 0)
        assert len(await ledger.outbox(0, 10)) == 3


async def test_an_attempt_of_a_replay_does_not_move_the_mark(place: Place) -> None:
    async with place() as ledger:
        batch = (await opened(ledger)).batch
        await ledger.reserve({batch.number: 1})
        await ledger.dispatch(claim(batch, 7, generation=2), 1)

        again = await opened(ledger)

        assert again.dispatched_through == 1
        assert again.spent == {}


async def test_a_finished_batch_is_recognised_as_done(place: Place) -> None:
    async with place() as ledger:
        batch = (await opened(ledger, total=1)).batch
        await ledger.record([record(batch, 1)])
        await ledger.finish([batch.number])
        await ledger.finish([batch.number])
    async with place() as ledger:
        again = await opened(ledger)
        (summary,) = await ledger.summaries()

        assert again.done
        assert again.answered == {1}
        assert (summary.state, summary.total, summary.counts) == ("done", 1, {"accepted": 1})
        assert await ledger.summaries(open_only=True) == []


async def test_summaries_are_newest_first_and_count_what_is_in_retry(place: Place) -> None:
    async with place() as ledger:
        one, two = (opened.batch for opened in await ledger.open_batches([arrival(), arrival(OTHER_SHA)]))
        await ledger.reserve({one.number: 1})
        await ledger.defer(claim(one, 1), Spent(1, 0, 1.0, 2.0))
        await ledger.finish([two.number])

        summaries = await ledger.summaries()

        assert [summary.batch for summary in summaries] == [two, one]
        assert [summary.in_retry for summary in summaries] == [0, 1]
        assert [summary.batch for summary in await ledger.summaries(open_only=True)] == [one]
        assert [summary.batch for summary in await ledger.summaries(limit=1)] == [two]


async def test_positions_are_kept_per_sink(place: Place) -> None:
    async with place() as ledger:
        assert await ledger.position("jsonl:a") == Position(0, None)

        await ledger.advance("jsonl:a", Position(5, "1:2:3"))
        await ledger.advance("edi:b", Position(7, None))
        await ledger.advance("jsonl:a", Position(6, "1:3:4"))
    async with place() as ledger:
        assert await ledger.position("jsonl:a") == Position(6, "1:3:4")
        assert await ledger.position("edi:b") == Position(7, None)


async def test_notes_are_remembered(place: Place) -> None:
    async with place() as ledger:
        assert await ledger.noted("limit") is None
        await ledger.note("limit", "40")
        await ledger.note("limit", "80")
    async with place() as ledger:
        assert await ledger.noted("limit") == "80"


async def test_a_cancelled_caller_harms_no_other(place: Place) -> None:
    stored: list[int] = []
    async with place() as ledger:
        batch = (await opened(ledger)).batch

        async def store(ordinal: int) -> None:
            stored.append((await ledger.record([record(batch, ordinal)]))[0].seq)

        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as doomed:
                tasks.start_soon(store, 1)
                tasks.start_soon(store, 2)
                doomed.cancel()
                await store(3)
        await store(4)

        assert len(stored) >= 3
        assert set(stored) <= {emission.seq for emission in await ledger.outbox(0, 10)}
