"""Keeps a worker's quota up to date: asks for it a few times a second, and goes by the rule where nobody answers."""

import random
from collections.abc import Callable

import anyio
import structlog

from worker.errors import FleetUnavailable
from worker.flow.quota import Quota
from worker.flow.shared import SharedLimiter
from worker.ports.fleet import FleetLimits

log = structlog.get_logger()

RENEWED_EVERY_S = 0.25
SOONEST_S = 0.03  # after the last asking, where leaves have run out


async def keep_quota(fleet: FleetLimits, quota: Quota, limiter: SharedLimiter, changed: Callable[[], None]) -> None:
    """Ask and adapt until cancelled, then give everything back; `changed` is called whenever more may be possible."""
    try:
        while True:
            await renew(fleet, quota, limiter)
            changed()
            await anyio.sleep(SOONEST_S)
            # Not in step with the others: a worker that always comes second would get what the first left.
            with anyio.move_on_after(random.uniform(0.8, 1.2) * RENEWED_EVERY_S - SOONEST_S):  # noqa: S311 - no secret
                await quota.needed.wait()
    finally:
        with anyio.move_on_after(1.0, shield=True):
            await fleet.leave()


async def renew(fleet: FleetLimits, quota: Quota, limiter: SharedLimiter) -> None:
    """Ask once; a place out of reach is logged once, and once more when it is back."""
    try:
        grant = await fleet.renew(quota.ask(limiter.in_flight, limiter.own_limit))
    except FleetUnavailable as error:
        tell_lost(quota, limiter, error)
    else:
        if quota.away:
            log.info("fleet.available")
        quota.granted(grant)


def tell_lost(quota: Quota, limiter: SharedLimiter, error: FleetUnavailable) -> None:
    """Go by the rule, and tell so once."""
    if not quota.away:
        log.warning("fleet.unavailable", detail=str(error), limit=min(quota.limits.share, limiter.own_limit))
    quota.lost()
