"""A batch's life in the ledger: recognised or new, complete, finished. Many at a time, in few statements."""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

from worker.claim import ID_DIGITS, Batch
from worker.ledger.elsewhere import ELSEWHERE, bring_back
from worker.ledger.rows import read_rows, write_rows
from worker.ports import Arrival, OpenedBatch

FIND_DELIVERIES = """
WITH arrivals (sha256, ref, environment) AS (VALUES {rows})
SELECT b.sha256, b.ref, b.number, b.batch_id, b.name, b.received_at, b.environment
FROM arrivals AS a JOIN batches AS b ON b.sha256 = a.sha256 AND b.ref = a.ref AND b.environment = a.environment
"""

# By the stem and not the whole digest: two that share a stem must not share an id. "g" follows the hex digits.
# The highest number and not how many: a batch that was taken over has brought the number it had elsewhere.
LAST_EARLIER = """
WITH stems (stem) AS (VALUES {rows})
SELECT s.stem, max(iif(b.batch_id = s.stem, 1, CAST(substr(b.batch_id, length(s.stem) + 2) AS INTEGER)))
FROM stems AS s JOIN batches AS b ON b.sha256 >= s.stem AND b.sha256 < s.stem || 'g'
GROUP BY s.stem
"""

FIND_ID = "SELECT 1 FROM batches WHERE sha256 >= :stem AND sha256 < :stem || 'g' AND batch_id = :wanted"

ADD_BATCHES = """
INSERT INTO batches (
    number, batch_id, sha256, ref, environment, name, size, received_at, opened_at, total, dispatched_through)
VALUES {rows}
"""

# The other columns are those of the row with the lowest number (sqlite.org/lang_select.html#bareagg).
FIND_EQUALS = f"""
WITH opened (number) AS (VALUES {{rows}})
SELECT o.number, b.finished_at IS NOT NULL, min(b.number), b.batch_id, b.name, b.received_at, b.environment
FROM opened JOIN batches AS o ON o.number = opened.number
JOIN batches AS b ON b.sha256 = o.sha256 AND b.environment = o.environment AND b.number < o.number
WHERE b.content = 'kept' AND NOT {ELSEWHERE}
GROUP BY o.number, b.finished_at IS NOT NULL
"""  # noqa: S608 - joined from constants

FORGET_ATTEMPTS = "DELETE FROM attempts WHERE batch_number IN ({rows}) AND generation = 1"

FINISH = "UPDATE batches SET finished_at = coalesce(finished_at, ?) WHERE number IN ({rows})"


RESERVE_NOTHING = "UPDATE batches SET dispatched_through = 0 WHERE number IN ({rows})"


class Found(NamedTuple):
    """A delivery's batch, and whether it was `known`.

    `original` is the first finished batch of equal bytes that came before and whose results are still kept, `awaited`
    the first that is being worked on, where there is no original.
    """

    batch: Batch
    known: bool
    original: Batch | None
    awaited: Batch | None


def open_arrivals(db: sqlite3.Connection, arrivals: Sequence[Arrival], environment: str, now: float) -> list[Found]:
    """Find each delivery's batch or add it."""
    deliveries: dict[tuple[str, str], Arrival] = {}
    for arrival in arrivals:
        deliveries.setdefault((arrival.sha256, arrival.ref), arrival)
    # Nearly always nothing here begins like the new ones: one look then says all that two more would.
    seen = _last_earlier(db, {sha256[:ID_DIGITS] for sha256, _ in deliveries}).keys()
    wanted = [(sha256, ref, environment) for sha256, ref in deliveries if sha256[:ID_DIGITS] in seen]
    batches = {(sha256, ref): Batch(*row) for sha256, ref, *row in read_rows(db, FIND_DELIVERIES, wanted)}
    bring_back(db, [batch.number for batch in batches.values()])
    fresh = {key: arrival for key, arrival in deliveries.items() if key not in batches}
    if fresh:
        batches |= _add(db, fresh, seen, environment, now)
    many = Counter(sha256[:ID_DIGITS] for sha256, _ in deliveries)
    alike = seen | {stem for stem, deliveries_of_it in many.items() if deliveries_of_it > 1}
    equals = _find_equals(db, [batch.number for (sha256, _), batch in batches.items() if sha256[:ID_DIGITS] in alike])
    opened = []
    for arrival in arrivals:
        key = (arrival.sha256, arrival.ref)
        batch = batches[key]
        original = equals.get((batch.number, True))
        awaited = None if original else equals.get((batch.number, False))
        # The same delivery once more in one call is known by then.
        opened.append(Found(batch, fresh.pop(key, None) is None, original, awaited))
    write_rows(db, RESERVE_NOTHING, [(one.batch.number,) for one in opened if one.awaited and not one.known])
    return opened


def as_new(arrival: Arrival, one: Found) -> OpenedBatch:
    """Describe a batch that was added for this arrival."""
    reserved = 0 if one.awaited else arrival.reserved
    return OpenedBatch(
        batch=one.batch, original=one.original, awaited=one.awaited, total=arrival.total, reserved=reserved
    )


def free_id(db: sqlite3.Connection, wanted: str) -> str:
    """Give this batch id if no batch here has it, else the next of its stem."""
    stem = wanted[:ID_DIGITS]
    if not db.execute(FIND_ID, {"stem": stem, "wanted": wanted}).fetchone():
        return wanted
    return spelled_id(stem, _last_earlier(db, {stem}).get(stem, 0) + 1)


def finish(db: sqlite3.Connection, numbers: Sequence[int], now: float) -> None:
    """Note that nothing of these batches is left to do, and forget what their claims had cost."""
    keys = [(number,) for number in numbers]
    write_rows(db, FORGET_ATTEMPTS, keys)
    write_rows(db, FINISH, keys, leading=(now,))


def _add(
    db: sqlite3.Connection, fresh: Mapping[tuple[str, str], Arrival], seen: Set[str], environment: str, now: float
) -> dict[tuple[str, str], Batch]:
    earlier = _last_earlier(db, {sha256[:ID_DIGITS] for sha256, _ in fresh} & seen)
    (last,) = db.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'batches'").fetchone()
    added, rows = {}, []
    for number, (key, arrival) in enumerate(fresh.items(), (last or 0) + 1):
        stem = arrival.sha256[:ID_DIGITS]
        same = earlier[stem] = earlier.get(stem, 0) + 1
        batch_id = spelled_id(stem, same)
        added[key] = Batch(number, batch_id, arrival.name, arrival.received_at, environment)
        delivered = (arrival.name, arrival.size, arrival.received_at)
        rows.append((number, batch_id, *key, environment, *delivered, now, arrival.total, arrival.reserved))
    write_rows(db, ADD_BATCHES, rows)
    return added


def _last_earlier(db: sqlite3.Connection, stems: Set[str]) -> dict[str, int]:
    return dict(read_rows(db, LAST_EARLIER, [(stem,) for stem in stems]))


def spelled_id(stem: str, number: int) -> str:
    """Name a batch by its stem and its number among those of that stem, which the first one lacks."""
    return f"{stem}-{number}" if number > 1 else stem


def _find_equals(db: sqlite3.Connection, numbers: Sequence[int]) -> dict[tuple[int, bool], Batch]:
    """Find the first equal batch before each of these, by number and whether it is finished."""
    found = read_rows(db, FIND_EQUALS, [(number,) for number in numbers])
    return {(number, bool(finished)): Batch(*equal) for number, finished, *equal in found}
