"""Waiting for room: a full disk pauses the flow and loses nothing."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import structlog

from worker.errors import StorageFull
from worker.flow.gate import Gate

log = structlog.get_logger()

RETRY_S = 1.0

T = TypeVar("T")


async def once_there_is_room(gate: Gate, operation: Callable[[], Awaitable[T]], *, what: str) -> T:
    """Run a storing operation; while there is no room for it keep the gate shut and try again.

    `what` names the place for the log line (``ledger``, or the sink's name).

    :raises worker.errors.StateError: from `operation`, if the place cannot be trusted any more.
    """
    try:
        return await operation()
    except StorageFull:
        log.error("storage.filled", place=what)  # noqa: TRY400 - the place is named, and nothing of ours is broken
    gate.shut("storage", f"{what} is full")
    try:
        while True:
            await anyio.sleep(RETRY_S)
            try:
                result = await operation()
            except StorageFull:
                continue
            log.info("storage.freed", place=what)
            return result
    finally:
        gate.open("storage")
