"""Makes the parts that decide about pace, by the settings, and tells of their changes."""

import time

import structlog

from worker.errors import StorageFull
from worker.flow.adaptive import AdaptiveLimiter, LimitChange
from worker.flow.budget import RetryBudget
from worker.flow.gate import Gate, GateChange, GateState
from worker.flow.limiter import FixedLimiter, Limiter
from worker.flow.pace import Pace
from worker.flow.rate import Rate
from worker.flow.retry import RetryPolicy
from worker.flow.watch import Watch
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
    gate = Gate(clock=STEADY, on_change=lambda change: _tell_gate(change, tally))
    limiter = await _limiter(settings, ledger, tally)
    return Pace(
        gate=gate,
        watch=Watch(gate, restart=limiter.restart, clock=STEADY),
        rate=Rate(flow.rate_per_s, clock=STEADY),
        limiter=limiter,
        budget=RetryBudget(settings.retry.budget_ratio, clock=STEADY),
        policy=RetryPolicy(settings.retry),
    )


async def _limiter(settings: Settings, ledger: Ledger, tally: Tally) -> Limiter:
    flow = settings.flow
    tally.limit = flow.max_in_flight
    if flow.mode == "fixed":
        return FixedLimiter(flow.max_in_flight)
    noted = await ledger.noted(LIMIT_NOTE)
    last_good = int(noted) if noted and noted.isdigit() else None

    def tell(change: LimitChange) -> None:
        tally.limit = change.limit
        log.debug("limiter.changed", limit=change.limit, before=change.before, reason=change.reason)

    return AdaptiveLimiter(
        flow.initial_in_flight, flow.max_in_flight, last_good=last_good, clock=STEADY, on_change=tell
    )


async def remember_limit(ledger: Ledger, limiter: Limiter) -> None:
    """Note the last good limit for the next run."""
    if limiter.last_good is None:
        return
    try:
        await ledger.note(LIMIT_NOTE, str(limiter.last_good))
    except StorageFull:
        log.warning("limiter.forgotten", limit=limiter.last_good)


# What an operator does about each reason; the line is read at 3 a.m.
_ADVICE = {
    "outage": "wait; claims are kept; if it lasts, raise a ticket with the vendor",
    "credentials": "check auth.client_id, the secret and the environment; a new secret file is read by itself",
    "request_fault": "check api.query, api.precheck_path and api.headers against the vendor's documents",
    "storage": "make room on the disk; work goes on by itself",
    "operator": "whoever paused it resumes it",
}


def _tell_gate(change: GateChange, tally: Tally) -> None:
    tally.gate = "" if change.state is GateState.OPEN else change.reason
    if change.state is GateState.OPEN:
        log.info("gate.opened", reason=change.reason, shut_s=round(change.shut_for_s, 1))
    elif change.state is GateState.HALF_OPEN:
        log.info("gate.probed", reason=change.reason)
    else:
        log.error("gate.shut", reason=change.reason, detail=change.text, advice=_ADVICE[change.reason])
