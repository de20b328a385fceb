"""An answer out of turn, when the next claim is already on its way: it fools nobody, nor do those behind it."""

import asyncio

import msgspec
import pytest

from tests.integration.clients import client_of, make_claim
from tests.integration.faultserver import Conversation, FaultServer, Received, answering, in_turn, response
from tests.unit.spoken_answers import ack_277, envelope, members
from worker.claim import Claim
from worker.result import Disposition

NOT_FOUND = envelope({"transactionId": "T-code", "responseType": "837999", "statusCode": "301"})


def numbered(ordinal: int) -> Claim:
    claim = make_claim(ordinal)
    facts = msgspec.structs.replace(claim.facts, patient_control_number=f"PCN{ordinal}", total_charge="170")
    return msgspec.structs.replace(claim, facts=facts)


def accepting(ordinal: int) -> bytes:
    report = ack_277((f"TRN*2*PCN{ordinal}", "STC*A2:20*20250911*WQ*170"))
    return envelope(members(transactionId=f"T-{ordinal}", x12Response277CA=report))


class Desk:
    """Answers with `bodies` in turn, whatever is asked, and counts from which connection it was asked."""

    def __init__(self, *bodies: bytes) -> None:
        self.bodies = list(bodies)
        self.asked: list[int] = []

    async def answer(self, talk: Conversation, request: Received) -> None:
        self.asked.append(talk.number)
        await talk.answer(200, self.bodies.pop(0))


async def test_an_answer_that_names_its_claim_leaves_the_connection_to_the_next() -> None:
    desk = Desk(accepting(1), accepting(2), accepting(3))

    async with FaultServer(answering(desk.answer)) as server, client_of(server.origin) as client:
        verdicts = [await client.attempt(numbered(ordinal)) for ordinal in (1, 2, 3)]

    assert [verdict.disposition for verdict in verdicts] == [Disposition.ACCEPTED] * 3
    assert desk.asked == [1, 1, 1]


@pytest.mark.fault(97)
@pytest.mark.parametrize(
    "body",
    [NOT_FOUND, accepting(9), envelope(members(x12Response277CA="")), b"<html>", b""],
    ids=["a code", "another claim's", "no 277CA", "a page", "nothing"],
)
async def test_an_answer_that_does_not_is_the_last_one_on_its_connection(body: bytes) -> None:
    desk = Desk(body, accepting(2))

    async with FaultServer(answering(desk.answer)) as server, client_of(server.origin) as client:
        await client.attempt(numbered(1))
        second = await client.attempt(numbered(2))

    assert second.disposition is Disposition.ACCEPTED
    assert desk.asked == [1, 2]


@pytest.mark.fault(97)
@pytest.mark.parametrize("status", [401, 500, 504])
async def test_nor_does_an_error_leave_its_connection_to_the_next(status: int) -> None:
    desk = Desk(accepting(2))

    async def fail(talk: Conversation) -> None:
        await talk.receive()
        await talk.answer(status)
        await answering(desk.answer)(talk)

    async with FaultServer(in_turn(fail, answering(desk.answer))) as server, client_of(server.origin) as client:
        await client.attempt(numbered(2))
        if status != 401:  # after which the same attempt asks once more
            await client.attempt(numbered(2))

    assert desk.asked == [2]


@pytest.mark.fault(97)
async def test_once_an_answer_came_out_of_turn_none_behind_it_reaches_another_claim() -> None:
    """The server is one answer ahead: 2 gets 1's once more, and 2's own, which names nobody, would be 3's."""

    async def one_ahead(talk: Conversation) -> None:
        await talk.receive()
        await talk.send(response(200, accepting(1)))
        await talk.receive()
        await talk.send(response(200, accepting(1)))
        await asyncio.sleep(0.05)  # 3 is asked in this time, if it is asked here
        await talk.send(response(200, NOT_FOUND))
        await talk.until_closed()

    async def honest(talk: Conversation, request: Received) -> None:
        await talk.answer(200, accepting(3))

    async with FaultServer(in_turn(one_ahead, answering(honest))) as server, client_of(server.origin) as client:
        verdicts = [await client.attempt(numbered(ordinal)) for ordinal in (1, 2, 3)]

    assert [verdict.disposition for verdict in verdicts] == [
        Disposition.ACCEPTED,
        Disposition.UNDETERMINED,
        Disposition.ACCEPTED,
    ]
