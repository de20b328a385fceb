"""Whether lost attempts speak of too much load.

More losses than tolerated, beyond what chance explains, ask for a cut. The first cut opens a *case* against load: how
large was the share of losses, and at which limit? Cuts may then follow each other down to 60 % of that limit; further
only on evidence, which is what the windows at the lower limits show. If the share has shrunk there, load is guilty, and
cutting may go on from here. If it has not, load is acquitted (a release gone bad, one payer down): the share is
tolerated from then on, for as long as it lasts, and the limit goes up again. So losses that do not follow load cost a
dip. Where they take far longer than answers to be known, or are nearly half of all, the way back is slow and the limit
can stay low for minutes. A share above 70 % needs no evidence.

The window after a cut is not judged: many an attempt from before the cut ends in it, and losses may take longer than
answers to be known.
"""

import math
from enum import Enum

LEAST_LOST = 5
LEAST_TALLY = 100
USUAL_SHARE = 0.01
TOLERATED_SHARE = 0.03
OUTAGE_SHARE = 0.7
SAME_SHARE = 0.6
CONTRAST = 0.8
PROOF_DEPTH = 0.6
PROOF_LOSSES = 12
MOST_ROUND_TRIPS = 50


class Judgement(Enum):
    """What a window's losses were."""

    USUAL = "usual"
    TOLERABLE = "tolerable"
    EXCESSIVE = "excessive"
    ACQUITTAL = "acquittal"  # many, but load is not to blame
    UNSETTLED = "unsettled"  # too soon after a cut to tell


class _Case:
    """The limit and the loss share when the cuts began, and what was seen well below that limit."""

    __slots__ = ("limit", "lost", "ok", "share")

    def __init__(self, limit: float, share: float) -> None:
        self.limit = limit
        self.share = share
        self.ok = 0
        self.lost = 0

    def hear(self, limit: float, ok: int, lost: int) -> None:
        """Take a settled window as evidence."""
        if limit <= CONTRAST * self.limit:
            self.ok += ok
            self.lost += lost
        else:
            self.share = max(self.share, lost / (ok + lost))

    @property
    def proven(self) -> bool:
        """Whether so much was seen that an unchanged share would have shown."""
        return (self.ok + self.lost) * self.share >= PROOF_LOSSES

    @property
    def share_below(self) -> float:
        return self.lost / (self.ok + self.lost)


class Losses:
    """Keeps the tally since the last cut, the case against load, and the share that load is not to blame for."""

    def __init__(self) -> None:
        self.cuts = 0  # since the last window with few enough losses
        self._case: _Case | None = None
        self._ok = 0.0
        self._lost = 0.0
        self._unsettled = 0.0
        self._innocent = 0.0
        self._innocent_most = 0.0
        self._round_trips = 1.0  # how many round trips a loss takes to be known

    def answered(self) -> None:
        """Count an answer."""
        self._ok += 1

    def lost(self, limit: float, latency_s: float, usual_latency_s: float) -> bool:
        """Count a loss of an attempt begun after the last cut; True asks for a cut, which is then noted as done."""
        self._lost += 1
        self._round_trips += 0.1 * (min(latency_s / usual_latency_s, MOST_ROUND_TRIPS) - self._round_trips)
        if not self._exceeds_tolerance():
            return False
        share = self._lost / (self._ok + self._lost)
        if self._case is None:
            self._case = _Case(limit, share)
        elif limit <= PROOF_DEPTH * self._case.limit and share < OUTAGE_SHARE:
            return False
        self.cuts += 1
        self._ok = self._lost = 0.0
        self._unsettled = limit * max(1.0, self._round_trips)
        return True

    def window_closed(self, limit: float, ok: int, lost: int) -> Judgement:
        """Judge the window that has ended; an acquittal is then noted as done."""
        if self._unsettled > 0:
            self._unsettled -= ok
            self._ok = self._lost = 0.0
            return Judgement.UNSETTLED
        if self._case is not None:
            self._case.hear(limit, ok, lost)
            if self._case.proven and self._conclude(self._case):
                return Judgement.ACQUITTAL
        if self._exceeds_tolerance():
            return Judgement.EXCESSIVE
        self.cuts = 0
        if self._case is not None and limit >= self._case.limit:
            self._case = None
        self._fade(limit)
        return self._compare(ok, lost)

    def dismiss(self) -> None:
        """Close the case."""
        self._case = None
        self.cuts = 0

    def restart(self) -> None:
        """Forget all but what load is not to blame for."""
        self.dismiss()
        self._ok = self._lost = self._unsettled = 0.0

    def _conclude(self, case: _Case) -> bool:
        """Close a proven case; whether load is acquitted."""
        self.dismiss()
        if case.share_below <= SAME_SHARE * case.share:
            return False
        self._innocent = self._innocent_most = case.share_below
        return True

    def _compare(self, ok: int, lost: int) -> Judgement:
        """Hold a window against the share that is usual, and let that follow what is seen."""
        expected = (USUAL_SHARE + self._innocent) * (ok + lost)
        self._innocent += 0.1 * (min(lost / (ok + lost), self._innocent_most) - self._innocent)
        self._innocent_most -= 0.02 * (self._innocent_most - self._innocent)
        return Judgement.USUAL if lost <= expected + 1.5 * math.sqrt(expected) else Judgement.TOLERABLE

    def _fade(self, limit: float) -> None:
        if self._ok + self._lost >= max(limit, LEAST_TALLY):
            self._ok /= 2
            self._lost /= 2

    def _exceeds_tolerance(self) -> bool:
        if self._lost < LEAST_LOST:
            return False
        tolerated = min(TOLERATED_SHARE + 1.3 * self._innocent, 0.9)
        count = self._ok + self._lost
        return self._lost > tolerated * count + 1.5 * math.sqrt(tolerated * (1 - tolerated) * count)
