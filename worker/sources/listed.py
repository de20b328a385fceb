"""Files that were named one by one, for `submit`: read where they lie, and left there.

What cannot be read is delivered all the same, with a survey that refuses it, so that it takes the way of every
other refused batch and stands in the summary.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event

import anyio.to_thread
import structlog
from anyio.lowlevel import checkpoint

from worker.claim import SMALL_BYTES, Delivery
from worker.errors import SettingsError
from worker.paths import Sight, in_words, kind_at
from worker.settings import InputSettings
from worker.sources.names import displayed, passed_over
from worker.sources.readiness import ref_of, too_large
from worker.sources.reading import Candidate, NotAFile, Reading, SurveyOf, Unreadable, read_through
from worker.x12 import Finding, Survey, survey

BYTES_AT_ONCE = 16 << 20
TRIES = 3

_NO_SIGHT: Sight = (0, 0, 0)
_CHANGING = Finding("changing", "it was being written while it was read", "error")


def files_in(folder: Path) -> Iterator[Path]:
    """Walk the files of a named folder: regular ones whose names are not passed over, in no order; blocking."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False) and not passed_over(entry.name):
                yield Path(entry.path)


def finding_of(error: NotAFile | Unreadable | OSError) -> Finding:
    """Say what keeps a named file from being read."""
    if isinstance(error, NotAFile):
        return Finding("not_a_file", "it is no regular file", "error")
    return Finding("unreadable", f"it cannot be {'opened' if isinstance(error, OSError) else 'read'}", "error")


class ListedFiles:
    """Gives each of the named files, and each file directly in the named folders, once (`worker.ports.Source`).

    `refused` lists name, code and text of the batches that were refused, `released` the names of those given back
    unfinished; `not_taken` walks the files that nobody came to take.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        settings: InputSettings | None = None,
        *,
        survey: SurveyOf = survey,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.refused: list[tuple[str, str, str]] = []
        self.released: list[str] = []
        self._paths = tuple(paths)
        self._largest_bytes = (settings or InputSettings()).max_batch_bytes
        self._survey = survey
        self._clock = clock
        self._files = self._walk()
        self._seen: set[Sight] = set()
        self._closing = Event()

    @property
    def set_aside(self) -> int:
        """Count the files, which stay where they are; see `worker.ports.Source.set_aside`."""
        return len(self.refused)

    async def open(self) -> None:
        """Look whether all paths are there, and folders can be listed.

        :raises worker.errors.SettingsError: naming every one that is not so.
        """
        problems = await anyio.to_thread.run_sync(lambda: [*filter(None, map(problem_with, self._paths))])
        if problems:
            raise SettingsError(problems)

    async def take(self, limit: int, *, wait: bool = True) -> Sequence[Delivery]:
        """Give the next files, none once all were given; there is nothing to wait for."""
        return await anyio.to_thread.run_sync(self._take, limit)

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Leave the files where they are."""
        await checkpoint()

    async def refuse(self, delivery: Delivery, code: str, text: str) -> None:
        """Remember why, and tell; the file stays where it is."""
        await checkpoint()
        structlog.get_logger().warning("batch.refused", batch=delivery.name, code=code, detail=text)
        self.refused.append((delivery.name, code, text))

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Leave the files where they are; naming them again gives them the same `ref`."""
        self.released += [delivery.name for delivery in deliveries]
        await checkpoint()

    def not_taken(self) -> Iterator[str]:
        """Name the files that were not asked for before the end; blocking."""
        return (displayed(path.name) for path in self._files)

    async def left_over(self) -> Sequence[str]:
        """Nothing is ever left: what is not ready is refused."""
        await checkpoint()
        return []

    async def close(self) -> None:
        """Stop reading."""
        self._closing.set()
        await checkpoint()

    def _walk(self) -> Iterator[Path]:
        for path in self._paths:
            if path.is_dir():
                yield from files_in(path)
            else:
                yield path

    def _take(self, limit: int) -> list[Delivery]:
        deliveries: list[Delivery] = []
        size = 0
        for delivery in filter(None, map(self._deliver, self._files)):
            deliveries.append(delivery)
            size += len(delivery.data or b"")
            if len(deliveries) >= limit or size >= BYTES_AT_ONCE:
                break
        return deliveries

    def _deliver(self, path: Path) -> Delivery | None:
        """Read one file; None if it was given already, under another name or as part of a folder."""
        try:
            with Candidate(path, None, ask=False, follow=True) as file:
                if self._met(file.sight):
                    return None
                for _ in range(TRIES):
                    found = self._read(file)
                    if file.undisturbed():
                        return self._delivery(path, file.sight, found)
                    file.rewind()
                return self._delivery(path, file.sight, _refused(_CHANGING))
        except (NotAFile, Unreadable, OSError) as error:
            sight = error.sight if isinstance(error, Unreadable) else _NO_SIGHT
            return self._delivery(path, sight, _refused(finding_of(error)))

    def _met(self, sight: Sight) -> bool:
        known = sight in self._seen
        self._seen.add(sight)
        return known

    def _read(self, file: Candidate) -> Reading:
        if (excess := too_large(file.size, self._largest_bytes)) is not None:
            return _refused(excess)
        if file.size <= SMALL_BYTES:
            return file.read(self._survey)
        try:
            return read_through(file.fd, self._survey, self._closing)
        except OSError:
            raise Unreadable(file.sight) from None

    def _delivery(self, path: Path, sight: Sight, reading: Reading) -> Delivery:
        data = b"" if reading.survey.refusal is not None else reading.data
        return Delivery(
            name=displayed(path.name),
            ref=ref_of(sight),
            size=sight[2],
            received_at=self._clock(),
            data=data,
            path=path if data is None else None,
            survey=reading.survey,
            sha256=reading.sha256,
            only=reading.only,
        )


def problem_with(path: Path) -> str | None:
    """Say why nothing can be read at a path that somebody named, if that is so; files are looked into later."""
    try:
        kind = kind_at(path)
    except OSError as error:
        return in_words(error, path)
    if kind == "nothing":
        return f"{path} does not exist"
    if kind == "folder" and not os.access(path, os.R_OK | os.X_OK):
        return f"{path} cannot be listed by this user"
    return None


def _refused(finding: Finding) -> Reading:
    return Reading(Survey(complete=False, refusal=finding), hashlib.sha256(b"").hexdigest())
