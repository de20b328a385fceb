"""Waiting for room: a full disk, or a sink that cannot be reached, pauses the flow and loses nothing."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import structlog

from worker.errors import SinkUnavailable, StorageFull
from worker.flow.gate import Gate

log = structlog.get_logger()

RETRY_S = 1.0

T = TypeVar("T")


async def once_there_is_room(gate: Gate, operation: Callable[[], Awaitable[T]], *, what: str) -> T:
    """Run a storing operation; while there is no room for it, or no way to it, keep the gate shut and try again.

    `what` names the place for the log line (``ledger``, or the sink's name).

    :raises worker.errors.StateError: from `operation`, if the place cannot be trusted any more.
    """
    try:
        return await operation()
    except SinkUnavailable as error:
        why = str(error)
        if not gate.full_places[what]:  # many may wait for one place
            log.error("sink.unavailable", sink=what, detail=why)  # noqa: TRY400 - the place is named
    except StorageFull:
        why = f"{what} is full"
        if not gate.full_places[what]:
            log.error("storage.filled", place=what)  # noqa: TRY400 - the place is named, and nothing of ours is broken
    gate.full_places[what] += 1
    gate.shut("storage", why)
    try:
        result = await _again_until_done(operation)
    finally:
        gate.full_places[what] -= 1
    if not gate.full_places[what]:
        log.info("storage.freed", place=what)
    # Several may wait at once, for one place or for two: the last of them to succeed opens the gate.
    if not gate.full_places.total():
        gate.open("storage")
    return result


async def _again_until_done(operation: Callable[[], Awaitable[T]]) -> T:
    while True:
        await anyio.sleep(RETRY_S)
        try:
            return await operation()
        except StorageFull:
            continue
