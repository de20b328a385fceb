"""The worker with the fsync of one part left out: the negative controls of the power cuts.

::

    python unsynced_worker.py sink|input|ledger|ledger-commits COMMAND…

================= ==================================================================
without           leaves out
================= ==================================================================
sink              every fsync of what lies in ``spool/out``
input             every fsync of the input folder and its neighbours
ledger            every fsync of the ledger (``synchronous = OFF``) and of its folder
ledger-commits    only the fsync of each commit (``synchronous = NORMAL``)
================= ==================================================================

What is replaced is Python's, from outside; the worker has no switch for it.
"""

import os
import sqlite3
import sys
from pathlib import Path
from typing import Any

from worker.cli import main

FOLDERS = {
    "sink": ("spool/out",),
    "input": ("spool/in", "spool/work", "spool/archive", "spool/quarantine"),
    "ledger": ("spool/state",),
    "ledger-commits": (),
}
LEVELS = {"ledger": "OFF", "ledger-commits": "NORMAL"}


def leave_out_fsync(folders: tuple[str, ...]) -> None:
    """Make `os.fsync` and `os.fdatasync` succeed at once for what lies in these folders."""
    prefixes = tuple(str(Path.cwd() / folder) for folder in folders)

    def unless_there(sync: Any) -> Any:
        def synced(fd: int) -> None:
            if not str(Path(f"/proc/self/fd/{fd}").readlink()).startswith(prefixes):
                sync(fd)

        return synced

    os.fsync, os.fdatasync = unless_there(os.fsync), unless_there(os.fdatasync)


def lower_synchronous(level: str) -> None:
    """Have every SQLite connection take `level` where it asks for another."""

    class Careless(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            if sql.startswith("PRAGMA synchronous"):
                sql = f"PRAGMA synchronous = {level}"
            return super().execute(sql, *parameters)

    connect: Any = sqlite3.connect

    def connect_careless(*arguments: Any, **options: Any) -> sqlite3.Connection:
        db: sqlite3.Connection = connect(*arguments, **options, factory=Careless)
        return db

    replaced: Any = sqlite3
    replaced.connect = connect_careless


if __name__ == "__main__":
    without = sys.argv.pop(1)
    leave_out_fsync(FOLDERS[without])
    if without in LEVELS:
        lower_synchronous(LEVELS[without])
    main()
