"""Messages whose batch lies elsewhere: their references are followed beside the flow, and again where that must wait.

::

    add ──▶ lane of a bucket ──▶ fetch ──▶ found
            lane of the files      │ ──▶ refused for good: dead letter
                                   └──▶ not for now: last in its lane, which rests for AGAIN_S

A lane's references are followed one after the other, lanes at the same time: a bucket that gives nothing delays
neither files nor another bucket. What waits stays ours, with its lease, and costs the message no delivery.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

import anyio
import structlog

from worker.brokers.references import BadReference, Fetched, References
from worker.errors import SourceUnavailable

log = structlog.get_logger()

AGAIN_S = 2.0

Found = Callable[[str, Fetched], Awaitable[None]]
Refused = Callable[[str, BadReference], Awaitable[None]]


class Following:
    """Follows references; `found` and `refused` are told of each message's, by its ref, once."""

    def __init__(self, references: References, found: Found, refused: Refused) -> None:
        self._references = references
        self._found = found
        self._refused = refused
        self._lanes: dict[str, deque[tuple[str, str]]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._resting: dict[str, str] = {}

    @property
    def busy(self) -> bool:
        """Whether one is being followed right now. What ended a lane that should not have ended is raised here."""
        for task in self._tasks.values():
            if task.done():
                task.result()
        return len(self._resting) < len(self._tasks)

    @property
    def obstacle(self) -> str | None:
        """Why some are not followed for now; None if all are."""
        return next(iter(self._resting.values()), None)

    def add(self, ref: str, reference: str) -> None:
        """Follow the reference of a message when its turn comes."""
        lane = self._references.lane(reference)
        self._lanes.setdefault(lane, deque()).append((ref, reference))
        if lane not in self._tasks:
            self._tasks[lane] = asyncio.create_task(self._follow_all(lane))

    async def close(self) -> None:
        """Follow no more; what was not followed is forgotten."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._tasks.clear()
        self._lanes.clear()
        self._resting.clear()
        await self._references.close()

    async def _follow_all(self, lane: str) -> None:
        waiting = self._lanes[lane]
        failing = False
        while waiting:
            ref, reference = waiting[0]
            try:
                await self._follow(ref, reference)
            except SourceUnavailable as error:
                waiting.rotate(-1)
                if not failing:
                    log.warning("input.reference_waits", detail=str(error))
                failing = True
                self._resting[lane] = str(error)
                await anyio.sleep(AGAIN_S)
                del self._resting[lane]
            else:
                waiting.popleft()
                failing = False
        del self._lanes[lane], self._tasks[lane]

    async def _follow(self, ref: str, reference: str) -> None:
        try:
            fetched = await self._references.fetch(reference)
        except BadReference as bad:
            await self._refused(ref, bad)
        else:
            await self._found(ref, fetched)
