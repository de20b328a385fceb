"""How long answers took, as logarithms: they are spread like that, and one answer of 30 s must not count like ten."""

import math
from typing import NamedTuple

LEAST_S = 1e-4
LEAST_VARIANCE = 0.01


class Sample(NamedTuple):
    """The mean of the logarithms of the latencies, their variance, and of how many answers."""

    log_latency: float
    variance: float
    answers: int

    @property
    def noise(self) -> float:
        """How far chance alone moves the mean: its standard deviation."""
        return math.sqrt(self.variance / self.answers)


class Latencies:
    """Sums up latencies, in seconds, for a `Sample`."""

    __slots__ = ("_squares", "_sum", "count")

    def __init__(self) -> None:
        self.count = 0
        self._sum = 0.0
        self._squares = 0.0

    def add(self, latency_s: float) -> None:
        """Take one."""
        self.count += 1
        log_latency = math.log(latency_s if latency_s > LEAST_S else LEAST_S)
        self._sum += log_latency
        self._squares += log_latency * log_latency

    def sample(self) -> Sample:
        """Sum up; at least one was taken."""
        mean = self._sum / self.count
        return Sample(mean, max(self._squares / self.count - mean * mean, LEAST_VARIANCE), self.count)
