"""Whether answers have become so slow that more load would only queue.

Latency is a brake and never a trigger: payers vary by themselves. While answers take 1.4 times as long as they used
to, the limit does not grow. That may be the payers and not the load, so after some windows a quarter more is dared: if
the answers stay as they were, more load is no harm and this latency is the new usual one; if they slow down with the
load, the step is undone and the next one is dared later.

Latencies are handled as logarithms: they are spread like that, and one answer of 30 s must not count like ten.
"""

import math
from enum import Enum

SLOWER = math.log(1.4)
DARED_TIMES = 1.25
DRIFT = 0.003
FIRST_PATIENCE, LONGEST_PATIENCE = 5, 64


class Pull(Enum):
    """What latency says about growing."""

    FREE = "free"
    HOLD = "hold"
    DARE = "dare"
    UNDO = "undo"
    RELEASE = "release"


class Brake:
    """Fed with the mean logarithm of the latencies of each window in which the limit was reached."""

    def __init__(self) -> None:
        self._usual: float | None = None
        self._patience = FIRST_PATIENCE
        self._held: list[float] = []
        self._dared: list[float] | None = None

    def judge(self, log_latency: float) -> Pull:
        """Say what this window's latency means for the next; DARE and UNDO are then noted as done."""
        if self._dared is not None:
            return self._judge_dare(self._dared, log_latency)
        if self._slower(log_latency) < SLOWER:
            self._held.clear()
            return Pull.FREE
        self._held.append(log_latency)
        if len(self._held) <= self._patience:
            return Pull.HOLD
        self._dared = []
        return Pull.DARE

    def limit_moved(self) -> None:
        """Note that the limit was moved for another reason: a comparison under way is void."""
        self._held.clear()
        self._dared = None

    def _judge_dare(self, dared: list[float], log_latency: float) -> Pull:
        dared.append(log_latency)
        if len(dared) < 4:
            return Pull.HOLD
        # The first window after a move still holds attempts from before it.
        after = sum(dared[1:]) / len(dared[1:])
        before = sum(self._held[2:]) / len(self._held[2:])
        self.limit_moved()
        if after - before < 0.4 * math.log(DARED_TIMES):
            self._usual = after
            self._patience = FIRST_PATIENCE
            return Pull.RELEASE
        self._patience = min(2 * self._patience, LONGEST_PATIENCE)
        return Pull.UNDO

    def _slower(self, log_latency: float) -> float:
        """Tell how far this lies above the usual, which follows downward at once and upward in many minutes."""
        if self._usual is None:
            self._usual = log_latency
        elif log_latency < self._usual:
            self._usual += 0.3 * (log_latency - self._usual)
        else:
            self._usual = min(self._usual + DRIFT, log_latency)
        return log_latency - self._usual
