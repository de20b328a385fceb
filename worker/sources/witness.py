"""The file ``reading`` in a work folder: what is being read outside of it, so that a death tells what it died of.

A batch in a work folder carries its count in its name (`worker.sources.returned`). One that still stands in the input
folder is not ours to rename, and may kill its reader all the same. So it is noted before a byte of it is read,
with the deaths it was noted at before, and crossed out once it is read: what a dead worker's file still names, it died
of, or beside. Large files are always noted; small ones, thousands a second, only by a worker that has found a dead one,
until it has gone through the folder once.

While a suspect is still to be read, batches of dead workers wait: whatever dies meanwhile, dies of the suspect.

Notes are not synced: they are for the death of a process, and a file is not to blame for a power cut. Where there is
no room for them, reading goes on without.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from worker.paths import Sight
from worker.sources.readiness import ref_of
from worker.x12 import Finding

READING = "reading"
MOST_NOTED = 64
_LONGEST_BYTES = 64 << 10
_NOTE = re.compile(r"(\d{1,9}) (\d+:-?\d+:\d+)")


class Witness:
    """Notes for one work folder; with `wary`, those found there are of a process that died.

    As long as it is `wary`, small files are noted as well.
    """

    def __init__(self, folder_fd: int, *, wary: bool) -> None:
        self.wary = False
        self._folder = folder_fd
        self._deaths: dict[str, int] = {}
        self._noted: dict[str, int] = {}
        self._unread: set[str] = set()
        if wary:
            self.learn(folder_fd)

    def learn(self, folder_fd: int) -> None:
        """Learn from an open work folder what its worker died of; the more often, the surer. Learned twice is once."""
        self.wary = True
        for ref, deaths in _notes_in(folder_fd):
            self._deaths[ref] = max(deaths, self._deaths.get(ref, 0))

    def suspects(self, sight: Sight) -> bool:
        """Tell whether a worker has died while this file was being read."""
        return bool(self._deaths) and ref_of(sight) in self._deaths

    def condemns(self, sight: Sight, limit: int) -> Finding | None:
        """Say why a file is not to be read any more: so many deaths in a row are its own fault."""
        deaths = self._deaths.get(ref_of(sight), 0) if self._deaths else 0
        if deaths < limit:
            return None
        return Finding("poison", f"it was being read at {deaths} deaths of a worker in a row", "error")

    @property
    def holds_back(self) -> bool:
        """Whether a suspect is still to be read: until then nothing else is begun that may be what was died of."""
        return self.wary and bool(self._deaths)

    def waits(self, sight: Sight) -> None:
        """Hear that a file was met in this pass, and is not read yet."""
        if self.suspects(sight):
            self._unread.add(ref_of(sight))

    def end_pass(self) -> None:
        """Trust again what was met in a pass, but for suspects that are still to be read."""
        self.wary = bool(self._unread)
        self._unread.clear()

    def begin(self, sight: Sight) -> None:
        """Note that a file is about to be read."""
        ref = ref_of(sight)
        self._noted[ref] = self._deaths.get(ref, 0) + 1
        self._write()

    def end(self, sight: Sight) -> None:
        """Cross out a file that was read, or will not be: nobody has died of it."""
        ref = ref_of(sight)
        self._deaths.pop(ref, None)
        if self._noted.pop(ref, None) is not None:
            self._write()

    @contextmanager
    def reading(self, sight: Sight) -> Iterator[None]:
        """Have a small file noted while it is read, if we are wary."""
        if not self.wary:
            yield
            return
        self.begin(sight)
        try:
            yield
        finally:
            self.end(sight)

    def close(self) -> None:
        """End in order: nobody has died."""
        self._noted.clear()
        self._deaths.clear()
        with suppress(OSError):
            os.unlink(READING, dir_fd=self._folder)

    def _write(self) -> None:
        told = self._deaths | self._noted
        lines = [f"{deaths} {ref}\n" for ref, deaths in list(told.items())[-MOST_NOTED:]]
        with suppress(OSError):
            fd = os.open(READING, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600, dir_fd=self._folder)
            try:
                os.ftruncate(fd, os.pwrite(fd, "".join(lines).encode(), 0))
            finally:
                os.close(fd)


def forget_notes(folder_fd: int) -> None:
    """Remove the notes in a work folder from which all was learned."""
    with suppress(FileNotFoundError):
        os.unlink(READING, dir_fd=folder_fd)


def _notes_in(folder_fd: int) -> Iterator[tuple[str, int]]:
    """Read the notes in an open work folder; a line that is none was cut by the death."""
    try:
        fd = os.open(READING, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder_fd)
    except OSError:
        return
    try:
        text = os.pread(fd, _LONGEST_BYTES, 0).decode("ascii", "replace")
    except OSError:
        return
    finally:
        os.close(fd)
    for line in text.splitlines():
        if note := _NOTE.fullmatch(line):
            yield note[2], int(note[1])
