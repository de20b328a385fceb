"""Opening, reading, surveying and hashing a file in one pass, without ever waiting for somebody else.

Small files are read where they stand. Large ones are read in threads beside, so that a 200,000-claim file does not
delay the one-claim file that arrives after it.
"""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from types import TracebackType
from typing import Self

import msgspec

from worker.claim import CHUNK_BYTES
from worker.paths import Sight, sight_of
from worker.sources.file_leases import Lease, lease, unbroken, unlease
from worker.x12 import SplitClaim, Survey, read_single

READERS = 2

# A symlink or a socket that has come between the look at the name and the opening.
_NO_FILE = frozenset({errno.ELOOP, errno.ENXIO, errno.EISDIR})
_NOT_ITS_FAULT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EMFILE, errno.ENFILE, errno.ENOMEM})

SurveyOf = Callable[[Iterable[bytes]], Survey]


class Reading(msgspec.Struct, frozen=True):
    """What one pass over a file found; `data` is set for a small one, `only` if that is one claim."""

    survey: Survey
    sha256: str
    data: bytes | None = None
    only: SplitClaim | None = None


class NotAFile(Exception):
    """What was opened is no regular file."""


class Unreadable(Exception):
    """A file is there and cannot be opened or read; `sight` is what can be seen of it."""

    def __init__(self, sight: Sight) -> None:
        super().__init__("unreadable")
        self.sight = sight


class Interrupted(Exception):
    """The source is closing; what was read does not count."""


class Candidate:
    """A file opened to find out whether it is ready. It never blocks: a FIFO or a device is refused, not read."""

    __slots__ = ("fd", "lease", "links", "sight")

    def __init__(self, name: str | os.PathLike[str], folder_fd: int | None, *, ask: bool, follow: bool = False) -> None:
        """Open it; with `ask`, ask the kernel for a lease.

        :raises NotAFile: if it is no regular file.
        :raises FileNotFoundError: if it is gone.
        :raises Unreadable: if it is there and cannot be opened.
        """
        self.fd = _opened(name, folder_fd, follow=follow)
        try:
            # The lease first: what is seen after it stays as it is seen.
            self.lease = lease(self.fd) if ask else Lease.UNKNOWN
            status = _regular(self.fd)
        except (OSError, NotAFile):
            os.close(self.fd)
            raise
        self.sight: Sight = sight_of(status)
        self.links = status.st_nlink

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)

    @property
    def size(self) -> int:
        """The size in bytes."""
        return self.sight[2]

    def read(self, survey: SurveyOf) -> Reading:
        """Read a small file whole.

        :raises Unreadable: if it cannot be read.
        """
        try:
            data = os.read(self.fd, self.size + 1)
            while len(data) < self.size and (more := os.read(self.fd, self.size - len(data))):
                data += more
        except OSError:
            raise Unreadable(self.sight) from None
        digest = hashlib.sha256(data).hexdigest()
        if single := read_single(data):
            return Reading(single.survey, digest, data, single.claim)
        return Reading(survey((data,)), digest, data)

    def rewind(self) -> None:
        """Begin anew with a file that was disturbed."""
        os.lseek(self.fd, 0, os.SEEK_SET)
        self.sight = sight_of(os.fstat(self.fd))

    def undisturbed(self) -> bool:
        """Tell whether nobody has written, or come to write, since it was opened."""
        if self.lease is Lease.GRANTED:
            return unbroken(self.fd)
        return sight_of(os.fstat(self.fd)) == self.sight


def _opened(name: str | os.PathLike[str], folder_fd: int | None, *, follow: bool) -> int:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        return os.open(name, flags, dir_fd=folder_fd)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise NotAFile from None
        if error.errno in _NOT_ITS_FAULT:
            raise
    raise Unreadable(sight_of(os.stat(name, dir_fd=folder_fd, follow_symlinks=follow)))


def _regular(fd: int) -> os.stat_result:
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise NotAFile
    return status


def read_through(fd: int, survey: SurveyOf, stopped: Event) -> Reading:
    """Read an open file to its end, once, for survey and hash.

    :raises OSError: if it cannot be read.
    :raises Interrupted: if `stopped` is set meanwhile.
    """
    digest = hashlib.sha256()

    def chunks() -> Iterator[bytes]:
        while chunk := os.read(fd, CHUNK_BYTES):
            if stopped.is_set():
                raise Interrupted
            digest.update(chunk)
            yield chunk

    pieces = chunks()
    found = survey(pieces)
    if found.refusal is None:
        for _ in pieces:  # a survey may stop early; the hash is of all bytes
            pass
    return Reading(found, digest.hexdigest())


class LargeReader:
    """Reads large files beside everything else, a few at a time."""

    def __init__(self, survey: SurveyOf) -> None:
        self._survey = survey
        self._stopped = Event()
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix="survey")
        self._running: list[Future[Reading]] = []
        self._alone = False

    def has_room(self, *, alone: bool = False) -> bool:
        """Tell whether a file may be begun now: beside those being read, or `alone`."""
        self._running = [future for future in self._running if not future.done()]
        return not self._running or (len(self._running) < READERS and not alone and not self._alone)

    def start(self, candidate: Candidate, *, alone: bool = False) -> Future[Reading]:
        """Begin to read a file, for which there must be room; it stays open until it is read."""
        self._alone = alone
        if candidate.lease is Lease.GRANTED:
            unlease(candidate.fd)  # nobody shall wait for us that long; it is asked again afterwards
        fd = os.dup(candidate.fd)
        future = self._threads.submit(self._read, fd)
        self._running.append(future)
        return future

    def _read(self, fd: int) -> Reading:
        try:
            return read_through(fd, self._survey, self._stopped)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Stop reading; returns once no thread is left."""
        self._stopped.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
