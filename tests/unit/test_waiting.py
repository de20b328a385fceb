"""A batch of bytes that are being worked on waits for that one and tells its results again; nobody waits for it."""

from collections import Counter
from pathlib import Path

import anyio
import msgspec

from tests.unit.test_intake import one_claim
from tests.unit.test_submitter import ACCEPTED, pace, settings
from tests.virtualtime import run, virtual_time
from worker.batches import Board, OpenBatch
from worker.claim import Batch, Claim, Delivery
from worker.pipeline import Neighbours, Pipeline
from worker.ports import Arrival, OpenedBatch
from worker.preparing import prepare_all
from worker.result import Disposition, Reason, Result, Verdict, decode_result
from worker.settings import InputSettings, Settings
from worker.simulator.generator import GeneratorSpec, generate
from worker.tally import Tally
from worker.testing import MemoryLedger, MemorySink, MemorySource, ScriptedApi
from worker.waiting import APPEARS_WITHIN_S, Waiting

UNDETERMINED = Verdict(disposition=Disposition.UNDETERMINED, reason=Reason("no_verdict", "None.", "277ca"))
LARGE = b"".join(generate(GeneratorSpec(claims=40)))


class Place:
    """Everything around the flow that outlives it; `asked` counts the attempts for each claim."""

    def __init__(self, given: Settings | None = None) -> None:
        self.given = given or settings(most=1)
        self.source, self.ledger, self.sink = MemorySource(), MemoryLedger(), MemorySink()
        self.asked: Counter[str] = Counter()
        self.verdicts = [ACCEPTED]

    async def pipeline(self, *, latency_s: float = 0.05, force: bool = False) -> Pipeline:
        def answer(claim: Claim, _number: int) -> Verdict:
            self.asked[claim.claim_id] += 1
            return self.verdicts.pop(0) if len(self.verdicts) > 1 else self.verdicts[0]

        api = ScriptedApi(answer, latency_s=latency_s)
        parts = Neighbours(self.source, self.ledger, [self.sink], api)
        pipeline = Pipeline(self.given, parts, pace(self.given), Tally(), force=force)
        await pipeline.open_sinks()
        await self.source.open()
        return pipeline

    @property
    def results(self) -> list[Result]:
        return [decode_result(emission.body) for emission in self.sink.taken.values()]


def test_the_second_of_two_equal_batches_waits_and_is_not_sent_and_others_go_on() -> None:
    async def scenario() -> Place:
        place = Place()
        for name, data in (("a", LARGE), ("b", LARGE), ("c", LARGE), ("other", one_claim(7_000))):
            place.source.put(name, data)
        await (await place.pipeline()).run(once=True)
        return place

    place = run(scenario(), threads=True)

    by_name: dict[str, list[Result]] = {}
    for result in place.results:
        by_name.setdefault(result.batch_name, []).append(result)
    assert {name: len(results) for name, results in by_name.items()} == {"a": 40, "b": 40, "c": 40, "other": 1}
    assert set(place.asked.values()) == {1}
    assert len(place.asked) == 41
    firsts = {result.result_id for result in by_name["a"]}
    assert {result.duplicate_of for result in (*by_name["b"], *by_name["c"])} == firsts
    order = [delivery.name for delivery in place.source.settled]
    assert order[0] == "other"
    assert order[1] == "a"


def test_what_the_first_was_not_told_for_certain_is_asked_for_the_second() -> None:
    async def scenario() -> Place:
        place = Place()
        place.verdicts = [UNDETERMINED, ACCEPTED]
        place.source.put("a", one_claim(1))
        place.source.put("b", one_claim(1))
        await (await place.pipeline()).run(once=True)
        return place

    results = run(scenario(), threads=True).results

    told = [(result.batch_name, result.disposition.value) for result in results]
    assert told == [("a", "undetermined"), ("b", "accepted")]
    assert [result.duplicate_of for result in results] == [None, None]


def test_one_that_waits_is_given_back_by_a_drain_and_waits_or_is_told_after_the_restart() -> None:
    async def scenario() -> Place:
        place = Place()
        place.source.put("a", LARGE)
        place.source.put("b", LARGE)
        first = await place.pipeline()
        async with anyio.create_task_group() as group:
            group.start_soon(first.run)
            await anyio.sleep(1.0)
            first.drain()
        assert place.source.settled == []
        await (await place.pipeline()).run(once=True)
        return place

    place = run(scenario(), threads=True)

    assert set(place.asked.values()) == {1}
    assert Counter(result.batch_name for result in place.results) == {"a": 40, "b": 40}
    assert len({result.result_id for result in place.results}) == 80


def test_one_whose_equal_does_not_come_waits_a_little_and_is_sent() -> None:
    async def scenario() -> tuple[Place, float]:
        place = Place()
        delivery = place.source.put("b", one_claim(1))
        (prepared,) = prepare_all([delivery], InputSettings())
        await place.ledger.open_batches([Arrival(prepared.sha256, "gone", "a", 1, 1.0, 1)])
        began = anyio.current_time()
        await (await place.pipeline(latency_s=0.1)).run(once=True)
        return place, anyio.current_time() - began

    place, took_s = run(scenario(), threads=True)

    assert sum(place.asked.values()) == 1
    assert APPEARS_WITHIN_S <= took_s < APPEARS_WITHIN_S + 2
    assert [result.duplicate_of for result in place.results] == [None]


def test_forced_or_where_duplicates_are_submitted_nothing_waits() -> None:
    async def scenario(place: Place, *, force: bool) -> Place:
        place.source.put("a", one_claim(1))
        place.source.put("b", one_claim(1))
        await (await place.pipeline(force=force)).run(once=True)
        return place

    submitting = msgspec.structs.replace(settings(most=1), input=InputSettings(duplicates="submit"))
    for place, force in ((Place(submitting), False), (Place(), True)):
        assert sum(run(scenario(place, force=force), threads=True).asked.values()) == 2


def waiting_for(board: Board, **bounds: int) -> tuple[Waiting, OpenedBatch]:
    first = OpenedBatch(Batch(1, "a", "a", 1.0), total=1)
    board.open(OpenBatch(first, Delivery("a", "a", 1, 1.0, data=b"")))
    return Waiting(board, clock=lambda: 0.0, **bounds), OpenedBatch(Batch(2, "a-2", "b", 1.0), awaited=first.batch)


def test_no_more_wait_than_there_is_room_for_and_their_bytes_are_not_kept_where_a_file_has_them(
    tmp_path: Path,
) -> None:
    data = one_claim(1)
    kept = tmp_path / "kept"
    kept.write_bytes(data)
    deliveries = [
        Delivery(f"{number}", f"{number}", len(data), 1.0, data=data, kept_at=kept if number < 2 else None)
        for number in range(6)
    ]
    prepared = prepare_all(deliveries, InputSettings())
    waiting, known = waiting_for(Board(), most=4, most_bytes=len(data))

    admitted = [waiting.admit(one, known) for one in prepared]

    assert admitted == [True, True, True, False, False, False]
    assert [delivery.data for delivery in waiting.deliveries] == [None, None, data]
    assert [b"".join(delivery.chunks()) for delivery in waiting.deliveries] == [data] * 3


def test_one_that_was_begun_does_not_wait() -> None:
    (prepared,) = prepare_all([Delivery("b", "b", 1, 1.0, data=one_claim(1))], InputSettings())
    waiting, known = waiting_for(Board())

    begun = msgspec.structs.replace(known, dispatched_through=1)
    answered = msgspec.structs.replace(known, answered=frozenset({1}))

    assert (waiting.admit(prepared, begun), waiting.admit(prepared, answered)) == (False, False)
    assert waiting.admit(prepared, known)


@virtual_time
async def test_one_that_waited_in_vain_once_waits_again_where_there_is_something_to_wait_for() -> None:
    (prepared,) = prepare_all([Delivery("b", "b", 1, 1.0, data=one_claim(1))], InputSettings())
    _, known = waiting_for(Board())
    waiting = Waiting(Board())

    admitted = [waiting.admit(prepared, known)]
    for again in (msgspec.structs.replace(known, awaited=None), known):
        await waiting.ready(1)
        admitted += [waiting.admit(prepared, again), waiting.admit(prepared, known)]

    assert admitted == [True, False, True, False, True]
