"""Claims of megabytes in memory: as many as there is room for, and all in the end."""

import anyio
import pytest

from tests.unit.test_submitter import pace, settings
from tests.virtualtime import run
from worker.batches import Board, OpenBatch
from worker.claim import Batch, Claim, Delivery
from worker.effort import Effort
from worker.feeding import Feeder
from worker.flow.budget import RetryBudget
from worker.flow.gate import Gate
from worker.ports import OpenedBatch
from worker.preparing import PIECE_BYTES, Prepared, cut, next_piece, prepare_all
from worker.recorder import Recorder
from worker.settings import InputSettings
from worker.simulator.generator import GeneratorSpec, generate
from worker.tally import Tally
from worker.testing import MemoryLedger
from worker.turns import Turns
from worker.x12 import ClaimFacts

CLAIMS = 300  # so many that they are cut piece by piece
NOTES = b"NTE*ADD*" + b"X" * 70 + b"~"


def prepared(name: str, *, claim_bytes: int = 0) -> Prepared:
    """A batch whose claims have so many bytes at least; its segment counts are not looked at."""
    data = b"".join(generate(GeneratorSpec(claims=CLAIMS)))
    if claim_bytes:
        segments = [line + b"~" for line in data.split(b"~")]
        notes = NOTES * (claim_bytes // len(NOTES) + 1)
        data = b"".join(each + notes if each.lstrip().startswith(b"CLM") else each for each in segments)[:-1]
    (one,) = prepare_all([Delivery(name, name, len(data), 0.0, data=data)], InputSettings())
    assert one.survey.refusal is None
    assert one.claims is None
    return one


def opened(number: int, delivery: Delivery) -> OpenBatch:
    batch = Batch(number, f"b{number}", delivery.name, 0.0)
    return OpenBatch(OpenedBatch(batch), delivery)


def weighing(batch: OpenBatch, ordinal: int, size: int) -> Claim:
    return Claim(batch.batch, ordinal, bytes(size), ClaimFacts())


def test_a_piece_ends_with_the_claim_that_makes_it_too_long() -> None:
    one = prepared("large.837", claim_bytes=PIECE_BYTES // 3)
    claims = cut(one, InputSettings())

    pieces = [next_piece(claims, one) for _ in range(CLAIMS // 3)]

    assert [len(piece) for piece in pieces] == [3] * (CLAIMS // 3)
    assert [claim.ordinal for piece in pieces for claim in piece] == list(range(1, CLAIMS + 1))


def test_batches_are_cut_on_only_while_there_is_room_for_their_bytes_and_all_go_in_the_end() -> None:
    batches = [prepared(f"{letter}.837") for letter in "abc"]
    claim_bytes = batches[0].delivery.size // CLAIMS
    most = 10 * claim_bytes

    async def scenario() -> tuple[list[int], int]:
        turns = Turns(RetryBudget(), most_waiting=10, most_batches=10, most_fresh_bytes=most)
        gate, ledger, given = Gate(), MemoryLedger(), settings()
        recorder = Recorder(ledger, Board(), gate, Tally(), "", announce=lambda _: None)
        feeder = Feeder(
            ledger, turns, recorder, pace(given).policy, lambda _: None, given.input, safe_to_repeat=True, force=False
        )
        waiting, popped = [], 0
        async with anyio.create_task_group() as group:
            for number, one in enumerate(batches, start=1):
                group.start_soon(feeder.feed, opened(number, one.delivery), one)
            while popped < len(batches) * CLAIMS:
                await turns.wait()
                await anyio.sleep(1.0)  # whoever may cut has cut
                waiting.append(turns.fresh)
                while turns.pop() is not None:
                    popped += 1
        return waiting, turns.fresh

    waiting, left = run(scenario(), threads=True)

    assert max(waiting) <= 128  # one piece, and not one of each
    assert left == 0


def test_no_fresh_claim_is_started_while_those_between_two_attempts_are_too_large() -> None:
    turns = Turns(RetryBudget(), most_waiting=10, most_batches=10, most_waiting_bytes=1000, clock=lambda: 0.0)
    batch = opened(1, Delivery("a.837", "ref", 0, 0.0, data=b""))
    turns.defer(Effort(batch, weighing(batch, 1, 1000)), 5.0)

    turns.offer(batch, [weighing(batch, 2, 10)])

    assert turns.pop() is None


@pytest.mark.parametrize("size", [999, 1000])
def test_fresh_claims_are_heavy_until_one_of_them_has_gone(size: int) -> None:
    turns = Turns(RetryBudget(), most_waiting=10, most_batches=10, most_fresh_bytes=1000, clock=lambda: 0.0)
    batch = opened(1, Delivery("a.837", "ref", 0, 0.0, data=b""))

    turns.offer(batch, [weighing(batch, 1, size)])
    before = turns.heavy
    turns.pop()

    assert (before, turns.heavy) == (size == 1000, False)
