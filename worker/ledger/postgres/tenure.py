"""A worker's hold on its name, for as long as one connection stands: the connection that writes.

The lock is the session's (`pg_try_advisory_lock`), so a worker that writes under a name holds it in that moment, and a
write that was under way when the connection broke has ended, one way or the other, once the lock can be had again. With
the lock the name's `session` is set to a number that no life of a worker ever had. So after a break

- the lock can be had and the session is ours: nobody was here meanwhile, go on;
- the session is another's: somebody has opened the ledger under our name. Stop: two that believe to be one would give
  the same places in the outbox to different results;
- the lock is held and the session is ours: that is our own old connection, which the server has not missed yet. End it.

Until a worker writes again it does not notice the break, and does no harm: what it sends is noted first.
"""

import anyio
import msgspec

from worker.errors import SinkUnavailable, StateHeld
from worker.postgres.session import Connection

WAIT_S = 3.0
LOOK_S = 0.05

# The same number for this ledger and no other of the database.
LOCK_CLASS = "hashoid('workers'::regclass::oid)"

ENTER = "INSERT INTO workers (name, opened_at) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING"

BEGIN_SESSION = "UPDATE workers SET session = nextval('sessions'), opened_at = $2 WHERE number = $1 RETURNING session"

TRY_LOCK = f"SELECT pg_try_advisory_lock({LOCK_CLASS}, $1)"

# A worker that sends parked claims again holds it: two would send them twice, a purge take away what they supersede.
HOLD_PARKED = "SELECT pg_try_advisory_lock(hashoid('parked'::regclass::oid), 0)"

BESIDE_PARKED = "SELECT pg_try_advisory_xact_lock_shared(hashoid('parked'::regclass::oid), 0)"

END_OLD = f"""
SELECT pg_terminate_backend(pid) FROM pg_locks
WHERE locktype = 'advisory' AND granted AND classid = {LOCK_CLASS}::oid AND objid = $1::int::oid AND pid = $2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608 - joined from constants

LIVING = f"""
SELECT w.number, w.session FROM workers AS w WHERE EXISTS (
    SELECT 1 FROM pg_locks AS l WHERE l.locktype = 'advisory' AND l.granted AND l.classid = {LOCK_CLASS}::oid
        AND l.objid = w.number::oid AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()))
"""  # noqa: S608 - joined from constants
"""The workers that hold their name now, each with its session."""

LIVING_NAMES = f"SELECT name FROM workers JOIN ({LIVING}) AS living USING (number) ORDER BY name"  # noqa: S608

# Positions of sinks count, because what they have passed may be purged.
LAST_PLACE = """
SELECT greatest(
    (SELECT max(seq) FROM results WHERE worker = $1), (SELECT max(seq) FROM adopted WHERE worker = $1),
    (SELECT max(seq) FROM sinks WHERE worker = $1), 0)
"""


class Tenure(msgspec.Struct, frozen=True):
    """Who we are in the ledger: the name's number, the session that is this life of ours, the server's process."""

    worker: int
    session: int
    process: int


async def begin_tenure(connection: Connection, name: str, now: float) -> Tenure:
    """Take hold of a name that nobody has.

    :raises StateHeld: if a living worker has it.
    """
    await connection.execute(ENTER, name, now)
    worker = await connection.fetchval("SELECT number FROM workers WHERE name = $1", name)
    if not await _locked(connection, worker):
        raise StateHeld(
            f"ledger: a worker named {name} is at work on it; give each a name of its own: state.worker_name"
        )
    session = await connection.fetchval(BEGIN_SESSION, worker, now)
    return Tenure(worker, session, connection.get_server_pid())


async def resume_tenure(connection: Connection, lost: Tenure) -> Tenure:
    """Take hold of our name again, on another connection.

    :raises StateHeld: if somebody has been here under our name.
    :raises SinkUnavailable: if our old connection is not gone yet.
    """
    await _require_session(connection, lost)
    await connection.execute(END_OLD, lost.worker, lost.process)
    if not await _locked(connection, lost.worker):
        await _require_session(connection, lost)
        raise SinkUnavailable("ledger: the server has not ended our lost connection yet")
    await _require_session(connection, lost)
    return Tenure(lost.worker, lost.session, connection.get_server_pid())


async def _require_session(connection: Connection, ours: Tenure) -> None:
    if await connection.fetchval("SELECT session FROM workers WHERE number = $1", ours.worker) != ours.session:
        raise StateHeld("ledger: while the connection was lost another worker has taken our name")


async def hold_parked(connection: Connection) -> None:
    """Be the only one who sends parked claims again, for as long as the connection stands.

    :raises StateHeld: if somebody else is at it.
    """
    if not await _had(connection, HOLD_PARKED):
        raise StateHeld("ledger: parked claims are sent again by another worker at this moment")


async def _locked(connection: Connection, worker: int) -> bool:
    return await _had(connection, TRY_LOCK, worker)


async def _had(connection: Connection, query: str, *args: object) -> bool:
    for _ in range(round(WAIT_S / LOOK_S)):
        if await connection.fetchval(query, *args):
            return True
        await anyio.sleep(LOOK_S)
    return False
