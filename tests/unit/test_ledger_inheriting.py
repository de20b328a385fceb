"""What a ledger learns of another one's batches, what it tells of them, and what the other one tells from then on."""

import fcntl
import os
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.unit.test_ledger_upkeep import record
from worker.claim import Batch, Claim
from worker.errors import StateError, StateHeld
from worker.ledger import SqliteLedger, open_ledger, open_left_ledger
from worker.ledger.place import HAND_OVER, hold
from worker.outbox import records_of
from worker.ports import PAGE_BYTES, Arrival, OpenedBatch, Position, Spent
from worker.x12 import ClaimFacts

NOW = 1_700_000_000.0


class Two:
    """Two ledgers; the clock of both stands at `now`."""

    def __init__(self, theirs: SqliteLedger, ours: SqliteLedger, now: list[float]) -> None:
        self.theirs = theirs
        self.ours = ours
        self.now = now

    async def inherit(self, *refs: str) -> list[int]:
        """Do what an heir does; tell how many results came with each batch."""
        estates = await self.theirs.estates(refs)
        came = [await self.ours.inherit(self.theirs, estate) for estate in estates]
        await self.theirs.set_aside([estate.number for estate in estates if not estate.done])
        return came


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[Two]:
    now = [NOW]
    async with (
        open_ledger(f"sqlite:{tmp_path}/theirs.db", clock=lambda: now[0]) as theirs,
        open_ledger(f"sqlite:{tmp_path}/ours.db", clock=lambda: now[0]) as ours,
    ):
        yield Two(theirs, ours, now)


async def opened(ledger: SqliteLedger, letter: str = "a", ref: str = "r", total: int = 3) -> OpenedBatch:
    (batch,) = await ledger.open_batches([Arrival(letter * 64, ref, f"{letter}.837", 1, 1.0, total)])
    return batch


def claim(batch: Batch, ordinal: int) -> Claim:
    return Claim(batch, ordinal, b"ISA~", ClaimFacts())


async def states(ledger: SqliteLedger) -> list[tuple[str, str]]:
    return [(summary.batch.batch_id, summary.state) for summary in await ledger.summaries()]


async def problems(ledger: SqliteLedger) -> Sequence[tuple[int | None, int, str]]:
    return [(one.claims, one.pending, one.problem) for one in await ledger.balance()]


async def test_what_was_answered_and_spent_elsewhere_is_known_and_never_goes_out_here(two: Two) -> None:
    batch = (await opened(two.theirs)).batch
    await two.theirs.reserve({batch.number: 3})
    await two.theirs.record([record(batch, 1), record(batch, 3, "rejected")])
    await two.theirs.defer(claim(batch, 2), Spent(2, 1, NOW, NOW + 5))

    came = await two.inherit("r")
    known = await opened(two.ours)

    assert came == [2]
    assert known.batch.batch_id == batch.batch_id
    assert (known.answered, known.dispatched_through, known.done) == (frozenset({1, 3}), 3, False)
    assert known.spent == {2: Spent(2, 1, NOW, NOW + 5)}
    assert known.last_seq == 0
    assert await two.ours.outbox(0, 10) == []
    assert len(await two.ours.results()) == 2
    assert await two.ours.dispositions(known.batch.number) == {"accepted": 1, "rejected": 1}


async def test_an_attempt_in_flight_elsewhere_counts_as_one_of_unknown_outcome(two: Two) -> None:
    batch = (await opened(two.theirs)).batch
    await two.theirs.dispatch(claim(batch, 1), 2)

    await two.inherit("r")

    assert (await opened(two.ours)).spent == {1: Spent(2, 1, None, 0.0)}


async def test_until_its_file_is_opened_a_batch_waits_here_and_then_only_elsewhere(two: Two) -> None:
    batch = (await opened(two.theirs)).batch
    await two.theirs.record([record(batch, 1)])

    await two.inherit("r")
    before = (await states(two.theirs), await states(two.ours), await two.ours.open_now())
    await opened(two.ours)
    after = (await states(two.theirs), await states(two.ours), await two.ours.open_now())

    elsewhere, at_work = [(batch.batch_id, "elsewhere")], [(batch.batch_id, "open")]
    assert before == (elsewhere, elsewhere, [])
    assert after == (elsewhere, at_work, [1])
    assert await problems(two.theirs) == [(1, 0, "")]
    assert await problems(two.ours) == [(3, 2, "")]


async def test_carrying_over_twice_or_half_way_adds_nothing_twice(two: Two) -> None:
    batch = (await opened(two.theirs)).batch
    await two.theirs.record([record(batch, 1)])

    first = await two.inherit("r")
    second = await two.inherit("r")
    await opened(two.theirs)
    await two.theirs.record([record(batch, 2)])
    third = await two.inherit("r")

    assert (first, second, third) == ([1], [0], [1])
    assert (await opened(two.ours)).answered == {1, 2}
    assert await two.ours.dispositions(1) == {"accepted": 2}


async def test_a_batch_that_comes_back_is_gone_on_with_where_it_began(two: Two) -> None:
    batch = (await opened(two.theirs)).batch
    await two.theirs.record([record(batch, 1)])
    await two.inherit("r")
    ours = (await opened(two.ours)).batch
    await two.ours.record([record(ours, 2)])

    back = Two(two.ours, two.theirs, two.now)
    await back.inherit("r")
    known = await opened(two.theirs)

    assert (known.answered, known.done, known.batch) == (frozenset({1, 2}), False, batch)
    assert [emission.seq for emission in await two.theirs.outbox(0, 10)] == [1]
    assert await states(two.ours) == [(batch.batch_id, "elsewhere")]


async def test_parked_claims_are_offered_where_their_batch_is_and_nowhere_else(two: Two) -> None:
    batch = (await opened(two.theirs)).batch
    await two.theirs.record([record(batch, 1, "undelivered", parked=True)])

    await two.inherit("r")
    waiting = (await two.theirs.parked(), await two.ours.parked())
    await opened(two.ours)
    (parked,) = await two.ours.parked()

    assert waiting == ([], [])
    assert parked.result_id == f"{batch.batch_id}:1:1"
    assert await two.theirs.parked() == []


async def test_what_was_parked_and_sent_again_elsewhere_is_parked_no_more(two: Two) -> None:
    batch = (await opened(two.theirs)).batch
    await two.theirs.record([record(batch, 1, "undelivered", parked=True)])
    await two.inherit("r")
    ours = (await opened(two.ours)).batch
    await two.ours.record([record(ours, 1, generation=2)])

    await Two(two.ours, two.theirs, two.now).inherit("r")
    await opened(two.theirs)

    assert await two.theirs.parked() == []
    assert await two.theirs.dispositions(batch.number) == {"accepted": 1}


async def test_a_batch_done_elsewhere_is_done_here(two: Two) -> None:
    batch = (await opened(two.theirs, total=1)).batch
    await two.theirs.record([record(batch, 1)])
    await two.theirs.finish([batch.number])

    await two.inherit("r")
    known = await opened(two.ours, total=1)

    assert known.done
    assert await problems(two.ours) == await problems(two.theirs) == [(1, 0, "")]


async def test_a_batch_done_elsewhere_whose_content_is_purged_is_done_here(two: Two) -> None:
    batch = (await opened(two.theirs, total=1)).batch
    await two.theirs.record([record(batch, 1)])
    await two.theirs.finish([batch.number])
    await two.theirs.advance("sink", Position(1, None))
    two.now[0] += 1
    assert await two.theirs.purge(two.now[0]) == 1

    came = await two.inherit("r")

    assert came == [0]
    assert (await opened(two.ours, total=1)).done
    assert await problems(two.ours) == [(1, 0, "")]


async def test_an_id_that_is_taken_here_makes_way_and_later_ones_go_on_from_there(two: Two) -> None:
    await opened(two.ours, ref="mine")
    first = (await opened(two.theirs)).batch
    second = (await opened(two.theirs, ref="r2")).batch
    await two.inherit("r", "r2")

    known = [(await opened(two.ours, ref=ref)).batch.batch_id for ref in ("mine", "r", "r2", "new")]

    stem = "a" * 20
    assert [first.batch_id, second.batch_id] == [stem, f"{stem}-2"]
    assert known == [stem, f"{stem}-2", f"{stem}-3", f"{stem}-4"]


async def test_a_batch_elsewhere_is_no_original_for_another_of_equal_bytes(two: Two) -> None:
    await opened(two.theirs)
    await two.theirs.set_aside([1])

    assert (await opened(two.theirs, ref="again")).original is None


async def test_what_waits_for_its_file_is_kept_for_a_day_whatever_the_retention(two: Two) -> None:
    batch = (await opened(two.theirs)).batch
    await two.theirs.record([record(batch, 1)])
    await two.inherit("r")
    await two.ours.advance("sink", Position(0, None))

    two.now[0] += 3600
    soon = await two.ours.purge(two.now[0])
    two.now[0] += 86_400
    late = await two.ours.purge(two.now[0])

    assert (soon, late) == (0, 1)


async def test_a_batch_that_comes_back_after_its_retention_is_open_again_and_its_content_goes_in_the_end(
    two: Two,
) -> None:
    batch = (await opened(two.theirs, total=1)).batch
    await two.theirs.set_aside([batch.number])
    await two.theirs.advance("sink", Position(0, None))
    two.now[0] += 40 * 86_400
    await two.theirs.purge(two.now[0])

    again = await opened(two.theirs, total=1)
    listed = await two.theirs.summaries(open_only=True)
    (emission,) = await two.theirs.record([record(again.batch, 1)])
    await two.theirs.advance("sink", Position(emission.seq, None))
    await two.theirs.finish([again.batch.number])
    two.now[0] += 86_400

    assert (again.batch.batch_id, again.done) == (batch.batch_id, False)
    assert [summary.batch.batch_id for summary in listed] == [batch.batch_id]
    assert await two.theirs.purge(two.now[0]) == 1


async def test_another_environments_batches_are_not_carried_over(tmp_path: Path) -> None:
    async with open_ledger(f"sqlite:{tmp_path}/theirs.db", environment="sandbox") as theirs:
        await opened(theirs)
        identity = await theirs.identity()
    left = open_left_ledger(tmp_path / "theirs.db", identity, environment="production")

    try:
        assert await left.estates(["r"]) == []
    finally:
        await left.close()


async def test_only_the_very_ledger_that_was_left_is_opened_and_none_is_made(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with pytest.raises(StateError, match="none at"):
        open_left_ledger(path, "x", environment="")
    async with open_ledger(f"sqlite:{path}") as theirs:
        identity = await theirs.identity()
        with pytest.raises(StateHeld):
            open_left_ledger(path, identity, environment="")
        with pytest.raises(StateError, match="another one") as refused:
            open_left_ledger(path, "x", environment="")

    assert not isinstance(refused.value, StateHeld)
    with pytest.raises(StateError, match="none at"):
        open_left_ledger(Path("theirs.db"), identity, environment="")


async def test_a_worker_that_starts_waits_for_the_end_of_a_hand_over_and_for_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    heir = hold(path, hand_over=True)

    began = time.monotonic()
    threading.Timer(0.3, os.close, [heir]).start()
    async with open_ledger(f"sqlite:{path}"):
        waited_s = time.monotonic() - began
        with pytest.raises(StateHeld):
            hold(path)

    assert 0.2 < waited_s < 10.0
    fd = os.open(f"{path}.lock", os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert os.pread(fd, 20, 0) != HAND_OVER
    os.close(fd)


async def test_records_and_parked_claims_of_megabytes_come_along_whole(two: Two) -> None:
    sizes = [PAGE_BYTES // 2, PAGE_BYTES // 2, 10, 2 * PAGE_BYTES, 10]
    batch = (await opened(two.theirs, total=len(sizes))).batch
    for ordinal, size in enumerate(sizes, start=1):
        large = replace(claim(batch, ordinal), interchange=bytes(size))
        await two.theirs.record([replace(record(batch, ordinal, "undelivered"), body=bytes(size), parked=large)])

    came = await two.inherit("r")
    known = (await opened(two.ours, total=len(sizes))).batch

    assert came == [len(sizes)]
    assert [len(body) async for body in records_of(two.ours, known.number, len(sizes))] == sizes
    await two.ours.finish([known.number])
    assert (await two.ours.summaries())[0].parked == len(sizes)


async def test_records_of_a_large_batch_come_along_word_for_word_and_leave_together(two: Two) -> None:
    batch = (await opened(two.theirs, total=1300)).batch
    ours = (await opened(two.ours, letter="b", total=100)).batch
    await two.theirs.record([record(batch, ordinal) for ordinal in range(1, 1301)])
    await two.ours.record([record(ours, ordinal) for ordinal in range(1, 101)])

    came = [*await two.inherit("r"), *await two.inherit("r")]
    known = (await opened(two.ours)).batch

    assert came == [1300, 0]
    told = await two.ours.results_of(known.number, 0, 2000)
    assert told == [(ordinal, record(batch, ordinal).body) for ordinal in range(1, 1301)]
    assert [each.body for each in await two.ours.outbox(0, 1000)] == [record(ours, n).body for n in range(1, 101)]
    await two.ours.finish([known.number, ours.number])
    await two.ours.advance("sink", Position(1000, None))
    two.now[0] += 2 * 86_400
    assert await two.ours.purge(two.now[0]) == 1400
    assert await two.ours._change(lambda db: db.execute("SELECT count(*) FROM packs").fetchone()) == (0,)


async def test_a_hand_over_that_has_its_lock_and_not_yet_its_word_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "l.db"
    fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    began = time.monotonic()
    threading.Timer(0.1, os.pwrite, [fd, HAND_OVER, 0]).start()
    threading.Timer(1.0, os.close, [fd]).start()
    async with open_ledger(f"sqlite:{path}"):
        waited_s = time.monotonic() - began

    assert waited_s > 0.9
