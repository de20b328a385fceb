"""All that decides when an attempt may begin and whether another follows, in one value."""

import msgspec

from worker.flow.bell import Bell
from worker.flow.budget import RetryBudget
from worker.flow.gate import Gate
from worker.flow.limiter import Limiter
from worker.flow.quota import Quota
from worker.flow.rate import Rate
from worker.flow.retry import RetryPolicy
from worker.flow.watch import Watch


class Pace(msgspec.Struct, frozen=True):
    """The parts are asked in this order: gate, rate, limiter; after the attempt: watch, policy, budget.

    `slot_free` rings when the limiter may let more through; `quota` is the part of a fleet's limits, None without one.
    """

    gate: Gate
    watch: Watch
    rate: Rate
    limiter: Limiter
    budget: RetryBudget
    policy: RetryPolicy
    quota: Quota | None = None
    slot_free: Bell = msgspec.field(default_factory=Bell)
