"""Makes the parts that decide about pace, by the settings, and tells of their changes."""

import time

import structlog

from worker.alarm import tell_gate
from worker.errors import StorageFull
from worker.flow.adaptive import AdaptiveLimiter
from worker.flow.budget import RetryBudget
from worker.flow.gate import Gate
from worker.flow.limiter import FixedLimiter, Limiter
from worker.flow.pace import Pace
from worker.flow.rate import Rate
from worker.flow.retry import RetryPolicy
from worker.flow.watch import Watch
from worker.limits import LimitTeller
from worker.ports import Ledger
from worker.settings import Settings
from worker.tally import Tally

log = structlog.get_logger()

LIMIT_NOTE = "limiter.last_good"

# The same steady clock for all parts. It is the event loop's, at a tenth of the price of asking anyio for it.
STEADY = time.monotonic


async def make_pace(settings: Settings, ledger: Ledger, tally: Tally) -> Pace:
    """Make the parts; the limiter starts from what the ledger remembers of the last run."""
    flow = settings.flow
    limiter = await _limiter(settings, ledger, tally)
    gate = Gate(clock=STEADY, on_change=lambda change: tell_gate(change, tally, watch.failures))
    watch = Watch(gate, restart=limiter.restart, clock=STEADY)
    return Pace(
        gate=gate,
        watch=watch,
        rate=Rate(flow.rate_per_s, clock=STEADY),
        limiter=limiter,
        budget=RetryBudget(settings.retry.budget_ratio, clock=STEADY),
        policy=RetryPolicy(settings.retry),
    )


async def _limiter(settings: Settings, ledger: Ledger, tally: Tally) -> Limiter:
    flow = settings.flow
    if flow.mode == "fixed":
        LimitTeller(tally, flow.max_in_flight, FixedLimiter.reason, clock=STEADY)
        return FixedLimiter(flow.max_in_flight)
    noted = await ledger.noted(LIMIT_NOTE)
    last_good = int(noted) if noted and noted.isdigit() else None
    teller = LimitTeller(tally, min(flow.initial_in_flight, flow.max_in_flight), "started", clock=STEADY)
    return AdaptiveLimiter(
        flow.initial_in_flight, flow.max_in_flight, last_good=last_good, clock=STEADY, on_change=teller.changed
    )


async def remember_limit(ledger: Ledger, limiter: Limiter) -> None:
    """Note the last good limit for the next run."""
    if limiter.last_good is None:
        return
    try:
        await ledger.note(LIMIT_NOTE, str(limiter.last_good))
    except StorageFull:
        log.warning("limiter.forgotten", limit=limiter.last_good)
