"""How the hot changes are written: dispatches, deferrals, results. A group takes few statements whatever its size."""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from worker.claim import Claim
from worker.ledger.commits import AttemptRow
from worker.ledger.packs import add_packs
from worker.ledger.replays import supersede
from worker.ledger.rows import write_rows
from worker.ports import Emission, Record

MOVE_MARKS = """
UPDATE batches SET dispatched_through = max(dispatched_through, mark.column2)
FROM (VALUES {rows}) AS mark WHERE number = mark.column1
"""

RETRACT_MARKS = MOVE_MARKS.replace("max(", "min(")

# `ambiguous` and `first_sent_at` keep what is known: a claim object may be older than its row.
NOTE_ATTEMPTS = """
INSERT INTO attempts VALUES {rows}
ON CONFLICT (batch_number, ordinal, generation) DO UPDATE SET
    attempts = excluded.attempts,
    ambiguous = max(ambiguous, excluded.ambiguous),
    first_sent_at = coalesce(first_sent_at, excluded.first_sent_at),
    due_at = excluded.due_at,
    in_flight = excluded.in_flight
"""

STORE_RESULTS = """
INSERT INTO results VALUES {rows}
ON CONFLICT (batch_number, ordinal, generation) DO NOTHING
"""

FIND_RESULT = "SELECT seq FROM results WHERE batch_number = ? AND ordinal = ? AND generation = ?"

PARK = "INSERT OR REPLACE INTO parked VALUES {rows}"

TALLY = """
INSERT INTO tallies VALUES {rows}
ON CONFLICT (batch_number, disposition) DO UPDATE SET claims = claims + excluded.claims
"""


def move_marks(db: sqlite3.Connection, marks: Mapping[int, int]) -> None:
    """Note for each batch the highest ordinal whose first attempt is about to be made."""
    write_rows(db, MOVE_MARKS, list(marks.items()))


def retract_marks(db: sqlite3.Connection, marks: Mapping[int, int]) -> None:
    """Note for each batch that nothing above this ordinal was sent."""
    write_rows(db, RETRACT_MARKS, list(marks.items()))


def note_attempts(db: sqlite3.Connection, rows: Sequence[AttemptRow]) -> None:
    """Note later attempts about to be made, and failed ones, in the order of the calls."""
    write_rows(db, NOTE_ATTEMPTS, rows)


def store_results(db: sqlite3.Connection, records: Sequence[Record], next_seq: int, now: float) -> Sequence[Emission]:
    """Store each result once; tell what stands in the outbox of them, at the known places where they were there."""
    rows = [_row(seq, record) for seq, record in enumerate(records, next_seq)]
    seqs: Sequence[int] = range(next_seq, next_seq + len(records))
    places = seqs
    fresh = records
    if write_rows(db, STORE_RESULTS, rows) != len(records):
        seqs = [db.execute(FIND_RESULT, row[1:4]).fetchone()[0] for row in rows]
        places = [seq for place, seq in enumerate(seqs) if seq == next_seq + place]
        fresh = [records[seq - next_seq] for seq in places]
    add_packs(db, zip(places, (record.body for record in fresh), strict=True))
    tally = Counter((record.batch_number, record.disposition) for record in fresh)
    write_rows(db, PARK, [_parked(record, record.parked, now) for record in fresh if record.parked is not None])
    # After the parking: what an earlier generation of the same group parked goes, too.
    if replayed := [record for record in fresh if record.generation > 1]:
        tally.subtract(supersede(db, replayed))
    write_rows(db, TALLY, [(*key, claims) for key, claims in tally.items()])
    return [
        Emission(seq, record.batch_number, record.result_id, record.body)
        for seq, record in zip(seqs, records, strict=True)
    ]


def _row(seq: int, record: Record) -> tuple[int, int, int, int, str, str | None]:
    return (
        seq,
        record.batch_number,
        record.ordinal,
        record.generation,
        record.disposition,
        record.reason_code,
    )


def _parked(record: Record, claim: Claim, now: float) -> tuple[int, int, int, float, bytes, bytes]:
    facts = msgspec.json.encode(claim.facts)
    return (record.batch_number, record.ordinal, record.generation, now, facts, claim.interchange)
