"""Several workers on one ledger in PostgreSQL: whose a batch is, what two of them must not both do, and names."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import anyio
import msgspec
import pytest
from msgspec.structs import replace

from tests.conformance.test_ledger import OTHER_SHA, SHA, arrival, claim, opened, record
from tests.postgres import Cluster, SharedLedger, cluster
from worker.brokers.deaths import deaths_beside
from worker.errors import SettingsError, SinkUnavailable, StateHeld
from worker.ledger import BEFORE_ALL, FleetReads, ParkedClaims, ParkedFilter, note_for_fleet, open_state, read_state
from worker.ledger.postgres import PostgresLedger
from worker.ports import PAGE_BYTES, Arrival, Position, Spent

Pair = tuple[PostgresLedger, PostgresLedger]


@pytest.fixture
def shared() -> Iterator[SharedLedger]:
    """One schema for one test."""
    ledger = SharedLedger()
    yield ledger
    ledger.remove()


@pytest.fixture
async def pair(shared: SharedLedger) -> AsyncIterator[Pair]:
    """Two workers on it."""
    async with AsyncExitStack() as both:
        yield (
            await both.enter_async_context(shared.opened("one")),
            await both.enter_async_context(shared.opened("two")),
        )


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """A server that tests may stop; it is running when a test begins."""
    with cluster() as own:
        yield own


async def test_a_batch_of_a_worker_that_died_goes_on_with_all_that_is_known_and_its_results_reach_the_next_one(
    shared: SharedLedger,
) -> None:
    async with shared.opened("one") as dead:
        batch = (await opened(dead, total=5)).batch
        await dead.reserve({batch.number: 4})
        await dead.record([record(batch, 1), record(batch, 3)])
        await dead.defer(claim(batch, 2), Spent(1, 0, 1.0, 9.0))
        await dead.dispatch(claim(batch, 2, attempts=1), 2)
    async with shared.opened("two") as heir:
        await heir.record([record((await opened(heir, OTHER_SHA, "in/other")).batch, 1)])
        known = await opened(heir)
        again = await opened(heir)
        emissions = await heir.outbox(0, 10)

    assert known.batch == batch
    assert (known.answered, known.dispatched_through, known.spent) == (frozenset({1, 3}), 4, {2: Spent(2, 1, 1.0, 0.0)})
    assert [emission.result_id.partition(":")[2] for emission in emissions] == ["1:1", "1:1", "3:1"]
    assert known.last_seq == emissions[-1].seq
    assert again == known


async def test_a_worker_that_lost_its_batch_gets_the_record_that_was_stored_first_and_a_place_for_it(
    pair: Pair,
) -> None:
    late, now = pair
    batch = (await opened(late, total=2)).batch
    await opened(now)
    (first,) = await now.record([record(batch, 1, disposition="rejected")])
    (own,) = await late.record([record(batch, 2)])
    stored = await late.record([msgspec.structs.replace(record(batch, 1), body=b"{}"), record(batch, 2)])

    assert [one.result_id for one in await late.outbox(0, 10)] == [stored[1].result_id, stored[0].result_id]
    assert (stored[0].body, stored[1].seq) == (first.body, own.seq)
    assert [one.seq for one in await now.outbox(0, 10)] == [first.seq]
    assert (await late.summaries())[0].counts == {"rejected": 1, "accepted": 1}


async def test_of_the_same_result_from_two_workers_at_once_one_is_kept(pair: Pair) -> None:
    batch = (await opened(pair[0])).batch
    await opened(pair[1])

    async def store(ledger: PostgresLedger, ordinal: int) -> None:
        await ledger.record([record(batch, ordinal)])

    async with anyio.create_task_group() as tasks:
        for ordinal in range(1, 41):
            for ledger in pair:
                tasks.start_soon(store, ledger, ordinal)

    assert (await pair[0].summaries())[0].counts == {"accepted": 40}
    for ledger in pair:
        assert {int(one.result_id.split(":")[1]) for one in await ledger.outbox(0, 100)} == set(range(1, 41))


async def test_what_a_worker_that_lost_its_batch_says_of_its_claims_takes_nothing_back(pair: Pair) -> None:
    late, now = pair
    batch = (await opened(late)).batch
    await late.reserve({batch.number: 2})
    await opened(now)
    await now.reserve({batch.number: 6})
    await late.retract({batch.number: 1})
    await late.defer(claim(batch, 2), Spent(1, 0, 1.0, 2.0))

    again = await opened(now)

    assert again.dispatched_through == 6
    assert again.spent == {2: Spent(1, 1, 1.0, 2.0)}


async def test_equal_bytes_in_work_at_another_worker_are_awaited_there_until_that_one_is_gone(
    shared: SharedLedger,
) -> None:
    ahead = Arrival(SHA, "in/b", "b", 1, 1.0, 5, reserved=5)
    async with shared.opened("two") as waiting:
        async with shared.opened("one") as busy:
            first = await opened(busy)
            (second,) = await waiting.open_batches([ahead])
        left = await opened(waiting, ref="in/b")
        async with shared.opened("one"):
            in_another_life = await opened(waiting, ref="in/b")
        await waiting.finish([first.batch.number])
        finished = await opened(waiting, ref="in/b")

    assert (second.awaited, second.awaited_elsewhere, second.reserved) == (first.batch, True, 0)
    assert (left.awaited, left.awaited_elsewhere) == (first.batch, False)
    assert (in_another_life.awaited, in_another_life.awaited_elsewhere) == (first.batch, False)
    assert (finished.awaited, finished.original) == (None, first.batch)


async def test_equal_bytes_that_come_to_two_workers_in_one_moment_see_each_other(shared: SharedLedger) -> None:
    async with AsyncExitStack() as fleet:
        workers = [await fleet.enter_async_context(shared.opened(f"w{n}")) for n in range(4)]
        for turn in range(10):
            found: list[str | None] = []

            async def come(ledger: PostgresLedger, ref: str, sha256: str, found: list[str | None]) -> None:
                one = await opened(ledger, sha256, ref)
                found.append(one.awaited.batch_id if one.awaited else None)

            async with anyio.create_task_group() as tasks:
                for number, ledger in enumerate(workers):
                    tasks.start_soon(come, ledger, f"in/{number}", f"{turn:064x}"[::-1], found)

            assert found.count(None) == 1
            assert len(set(found)) == 2


async def test_two_living_workers_cannot_have_one_name(shared: SharedLedger) -> None:
    async with shared.opened("one"):
        with pytest.raises(StateHeld, match=r"a worker named one is at work on it.*state.worker_name"):
            async with shared.opened("one"):
                pass
    async with shared.opened("one"):
        pass


async def test_environments_do_not_meet(shared: SharedLedger) -> None:
    async with shared.opened("one", environment="sandbox") as ledger:
        tried = await opened(ledger)
        await ledger.finish([tried.batch.number])
    async with shared.opened("two", environment="production") as ledger:
        real = await opened(ledger)

    assert real.batch.number != tried.batch.number
    assert (real.done, real.original) == (False, None)


async def test_each_worker_has_positions_and_notes_of_its_own_and_the_fleet_some_for_all(
    shared: SharedLedger, pair: Pair
) -> None:
    await pair[0].advance("jsonl:a", Position(5, "x"))
    await pair[0].note("limit", "40")
    was_there = await note_for_fleet(shared.state(), "pause", "now")

    assert await pair[1].position("jsonl:a") == Position()
    assert await pair[1].noted("limit") is None
    assert [await one.fleet_noted("pause") for one in pair] == ["now", "now"]
    assert not was_there
    assert await note_for_fleet(shared.state(), "pause", None)
    async with read_state(shared.state()) as reads:
        assert await reads.noted("limit") == "40"


async def test_who_is_at_work_on_the_ledger_can_be_asked(shared: SharedLedger) -> None:
    async with shared.opened("two"), shared.opened("one"), read_state(shared.state()) as reads:
        assert isinstance(reads, FleetReads)
        both = await reads.living()
    async with read_state(shared.state()) as reads:
        assert isinstance(reads, FleetReads)
        none = await reads.living()

    assert (both, none) == (["one", "two"], [])


async def test_content_is_purged_once_one_worker_has_brought_it_to_its_sinks(shared: SharedLedger) -> None:
    async with shared.opened("dead", clock=lambda: 100.0) as dead:
        batch = (await opened(dead, total=2)).batch
        await dead.record([record(batch, 1, disposition="undelivered", parked=claim(batch, 1))])
    async with shared.opened("two", clock=lambda: 100.0) as heir:
        last = (await opened(heir)).last_seq
        (stored,) = await heir.record([record(batch, 2)])
        await heir.finish([batch.number])
        await heir.advance("sink", Position(last))
        kept = await heir.purge(200.0)
        await heir.advance("sink", Position(stored.seq))
        early = await heir.purge(100.0)
        purged = await heir.purge(200.0)

        again = await opened(heir)
        (balance,) = await heir.balance()
        assert await heir.parked() == []

    assert (kept, early, purged) == (0, 0, 2)
    assert again.done
    assert (balance.results, balance.problem) == ({"undelivered": 1, "accepted": 1}, "")


@pytest.mark.fault(109)
async def test_a_message_that_got_on_between_two_deaths_is_not_counted_as_poison(pair: Pair) -> None:
    refs = [arrival().ref]
    counts = []
    for number, ledger in enumerate((pair[0], pair[1], pair[0], pair[1])):
        deaths = deaths_beside("", ledger, "")  # of another worker each time, as after a death
        await deaths.learn(refs)
        counts.append(deaths.of(refs[0]))
        await deaths.begin(refs)
        batch = (await opened(ledger, total=9)).batch
        if number == 1:
            await ledger.record([record(batch, 1)])

    assert counts == [1, 2, 1, 2]


async def test_parked_claims_are_found_and_a_repeat_takes_their_place(pair: Pair) -> None:
    batch = (await opened(pair[0], total=2)).batch
    await pair[0].record([record(batch, n, disposition="undelivered", parked=claim(batch, n)) for n in (1, 2)])
    await pair[0].dispatch(claim(batch, 2, generation=2), 1)

    (group,) = await pair[1].parked_groups(ParkedFilter(dispositions=("undelivered", "review"), batch="a.837"))
    one, two = await pair[1].parked(ParkedFilter(dispositions=("undelivered",)), after=(0, 0), limit=5)
    await pair[1].record([record(batch, 2, generation=2)])
    (left,) = await pair[1].parked()
    (told,) = await pair[1].replay_batches({batch.number: 1})

    assert (group.batch, group.claims) == (batch, 2)
    assert (one.claim.generation, two.claim.attempts, two.claim.ambiguous_attempts) == (2, 1, 1)
    assert left.claim.ordinal == 1
    assert (told.batch, told.claims, told.total, told.done) == (batch, 1, 2, False)
    assert [emission.result_id.partition(":")[2] for emission in await pair[1].results()] == ["1:1", "2:2"]
    assert [one.problem for one in await pair[0].balance()] == [""]


async def test_results_and_parked_claims_of_megabytes_come_in_pages_of_some_megabytes(pair: Pair) -> None:
    sizes = [PAGE_BYTES // 2, PAGE_BYTES // 2, 10, 2 * PAGE_BYTES, 10]
    batch = (await opened(pair[0], total=5)).batch
    for ordinal, size in enumerate(sizes, start=1):
        large = replace(claim(batch, ordinal), interchange=bytes(size))
        await pair[0].record([replace(record(batch, ordinal), body=bytes(size), parked=large)])

    after, place = (0, 0), BEFORE_ALL
    parked, told = [], []
    while claims := await pair[1].parked(after=after):
        parked.append([len(one.claim.interchange) for one in claims])
        after = (batch.number, claims[-1].claim.ordinal)
    while page := await pair[1].results(after=place):
        told.append([len(one.body) for one in page])
        place = page[-1].seq

    assert parked == told == [sizes[:3], sizes[3:4], sizes[4:]]


async def test_parked_claims_are_sent_again_by_one_worker_at_a_time_and_not_purged_meanwhile(pair: Pair) -> None:
    batch = (await opened(pair[0], total=1)).batch
    (stored,) = await pair[0].record([record(batch, 1, disposition="undelivered", parked=claim(batch, 1))])
    await pair[0].finish([batch.number])
    await pair[0].advance("sink", Position(stored.seq))
    await ParkedClaims.of(pair[0], ParkedFilter())

    assert await pair[1].purge(time.time() + 9) == 0
    with pytest.raises(StateHeld, match="by another worker at this moment"):
        await ParkedClaims.of(pair[1], ParkedFilter())
    await pair[0].close()


async def test_results_are_read_on_from_any_place(pair: Pair) -> None:
    for number in range(3):
        batch = (await opened(pair[number % 2], f"{number:064x}", f"in/{number}")).batch
        await pair[number % 2].record([record(batch, ordinal) for ordinal in (1, 2)])

    found: list[str] = []
    after = BEFORE_ALL
    while page := await pair[0].results(after=after, limit=1):
        found.append(page[0].result_id)
        after = page[0].seq

    assert len(found) == len(set(found)) == 6


async def test_a_ledger_that_is_not_there_or_not_ours_is_refused_with_what_helps(shared: SharedLedger) -> None:
    with pytest.raises(SettingsError, match=f"lacks the ledger {shared.schema}; create it: precheck-worker run --cre"):
        async with open_state(shared.state(), environment="simulator"):
            pass
    with pytest.raises(SettingsError, match="lacks the ledger"):
        async with read_state(shared.state()):
            pass
    async with open_state(shared.state(), environment="simulator", create=True):
        pass
    shared.ask("INSERT INTO {}.precheck_ledger_version (version) VALUES (99)")
    with pytest.raises(SettingsError, match="in version 99, this worker knows 1 only"):
        async with read_state(shared.state()):
            pass
    shared.ask("DROP TABLE {}.precheck_ledger_version")
    with pytest.raises(SettingsError, match="holds something else"):
        async with open_state(shared.state(), environment="simulator", create=True):
            pass


@pytest.mark.fault(43)
async def test_a_server_that_restarts_is_waited_for_and_what_was_confirmed_is_there(server: Cluster) -> None:
    ledger = SharedLedger(server.url)
    async with ledger.opened("one") as one:
        batch = (await opened(one, total=9)).batch
        (before,) = await one.record([record(batch, 1)])
        server.stop()
        with pytest.raises(SinkUnavailable):
            await one.record([record(batch, 2)])
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one.outbox, 0, 10)  # waits
            await anyio.sleep(0.2)
            server.start()
        (after,) = await one.record([record(batch, 2)])

        assert after.seq > before.seq
        assert [emission.seq for emission in await one.outbox(0, 10)] == [before.seq, after.seq]


@pytest.mark.fault(43)
async def test_a_commit_of_which_no_answer_came_is_made_again_without_a_trace(shared: SharedLedger) -> None:
    new = Arrival(OTHER_SHA, "in/new", "n", 1, 1.0, 5, reserved=5)
    async with shared.opened("one") as ledger:
        batch = (await opened(ledger, total=9)).batch
        lose_next_answer(ledger)
        with pytest.raises(SinkUnavailable):
            await ledger.record([record(batch, 1)])
        (stored,) = await ledger.record([record(batch, 1)])
        lose_next_answer(ledger)
        with pytest.raises(SinkUnavailable):
            await ledger.open_batches([new, arrival()])
        opened_again, known = await ledger.open_batches([new, arrival()])

        assert [emission.seq for emission in await ledger.outbox(0, 10)] == [stored.seq]
        assert (await ledger.summaries())[1].counts == {"accepted": 1}
    assert (opened_again.reserved, opened_again.dispatched_through, known.answered) == (5, 0, frozenset({1}))
    assert shared.ask("SELECT dispatched_through FROM {}.batches ORDER BY number")[1][0] == 5


@pytest.mark.fault(43)
async def test_who_finds_his_name_taken_when_he_comes_back_stops(shared: SharedLedger) -> None:
    async with shared.opened("one") as lost:
        batch = (await opened(lost)).batch
        end_connections(shared)
        async with shared.opened("one"):
            with pytest.raises(StateHeld, match="another worker has taken our name"):
                await lost.record([record(batch, 1)])
        with pytest.raises(StateHeld):
            await lost.note("a", "b")


@pytest.mark.fault(43)
async def test_a_connection_of_ours_that_the_server_still_holds_is_ended(shared: SharedLedger) -> None:
    async with shared.opened("one") as ledger:
        batch = (await opened(ledger)).batch
        held = ledger._writer._connection  # as if the network had lost it: nobody tells the server
        ledger._writer._connection = None

        await ledger.record([record(batch, 1)])

        assert held is not None
        with anyio.fail_after(60):
            while not held.is_closed():  # noqa: ASYNC110 - nothing else tells it
                await anyio.sleep(0.01)


def lose_next_answer(ledger: PostgresLedger) -> None:
    """Have the connection break after the next commit was done and before that is known."""
    writer = ledger._writer
    whole = writer._transact

    async def broken(connection: object, group: object) -> None:
        writer._transact = whole  # type: ignore[method-assign]
        await whole(connection, group)  # type: ignore[arg-type]
        raise ConnectionResetError

    writer._transact = broken  # type: ignore[method-assign]


def end_connections(shared: SharedLedger) -> None:
    """End the connection that holds a worker's name, as a firewall or an administrator would."""
    shared.ask(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
        " AND classid = hashoid('{}.workers'::regclass::oid)::oid"
    )
