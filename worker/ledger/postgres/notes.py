"""Small facts: a worker's own, and those of the fleet, which are worker 0's."""

from collections.abc import Mapping, Sequence

from worker.postgres.session import Connection

FLEET = 0
IN_WORK = "in work:"

NOTE = """
INSERT INTO notes SELECT $1, * FROM unnest($2::text[], $3::text[])
ON CONFLICT (worker, key) DO UPDATE SET value = excluded.value
"""

FORGET = "DELETE FROM notes WHERE worker = $1 AND key = ANY($2::text[])"

FIND = "SELECT key, value FROM notes WHERE worker = $1 AND key = ANY($2::text[])"


async def note(connection: Connection, worker: int, facts: Sequence[tuple[str, str]]) -> None:
    """Remember facts, each a key and its value."""
    await connection.execute(NOTE, worker, [key for key, _ in facts], [value for _, value in facts])


async def forget(connection: Connection, worker: int, keys: Sequence[str]) -> bool:
    """Forget facts; whether there were any."""
    return not str(await connection.execute(FORGET, worker, keys)).endswith(" 0")


async def find(connection: Connection, worker: int | None, keys: Sequence[str]) -> Mapping[str, str]:
    """Recall facts, those that there are."""
    return dict(map(tuple, await connection.fetch(FIND, worker, keys)))


async def note_in_work(connection: Connection, noted: Mapping[str, tuple[int, int]]) -> None:
    """Note how often messages were in work when a worker died, with their answers; a count of one or less forgets."""
    known = sorted((IN_WORK + ref, f"{count} {answered}") for ref, (count, answered) in noted.items() if count > 1)
    await note(connection, FLEET, known)
    await forget(connection, FLEET, [IN_WORK + ref for ref, (count, _) in noted.items() if count <= 1])


async def find_in_work(connection: Connection, refs: Sequence[str]) -> Mapping[str, tuple[int, int]]:
    """Tell what `note_in_work` noted of these messages."""
    found = await find(connection, FLEET, [IN_WORK + ref for ref in refs])
    return {key.removeprefix(IN_WORK): _counts(value) for key, value in found.items()}


def _counts(value: str) -> tuple[int, int]:
    """Read a note; those of earlier versions have no answers."""
    count, _, answered = value.partition(" ")
    return int(count), int(answered or 0)
