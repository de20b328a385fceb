"""How often a message was in work when a worker died: the poison counter, on disk before the message is in work again.

A broker's own count goes up with every delivery: after a drain, a lost connection, a broker's restart, and for all
the messages that were in work beside the one that killed the worker. Put aside by that count, good claims would be.
So a message that comes for the first time costs nothing here; one that comes *again* is noted before it is handed on,
and the note is taken back if it is given back alive.

The notes stand in a small SQLite file beside the ledger, or in a ledger that a fleet shares, and are the fleet's then;
without either they live as long as this object.
"""

import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import anyio
import anyio.to_thread

from worker.errors import SourceUnavailable, StorageFull

KEPT_S = 30 * 86_400.0


@runtime_checkable
class SharedNotes(Protocol):
    """The part of a fleet's ledger that keeps the counter for all workers.

    :raises worker.errors.StorageFull: if it cannot be reached for now.
    """

    async def in_work(self, refs: Sequence[str]) -> Mapping[str, int]:
        """Tell what is noted of these messages."""
        ...

    async def note_in_work(self, counts: Mapping[str, int]) -> None:
        """Note how often these messages were in work; a count of one or less forgets. Durable on return."""
        ...


def attempts_beside(state_url: str, ledger: object) -> "Attempts":
    """Make the counter of whoever works on this ledger: in it, if it is a fleet's, else beside its file."""
    return Attempts(shared=ledger) if isinstance(ledger, SharedNotes) else Attempts(attempts_file(state_url))


def attempts_file(state_url: str) -> Path | None:
    """Name the counter's file beside the ledger; None where the ledger is no file."""
    scheme, _, path = state_url.partition(":")
    return Path(path + ".attempts").absolute() if scheme == "sqlite" and path else None


class Attempts:
    """The counter; `open` it first. Every method returns once the change is on disk."""

    def __init__(self, file: Path | None = None, *, shared: SharedNotes | None = None) -> None:
        self._file = file
        self._shared = shared
        self._counts: dict[str, int] = {}
        self._db: sqlite3.Connection | None = None
        self._thread = anyio.CapacityLimiter(1)

    async def open(self) -> None:
        """Read what is noted; notes of messages that never came again are forgotten.

        :raises worker.errors.SourceUnavailable: if the file cannot be used.
        """
        if self._db is None and self._file is not None:
            await self._run(self._open, self._file)

    async def learn(self, refs: Sequence[str]) -> None:
        """Read what other workers have noted of messages that come again.

        :raises worker.errors.SourceUnavailable: if that cannot be told; do not work on them.
        """
        if self._shared is not None and refs:
            try:
                noted = await self._shared.in_work(refs)
            except StorageFull as error:
                raise SourceUnavailable(str(error)) from None
            for ref in refs:
                self._counts.pop(ref, None)
            self._counts.update(noted)

    def of(self, ref: str) -> int:
        """Tell how often the message was in work, as far as is known; at least once, for it came again."""
        return max(self._counts.get(ref, 0), 1)

    async def begin(self, refs: Iterable[str]) -> None:
        """Note that these messages, each delivered before, are in work from now on.

        :raises worker.errors.SourceUnavailable: if that cannot be noted; do not work on them.
        """
        await self._note({ref: self.of(ref) + 1 for ref in refs})

    async def forgive(self, refs: Iterable[str]) -> None:
        """Take the last note back: these were given back alive."""
        await self._note({ref: self._counts[ref] - 1 for ref in refs if ref in self._counts})

    async def forget(self, refs: Iterable[str]) -> None:
        """Forget messages that are done, one way or the other."""
        await self._note({ref: 0 for ref in refs if ref in self._counts})

    def close(self) -> None:
        """Let go of the file."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    async def _note(self, counts: Mapping[str, int]) -> None:
        if not counts:
            return
        if self._shared is not None:
            try:
                await self._shared.note_in_work(counts)
            except StorageFull as error:
                raise SourceUnavailable(str(error)) from None
        if self._file is not None:
            await self._run(self._write, counts)
        self._counts.update(counts)
        for ref in [ref for ref, count in counts.items() if count <= 1]:
            del self._counts[ref]

    async def _run(self, work: Callable[..., None], *args: object) -> None:
        try:
            # Not left behind by a cancelled caller: the next one must not meet it in the middle of a transaction.
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(work, *args, limiter=self._thread)
        except (sqlite3.Error, OSError):
            raise SourceUnavailable(
                f"input: cannot note attempts in {self._file}; is there room on the disk?"
            ) from None

    def _open(self, file: Path) -> None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)
        db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(db.close)
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("CREATE TABLE IF NOT EXISTS attempts (ref TEXT PRIMARY KEY, count INTEGER, noted_at REAL)")
            db.execute("DELETE FROM attempts WHERE noted_at < ?", (time.time() - KEPT_S,))
            self._counts = dict(db.execute("SELECT ref, count FROM attempts"))
            on_failure.pop_all()
        self._db = db

    def _write(self, counts: Mapping[str, int]) -> None:
        if self._db is None:
            raise sqlite3.ProgrammingError("not open")
        now = time.time()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for ref, count in counts.items():
                if count > 1:
                    self._db.execute("INSERT OR REPLACE INTO attempts VALUES (?, ?, ?)", (ref, count, now))
                else:
                    self._db.execute("DELETE FROM attempts WHERE ref = ?", (ref,))
            self._db.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
