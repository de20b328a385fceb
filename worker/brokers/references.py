"""From a reference in a message to the batch it names; one resolver a scheme.

``file:`` names a file below one configured folder, absolutely or relative to it. Wherever links lead, what is read
lies below that folder. The file stays where it is: it is the producer's.
"""

import hashlib
import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from urllib.parse import unquote

import anyio.to_thread
import msgspec

SMALL_BYTES = 1 << 20


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


Resolver = Callable[[str], Awaitable[Fetched]]


class References:
    """Follows references by their scheme; `resolvers` maps ``file`` and the like to what follows them."""

    def __init__(self, resolvers: Mapping[str, Resolver]) -> None:
        self._resolvers = dict(resolvers)

    async def fetch(self, reference: str) -> Fetched:
        """Follow the reference.

        :raises BadReference: if that is not possible, ever.
        :raises worker.errors.SourceUnavailable: if it is not possible for now.
        """
        scheme, colon, _ = reference.partition(":")
        resolver = self._resolvers.get(scheme) if colon else None
        if resolver is None:
            known = ", ".join(f"{name}:" for name in self._resolvers) or "none (input.reference_root is not set)"
            raise BadReference("reference_unknown", f"no reference of this kind is followed here, known are {known}")
        return await resolver(reference)


def references_below(root: str) -> References:
    """Follow ``file:`` below `root`; nothing if it is empty."""
    return References({"file": file_resolver(Path(root).absolute())} if root else {})


def file_resolver(root: Path) -> Resolver:
    """Make the resolver for files below `root`."""

    async def resolve(reference: str) -> Fetched:
        return await anyio.to_thread.run_sync(_look, root, reference)

    return resolve


def file_reference(path: Path) -> str:
    """Name a file so that a worker that has it under the same path finds it."""
    return f"file:{path.absolute()}"


def sha256_of(path: Path) -> str:
    """Hash a file's bytes; blocking.

    :raises OSError: if it cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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
