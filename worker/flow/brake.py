"""Whether answers have become so slow that more load would only queue.

Latency is a brake and never a trigger: payers vary by themselves. While answers take 1.4 times as long as they used
to, the limit does not grow. That may be the payers and not the load, so the limit is moved and the latency before is
held against that after: a quarter up after some windows, or back down where slow start met slower answers. What counts
is the part of the move that went into latency, as a full limit gets `limit / latency` done:

========== =============================================================================================
below 0.4  more load gets more done: this latency is the new usual one, and the limit is free
about 1    more load only queues: a step up is undone and the next one is dared later
above 1.15 more load gets less done: a step up is undone, and the limit eased by another one
========== =============================================================================================

After a step down the same part tells whether less load gets more done: then, while answers are still slow, the next
step down follows. Where a doubling got less done, that is known before; what is asked is whether the load was why.
Answers took more than twice as long, so if they still do at the old limit it was not.
"""

import math
from enum import Enum

from worker.flow.sample import Sample

SLOWER = math.log(1.4)
DARED_TIMES = 1.25
DRIFT = 0.003
FOLLOWS, HARMS, PLAINLY_HARMS = 0.4, 1.15, 1.6
FIRST_PATIENCE, LONGEST_PATIENCE = 5, 64
SETTLING_DOWN, SETTLING_UP = 2, 1  # windows in which attempts from before a move end
COMPARED_FAR, COMPARED_DOWN, COMPARED_UP = 1, 4, 3  # windows after that; a step far down shows sooner
FAR = -0.5
STILL_SLOW = math.log(2.5)  # after a doubling that got less done: more than twice, for then the load is not why
LEARNED = 200  # answers that tell what is usual
BEYOND_CHANCE = 3.0  # standard deviations


class Pull(Enum):
    """What latency says about growing."""

    FREE = "free"
    HOLD = "hold"
    DARE = "dare"
    UNDO = "undo"
    EASE = "ease"
    LOWER = "lower"
    RELEASE = "release"


class Brake:
    """Fed with the mean logarithm of the latencies of each window in which the limit was reached."""

    def __init__(self) -> None:
        self._usual: float | None = None
        self._learned = 0.0  # from so many answers what is usual was learned
        self._patience = FIRST_PATIENCE
        self._held: list[float] = []
        self._before = 0.0
        self._log_step = 0.0  # how far the limit was moved for a comparison; zero while none is under way
        self._after: list[float] = []
        self._less_done = False  # beyond the limit that was moved back to

    @property
    def comparing(self) -> bool:
        """Whether the limit was moved to see what that changes."""
        return self._log_step != 0.0

    def judge(self, sample: Sample) -> Pull:
        """Say what this window's latency means for the next; what follows from it is then noted as done."""
        log_latency = sample.log_latency
        if self._log_step:
            return self._compare(log_latency)
        tolerated = max(SLOWER, BEYOND_CHANCE * sample.noise)
        if self._slower(sample, tolerated) < tolerated:
            self._held.clear()
            return Pull.FREE
        self._held.append(log_latency)
        if len(self._held) <= self._patience:
            return Pull.HOLD
        settled = self._held[2:]
        self.moved_to_compare(sum(settled) / len(settled), math.log(DARED_TIMES))
        return Pull.DARE

    def limit_moved(self) -> None:
        """Note that the limit was moved for another reason: a comparison under way is void."""
        self._held.clear()
        self._log_step = 0.0

    def moved_to_compare(self, before: float, log_step: float) -> None:
        """Note that the limit was moved by this much, from where this was the latency: what follows is compared."""
        self._held.clear()
        self._before, self._log_step, self._after = before, log_step, []
        self._less_done = False

    def moved_back(self, before: float) -> None:
        """Note that a doubling was undone because it got less done; before it, this was the latency at this limit."""
        self.moved_to_compare(before, -math.log(2))
        self._less_done = True

    def _compare(self, log_latency: float) -> Pull:
        self._after.append(log_latency)
        upward = self._log_step > 0
        if upward and log_latency - self._before > PLAINLY_HARMS * self._log_step:
            return self._step_back(Pull.EASE)
        settling = SETTLING_UP if upward else SETTLING_DOWN
        compared = COMPARED_UP if upward else COMPARED_FAR if self._log_step < FAR else COMPARED_DOWN
        if len(self._after) < settling + compared:
            return Pull.HOLD
        after = sum(self._after[settling:]) / compared
        if self._less_done:
            followed = 0.0 if after - self._before > STILL_SLOW else math.inf
        else:
            followed = (after - self._before) / self._log_step
        if followed < FOLLOWS:
            self.limit_moved()
            self._usual = after
            self._patience = FIRST_PATIENCE
            return Pull.RELEASE
        if not upward:
            self.limit_moved()
            still_slow = self._usual is not None and after - self._usual > SLOWER
            return Pull.LOWER if still_slow and followed > HARMS else Pull.HOLD
        return self._step_back(Pull.EASE if followed > HARMS else Pull.UNDO)

    def _step_back(self, pull: Pull) -> Pull:
        self.limit_moved()
        self._patience = min((4 if pull is Pull.EASE else 2) * self._patience, LONGEST_PATIENCE)
        return pull

    def _slower(self, sample: Sample, tolerated: float) -> float:
        """Tell how far this lies above the usual, which follows downward at once and upward in many minutes."""
        log_latency = sample.log_latency
        if self._usual is None:
            self._usual = log_latency
        above = log_latency - self._usual
        if self._learned < LEARNED and above < tolerated:
            self._learned += sample.answers
            self._usual += sample.answers / self._learned * above
        elif above < 0.0:
            self._usual += 0.15 * above
        else:
            self._usual = min(self._usual + DRIFT, log_latency)
        return log_latency - self._usual
