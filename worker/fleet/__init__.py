"""The limits that all workers of a fleet share; a new place for them is one module and one case in `from_url`.

========== =======================================================================
``redis:`` a hash in Redis, also ``rediss:``: ``redis://host/0?key=precheck:fleet``
========== =======================================================================
"""

import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from anyio.lowlevel import checkpoint

from worker.brokers.extras import needs_extra
from worker.errors import FleetUnavailable, SettingsError
from worker.fleet.keeping import keep_quota, tell_lost
from worker.flow.pace import Pace
from worker.flow.quota import SharedLimits, limits_of
from worker.flow.shared import SharedLimiter
from worker.ports.fleet import FleetLimits
from worker.settings import FlowSettings

__all__ = ["from_url", "keep_quota", "open_sharing"]


def from_url(url: str, limits: SharedLimits, *, lease_s: float) -> FleetLimits:
    """Make the place that `url` names, for one worker; nothing is touched before its `open`.

    :raises worker.errors.SettingsError: if no such place is known, the URL is wrong, or its library is missing.
    """
    scheme = url.partition(":")[0]
    match scheme:
        case "redis" | "rediss":
            with needs_extra("redis", setting="flow.shared_url"):
                from worker.fleet.redis import RedisFleet
            return RedisFleet(url, limits, lease_s=lease_s, worker_id=uuid.uuid4().hex)
        case _:
            raise SettingsError([f"flow.shared_url: unknown scheme {scheme + ':'!r}, known are redis:, rediss:"])


@asynccontextmanager
async def open_sharing(flow: FlowSettings, pace: Pace) -> AsyncIterator[Callable[[], Coroutine[Any, Any, None]]]:
    """Open what the fleet shares, if it shares anything; gives what has to run beside the flow.

    :raises worker.errors.SettingsError: if it cannot be as configured.
    """
    if pace.quota is None or not isinstance(pace.limiter, SharedLimiter):
        yield checkpoint
        return
    fleet = from_url(flow.shared_url, limits_of(flow), lease_s=flow.shared_lease_s)
    try:
        try:
            await fleet.open()
        except FleetUnavailable as error:
            tell_lost(pace.quota, pace.limiter, error)
        yield partial(keep_quota, fleet, pace.quota, pace.limiter, pace.slot_free.ring)
    finally:
        await fleet.close()
