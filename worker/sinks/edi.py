"""The acknowledgements received, as files that EDI software reads: a set for each finished batch.

======================== =====================================================================================
``STEM.999``             the 999s of the batch's claims as received, in order of ordinal, one a line
``STEM.277ca``           the same of the 277CAs; neither file is made where no claim has one
``STEM.torn``            what of both is cut off or no interchange at all; in the files above it would spoil the rest
``STEM.summary.json``    the counts by disposition, and the claims without any acknowledgement; written last
======================== =====================================================================================

STEM is the batch's id; after replays it is ``ID.rN``, N counting the replayed results, so that a replay makes new
files beside the old ones. Files appear whole, under hard links, and are never overwritten.
"""

import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec
from anyio import CancelScope, CapacityLimiter, to_thread

from worker import disk
from worker.claim import Batch
from worker.crashpoint import crashpoint
from worker.errors import StateError
from worker.ports import Emission
from worker.sinks import files
from worker.sinks.hidden import HiddenFile, discard_left_over
from worker.x12 import is_whole

RECORDS_A_STEP = 256
SAFE_STEM = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}")


class _Answered(msgspec.Struct, frozen=True, gc=False):
    """What this sink reads of a result record."""

    claim_id: str
    generation: int
    disposition: str
    x12_999: str | None = None
    x12_277ca: str | None = None


_DECODER = msgspec.json.Decoder(_Answered)


class EdiSink:
    """`worker.ports.Sink` on a folder. After an error other than StorageFull it stays unusable."""

    def __init__(self, folder: Path) -> None:
        self._folder = Path(os.path.abspath(folder))  # noqa: PTH100 - Path.absolute() leaves ".." in a name that must be stable
        self._fd = -1
        self._broken: StateError | None = None
        self._thread = CapacityLimiter(1)

    @property
    def name(self) -> str:
        """The sink's key in the ledger."""
        return f"edi:{self._folder}"

    async def open(self, cursor: str | None) -> None:
        """Make the folder and remove what a crash left half written.

        :raises worker.errors.SettingsError: if something other than a folder stands there.
        :raises worker.errors.StateError: if it cannot be written, or another process holds it.
        """
        await to_thread.run_sync(self._open, limiter=self._thread)

    async def write(self, emissions: Sequence[Emission]) -> str | None:
        """Do nothing: acknowledgements go out batch by batch."""
        return None

    async def complete(self, batch: Batch, records: AsyncIterator[bytes]) -> None:
        """Write the batch's files, unless they are there.

        :raises worker.errors.StorageFull: if there is no room; no partial file is left, call again.
        :raises worker.errors.StateError: if a file of that name and other content is there, or the disk fails.
        """
        if SAFE_STEM.fullmatch(batch.batch_id) is None:
            raise StateError("sink: the batch's id is not safe as a file name")
        acknowledgements = _Acknowledgements(self._folder, batch)
        try:
            step: list[bytes] = []
            async for record in records:
                step.append(record)
                if len(step) == RECORDS_A_STEP:
                    await self._in_thread(acknowledgements.add, step)
                    step = []
            await self._in_thread(acknowledgements.add, step)
            await self._in_thread(acknowledgements.publish)
        except BaseException:
            with CancelScope(shield=True):
                await to_thread.run_sync(acknowledgements.discard, limiter=self._thread)
            raise

    async def close(self) -> None:
        """Let go of the folder."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _open(self) -> None:
        files.make_folder(self._folder)
        try:
            fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise disk.translate(error, f"sink: cannot open {self._folder}") from None
        try:
            files.hold(fd, self._folder)
            discard_left_over(self._folder)
            probe = HiddenFile(self._folder, "probe")
            probe.discard()
        except OSError as error:
            os.close(fd)
            raise disk.translate(error, f"sink: cannot write {self._folder}") from None
        except StateError:
            os.close(fd)
            raise
        self._fd, self._broken = fd, None

    async def _in_thread(self, work: Callable[..., None], *args: object) -> None:
        if self._broken is not None:
            raise StateError(str(self._broken))
        if self._fd < 0:
            raise StateError(f"sink: {self._folder} is not open")
        try:
            await to_thread.run_sync(work, *args, limiter=self._thread)
        except OSError as error:
            failure = disk.translate(error, f"sink: cannot write {self._folder}")
            self._broken = None if error.errno in disk.NO_ROOM else failure
            raise failure from None
        except StateError as failure:
            self._broken = failure
            raise


class _Acknowledgements:
    """The files of one batch while they are being written; blocking."""

    def __init__(self, folder: Path, batch: Batch) -> None:
        self._folder = folder
        self._batch = batch
        self._hidden: dict[str, HiddenFile] = {}
        self._counts: Counter[str] = Counter()
        self._replays = 0
        self._without: list[str] = []

    def add(self, records: Sequence[bytes]) -> None:
        """Take the next records of the batch, in order of ordinal."""
        answers = [_DECODER.decode(record) for record in records]
        self._append_whole("999", [answer.x12_999 for answer in answers])
        self._append_whole("277ca", [answer.x12_277ca for answer in answers])
        for answer in answers:
            self._counts[answer.disposition] += 1
            self._replays += answer.generation - 1
            if not answer.x12_999 and not answer.x12_277ca:
                self._without.append(answer.claim_id)

    def publish(self) -> None:
        """Let the files appear, the summary last: it says that the others are all there."""
        stem = f"{self._batch.batch_id}.r{self._replays}" if self._replays else self._batch.batch_id
        acknowledged = sorted(self._hidden)
        self._append("summary.json", [msgspec.json.format(self._summary(), indent=2).decode()])
        for ending in (*acknowledged, "summary.json"):
            crashpoint("edi_drafted")
            self._hidden[ending].publish(f"{stem}.{ending}")
            crashpoint("edi_published")

    def discard(self) -> None:
        """Remove what did not appear."""
        for file in self._hidden.values():
            file.discard()

    def _append_whole(self, ending: str, received: Sequence[str | None]) -> None:
        self._append(ending, [text for text in received if text and is_whole(text)])
        self._append("torn", [text for text in received if text and not is_whole(text)])

    def _append(self, ending: str, interchanges: Sequence[str | None]) -> None:
        received = [text if text.endswith("\n") else text + "\n" for text in interchanges if text]
        if received:
            if ending not in self._hidden:
                self._hidden[ending] = HiddenFile(self._folder, f"{self._batch.batch_id}.{ending}")
            self._hidden[ending].add("".join(received).encode())

    def _summary(self) -> bytes:
        return msgspec.json.encode(
            {
                "schema": 1,
                "batch_id": self._batch.batch_id,
                "batch_name": self._batch.name,
                "claims": self._counts.total(),
                "replayed": self._replays,
                "dispositions": dict(sorted(self._counts.items())),
                "without_acknowledgement": self._without,
            }
        )
