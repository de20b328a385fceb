"""Many rows in one statement, however many there are.

The sqlite3 module gives the interpreter's lock away three or four times for each execution of a statement and
queues to have it back, which beside a busy event loop can take milliseconds. Binding values costs nothing of the
kind. So a change to N rows is one statement with N rows of ``VALUES``, not N executions; each number of rows up to
`MOST_ROWS` is a statement of its own that the connection keeps prepared.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

MOST_ROWS = 64
KEPT_STATEMENTS = 512  # prepared ones a connection keeps: some tables by up to MOST_ROWS sizes


def write_rows(
    db: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]], *, leading: Sequence[Any] = ()
) -> int:
    """Run a change with ``{rows}`` standing for all of `rows`; tells how many rows of the table it changed.

    The rows are of one width and take effect in their order. `leading` are the values of the ``?`` before them.
    """
    # `execute` would ask for the last row id, which is one more turn at the lock.
    return sum(db.executemany(text, [(*leading, *values)]).rowcount for text, values in _portions(statement, rows))


def read_rows(db: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]]) -> list[Any]:
    """Run a query with ``{rows}`` standing for all of `rows`; what it groups, it groups over `MOST_ROWS` of them."""
    return [found for portion in _portions(statement, rows) for found in db.execute(*portion).fetchall()]


def _portions(statement: str, rows: Sequence[Sequence[Any]]) -> Iterator[tuple[str, list[Any]]]:
    for start in range(0, len(rows), MOST_ROWS):
        portion = rows[start : start + MOST_ROWS]
        yield _spelled(statement, len(portion[0]), len(portion)), list(chain.from_iterable(portion))


@lru_cache(maxsize=KEPT_STATEMENTS)
def _spelled(statement: str, width: int, many: int) -> str:
    row = f"({', '.join('?' * width)})"
    return statement.replace("{rows}", ", ".join([row] * many))
