"""Files that references from afar were fetched into: in a folder of this worker alone, until their batch is settled.

They are PHI: the folder has mode 0700, its files 0600. Nothing in it outlives the process that fetched it, for its
message comes again and is fetched again; what a process that died left behind is removed at the next start. So that no
two clear each other's, a lock on the folder is held while the process lives.
"""

import contextlib
import fcntl
import os
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import anyio.to_thread

from worker.errors import SettingsError, SourceUnavailable
from worker.settings import InputSettings

PREFIX, SUFFIX = "precheck-", ".837"
SHARED = Path("spool/fetched")


def fetched_folder(settings: InputSettings, state_url: str, worker: str) -> Path:
    """Name the folder of the worker: as set, beside its ledger's file, or by its name where a fleet shares a ledger."""
    scheme, _, path = state_url.partition(":")
    if settings.fetch_folder:
        return Path(settings.fetch_folder).absolute()
    return Path(path + ".fetched" if scheme == "sqlite" else SHARED / re.sub(r"[^\w.-]|^\.", "_", worker)).absolute()


class FetchedFile:
    """One file while it is written, and until it is removed."""

    def __init__(self, path: Path, stream: BinaryIO) -> None:
        self.path = path
        self.size = 0
        self._stream = stream

    async def write(self, piece: bytes) -> None:
        """Append; in a thread.

        :raises worker.errors.SourceUnavailable: if there is no room.
        """
        try:
            await anyio.to_thread.run_sync(self._write, piece)
        except OSError as error:
            raise _unusable(self.path.parent, error) from None
        self.size += len(piece)

    def close(self) -> None:
        """End writing; nothing is left to be written."""
        self._stream.close()

    def remove(self) -> None:
        """Remove the file; idempotent."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _write(self, piece: bytes) -> None:
        self._stream.write(piece)
        self._stream.flush()


class FetchedFiles:
    """The folder. Without one that is given, as for who only looks, the system's place for temporary files has it."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock: int | None = None

    async def prepare(self) -> None:
        """Make the folder, see that it is ours alone, and remove what was fetched into it; idempotent.

        :raises worker.errors.SettingsError: if another worker has it.
        :raises worker.errors.SourceUnavailable: if it cannot be used for now.
        """
        await anyio.to_thread.run_sync(self._prepare)

    def close(self) -> None:
        """Let go of the folder; idempotent."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[FetchedFile]:
        """Make a file to write to; it is removed if the block fails or is cancelled."""
        file = await anyio.to_thread.run_sync(self._made)
        try:
            yield file
        except BaseException:
            file.remove()
            raise
        finally:
            file.close()

    def _prepare(self) -> None:
        folder = self._folder
        if folder is None or self._lock is not None:
            return
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _locked(folder)
            for left in folder.glob(f"{PREFIX}*{SUFFIX}"):
                left.unlink()
        except OSError as error:
            self.close()
            raise _unusable(folder, error) from None

    def _made(self) -> FetchedFile:
        try:
            descriptor, name = tempfile.mkstemp(prefix=PREFIX, suffix=SUFFIX, dir=self._folder)
        except OSError as error:
            raise _unusable(self._folder or Path(tempfile.gettempdir()), error) from None
        return FetchedFile(Path(name), os.fdopen(descriptor, "wb"))


def _locked(folder: Path) -> int:
    """Lock the folder for as long as the descriptor, which is returned, is open.

    :raises OSError: if it cannot be opened.
    :raises worker.errors.SettingsError: if another process has it.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SettingsError(
            [f"input.fetch_folder: another worker fetches into {folder}; each needs a folder of its own"]
        ) from None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _unusable(folder: Path, error: OSError) -> SourceUnavailable:
    return SourceUnavailable(f"input: cannot fetch into {folder} ({os.strerror(error.errno or 0)}); is there room?")
