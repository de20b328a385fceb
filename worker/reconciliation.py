"""Balances the books after a run and on request: claims in = results by disposition + pending.

Parked claims have a result, so they are counted beside the sum and not in it. `worker.ledger.balance` says what a
batch's books are made of.
"""

from collections import Counter, deque
from collections.abc import AsyncIterator, Sequence

import msgspec
import structlog

from worker.errors import StateError
from worker.ledger import Balance, LedgerReads

log = structlog.get_logger()

PAGE = 500
NAMED = 5


class Period(msgspec.Struct, frozen=True):
    """Which batches a run is answerable for: those after `newest`, and those of before that it had to do with."""

    newest: int = 0
    also: tuple[int, ...] = ()


class Books(msgspec.Struct):
    """Many batches' books in one. `problems` says of the first unbalanced ones why, each with its batch id."""

    batches: int = 0
    claims: int = 0
    results: Counter[str] = msgspec.field(default_factory=Counter)
    pending: int = 0
    parked: int = 0
    unbalanced: int = 0
    problems: list[tuple[str, str]] = []

    def add(self, one: Balance) -> None:
        """Enter one batch."""
        self.batches += 1
        self.claims += one.claims or 0
        self.results.update(one.results)
        self.pending += one.pending
        self.parked += one.parked
        if one.problem:
            self.unbalanced += 1
            self.problems += [(one.batch.batch_id, one.problem)][: NAMED - len(self.problems)]


class Listing:
    """Batches' books in the order in which people read them: all that do not balance, then the newest `most`."""

    def __init__(self, most: int) -> None:
        self._unbalanced: list[Balance] = []
        self._newest: deque[Balance] = deque(maxlen=most)

    def add(self, one: Balance) -> None:
        """Enter one batch, newer than those before."""
        (self._unbalanced if one.problem else self._newest).append(one)

    def shown(self) -> list[Balance]:
        """List what is to be shown."""
        return [*self._unbalanced, *reversed(self._newest)]


async def begin_period(ledger: LedgerReads) -> Period:
    """Note where the books stand before a run."""
    return Period(await ledger.newest_batch(), tuple(await ledger.open_now()))


async def balances(ledger: LedgerReads, period: Period | None = None) -> AsyncIterator[Balance]:
    """Walk the books of a period's batches, of all there are without one, oldest first."""
    period = period or Period()
    after = 0
    while page := await ledger.balance(newer_than=period.newest, also=period.also, after=after, limit=PAGE):
        for one in page:
            yield one
        after = page[-1].batch.number


async def reconcile(ledger: LedgerReads, period: Period, revisited: Sequence[int] = ()) -> Books:
    """Balance what a run was answerable for, `revisited` batches included, and log the outcome in one line."""
    books = Books()
    async for one in balances(ledger, Period(period.newest, (*period.also, *revisited))):
        books.add(one)
    tell(books)
    return books


async def require_balance(ledger: LedgerReads, period: Period, revisited: Sequence[int] = ()) -> None:
    """Balance likewise.

    :raises worker.errors.StateError: if the books do not balance.
    """
    books = await reconcile(ledger, period, revisited)
    if books.unbalanced:
        batch_id, problem = books.problems[0]
        raise StateError(f"the books do not balance: {batch_id}: {problem} (see status --reconcile)")


def tell(books: Books) -> None:
    """Log whether the books balance, with their counts."""
    counts = {
        "batches": books.batches,
        "claims": books.claims,
        "dispositions": dict(books.results),
        "pending": books.pending,
        "parked": books.parked,
    }
    if not books.unbalanced:
        log.info("books.balanced", **counts)
        return
    detail = "; ".join(f"{batch_id}: {problem}" for batch_id, problem in books.problems)
    log.error("books.unbalanced", count=books.unbalanced, detail=detail, **counts)
