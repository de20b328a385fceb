"""From a reference in a message to the batch it names; one resolver a scheme.

``file:`` names a file below one configured folder, absolutely or relative to it. Wherever links lead, what is read
lies below that folder. The file stays where it is: it is the producer's. ``s3:`` names an object below one of the
configured places (`worker.brokers.s3`); it is fetched. Neither is ever followed elsewhere because a message says so.
"""

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote

import anyio
import anyio.to_thread
import msgspec

from worker.brokers.extras import needs_extra
from worker.brokers.fetched import FetchedFiles
from worker.claim import SMALL_BYTES
from worker.errors import SourceUnavailable
from worker.settings import InputSettings

if TYPE_CHECKING:
    from worker.brokers.s3 import S3Objects


class BadReference(Exception):
    """A reference that can never be followed; `code` and `text` are for the dead letter."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class Fetched(msgspec.Struct, frozen=True):
    """What a reference led to: the bytes of a small batch, or a file. `let_go` is called once it is not needed."""

    size: int
    data: bytes | None = None
    path: Path | None = None
    let_go: Callable[[], None] | None = None


class Resolver(Protocol):
    """Follows the references of one scheme. References of one `lane` wait for each other, others need not."""

    async def open(self) -> None:
        """Prepare.

        :raises worker.errors.SettingsError: if that cannot be as configured.
        :raises worker.errors.SourceUnavailable: if that is not possible for now.
        """
        ...

    def lane(self, reference: str) -> str:
        """Name what the reference leads to, as far as it may be out of reach as a whole."""
        ...

    async def fetch(self, reference: str) -> Fetched:
        """Follow the reference; see `References.fetch`."""
        ...

    async def look(self) -> None:
        """See whether what references may name can be read.

        :raises worker.errors.SourceUnavailable: if not; says why.
        """
        ...

    async def close(self) -> None:
        """Disconnect; idempotent."""
        ...


class References:
    """Follows references by their scheme; `resolvers` maps ``file`` and the like to what follows them."""

    def __init__(self, resolvers: Mapping[str, Resolver]) -> None:
        self._resolvers = dict(resolvers)

    async def open(self) -> None:
        """Prepare every resolver.

        :raises worker.errors.SettingsError: if one cannot be used as configured.
        :raises worker.errors.SourceUnavailable: if that is not possible for now.
        """
        for resolver in self._resolvers.values():
            await resolver.open()

    def lane(self, reference: str) -> str:
        """Name what the reference leads to; those of one lane wait for each other."""
        scheme, resolver = self._resolver(reference)
        return f"{scheme}:{resolver.lane(reference)}" if resolver else ""

    async def fetch(self, reference: str) -> Fetched:
        """Follow the reference.

        :raises BadReference: if that is not possible, ever.
        :raises worker.errors.SourceUnavailable: if it is not possible for now.
        """
        _, resolver = self._resolver(reference)
        if resolver is None:
            known = ", ".join(f"{name}:" for name in self._resolvers)
            known = known or "none (input.reference_root is not set, nor is input.reference_buckets)"
            raise BadReference("reference_unknown", f"no reference of this kind is followed here, known are {known}")
        return await resolver.fetch(reference)

    async def look(self) -> None:
        """See whether what references may name can be read.

        :raises worker.errors.SourceUnavailable: if not; says why.
        """
        for resolver in self._resolvers.values():
            await resolver.look()

    async def close(self) -> None:
        """Let go of everything; idempotent."""
        for resolver in self._resolvers.values():
            await resolver.close()

    def _resolver(self, reference: str) -> tuple[str, Resolver | None]:
        scheme, colon, _ = reference.partition(":")
        return scheme, self._resolvers.get(scheme) if colon else None


def references_of(settings: InputSettings, fetched: Path | None = None) -> References:
    """Follow what the settings allow; `fetched` is this worker's folder for what is fetched.

    :raises worker.errors.SettingsError: if a place is written wrong, or its library is missing.
    """
    resolvers: dict[str, Resolver] = {}
    if settings.reference_root:
        resolvers["file"] = FilesBelow(Path(settings.reference_root).absolute())
    if settings.reference_buckets:
        resolvers["s3"] = objects_of(settings, fetched)
    return References(resolvers)


def objects_of(settings: InputSettings, fetched: Path | None = None) -> "S3Objects":
    """Follow ``s3:``, and announce objects, in the places that the settings allow; `fetched` as above.

    :raises worker.errors.SettingsError: if a place is written wrong, or its library is missing.
    """
    setting = "input.reference_buckets"
    with needs_extra("s3", setting=setting):
        from worker.brokers import s3
    places = [s3.parse_bucket(url, setting=setting) for url in settings.reference_buckets]
    return s3.S3Objects(places, FetchedFiles(fetched), most_bytes=settings.max_batch_bytes)


class FilesBelow:
    """Follows ``file:`` below one folder (`Resolver`)."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def open(self) -> None:
        """Nothing is to be prepared."""

    def lane(self, reference: str) -> str:
        """All files lie in one folder."""
        return ""

    async def fetch(self, reference: str) -> Fetched:
        """Look at the file; see `References.fetch`."""
        return await anyio.to_thread.run_sync(_look, self._root, reference)

    async def look(self) -> None:
        """See whether the folder is there; see `Resolver.look`."""
        if not await anyio.Path(self._root).is_dir():
            raise SourceUnavailable(f"input: {self._root} is no folder (input.reference_root)")

    async def close(self) -> None:
        """Nothing is held."""


def file_reference(path: Path) -> str:
    """Name a file so that a worker that has it under the same path finds it."""
    return f"file:{path.absolute()}"


def _look(root: Path, reference: str) -> Fetched:
    named = unquote(reference.removeprefix("file:"))
    if named.startswith("//"):
        named = named.removeprefix("//")
        if not named.startswith("/"):
            raise BadReference("reference_outside", "a file of another host cannot be read")
    if "\0" in named:
        raise BadReference("reference_unreadable", "the reference is no file name")
    try:
        path = (root / named).resolve(strict=True)
        if not path.is_relative_to(root.resolve(strict=True)):
            raise BadReference("reference_outside", "the file does not lie below input.reference_root")
        return _opened(path)
    except (FileNotFoundError, NotADirectoryError):
        raise BadReference("reference_missing", "there is no such file") from None
    except (OSError, RuntimeError):  # RuntimeError: a loop of links
        raise BadReference("reference_unreadable", "the file cannot be read") from None


def _opened(path: Path) -> Fetched:
    """Read a small file, look at a large one. Opened without blocking: a FIFO would hold the worker for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BadReference("reference_unreadable", "it is no regular file")
        if status.st_size > SMALL_BYTES:
            return Fetched(status.st_size, path=path)
        data = stream.read()
        return Fetched(len(data), data=data)
