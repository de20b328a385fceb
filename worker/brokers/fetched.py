"""Files that references from afar were fetched into: in a folder of this worker alone, until their batch is settled.

They are PHI: the folder has mode 0700, its files 0600. Nothing in it outlives the process that fetched it, for its
message comes again and is fetched again; what a process that died left behind is removed at the next start.
"""

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

import anyio.to_thread

from worker.errors import SourceUnavailable


def fetched_folder(state_url: str) -> Path | None:
    """Name the folder beside the ledger, which one worker alone has; None where the ledger is no file."""
    scheme, _, path = state_url.partition(":")
    return Path(path + ".fetched").absolute() if scheme == "sqlite" and path else None


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
    """The folder. Without one that is given, the system's place for temporary files has it."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    async def prepare(self) -> None:
        """Make the folder and remove what lies in it.

        :raises worker.errors.SourceUnavailable: if that is not possible.
        """
        await anyio.to_thread.run_sync(self._prepare)

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
        if folder is None:
            return
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for left in folder.iterdir():
                left.unlink()
        except OSError as error:
            raise _unusable(folder, error) from None

    def _made(self) -> FetchedFile:
        try:
            descriptor, name = tempfile.mkstemp(prefix="precheck-", suffix=".837", dir=self._folder)
        except OSError as error:
            raise _unusable(self._folder or Path(tempfile.gettempdir()), error) from None
        return FetchedFile(Path(name), os.fdopen(descriptor, "wb"))


def _unusable(folder: Path, error: OSError) -> SourceUnavailable:
    return SourceUnavailable(f"input: cannot fetch into {folder} ({os.strerror(error.errno or 0)}); is there room?")
