"""Whether lost attempts speak of too much load.

More losses than tolerated, beyond what chance explains, ask for a cut. The first cut opens a *case* against load: how
large was the share of losses, and at which limit? Cuts may then follow each other down to 60 % of that limit; further
only on evidence, which is what the windows at the lower limits show. If the share has shrunk there, load is guilty, and
cutting may go on from here. If it has not, load is acquitted (a release gone bad, one payer down): the share is
tolerated from then on, for as long as it lasts, and the limit goes up again. So losses that do not follow load cost a
dip. Where they are nearly half of all, the way back is slow and the limit can stay low for minutes. A share above 70 %
needs no evidence.

A step beyond the limit that was last good is a question. Where hardly any were lost up to there since the last cut, the
first sign answers it: less proof is asked, and the cut leads to just below that limit, which is known to be good.

What was lost of late at far lower limits is evidence as well: if it was as much, there is no cut in the first place.

The window after a cut is not judged: many an attempt from before the cut ends in it, and losses may take longer than
answers to be known.
"""

import math
from enum import Enum

from worker.flow.case import CONTRAST, SAME_SHARE, Case

LEAST_LOST = 6
LEAST_TALLY = 100
USUAL_SHARE = 0.01
TOLERATED_SHARE = 0.02
OUTAGE_SHARE = 0.7
LEAST_OUTAGE = 20  # attempts, for right after a window that was not judged the tally is short
PROOF_DEPTH = 0.6
EXCUSE_LOSSES = 3  # at far lower limits, for a share to be known there
MOST_ROUND_TRIPS = 50
LATE_ROUND_TRIPS = 2.0
SIGMAS = 3.0  # beyond what chance does, as it is asked at every loss
SIGMAS_ASKING = 2.0  # where a step beyond what is known to be good asked for it
CALM_SHARE = 0.015
MEMORY = 0.97  # of each window, in the next one


class Judgement(Enum):
    """What a window's losses were."""

    USUAL = "usual"
    TOLERABLE = "tolerable"
    EXCESSIVE = "excessive"
    ACQUITTAL = "acquittal"  # many, but load is not to blame
    UNSETTLED = "unsettled"  # too soon after a cut to tell


class _History:
    """What was answered and lost of late, by steps of the limit that are far enough apart to be compared."""

    def __init__(self) -> None:
        self._steps: dict[int, tuple[float, float]] = {}

    def add(self, limit: float, ok: int, lost: int) -> None:
        """Take a settled window, and let the older ones fade."""
        faded = {step: (MEMORY * was_ok, MEMORY * was_lost) for step, (was_ok, was_lost) in self._steps.items()}
        was_ok, was_lost = faded.get(_step(limit), (0.0, 0.0))
        faded[_step(limit)] = (was_ok + ok, was_lost + lost)
        self._steps = faded

    def below(self, limit: float) -> tuple[float, float]:
        """Sum up what is known of limits at least one whole step below this one."""
        known = [counts for step, counts in self._steps.items() if step < _step(limit) - 1]
        return sum(ok for ok, _ in known), sum(lost for _, lost in known)


def _step(limit: float) -> int:
    return int(math.log(limit) / math.log(1 / CONTRAST))


class Losses:
    """Keeps the tally since the last cut, the case against load, and the share that load is not to blame for.

    `beyond` is set by the owner while the limit is beyond the one that was last good. `asking` says whether the last
    cut, if that is what it was, answered a question.
    """

    def __init__(self) -> None:
        self.beyond = self.asking = False
        self._calm_ok = self._calm_lost = 0  # since the last cut, in windows up to the last good limit
        self.cuts = 0  # since the last window with few enough losses
        self._case: Case | None = None
        self._history = _History()
        self._ok = 0.0
        self._lost = 0.0
        self._unsettled = 0.0
        self._innocent = 0.0
        self._innocent_most = 0.0
        self.late_s = 0.0  # how long a loss takes to be known
        self._round_trips = 1.0  # how many round trips a loss takes to be known

    @property
    def late(self) -> bool:
        """Whether losses take so long to be known that a way down in many steps would take minutes."""
        return self._round_trips > LATE_ROUND_TRIPS

    @property
    def suspicious(self) -> bool:
        """Whether no share is known that load is not to blame for."""
        return self._innocent < TOLERATED_SHARE

    def answered(self) -> None:
        """Count an answer."""
        self._ok += 1

    def lost(self, limit: float, latency_s: float, usual_latency_s: float, served: float) -> bool:
        """Count a loss of an attempt begun after the last cut; True asks for a cut, which is then noted as done.

        `served` is the share of the limit that comes back as answers: what a cut for late losses leaves.
        """
        self._lost += 1
        self.late_s += (0.1 if self.late_s else 1.0) * (latency_s - self.late_s)
        self._round_trips += 0.1 * (min(latency_s / usual_latency_s, MOST_ROUND_TRIPS) - self._round_trips)
        if not self._exceeds_tolerance():
            return False
        count = self._ok + self._lost
        share = self._lost / count
        outage = share >= OUTAGE_SHARE and count >= LEAST_OUTAGE
        if self._case is None and self._excused(limit):
            return False
        if self._case is None:
            self._case = Case(limit, self._lost, count)
        elif limit <= (CONTRAST if self.late else PROOF_DEPTH) * self._case.limit and not outage:
            if not self._case.refuted_by(share):
                return False
            self._case = Case(limit, self._lost, count)
        self.cuts += 1
        self.asking = self._asks
        self._calm_ok = self._calm_lost = 0
        self._ok = self._lost = 0.0
        self._unsettled = limit * (served * self._round_trips if self.late else 1.0)
        return True

    def window_closed(self, limit: float, ok: int, lost: int) -> Judgement:
        """Judge the window that has ended; an acquittal is then noted as done."""
        if self._unsettled > 0:
            self._unsettled -= ok
            self._ok = self._lost = 0.0
            return Judgement.UNSETTLED
        self._history.add(limit, ok, lost)
        if not self.beyond:
            self._calm_ok += ok
            self._calm_lost += lost
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

    @property
    def _asks(self) -> bool:
        """Whether the limit is beyond what was good, and up to there hardly any were lost."""
        known = self._calm_ok + self._calm_lost
        return self.beyond and known >= LEAST_TALLY and self._calm_lost <= CALM_SHARE * known

    def _conclude(self, case: Case) -> bool:
        """Close a proven case; whether load is acquitted."""
        self.dismiss()
        if case.share_below <= SAME_SHARE * case.least_share:
            return False
        self._innocent = self._innocent_most = case.share_below
        return True

    def _excused(self, limit: float) -> bool:
        """Whether as much was lost at far lower limits of late: then load is acquitted without a cut."""
        ok, lost = self._history.below(limit)
        if lost < EXCUSE_LOSSES or self._exceeds(_tolerated(lost / (ok + lost))):
            return False
        self._innocent = self._innocent_most = max(self._innocent, lost / (ok + lost))
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
        return self._lost >= LEAST_LOST and self._exceeds(_tolerated(self._innocent))

    def _exceeds(self, share: float) -> bool:
        count = self._ok + self._lost
        sigmas = SIGMAS_ASKING if self._asks else SIGMAS
        return self._lost > share * count + sigmas * math.sqrt(share * (1 - share) * count)


def _tolerated(background: float) -> float:
    return min(TOLERATED_SHARE + 1.3 * background, 0.9)
