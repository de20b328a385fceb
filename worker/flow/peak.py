"""Whether plainly less gets done than at a lower limit: a service beyond its knee does less the more is asked of it.

A full limit gets `limit / latency` done. The limit at which that was most is remembered, with the latency there; where
it is plainly less at a higher one, the way up has led beyond the peak; unless so much less that load cannot be why.
"""

import math

from worker.flow.sample import Sample

APART = math.log(1.04)  # nearer limits are the same place
MOST_ANSWERS = 1_500  # of those at the peak that count: what it was like long ago says little
FADES = 0.003  # a window
SIGMAS = 2.0
MOST_HARM = 5.0  # times the way beyond the peak: so much slower no load makes answers at once, but payers may be


class Peak:
    """Fed with the windows in which the limit was reached."""

    def __init__(self) -> None:
        self.limit = 0.0
        self._sample: Sample | None = None
        self._faded = 0.0

    def forget(self) -> None:
        """Begin anew."""
        self._sample = None

    def passed(self, limit: float, sample: Sample) -> bool:
        """Note a window; whether plainly less got done in it than at the peak, which is at a lower limit."""
        best = self._sample
        self._faded += FADES
        if best is None:
            self._move(limit, sample)
            return False
        further = math.log(limit / self.limit)
        if abs(further) < APART:
            self._average(best, sample)
            return False
        shortfall = sample.log_latency - best.log_latency - further - self._faded
        if shortfall < 0.0:
            self._move(limit, sample)
            return False
        return SIGMAS * math.hypot(sample.noise, best.noise) < shortfall < MOST_HARM * further

    def _move(self, limit: float, sample: Sample) -> None:
        self.limit, self._sample, self._faded = limit, sample, 0.0

    def _average(self, best: Sample, sample: Sample) -> None:
        answers = min(best.answers, MOST_ANSWERS) + sample.answers
        share = sample.answers / answers
        self._sample = Sample(
            best.log_latency + share * (sample.log_latency - best.log_latency),
            best.variance + share * (sample.variance - best.variance),
            answers,
        )
        self._faded *= 1 - share
