"""What a repeat of answered claims supersedes: all ledgers are held to the same."""

from tests.conformance.test_ledger import Place, claim, opened, record
from tests.conformance.test_ledger import place as place
from worker.ports import Earlier, Spent


async def test_earlier_is_the_latest_generation_of_each_answered_claim(place: Place) -> None:
    async with place() as ledger:
        batch = (await opened(ledger)).batch
        for ordinal, generation in [(1, 1), (1, 2), (2, 1), (4, 1)]:
            await ledger.record([record(batch, ordinal, generation=generation)])

        earlier = await ledger.earlier(batch.number)

    assert earlier == Earlier({1: 2, 2: 1, 4: 1}, {})


async def test_earlier_tells_what_the_next_generation_has_cost_and_an_attempt_in_flight_is_ambiguous(
    place: Place,
) -> None:
    async with place() as ledger:
        batch = (await opened(ledger)).batch
        for ordinal in (1, 2, 3):
            await ledger.record([record(batch, ordinal)])
        await ledger.dispatch(claim(batch, 1, generation=2), 1)
        await ledger.defer(claim(batch, 2, generation=2), Spent(2, 1, 5.0, 9.0))
        await ledger.dispatch(claim(batch, 7), 1)
        await ledger.defer(claim(batch, 7), Spent(1, 0, 5.0, 9.0))

        earlier = await ledger.earlier(batch.number)

    assert earlier.generations == {1: 1, 2: 1, 3: 1}
    assert earlier.spent == {1: Spent(1, 1, None, 0.0), 2: Spent(2, 1, 5.0, 9.0)}
