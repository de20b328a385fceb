"""The worker with one part broken on purpose, as a program: ``broken_worker.py FAULT run --once``.

What a test of crashes is worth shows only where it fails; and some faults no file or socket of the outside can
inject. Both need another worker than the one that ships, so its parts are replaced here, in a process of its own.
"""

import os
import sys
import time
from collections.abc import Callable

from worker.cli import main
from worker.ledger import sqlite
from worker.ledger.commits import Group
from worker.ledger.writer import Writer
from worker.sinks import jsonl
from worker.sinks.scan import Scan

SLOW_FSYNC_S = 0.7
SOUND_COMMITS = 5


class Gone(BaseException):
    """What no `except Exception` catches."""


def without_rescan() -> None:
    """Let the jsonl sink believe that it holds nothing after the ledger's position."""
    vars(jsonl)["scan"] = lambda fd, _: Scan(set(), os.fstat(fd).st_size)


def with_slow_fsync() -> None:
    """Let each fsync of a file take its time."""
    sync = os.fsync

    def fsync_slowly(fd: int) -> None:
        time.sleep(SLOW_FSYNC_S)
        sync(fd)

    vars(os)["fsync"] = fsync_slowly


def with_a_ledger_bug() -> None:
    """Let a bug in the ledger's thread show after some commits."""
    _break_writer(lambda: RuntimeError("planted"))


def with_a_lost_ledger_thread() -> None:
    """Let the ledger's thread end by what nobody expects after some commits."""
    _break_writer(lambda: Gone("planted"))


def _break_writer(failure: Callable[[], BaseException]) -> None:
    class BreakingWriter(Writer):
        commits = 0

        def write(self, group: Group) -> None:
            BreakingWriter.commits += 1
            if BreakingWriter.commits > SOUND_COMMITS:
                raise failure()
            super().write(group)

    vars(sqlite)["Writer"] = BreakingWriter


FAULTS = {
    each.__name__: each for each in (without_rescan, with_slow_fsync, with_a_ledger_bug, with_a_lost_ledger_thread)
}

if __name__ == "__main__":
    FAULTS[sys.argv.pop(1)]()
    main()
