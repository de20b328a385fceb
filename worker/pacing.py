"""Makes the parts that decide about pace, by the settings, and tells of their changes."""

import time

from worker.alarm import tell_gate
from worker.flow.adaptive import AdaptiveLimiter
from worker.flow.budget import RetryBudget
from worker.flow.gate import Gate
from worker.flow.limiter import FixedLimiter, Limiter
from worker.flow.pace import Pace
from worker.flow.quota import Quota, limits_of
from worker.flow.rate import Rate
from worker.flow.retry import RetryPolicy
from worker.flow.shared import SharedLimiter, SharedRate
from worker.flow.watch import Watch
from worker.limits import LimitTeller, remembered_limit
from worker.ports import Ledger
from worker.settings import Settings
from worker.tally import Tally

# The same steady clock for all parts. It is the event loop's, at a tenth of the price of asking anyio for it.
STEADY = time.monotonic


async def make_pace(settings: Settings, ledger: Ledger, tally: Tally) -> Pace:
    """Make the parts; the limiter starts from what the ledger remembers of the last run."""
    flow = settings.flow
    teller = LimitTeller(tally, clock=STEADY)
    own = await _limiter(settings, ledger, teller)
    quota = _quota(settings)
    limiter: Limiter = SharedLimiter(own, quota) if quota else own
    tally.limit, tally.limit_reason = limiter.limit, limiter.reason
    gate = Gate(clock=STEADY, on_change=lambda change: tell_gate(change, tally, watch.failures))
    watch = Watch(gate, restart=limiter.restart, clock=STEADY)
    return Pace(
        gate=gate,
        watch=watch,
        rate=SharedRate(flow.rate_per_s, quota, clock=STEADY) if quota else Rate(flow.rate_per_s, clock=STEADY),
        limiter=limiter,
        budget=RetryBudget(settings.retry.budget_ratio, clock=STEADY),
        policy=RetryPolicy(settings.retry),
        quota=quota,
    )


def _quota(settings: Settings) -> Quota | None:
    if not settings.flow.shared_url:
        return None
    # Whoever had more than his share has calls under way for so long.
    grace_s = settings.flow.shared_lease_s + settings.api.attempt_timeout_s
    return Quota(limits_of(settings.flow), grace_s=grace_s, clock=STEADY)


async def _limiter(settings: Settings, ledger: Ledger, teller: LimitTeller) -> Limiter:
    flow = settings.flow
    if flow.mode == "fixed":
        return FixedLimiter(flow.max_in_flight)
    last_good = await remembered_limit(ledger)
    return AdaptiveLimiter(
        flow.initial_in_flight, flow.max_in_flight, last_good=last_good, clock=STEADY, on_change=teller.changed
    )
