"""One claim on its way through its attempts: what it has cost so far. Mutable, in memory; the ledger has a copy."""

import math

from worker.batches import OpenBatch
from worker.claim import Claim
from worker.ports import Spent


class Effort:
    """A claim between its first dispatch and its result.

    `attempts` counts POSTs, without a 401's repeat and without a lost race for an idle connection;
    `first_sent_at` is seconds since the epoch; `began` is the steady clock at the first attempt of this
    process, from which the deadline counts. `noted`: the ledger has a row of its own for the claim, so that its
    attempts are noted there and not by how far its batch was sent. `excused` of the attempts were lost to an outage
    that had been noticed, and do not count against the claim; `failed_at` is the steady clock at the end of its first
    attempt that has to be repeated, infinite before. `refusals` counts the 403s that it got, `refused_at` is when the
    first one came. `races` counts the idle connections that were lost to it.
    """

    __slots__ = (
        "ambiguous_attempts",
        "attempts",
        "batch",
        "began",
        "claim",
        "excused",
        "failed_at",
        "first_sent_at",
        "noted",
        "races",
        "refusals",
        "refused_at",
        "repeated",
    )

    def __init__(self, batch: OpenBatch, claim: Claim) -> None:
        self.batch = batch
        self.claim = claim
        self.attempts = claim.attempts
        self.excused = 0
        self.ambiguous_attempts = claim.ambiguous_attempts
        self.first_sent_at = claim.first_sent_at
        self.began: float | None = None
        self.failed_at = math.inf
        self.races = 0
        self.refusals = 0
        self.refused_at = math.inf
        self.noted = claim.generation > 1 or claim.attempts > 0 or claim.due_at > 0
        self.repeated = claim.attempts > 0

    def spent(self, due_at: float) -> Spent:
        """Say it as the ledger keeps it; `due_at` is seconds since the epoch."""
        return Spent(self.attempts, self.ambiguous_attempts, self.first_sent_at, due_at)
