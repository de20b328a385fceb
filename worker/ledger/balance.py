"""The books of a batch: claims in = results by disposition + pending. Parked claims have a result and are told apart.

Three sources that are written apart are held against each other: the number of claims that the survey found, the
rows of results (through their index, so that no record is read), and the running counts by disposition.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from worker.claim import Batch
from worker.ledger.elsewhere import ELSEWHERE

# One statement sees one state of the ledger, even beside a running worker.
FIND = f"""
SELECT b.number, b.batch_id, b.name, b.received_at, b.environment, b.finished_at IS NOT NULL, b.total, b.content,
    (SELECT count(*) FROM (SELECT DISTINCT r.ordinal FROM results AS r WHERE r.batch_number = b.number)),
    (SELECT max(r.ordinal) FROM results AS r WHERE r.batch_number = b.number),
    (SELECT count(*) FROM parked AS p WHERE p.batch_number = b.number),
    (SELECT json_group_object(t.disposition, t.claims) FROM tallies AS t
        WHERE t.batch_number = b.number AND t.claims <> 0),
    {ELSEWHERE}
FROM batches AS b
WHERE b.number > :after AND (b.number > :newer_than OR b.number IN (SELECT value FROM json_each(:also)))
ORDER BY b.number LIMIT :limit
"""  # noqa: S608 - joined from constants


class Balance(msgspec.Struct, frozen=True):
    """One batch's books. `problem` says why they do not balance; "" if they do.

    `claims` is None where the batch's total was not told; then nothing is known of what is pending. Of a batch that
    another ledger goes on with only what was answered here is entered.
    """

    batch: Batch
    done: bool
    claims: int | None
    results: dict[str, int]
    pending: int
    parked: int
    problem: str


def balance(db: sqlite3.Connection, newer_than: int, also: Sequence[int], after: int, limit: int) -> Sequence[Balance]:
    """Balance the batches that are newer than a number, and those in `also`, in order from above number `after`."""
    after = max(after, min(newer_than, *(number - 1 for number in also)) if also else newer_than)
    wanted = {"newer_than": newer_than, "also": json.dumps(list(also)), "after": after, "limit": limit}
    return [balanced(row) for row in db.execute(FIND, wanted)]


def balanced(row: Sequence[Any]) -> Balance:
    """Enter what was found of one batch, in the columns of `FIND`."""
    done, total, content, answered, highest, parked = row[5:11]
    counts: dict[str, int] = json.loads(row[11])
    counted = sum(counts.values())
    if row[12]:
        return Balance(Batch(*row[:5]), True, counted, counts, 0, parked, "")
    return Balance(
        batch=Batch(*row[:5]),
        done=bool(done),
        claims=total,
        results=counts,
        pending=max((total or 0) - counted, 0),
        parked=parked,
        problem=_problem(
            done=bool(done), total=total, counted=counted, highest=highest or 0,
            answered=answered if content == "kept" else counted,
        ),
    )  # fmt: skip


def _problem(*, done: bool, total: int | None, counted: int, highest: int, answered: int) -> str:
    if answered != counted:
        return f"{answered} claims have a result, {counted} are counted"
    if total is None:
        return "finished before its claims were counted" if done else ""
    if max(counted, highest) > total:
        return f"{total} claims came in, results go up to {max(counted, highest)}"
    if done and counted < total:
        return f"finished with {counted} results for {total} claims"
    return ""
