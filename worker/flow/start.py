"""Slow start: the limit doubles each window, until that makes answers slower, or less gets done.

Answers that are plainly slower in two windows tell that the last doubling was one too many. The first answers after it
are those of before and the fastest of the new, though, and beyond a knee a window can take a minute. So it is looked at
in parts as well: a limit twice as wide that gets less done is too wide, however many answers are still to come.
"""

import math

from worker.flow.brake import SLOWER
from worker.flow.sample import Sample

SEEMS_SLOWER = math.log(1.25)  # not sure yet, so one more window is waited for
TELLING = 32  # answers whose mean latency says something
PLAINLY = 2.5  # times what chance does
WHOLE, HALF, PART = 1.0, 0.5, 0.25  # of a window


class SlowStart:
    """`on` while the limit doubles, `judging` until it is known what the last doubling did.

    `width` says after which share of a window it is to be looked at. `idle` is set by the owner when fewer are under
    way than may be: then what gets done tells nothing. `limit_before` is that of before the last doubling, `resumable`
    says that it was undone and may be done again.
    """

    def __init__(self, limit: float, until: float) -> None:
        self.on = limit < until
        self.resumable = False
        self.limit_before = limit
        self.idle = True
        self._until = until
        self._before: Sample | None = None  # the last doubling
        self._per_s_before = 0.0
        self._waited = self._doubted = False
        self._done = self._done_s = 0.0
        self.open_window(0.0)

    @property
    def judging(self) -> bool:
        """Whether it is not known yet what the last doubling did."""
        return self._before is not None

    @property
    def before(self) -> float:
        """The latency before the last doubling, as a logarithm, while it is judged."""
        return math.inf if self._before is None else self._before.log_latency

    @property
    def complete(self) -> bool:
        """Whether the next look is at a whole window."""
        return self.width >= self._whole

    def open_window(self, now: float) -> None:
        """Begin a window."""
        self._per_s = self._done / self._done_s if self._done_s > 0.0 else 0.0  # in the last one
        self._done = self._done_s = 0.0
        self._answers, self._looked_at = 0, now
        self._whole = WHOLE
        self.width = PART if self._comparable else WHOLE

    def look(self, answers: int, now: float) -> bool:
        """Look at a window with so many answers until now; whether plainly less gets done than before the doubling."""
        done, seconds = answers - self._answers, now - self._looked_at
        self._answers, self._looked_at = answers, now
        self.width += PART
        idle, self.idle = self.idle, False
        if idle:
            return False
        self._done += done
        self._done_s += seconds
        if self._before is None or not self._comparable:
            return False
        expected = self._per_s_before * seconds
        chance = math.sqrt(expected + expected**2 / self._before.answers)
        return expected - done > PLAINLY * chance

    def next_limit(self, limit: float, sample: Sample) -> float:
        """Return twice the limit, or the same where one more window is waited for."""
        if limit >= TELLING and sample.log_latency - self.before > SEEMS_SLOWER and not self._waited:
            self._waited = True  # the first window after a doubling still holds attempts from before it
            return limit
        self._before, self._per_s_before, self.limit_before = sample, self._per_s, limit
        self._doubted = self._waited = False
        self.width = PART if self._comparable else WHOLE
        grown = min(2 * limit, self._until)
        self.on = grown < self._until
        return grown

    def doubts(self, sample: Sample) -> bool:
        """Take note of slower answers; whether the window before had such, too: then the doubling is to be undone."""
        if self._doubted:
            return True
        self._doubted = True
        if sample.log_latency - self.before > SLOWER + PLAINLY * sample.noise:
            self._whole = HALF  # plainly slower: a half window more is enough
        return False

    def slowed(self, sample: Sample) -> bool:
        """Whether these answers are plainly slower than before the last doubling."""
        return sample.log_latency - self.before > SLOWER

    def stop(self, *, resumable: bool = False) -> None:
        """Double no more; `resumable` where it may turn out that the doubling was not why answers are slow."""
        self.on, self.resumable = False, resumable
        self._before = None
        self._doubted = self._waited = False

    def resume(self) -> None:
        """Go on doubling, if that was stopped by mistake."""
        self.on = self.on or self.resumable

    @property
    def _comparable(self) -> bool:
        """Whether so much got done before the last doubling that parts of a window can be held against it."""
        return self._before is not None and self._before.answers >= TELLING and self._per_s_before > 0.0
