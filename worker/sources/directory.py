"""A folder as a source: batches are files that producers put there (``dir:spool/in``).

Taking is renaming, so it is safe beside other workers and across kill -9: what a dead worker held is found in
``work/``. All file work runs in threads, many files to a hop; `worker.sources.folder` does it.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import ParamSpec, TypeVar

import anyio
import anyio.to_thread
import structlog

from worker.claim import Delivery
from worker.ports import Heir
from worker.settings import InputSettings
from worker.sources.folder import Folder
from worker.sources.readiness import Rules
from worker.sources.reading import SurveyOf
from worker.sources.takeover import NoHeir
from worker.sources.view import View
from worker.sources.watch import FolderWatch
from worker.x12 import Finding, survey

RESCAN_S = 2.0
LONG_PASS_S = 0.01

P = ParamSpec("P")
T = TypeVar("T")


class DirectorySource:
    """Gives the files of a folder as deliveries (`worker.ports.Source`).

    `heir` carries over what dead workers knew. Without `ask_kernel`, as on a network mount, a file is ready when it
    stays unchanged for a second. `monotonic` decides about readiness, `clock` dates what is received and archived;
    `rescan_s` is how often the folder is looked through although the kernel tells of nothing.
    """

    def __init__(
        self,
        incoming: Path,
        settings: InputSettings,
        *,
        worker_id: str,
        survey: SurveyOf = survey,
        heir: Heir | None = None,
        ask_kernel: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
        rescan_s: float = RESCAN_S,
    ) -> None:
        self._path = incoming.absolute()
        rules = Rules(
            renamed=settings.ready == "renamed",
            incomplete_after_s=settings.incomplete_after_s,
            largest_bytes=settings.max_batch_bytes,
            poison_after=settings.poison_after,
        )
        self._folder = Folder(
            self._path,
            worker_id,
            rules,
            survey,
            heir=heir or NoHeir(),
            ask_kernel=ask_kernel,
            monotonic=monotonic,
            clock=clock,
        )
        self._watch = FolderWatch()
        self._watched = 0
        self._rescan_s = rescan_s
        self._turn = Lock()

    @property
    def set_aside(self) -> int:
        """Count the files; see `worker.ports.Source.set_aside`."""
        return self._folder.holdings.set_aside if self._folder.times_opened else 0

    async def open(self) -> None:
        """Open the folder, make its neighbours, and take over what dead workers held.

        :raises worker.errors.SettingsError: if the folder does not exist or cannot be used.
        """
        self._threads = anyio.CapacityLimiter(4)
        await self._in_thread(self._folder.open)

    async def take(self, limit: int, *, wait: bool = True) -> Sequence[Delivery]:
        """Take up to `limit` ready files; see `worker.ports.Source.take`.

        What is taken and not returned, because the call was cancelled, is returned by the next.
        """
        whole_pass = self._folder.next_pass
        began = time.monotonic()
        while True:
            if self._folder.ready:
                return self._given(limit)
            if not self._folder.under_way:
                self._listen()  # not within a pass: what happens now may concern a name it has passed already
            view = await self._in_thread(self._folder.look, limit)
            if self._folder.ready or not view.ended or view.passed < whole_pass:
                continue
            if not wait and not view.near:
                return []
            await self._rest(view, time.monotonic() - began)
            began = time.monotonic()

    def _listen(self) -> None:
        if self._watched != self._folder.times_opened:
            self._watched = self._folder.times_opened
            self._watch.open(self._path)
        self._watch.drain()

    async def _rest(self, view: View, pass_s: float) -> None:
        """Wait for something to happen; where a pass over very many names takes long, a while at any rate."""
        if pass_s > LONG_PASS_S:
            await anyio.sleep(min(4 * pass_s, self._rescan_s))
        await self._watch.changed(min(view.again_s, self._rescan_s))

    def _given(self, limit: int) -> list[Delivery]:
        ready = self._folder.ready
        deliveries = [ready.popleft() for _ in range(min(limit, len(ready)))]
        structlog.get_logger().debug(
            "input.taken", batches=len(deliveries), bytes=sum(delivery.size for delivery in deliveries)
        )
        return deliveries

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Move the files to the archive of the day; durable on return. A file that is gone is only logged.

        :raises worker.errors.StorageFull: if there is no room for that.
        """
        await self._in_thread(self._folder.holdings.settle, [delivery.ref for delivery in deliveries])

    async def refuse(self, delivery: Delivery, code: str, text: str) -> None:
        """Move the file to the quarantine, with its reason; durable on return."""
        await self._in_thread(self._folder.holdings.refuse, delivery.ref, Finding(code, text, "error"))

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Put the files back into the folder under their own names, where those are free.

        Those that another worker can go on with only as an heir stay in our folder in ``work/``, at rest.
        """
        await self._in_thread(self._folder.holdings.release, [delivery.ref for delivery in deliveries])

    async def left_over(self) -> Sequence[str]:
        """Names of the files in the folder, at most a thousand."""
        return await self._in_thread(self._folder.left_over)

    async def close(self) -> None:
        """Stop watching, put back what was taken for nobody, and let go of our work folder."""
        self._watch.close()
        with anyio.CancelScope(shield=True):
            await self._in_thread(self._folder.close)

    async def _in_thread(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        def in_turn() -> T:
            # Not an anyio lock: a cancelled caller leaves its thread running, and the next must still wait for it.
            with self._turn:
                return work(*args, **kwargs)

        return await anyio.to_thread.run_sync(in_turn, limiter=self._threads)
