"""How many transactions of a worker the server has confirmed, counted in each of them.

A server that takes another's place may lack the last ones: replication lagged, a backup was restored, or the old one
came back beside the new. A worker that went on there would give numbers of batches and places in the outbox a second
time, and hold claims for noted that are not. So a worker that connects anew checks that the count is complete. A worker
that is started begins with what it finds, and that is safe: what the ledger lacks comes again from the input.
"""

from worker.errors import StateError
from worker.ledger.postgres import notes
from worker.postgres.address import Address
from worker.postgres.session import Connection

KEY = "confirmed"


async def count(connection: Connection, worker: int, number: int) -> None:
    """Note in the open transaction that it is this worker's `number`-th."""
    await notes.note(connection, worker, [(KEY, str(number))])


async def counted(connection: Connection, worker: int) -> int:
    """Tell how many transactions of this worker are there."""
    return int((await notes.find(connection, worker, [KEY])).get(KEY, "0"))


async def require_all(connection: Connection, address: Address, worker: int, confirmed: int) -> int:
    """See that what was confirmed is there; gives how many are, one more if the last one's answer was lost.

    :raises worker.errors.StateError: if some are not.
    """
    found = await counted(connection, worker)
    if found < confirmed:
        why = "a failover without synchronous replication, or a backup; started again, the worker goes by what is there"
        raise StateError(f"ledger: {address.server} has lost what it confirmed: {why}")
    return found
