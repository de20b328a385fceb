"""What the command line and the retention ask of the ledger: results, parked claims, totals, purge."""

import random
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from worker.claim import Batch, Claim
from worker.ledger import ParkedFilter, SqliteLedger, open_ledger
from worker.ledger.packs import PATTERN
from worker.ledger.retention import purge_some
from worker.ports import PAGE_BYTES, Arrival, Position, Record, Spent
from worker.x12 import ClaimFacts


def at(now: list[float]) -> Callable[[], float]:
    return lambda: now[0]


def record(
    batch: Batch, ordinal: int, disposition: str = "accepted", *, generation: int = 1, parked: bool = False
) -> Record:
    facts = ClaimFacts(payer_id="87726", patient_control_number="PCN1")
    claim = Claim(batch=batch, ordinal=ordinal, interchange=b"ISA*%d~" % ordinal, facts=facts)
    result_id = f"{batch.batch_id}:{ordinal}:{generation}"
    reason = None if disposition == "accepted" else f"why_{disposition}"
    body = result_id.encode() * 20
    return Record(batch.number, ordinal, generation, result_id, disposition, reason, body, claim if parked else None)


def telling(batch: Batch, ordinal: int) -> Record:
    """A result that looks like no other, so that packing it saves little."""
    result_id = f"{batch.batch_id}:{ordinal}:1"
    body = random.Random(result_id).randbytes(1000)
    return Record(batch.number, ordinal, 1, result_id, "accepted", None, body)


def unpacked(row: tuple[bytes]) -> bytes:
    return zlib.decompressobj(zdict=PATTERN).decompress(row[0])


async def opened(ledger: SqliteLedger, letter: str = "a", ref: str = "r") -> Batch:
    (batch,) = await ledger.open_batches([Arrival(letter * 64, ref, f"{letter}.837", 1, 1.0)])
    return batch.batch


async def test_parked_claims_come_back_ready_for_their_next_generation(tmp_path: Path) -> None:
    async with open_ledger(f"sqlite:{tmp_path}/l.db", clock=lambda: 1_700_000_000.0) as ledger:
        batch = await opened(ledger)
        await ledger.record([record(batch, 1)])
        await ledger.record([record(batch, 2, "undelivered", parked=True)])

        (parked,) = await ledger.parked()

    assert parked.claim.result_id == f"{batch.batch_id}:2:2"
    assert parked.claim.interchange == b"ISA*2~"
    assert parked.claim.facts.patient_control_number == "PCN1"
    assert parked.claim.batch == batch
    assert (parked.claim.attempts, parked.claim.ambiguous_attempts, parked.claim.due_at) == (0, 0, 0.0)
    assert parked.result_id == f"{batch.batch_id}:2:1"
    assert (parked.disposition, parked.reason_code) == ("undelivered", "why_undelivered")
    assert parked.parked_at == 1_700_000_000.0


async def test_results_and_parked_claims_of_megabytes_come_in_pages_of_some_megabytes(tmp_path: Path) -> None:
    sizes = [PAGE_BYTES // 2, PAGE_BYTES // 2, 10, 2 * PAGE_BYTES, 10]
    async with open_ledger(f"sqlite:{tmp_path}/l.db") as ledger:
        batch = await opened(ledger)
        for ordinal, size in enumerate(sizes, start=1):
            large = Claim(batch, ordinal, bytes(size), ClaimFacts())
            await ledger.record([replace(record(batch, ordinal, "undelivered"), body=bytes(size), parked=large)])

        after, seq = (0, 0), 0
        parked, told = [], []
        while claims := await ledger.parked(after=after):
            parked.append([len(one.claim.interchange) for one in claims])
            after = (batch.number, claims[-1].claim.ordinal)
        while page := await ledger.results(after=seq):
            told.append([len(one.body) for one in page])
            seq = page[-1].seq

    assert parked == told == [sizes[:3], sizes[3:4], sizes[4:]]


async def test_a_replay_that_was_interrupted_remembers_its_attempts(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/l.db"
    async with open_ledger(url) as ledger:
        batch = await opened(ledger)
        await ledger.record([record(batch, 1, "undelivered", parked=True)])
        await ledger.finish([batch.number])
        (parked,) = await ledger.parked()
        await ledger.dispatch(parked.claim, 1)
        await ledger.finish([batch.number])
    async with open_ledger(url) as ledger:
        (again,) = await ledger.parked()
        await ledger.defer(again.claim, Spent(1, 1, 5.0, 60.0))
        (deferred,) = await ledger.parked()

    assert (again.claim.attempts, again.claim.ambiguous_attempts) == (1, 1)
    assert (deferred.claim.attempts, deferred.claim.first_sent_at, deferred.claim.due_at) == (1, 5.0, 60.0)


async def test_a_claim_that_is_parked_again_is_there_once(tmp_path: Path) -> None:
    async with open_ledger(f"sqlite:{tmp_path}/l.db") as ledger:
        batch = await opened(ledger)
        await ledger.record([record(batch, 1, "undelivered", parked=True)])
        await ledger.record([record(batch, 1, "review", generation=2, parked=True)])
        (parked,) = await ledger.parked()
        await ledger.record([record(batch, 1, generation=3)])

        assert parked.claim.generation == 3
        assert parked.disposition == "review"
        assert await ledger.parked() == []
        assert await ledger.totals() == {"accepted": 1}


async def test_parked_claims_are_found_by_disposition_reason_batch_and_time(tmp_path: Path) -> None:
    now = [100.0]
    async with open_ledger(f"sqlite:{tmp_path}/l.db", clock=at(now)) as ledger:
        one, two = await opened(ledger, "a"), await opened(ledger, "b")
        await ledger.record([record(one, 1, "undelivered", parked=True)])
        now[0] = 200.0
        await ledger.record([record(one, 2, "review", parked=True)])
        await ledger.record([record(two, 1, "undelivered", parked=True)])

        async def found(**wanted: object) -> list[str]:
            return [each.result_id for each in await ledger.parked(ParkedFilter(**wanted))]  # type: ignore[arg-type]  # keywords of the struct

        a1, a2, b1 = f"{one.batch_id}:1:1", f"{one.batch_id}:2:1", f"{two.batch_id}:1:1"
        assert await found() == [a1, a2, b1]
        assert await found(dispositions=("undelivered",)) == [a1, b1]
        assert await found(reason_code="why_review") == [a2]
        assert await found(batch=one.batch_id) == [a1, a2]
        assert await found(batch="b.837") == [b1]
        assert await found(parked_from=150.0) == [a2, b1]
        assert await found(parked_before=150.0) == [a1]
        assert await found(dispositions=("undelivered",), batch=two.batch_id, parked_from=300.0) == []
        after = [each.result_id for each in await ledger.parked(after=(one.number, 1), limit=1)]
        assert after == [a2]


async def test_results_are_found_by_disposition_reason_and_batch(tmp_path: Path) -> None:
    async with open_ledger(f"sqlite:{tmp_path}/l.db") as ledger:
        one, two = await opened(ledger, "a"), await opened(ledger, "b")
        await ledger.record([record(one, 1)])
        await ledger.record([record(one, 2, "rejected")])
        await ledger.record([record(two, 1, "undelivered")])
        await ledger.record([record(two, 1, generation=2)])

        async def found(**wanted: object) -> list[str]:
            return [each.result_id for each in await ledger.results(**wanted)]  # type: ignore[arg-type]  # keywords of the method

        assert await found() == [f"{one.batch_id}:1:1", f"{one.batch_id}:2:1", f"{two.batch_id}:1:2"]
        assert await found(disposition="rejected") == [f"{one.batch_id}:2:1"]
        assert await found(disposition="undelivered") == []
        assert await found(reason_code="why_rejected") == [f"{one.batch_id}:2:1"]
        assert await found(batch="b.837") == [f"{two.batch_id}:1:2"]
        assert await ledger.totals() == {"accepted": 2, "rejected": 1}
        assert await ledger.dispositions(one.number) == {"accepted": 1, "rejected": 1}


async def test_another_environment_does_not_know_the_batch(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/l.db"
    async with open_ledger(url, environment="sandbox") as ledger:
        tried = await opened(ledger)
        await ledger.finish([tried.number])
    async with open_ledger(url, environment="production") as ledger:
        (real,) = await ledger.open_batches([Arrival("a" * 64, "r", "a.837", 1, 1.0)])

    assert tried.environment == "sandbox"
    assert real.batch.environment == "production"
    assert real.batch.batch_id == f"{tried.batch_id}-2"
    assert (real.done, real.original) == (False, None)


async def test_a_purge_takes_what_was_delivered_long_ago_and_keeps_the_counts(tmp_path: Path) -> None:
    now = [100.0]
    path = tmp_path / "l.db"
    async with open_ledger(f"sqlite:{path}", clock=at(now)) as ledger:
        old, young, unfinished = [await opened(ledger, letter) for letter in "abc"]
        for batch in (old, young, unfinished):
            for ordinal in range(1, 1201):
                parked = ordinal % 100 == 0
                ledger_record = record(batch, ordinal, "undelivered" if parked else "accepted", parked=parked)
                last = (await ledger.record([ledger_record]))[0].seq if ordinal % 50 == 0 else 0
            assert last
        await ledger.finish([old.number])
        now[0] = 200.0
        await ledger.finish([young.number])
        await ledger.advance("jsonl:x", Position(10_000, None))

        purged = await ledger.purge(150.0)

        assert purged == 24
        assert await ledger.results_of(old.number, 0, 10) == []
        assert len(await ledger.results_of(young.number, 0, 100)) == 24
        assert [each.claim.batch for each in await ledger.parked(limit=12)] == [young] * 12
        assert {each.batch.batch_id: each.counts for each in await ledger.summaries()}[old.batch_id] == {
            "accepted": 12,
            "undelivered": 12,
        }
        again = (await ledger.open_batches([Arrival("a" * 64, "r", "a.837", 1, 1.0)]))[0]
        assert again.done
        equal = (await ledger.open_batches([Arrival("a" * 64, "other", "a.837", 1, 1.0)]))[0]
        assert equal.original is None
        assert await ledger.purge(150.0) == 0
        assert (await ledger.record([record(unfinished, 7)]))[0].seq > last


async def test_a_purge_waits_for_the_slowest_of_the_sinks(tmp_path: Path) -> None:
    async with open_ledger(f"sqlite:{tmp_path}/l.db", clock=lambda: 100.0) as ledger:
        batch = await opened(ledger)
        seq = (await ledger.record([record(batch, 1)]))[0].seq
        await ledger.finish([batch.number])

        assert await ledger.purge(200.0) == 0
        await ledger.advance("fast", Position(seq, None))
        await ledger.advance("slow", Position(0, None))
        assert await ledger.purge(200.0) == 0
        await ledger.advance("slow", Position(seq, None))
        assert await ledger.purge(200.0) == 1


async def test_a_purge_leaves_a_replay_that_came_meanwhile(tmp_path: Path) -> None:
    async with open_ledger(f"sqlite:{tmp_path}/l.db", clock=lambda: 100.0) as ledger:
        batch = await opened(ledger)
        through = (await ledger.record([record(batch, 1, "undelivered", parked=True)]))[0].seq
        await ledger.finish([batch.number])
        await ledger.record([record(batch, 1, generation=2)])

        deleted = await ledger._change(partial(purge_some, numbers=[batch.number], through=through))
        later = (await ledger.record([record(batch, 2)]))[0].seq
        await ledger.advance("sink", Position(later, None))

        assert deleted == 1
        assert len(await ledger.outbox(0, 10)) == 2
        assert await ledger.purge(200.0) == 2


async def test_places_in_the_outbox_are_never_used_twice(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/l.db"
    async with open_ledger(url, clock=lambda: 100.0) as ledger:
        batch = await opened(ledger)
        seq = (await ledger.record([record(batch, 1)]))[0].seq
        await ledger.finish([batch.number])
        await ledger.advance("sink", Position(seq, None))
        await ledger.purge(200.0)
    async with open_ledger(url) as ledger:
        assert (await ledger.record([record(await opened(ledger, "b"), 1)]))[0].seq > seq


async def test_a_purge_gives_the_room_back(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    async with open_ledger(f"sqlite:{path}", clock=lambda: 100.0) as ledger:
        batch = await opened(ledger)
        for ordinal in range(1, 31):
            big = record(batch, ordinal)
            await ledger.record([Record(big.batch_number, ordinal, 1, big.result_id, "accepted", None, bytes(100_000))])
        await ledger.finish([batch.number])
        await ledger.advance("sink", Position(1000, None))
        await ledger.purge(200.0)

    assert path.stat().st_size < 1_000_000


async def test_a_replay_of_a_purged_batch_is_purged_later_too(tmp_path: Path) -> None:
    async with open_ledger(f"sqlite:{tmp_path}/l.db", clock=lambda: 100.0) as ledger:
        batch = await opened(ledger)
        first = (await ledger.record([record(batch, 1, "undelivered")]))[0].seq
        await ledger.finish([batch.number])
        await ledger.advance("sink", Position(first, None))
        assert await ledger.purge(200.0) == 1

        replayed = (await ledger.record([record(batch, 1, generation=2)]))[0].seq
        await ledger.advance("sink", Position(replayed, None))

        assert await ledger.purge(200.0) == 1
        assert await ledger.outbox(0, 10) == []


async def test_a_batch_finished_again_is_as_old_as_when_it_was_finished_first(tmp_path: Path) -> None:
    now = [100.0]
    async with open_ledger(f"sqlite:{tmp_path}/l.db", clock=at(now)) as ledger:
        batch = await opened(ledger)
        seq = (await ledger.record([record(batch, 1)]))[0].seq
        await ledger.finish([batch.number])
        now[0] = 300.0
        await ledger.finish([batch.number])
        await ledger.advance("sink", Position(seq, None))

        assert await ledger.purge(200.0) == 1


async def test_the_original_is_the_first_of_several_finished_batches(tmp_path: Path) -> None:
    async with open_ledger(f"sqlite:{tmp_path}/l.db") as ledger:
        batches = [await opened(ledger, ref=ref) for ref in ("1", "2", "3")]
        await ledger.finish([batch.number for batch in batches[1:]])

        (late,) = await ledger.open_batches([Arrival("a" * 64, "4", "a.837", 1, 1.0)])

    assert late.original == batches[1]


async def test_a_replays_result_leaves_no_attempts_behind(tmp_path: Path) -> None:
    async with open_ledger(f"sqlite:{tmp_path}/l.db") as ledger:
        batch = await opened(ledger)
        await ledger.record([record(batch, 1, "undelivered", parked=True)])
        (parked,) = await ledger.parked()
        await ledger.dispatch(parked.claim, 1)
        await ledger.record([record(batch, 1, generation=2)])

        left = await ledger._change(lambda db: db.execute("SELECT count(*) FROM attempts").fetchone())

    assert left == (0,)


async def test_a_purge_of_one_batch_leaves_nothing_of_it_beside_others_of_the_same_commits(tmp_path: Path) -> None:
    now = [100.0]
    async with open_ledger(f"sqlite:{tmp_path}/l.db", clock=at(now)) as ledger:
        old, young = await opened(ledger, "a"), await opened(ledger, "b")
        for start in range(1, 301, 100):
            mixed = [record(batch, ordinal) for ordinal in range(start, start + 100) for batch in (old, young)]
            (*_, last) = await ledger.record(mixed)
        await ledger.finish([old.number])
        now[0] = 200.0
        await ledger.finish([young.number])
        await ledger.advance("sink", Position(last.seq, None))

        assert await ledger.purge(150.0) == 300

        kept = await ledger.outbox(0, 1000)
        assert [each.body for each in kept] == [record(young, ordinal).body for ordinal in range(1, 301)]
        packs = await ledger._change(lambda db: [unpacked(row) for row in db.execute("SELECT bodies FROM packs")])
        assert packs
        assert not any(old.batch_id.encode() in each for each in packs)
        assert await ledger.purge(300.0) == 300
        assert await ledger._change(lambda db: db.execute("SELECT count(*) FROM packs").fetchone()) == (0,)


async def test_the_file_stays_as_large_as_what_is_kept_over_many_rounds(tmp_path: Path) -> None:
    now = [0.0]
    sizes: list[int] = []
    async with open_ledger(f"sqlite:{tmp_path}/l.db", clock=at(now)) as ledger:
        for turn in range(1, 9):
            now[0] = 100.0 * turn
            (batch,) = await ledger.open_batches([Arrival(f"{turn:02x}" * 32, "r", f"{turn}.837", 1, 1.0, 1000)])
            for start in range(1, 1001, 50):
                (*_, last) = await ledger.record(
                    [telling(batch.batch, ordinal) for ordinal in range(start, start + 50)]
                )
            await ledger.finish([batch.batch.number])
            await ledger.advance("sink", Position(last.seq, None))
            await ledger.purge(now[0] - 150.0)
            sizes.append(await ledger._change(lambda db: int(db.execute("PRAGMA page_count").fetchone()[0])))

    assert sizes[1] > 1.8 * sizes[0]
    assert max(sizes[2:]) < 1.1 * sizes[1]
