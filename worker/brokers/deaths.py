"""How often a message was in work when a worker died: the poison counter, on disk before the message is in work again.

A broker's own count goes up with every delivery: after a drain, a lost connection, a broker's restart, and for all
the messages that were in work beside the one that killed the worker. By that count good claims would be set aside.

So a message that comes for the first time costs nothing here; one that comes *again* is noted before it is handed on,
and the note is taken back if it is given back alive. Deaths count in a row: where claims of a batch were answered
between two of them, the batch makes progress and its count starts again.

A note also holds how many answers the batch had when it was begun. The notes stand in a small SQLite file beside the
ledger, or in a ledger that a fleet shares, and are the fleet's then; without either they live as long as this object.
File and table are named "attempts", after what earlier versions called a message's time in work.
"""

import contextlib
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import anyio
import anyio.to_thread

from worker.errors import SourceUnavailable, StorageFull

KEPT_S = 30 * 86_400.0

Note = tuple[int, int]  # deaths in a row, this time included; answers when it was begun
Answers = Callable[[Sequence[str]], Awaitable[Mapping[str, int]]]


@runtime_checkable
class SharedNotes(Protocol):
    """The part of a fleet's ledger that keeps the counter for all workers.

    :raises worker.errors.StorageFull: if it cannot be reached for now.
    """

    async def in_work(self, refs: Sequence[str]) -> Mapping[str, Note]:
        """Tell what is noted of these messages."""
        ...

    async def note_in_work(self, noted: Mapping[str, Note]) -> None:
        """Note how often these messages were in work; a count of one or less forgets. Durable on return."""
        ...


class KnowsAnswers(Protocol):
    """The part of a ledger that tells progress."""

    async def answered(self, refs: Sequence[str], environment: str) -> Mapping[str, int]:
        """Tell how many claims of the batches that were delivered under these refs have an answer."""
        ...


def deaths_beside(state_url: str, ledger: KnowsAnswers, environment: str) -> "Deaths":
    """Make the counter of the workers on this ledger: in it, if it is a fleet's, else beside its file."""
    answers = partial(ledger.answered, environment=environment)
    if isinstance(ledger, SharedNotes):
        return Deaths(shared=ledger, answers=answers)
    return Deaths(deaths_file(state_url), answers=answers)


def deaths_file(state_url: str) -> Path | None:
    """Name the counter's file beside the ledger; None where the ledger is no file."""
    scheme, _, path = state_url.partition(":")
    return Path(path + ".attempts").absolute() if scheme == "sqlite" and path else None


class Deaths:
    """The counter; `open` it first. Every method returns once the change is on disk.

    `answers` tells how many claims of messages have an answer; without it none is known to make progress.
    """

    def __init__(
        self, file: Path | None = None, *, shared: SharedNotes | None = None, answers: Answers | None = None
    ) -> None:
        self._file = file
        self._shared = shared
        self._answers = answers
        self._noted: dict[str, Note] = {}
        self._answered: dict[str, int] = {}
        self._db: sqlite3.Connection | None = None
        self._thread = anyio.CapacityLimiter(1)

    async def open(self) -> None:
        """Read what is noted; notes of messages that never came again are forgotten.

        :raises worker.errors.SourceUnavailable: if the file cannot be used.
        """
        if self._db is None and self._file is not None:
            await self._run(self._open, self._file)

    async def learn(self, refs: Sequence[str]) -> None:
        """Read what is noted of messages that come again; deaths before new answers do not count any more.

        :raises worker.errors.SourceUnavailable: if that cannot be told; do not work on them.
        """
        if not refs:
            return
        try:
            if self._shared is not None:
                for ref in refs:
                    self._noted.pop(ref, None)
                self._noted.update(await self._shared.in_work(refs))
            if self._answers is not None:
                self._answered.update(await self._answers(refs))
        except StorageFull as error:
            raise SourceUnavailable(str(error)) from None
        for ref in refs:
            if ref in self._noted and self._answered.get(ref, 0) > self._noted[ref][1]:
                del self._noted[ref]

    def of(self, ref: str) -> int:
        """Tell at how many deaths in a row it was in work, as far as is known; at least one, because it came again."""
        return max(self._noted.get(ref, (0, 0))[0], 1)

    async def begin(self, refs: Iterable[str]) -> None:
        """Note that these messages, each delivered before, are in work from now on.

        :raises worker.errors.SourceUnavailable: if that cannot be noted; do not work on them.
        """
        await self._note({ref: (self.of(ref) + 1, self._answered.get(ref, 0)) for ref in refs})

    async def forgive(self, refs: Iterable[str]) -> None:
        """Take the last note back: these were given back alive."""
        noted = {ref: self._noted[ref] for ref in refs if ref in self._noted}
        await self._note({ref: (count - 1, answered) for ref, (count, answered) in noted.items()})

    async def forget(self, refs: Iterable[str]) -> None:
        """Forget messages that are done, one way or the other."""
        done = list(refs)
        for ref in done:
            self._answered.pop(ref, None)
        await self._note({ref: (0, 0) for ref in done if ref in self._noted})

    def close(self) -> None:
        """Let go of the file."""
        db, self._db = self._db, None
        if db is not None:
            db.close()

    async def _note(self, noted: Mapping[str, Note]) -> None:
        if not noted:
            return
        if self._shared is not None:
            try:
                await self._shared.note_in_work(noted)
            except StorageFull as error:
                raise SourceUnavailable(str(error)) from None
        if self._file is not None:
            await self._run(self._write, noted)
        self._noted.update(noted)
        for ref in [ref for ref, (count, _) in noted.items() if count <= 1]:
            del self._noted[ref]

    async def _run(self, work: Callable[..., None], *args: object) -> None:
        try:
            # Not left behind by a cancelled caller: the next one must not meet it in the middle of a transaction.
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(work, *args, limiter=self._thread)
        except (sqlite3.Error, OSError):
            raise SourceUnavailable(
                f"input: cannot note what is in work in {self._file}; is there room on the disk?"
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
            if not db.execute("SELECT 1 FROM pragma_table_info('attempts') WHERE name = 'answered'").fetchone():
                db.execute("ALTER TABLE attempts ADD COLUMN answered INTEGER NOT NULL DEFAULT 0")
            db.execute("DELETE FROM attempts WHERE noted_at < ?", (time.time() - KEPT_S,))
            rows = db.execute("SELECT ref, count, answered FROM attempts")
            self._noted = {ref: (count, answered) for ref, count, answered in rows}
            on_failure.pop_all()
        self._db = db

    def _write(self, noted: Mapping[str, Note]) -> None:
        if self._db is None:
            raise sqlite3.ProgrammingError("not open")
        now = time.time()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            for ref, (count, answered) in noted.items():
                if count > 1:
                    row = (ref, count, now, answered)
                    self._db.execute("INSERT OR REPLACE INTO attempts VALUES (?, ?, ?, ?)", row)
                else:
                    self._db.execute("DELETE FROM attempts WHERE ref = ?", (ref,))
            self._db.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
