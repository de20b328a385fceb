"""Whether answers have become so slow that more load would only queue.

Latency is a brake and never a trigger: payers vary by themselves. While answers take 1.4 times as long as they used
to, the limit does not grow. That may be the payers and not the load, so the limit is moved and the latency before is
held against that after: a quarter up after some windows, or back down where slow start met slower answers. What counts
is the part of the move that went into latency, for a full limit gets `limit / latency` done:

========== =============================================================================================
below 0.4  more load gets more done: this latency is the new usual one, and the limit is free
about 1    more load only queues: a step up is undone and the next one is dared later
above 1.15 more load gets less done: a step up is undone, and the limit eased by another one
========== =============================================================================================

Latencies are handled as logarithms: they are spread like that, and one answer of 30 s must not count like ten.
"""

import math
from enum import Enum

SLOWER = math.log(1.4)
DARED_TIMES = 1.25
DRIFT = 0.003
FOLLOWS, HARMS, PLAINLY_HARMS = 0.4, 1.15, 1.6
FIRST_PATIENCE, LONGEST_PATIENCE = 5, 64
SETTLING_DOWN, SETTLING_UP = 2, 1  # windows in which attempts from before a move end
COMPARED_DOWN, COMPARED_UP = 1, 3  # windows after that; a step down is the larger and shows sooner


class Pull(Enum):
    """What latency says about growing."""

    FREE = "free"
    HOLD = "hold"
    DARE = "dare"
    UNDO = "undo"
    EASE = "ease"
    RELEASE = "release"


class Brake:
    """Fed with the mean logarithm of the latencies of each window in which the limit was reached."""

    def __init__(self) -> None:
        self._usual: float | None = None
        self._patience = FIRST_PATIENCE
        self._held: list[float] = []
        self._before = 0.0
        self._log_step = 0.0  # how far the limit was moved for a comparison; zero while none is under way
        self._after: list[float] = []

    def judge(self, log_latency: float) -> Pull:
        """Say what this window's latency means for the next; what follows from it is then noted as done."""
        if self._log_step:
            return self._compare(log_latency)
        if self._slower(log_latency) < SLOWER:
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

    def _compare(self, log_latency: float) -> Pull:
        self._after.append(log_latency)
        upward = self._log_step > 0
        if upward and log_latency - self._before > PLAINLY_HARMS * self._log_step:
            return self._step_back(Pull.EASE)
        settling, compared = (SETTLING_UP, COMPARED_UP) if upward else (SETTLING_DOWN, COMPARED_DOWN)
        if len(self._after) < settling + compared:
            return Pull.HOLD
        after = sum(self._after[settling:]) / compared
        followed = (after - self._before) / self._log_step
        if followed < FOLLOWS:
            self.limit_moved()
            self._usual = after
            self._patience = FIRST_PATIENCE
            return Pull.RELEASE
        if not upward:
            self.limit_moved()
            return Pull.HOLD
        return self._step_back(Pull.EASE if followed > HARMS else Pull.UNDO)

    def _step_back(self, pull: Pull) -> Pull:
        self.limit_moved()
        self._patience = min((4 if pull is Pull.EASE else 2) * self._patience, LONGEST_PATIENCE)
        return pull

    def _slower(self, log_latency: float) -> float:
        """Tell how far this lies above the usual, which follows downward at once and upward in many minutes."""
        if self._usual is None:
            self._usual = log_latency
        elif log_latency < self._usual:
            self._usual += 0.15 * (log_latency - self._usual)
        else:
            self._usual = min(self._usual + DRIFT, log_latency)
        return log_latency - self._usual
