"""Parked claims and forced batches through the flow again: virtual time, the real ledger, a scripted service."""

import sqlite3
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from tests.unit.test_submitter import ACCEPTED, pace, settings
from tests.virtualtime import run
from worker.claim import Claim
from worker.ledger import ParkedClaims, ParkedFilter, SqliteLedger, open_ledger
from worker.pipeline import Neighbours, Pipeline
from worker.ports import Arrival, Source
from worker.reconciliation import Books, Period, reconcile
from worker.replay import NOTE, NoSource, has_unfinished
from worker.result import AttemptClass, Disposition, Reason, Result, Verdict, decode_result
from worker.simulator.generator import GeneratorSpec, generate
from worker.tally import Tally
from worker.testing import MemorySink, MemorySource, ScriptedApi
from worker.x12 import ClaimFacts

UNDETERMINED = Verdict(
    disposition=Disposition.UNDETERMINED, reason=Reason("no_277ca", "No verdict.", "277ca"), http_status=200
)
# Of the claim and not of the service: where all were lost for lack of service, that would be an outage, and waited for.
UNAVAILABLE = Verdict(
    disposition=None,
    reason=Reason("404", "A system at the payer was not available (code 404).", "code"),
    attempt_class=AttemptClass.TRANSIENT,
    http_status=200,
)
Beside = Callable[[Pipeline], Coroutine[Any, Any, None]]


class Shop:
    """A ledger on disk, a sink and a service that notes what it was sent; every run of the flow works on the same."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger.db"
        self.sink = MemorySink()
        self.sent: list[tuple[str, bytes]] = []
        self.answer: Callable[[Claim], Verdict] = lambda _claim: ACCEPTED
        self.source = MemorySource()
        self.safe = True

    @property
    def results(self) -> list[Result]:
        found = (decode_result(emission.body) for emission in self.sink.taken.values())
        return sorted(found, key=lambda result: (result.batch_id, result.ordinal, result.generation))

    def put(self, name: str, claims: int, first: int = 1) -> None:
        self.source.put(name, b"".join(generate(GeneratorSpec(claims=claims, first_ordinal=first))))

    def check(self, *, beside: Beside | None = None) -> None:
        """Take what was put, as `run --once` would."""
        self._run(lambda ledger: self._flow(ledger, self.source, beside=beside))

    def force(self, source: MemorySource) -> Pipeline:
        pipeline: Pipeline = self._run(lambda ledger: self._flow(ledger, source, force=True))
        return pipeline

    def retry(self, *, beside: Beside | None = None, **wanted: Any) -> Pipeline:
        """Send parked claims again, as `retry` would."""
        pipeline: Pipeline = self._run(
            lambda ledger: self._flow(ledger, NoSource(), replay=ParkedFilter(**wanted), beside=beside)
        )
        return pipeline

    def ask(self, question: Callable[[SqliteLedger], Coroutine[Any, Any, Any]]) -> Any:
        return self._run(question)

    def books(self) -> Books:
        found: Books = self.ask(lambda ledger: reconcile(ledger, Period()))
        return found

    def parked(self) -> list[str]:
        found = self.ask(lambda ledger: ledger.parked())
        return [one.result_id for one in found]

    def _run(self, deed: Callable[[SqliteLedger], Coroutine[Any, Any, Any]]) -> Any:
        async def scenario() -> Any:
            async with open_ledger(f"sqlite:{self.path}", environment="simulator") as ledger:
                return await deed(ledger)

        return run(scenario(), threads=True)

    async def _flow(
        self,
        ledger: SqliteLedger,
        source: Source,
        *,
        force: bool = False,
        replay: ParkedFilter | None = None,
        beside: Beside | None = None,
    ) -> Pipeline:
        given = settings(max_attempts=1, most=4, safe=self.safe)
        pipeline = Pipeline(
            given,
            Neighbours(source, ledger, [self.sink], ScriptedApi(self._answered)),
            pace(given),
            Tally(),
            force=force,
            replay=None if replay is None else ParkedClaims(ledger, replay),
        )
        await pipeline.open_sinks()
        await source.open()
        async with anyio.create_task_group() as group:
            if beside is not None:
                group.start_soon(beside, pipeline)
            await pipeline.run(once=True)
            group.cancel_scope.cancel()
        return pipeline

    def _answered(self, claim: Claim, _number: int) -> Verdict:
        self.sent.append((claim.result_id, claim.interchange))
        return self.answer(claim)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def even_ones_fail(claim: Claim) -> Verdict:
    return UNAVAILABLE if claim.ordinal % 2 == 0 else ACCEPTED


def drain_after(shop: Shop, calls: int) -> Beside:
    async def drain(pipeline: Pipeline) -> None:
        while len(shop.sent) < calls:  # noqa: ASYNC110 - the script has no bell, and time is virtual
            await anyio.sleep(0.001)
        pipeline.drain()

    return drain


def one_result_a_generation(results: list[Result]) -> bool:
    return max(Counter(result.result_id for result in results).values()) == 1


def test_a_parked_claim_is_sent_again_byte_for_byte_and_its_new_result_supersedes_the_earlier(shop: Shop) -> None:
    shop.answer = even_ones_fail
    shop.put("a.837", 4)
    shop.check()
    settled = len(shop.source.settled)
    first = dict(shop.sent)
    shop.sent.clear()
    shop.answer = lambda _claim: ACCEPTED

    shop.retry()

    stem = shop.results[0].batch_id
    new = [result for result in shop.results if result.generation == 2]
    assert sorted(shop.sent) == [(f"{stem}:{n}:2", first[f"{stem}:{n}:1"]) for n in (2, 4)]
    assert [(one.result_id, one.claim_id, one.supersedes) for one in new] == [
        (f"{stem}:{n}:2", f"{stem}:{n}", f"{stem}:{n}:1") for n in (2, 4)
    ]
    assert [(one.disposition, one.attempts, one.batch_name) for one in new] == [(Disposition.ACCEPTED, 1, "a.837")] * 2
    assert shop.parked() == []
    assert len(shop.source.settled) == settled


def test_a_sink_of_whole_batches_gets_the_batch_again_with_the_latest_results(shop: Shop) -> None:
    shop.answer = even_ones_fail
    shop.put("a.837", 4)
    shop.check()
    shop.answer = lambda _claim: ACCEPTED

    shop.retry()

    (records,) = shop.sink.completed.values()
    assert [(one.ordinal, one.generation) for one in map(decode_result, records)] == [(1, 1), (2, 2), (3, 1), (4, 2)]


def test_a_claim_that_fails_again_is_parked_anew_and_sent_once_a_replay(shop: Shop) -> None:
    shop.answer = lambda _claim: UNAVAILABLE
    shop.put("a.837", 3)
    shop.check()

    shop.retry()
    shop.retry()

    assert [one.generation for one in shop.results] == [1, 2, 3] * 3
    assert [one.rsplit(":", 1)[1] for one in shop.parked()] == ["3", "3", "3"]
    assert shop.books().unbalanced == 0


def test_only_what_matches_is_sent_again(shop: Shop) -> None:
    shop.answer = lambda claim: UNAVAILABLE if claim.ordinal == 1 else UNDETERMINED
    shop.put("a.837", 3)
    shop.put("b.837", 3, first=100)
    shop.check()
    shop.sent.clear()
    shop.answer = lambda _claim: ACCEPTED

    shop.retry(dispositions=("undelivered",), batch="b.837")
    by_disposition = len(shop.sent)
    shop.retry(reason_code="no_277ca", batch="a.837")
    by_reason = len(shop.sent) - by_disposition
    shop.retry(environment="production")
    shop.retry(parked_before=1.0)

    assert (by_disposition, by_reason) == (1, 2)
    assert len(shop.sent) == 3
    assert len(shop.parked()) == 3


def test_more_than_a_page_of_parked_claims_are_each_sent_once(shop: Shop) -> None:
    shop.answer = lambda _claim: UNAVAILABLE
    shop.put("large.837", 300)
    shop.put("small.837", 3, first=1000)
    shop.check()
    shop.answer = lambda claim: UNAVAILABLE if claim.ordinal % 7 == 0 else ACCEPTED
    shop.sent.clear()

    pipeline = shop.retry()

    assert pipeline.known_claims == 303
    assert len({result_id for result_id, _ in shop.sent}) == len(shop.sent) == 303
    assert one_result_a_generation(shop.results)
    assert len(shop.parked()) == 300 // 7
    assert shop.books().unbalanced == 0


def test_a_replay_that_was_stopped_goes_on_when_it_is_begun_again(shop: Shop) -> None:
    shop.answer = lambda _claim: UNAVAILABLE
    shop.put("a.837", 40)
    shop.check()
    shop.answer = lambda _claim: ACCEPTED
    shop.sent.clear()

    shop.retry(beside=drain_after(shop, 10))
    before = len(shop.parked())
    unfinished = shop.ask(has_unfinished)
    shop.retry()

    assert 0 < before < 40
    assert unfinished
    assert not shop.ask(has_unfinished)
    assert len({result_id for result_id, _ in shop.sent}) == len(shop.sent) == 40
    assert one_result_a_generation(shop.results)
    assert shop.parked() == []


@pytest.mark.fault(2)
def test_an_attempt_that_was_in_flight_when_the_process_died_is_told_in_the_result(shop: Shop) -> None:
    shop.answer = lambda _claim: UNAVAILABLE
    shop.put("a.837", 1)
    shop.check()
    shop.answer = lambda _claim: ACCEPTED

    async def die_in_flight(ledger: SqliteLedger) -> None:
        (parked,) = await ledger.parked()
        await ledger.dispatch(parked.claim, 1)

    shop.ask(die_in_flight)
    shop.retry()

    assert [(one.generation, one.attempts, one.ambiguous_attempts) for one in shop.results] == [(1, 1, 0), (2, 2, 1)]


@pytest.mark.fault(2)
def test_an_attempt_that_was_in_flight_is_not_repeated_where_that_would_submit_twice(shop: Shop) -> None:
    shop.answer = lambda _claim: UNAVAILABLE
    shop.put("a.837", 2)
    shop.check()
    shop.answer, shop.safe = lambda _claim: ACCEPTED, False
    shop.sent.clear()

    async def die_in_flight(ledger: SqliteLedger) -> None:
        await ledger.dispatch((await ledger.parked())[0].claim, 1)

    shop.ask(die_in_flight)
    shop.retry()

    new = [one for one in shop.results if one.generation == 2]
    assert [one.disposition for one in new] == [Disposition.REVIEW, Disposition.ACCEPTED]
    assert [one.reason.code for one in new if one.reason] == ["outcome_unknown"]
    assert len(shop.sent) == 1
    assert len(shop.parked()) == 1


def test_batches_of_a_replay_that_died_are_completed_by_the_next_one_even_with_nothing_left_to_send(
    shop: Shop,
) -> None:
    shop.answer = even_ones_fail
    shop.put("a.837", 2)
    shop.check()
    shop.answer = lambda _claim: ACCEPTED
    shop.retry()
    shop.sink.completed.clear()
    shop.sent.clear()

    shop.ask(lambda ledger: ledger.note(NOTE, "[1]"))
    shop.retry()

    assert shop.sent == []
    assert len(shop.sink.completed) == 1
    assert not shop.ask(has_unfinished)


def test_a_batch_with_other_claims_pending_is_not_ended_by_a_replay(shop: Shop) -> None:
    shop.answer = lambda _claim: UNAVAILABLE
    shop.put("a.837", 20)
    shop.check(beside=drain_after(shop, 5))
    shop.answer = lambda _claim: ACCEPTED

    shop.retry()

    books = shop.books()
    assert shop.sink.completed == {}
    assert shop.source.settled == []
    assert (books.unbalanced, books.parked) == (0, 0)
    assert books.pending == 20 - books.results.total() > 0

    shop.check()

    assert (shop.books().pending, len(shop.source.settled)) == (0, 1)
    assert len(shop.sink.completed) == 1


def submitted_twice(shop: Shop) -> MemorySource:
    """Deliver the same file under the same ref once more, as a second `submit` does."""
    shop.put("a.837", 6)
    again = MemorySource()
    again.put("a.837", b"".join(generate(GeneratorSpec(claims=6))))
    return again


def test_force_sends_a_finished_batch_again_as_a_new_generation(shop: Shop) -> None:
    again = submitted_twice(shop)
    shop.answer = even_ones_fail
    shop.check()
    first = dict(shop.sent)
    shop.sent.clear()
    shop.answer = lambda _claim: ACCEPTED

    pipeline = shop.force(again)

    new = [one for one in shop.results if one.generation == 2]
    assert sorted(shop.sent) == sorted((key[:-1] + "2", interchange) for key, interchange in first.items())
    assert [one.supersedes for one in new] == sorted(first)
    assert [one.duplicate_of for one in new] == [None] * 6
    assert shop.parked() == []
    assert list(pipeline.intake.revisited) == [1]
    assert shop.books().results == {"accepted": 6}
    assert len(again.settled) == 1


def test_without_force_a_finished_batch_is_only_told_to_its_source(shop: Shop) -> None:
    again = submitted_twice(shop)
    shop.check()
    shop.sent.clear()
    shop.source = again

    shop.check()

    assert shop.sent == []
    assert len(again.settled) == 1


def test_force_takes_what_was_never_answered_as_its_first_generation(shop: Shop) -> None:
    shop.put("a.837", 20)
    shop.check(beside=drain_after(shop, 5))
    answered = len(shop.results)

    shop.force(shop.source)

    generations = Counter(one.generation for one in shop.results)
    assert generations == {1: 20, 2: answered}
    assert one_result_a_generation(shop.results)
    assert (shop.books().pending, shop.books().unbalanced) == (0, 0)


def test_force_goes_on_with_what_a_forced_run_that_died_had_cost(shop: Shop) -> None:
    again = submitted_twice(shop)
    shop.check()

    async def die_in_flight(ledger: SqliteLedger) -> None:
        first = decode_result((await ledger.results_of(1, 0, 1))[0][1])
        batch = (await ledger.summaries())[0].batch
        await ledger.dispatch(Claim(batch, first.ordinal, b"", ClaimFacts(), generation=2), 1)

    shop.ask(die_in_flight)
    shop.force(again)

    new = [(one.attempts, one.ambiguous_attempts) for one in shop.results if one.generation == 2]
    assert new == [(2, 1)] + [(1, 0)] * 5


def test_force_sends_nothing_of_a_batch_whose_results_are_past_their_retention(shop: Shop) -> None:
    again = submitted_twice(shop)
    shop.check()
    shop.sent.clear()
    shop.ask(lambda ledger: ledger.purge(4_000_000_000.0))

    shop.force(again)

    assert shop.sent == []
    assert shop.books().unbalanced == 0


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("DELETE FROM results WHERE ordinal = 3", "5 claims have a result, 6 are counted"),
        ("UPDATE tallies SET claims = claims + 1", "6 claims have a result, 7 are counted"),
        ("UPDATE batches SET total = 7", "finished with 6 results for 7 claims"),
        ("UPDATE batches SET total = 5", "5 claims came in, results go up to 6"),
        ("UPDATE batches SET total = NULL", "finished before its claims were counted"),
    ],
)
def test_books_that_do_not_balance_are_named_with_their_batch(shop: Shop, damage: str, problem: str) -> None:
    shop.put("a.837", 6)
    shop.check()
    sound = shop.books()
    with closing(sqlite3.connect(shop.path)) as db, db:
        db.execute(damage)

    books = shop.books()

    assert (sound.unbalanced, sound.claims, sound.results) == (0, 6, {"accepted": 6})
    assert books.unbalanced == 1
    assert [text for _, text in books.problems] == [problem]


def test_a_period_holds_the_batches_since_and_those_it_had_to_do_with(shop: Shop) -> None:
    async def books(ledger: SqliteLedger) -> list[int]:
        for letter in "abcde":
            await ledger.open_batches([Arrival(letter * 64, "r", letter, 1, 1.0, 1)])
        periods = [Period(), Period(3), Period(3, (1, 2)), Period(5)]
        found = [(await reconcile(ledger, period)).batches for period in periods]
        return [*found, (await reconcile(ledger, Period(5), [2])).batches]

    assert shop.ask(books) == [5, 2, 4, 0, 1]
