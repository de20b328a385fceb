"""Retention: content of batches settled long ago is deleted, by whichever worker of the fleet comes first.

A result goes once one worker that has it in its outbox has brought it to all its sinks: what another has that died, or
lost the batch, stands in its outbox for nothing.
"""

from worker.ledger.postgres.tenure import BESIDE_PARKED
from worker.postgres.session import Connection

BATCHES_A_STEP = 64

# How far each worker has come with all of its sinks.
DELIVERED = "SELECT worker, min(seq) AS through FROM sinks GROUP BY worker"

FIND_EXPIRED = f"""
WITH delivered AS ({DELIVERED})
SELECT b.number FROM batches AS b
WHERE b.content <> 'gone' AND b.finished_at < $1 AND NOT EXISTS (
    SELECT 1 FROM results AS r WHERE r.batch_number = b.number
        AND NOT EXISTS (SELECT 1 FROM delivered AS d WHERE d.worker = r.worker AND d.through >= r.seq)
        AND NOT EXISTS (
            SELECT 1 FROM adopted AS a JOIN delivered AS d ON d.worker = a.worker AND d.through >= a.seq
            WHERE a.batch_number = r.batch_number AND a.ordinal = r.ordinal AND a.generation = r.generation))
ORDER BY b.finished_at LIMIT {BATCHES_A_STEP}
"""  # noqa: S608 - joined from constants

DELETE = (
    "DELETE FROM adopted WHERE batch_number = ANY($1::bigint[])",
    "DELETE FROM parked WHERE batch_number = ANY($1::bigint[])",
    "DELETE FROM attempts WHERE batch_number = ANY($1::bigint[])",
)


async def purge_some(connection: Connection, before: float) -> tuple[int, int]:
    """Delete the content of a bounded number of batches finished before `before`: how many results, of how many.

    None while parked claims are sent again: what those supersede must stay.
    """
    if not await connection.fetchval(BESIDE_PARKED):
        return 0, 0
    numbers = [row[0] for row in await connection.fetch(FIND_EXPIRED, before)]
    if not numbers:
        return 0, 0
    # Locked first: a repeat that stores its result in this moment comes before or after.
    await connection.execute("UPDATE batches SET content = 'gone' WHERE number = ANY($1::bigint[])", numbers)
    for statement in DELETE:
        await connection.execute(statement, numbers)
    deleted = await connection.execute("DELETE FROM results WHERE batch_number = ANY($1::bigint[])", numbers)
    return int(deleted.rpartition(" ")[2]), len(numbers)
