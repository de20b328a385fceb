"""Signs of life for messages in work, at a third of the broker's lease: two may be lost before the lease is.

An attempt may take two minutes and its repeats a quarter of an hour, where brokers give thirty seconds. A lease that
is lost all the same (the machine slept, the broker was away) costs a second delivery, which the unique result id
makes harmless.
"""

import asyncio
from collections.abc import Callable, Hashable, Sequence
from typing import Protocol

import anyio
import structlog

from worker.errors import SourceUnavailable

log = structlog.get_logger()

SHORTEST_S = 0.05


class Extends(Protocol):
    """The part of an engine that leases concern."""

    lease_s: float

    async def extend(self, handles: Sequence[Hashable]) -> None:
        """Say that these are being worked on."""
        ...


async def keep_leases(engine: Extends, held: Callable[[], Sequence[Hashable]]) -> None:
    """Extend the leases of all that is `held` until cancelled; nothing to do where there are no leases."""
    failing = False
    while engine.lease_s and not _cancelled():
        await anyio.sleep(max(SHORTEST_S, engine.lease_s / 3))
        handles = held()
        if not handles:
            continue
        try:
            await engine.extend(handles)
        except SourceUnavailable as error:
            if not failing and not _cancelled():
                log.warning("input.lease_failed", count=len(handles), detail=str(error))
            failing = True
        except Exception:  # the outermost frame of the task: died of one sign of life, it would give no other
            log.exception("task.failed", task="leases")
        else:
            failing = False


def _cancelled() -> bool:
    """Whether we were told to end: redis-py can take that for a lost connection, and then nobody says it again."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
