"""What is reported of the limit on calls under way, and what the ledger keeps of it for `status` and the next run.

An adaptive limit moves many times a minute. The tally has each move; the log has one line where the limit is a quarter
away from the last one told, in ten seconds at most one.
"""

import time
from collections.abc import Callable

import anyio
import msgspec
import structlog

from worker.errors import StorageFull
from worker.flow.adaptive import LimitChange
from worker.flow.limiter import Limiter
from worker.ports import Ledger
from worker.tally import Tally

log = structlog.get_logger()

TOLD_EVERY_S = 10.0
PLAINLY = 1.25
NOTED_EVERY_S = 5.0
LIMIT_NOW = "limiter.now"
LAST_GOOD = "limiter.last_good"


class LimitNow(msgspec.Struct, frozen=True):
    """What `status` says of a limit: how many calls, the reason of its last change, and when that was noted.

    `gate` says why submission was paused then, "" if it was not.
    """

    limit: int
    reason: str
    noted_at: float
    gate: str = ""


class LimitTeller:
    """The observer of a limiter; `clock` is a steady one."""

    def __init__(self, tally: Tally, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._tally = tally
        self._clock = clock
        self._told: int | None = None
        self._told_at = clock()

    def changed(self, change: LimitChange) -> None:
        """Count the change, and report it if it is plain and the last report was long enough ago."""
        self._tally.limit, self._tally.limit_reason = change.limit, change.reason
        if self._told is None:
            self._told = change.before
        now = self._clock()
        low, high = sorted((change.limit, self._told))
        if now - self._told_at < TOLD_EVERY_S or high < PLAINLY * low:
            return
        log.info("limiter.changed", limit=change.limit, before=self._told, reason=change.reason)
        self._told, self._told_at = change.limit, now


async def keep_limit_noted(
    ledger: Ledger, tally: Tally, *, every_s: float = NOTED_EVERY_S, wall: Callable[[], float] = time.time
) -> None:
    """Keep limit and gate in the ledger up to date until cancelled; while they do not move, nothing is written."""
    noted = (0.0, "", "")
    while True:
        if (now := (tally.limit, tally.limit_reason, tally.gate)) != noted:
            limit, reason, gate = now
            try:
                note = LimitNow(int(limit), reason, wall(), gate)
                await ledger.note(LIMIT_NOW, msgspec.json.encode(note).decode())
                noted = now
            except StorageFull:
                pass  # the flow waits for room as well, and tells
        await anyio.sleep(every_s)


def read_limit(note: str | None) -> LimitNow | None:
    """Read what was noted; None if that is nothing, or an older version's."""
    try:
        return msgspec.json.decode(note, type=LimitNow) if note else None
    except msgspec.MsgspecError:
        return None


async def remembered_limit(ledger: Ledger) -> int | None:
    """Give the limit that was last good in the run before; None if there is none."""
    noted = await ledger.noted(LAST_GOOD)
    return int(noted) if noted and noted.isdigit() else None


async def remember_limit(ledger: Ledger, limiter: Limiter) -> None:
    """Note the last good limit for the next run."""
    if limiter.last_good is None:
        return
    try:
        await ledger.note(LAST_GOOD, str(limiter.last_good))
    except StorageFull:
        log.warning("limiter.forgotten", limit=limiter.last_good)
