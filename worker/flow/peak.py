"""Whether plainly less gets done than at a lower limit: a service beyond its knee does less the more is asked of it.

A full limit gets `limit / latency` done. The limit at which that was most is remembered, with the latency there; where
it is plainly less at a higher one, the way up has led beyond the peak; unless so much less that load cannot be why.
Which window was best is much by chance, and chance would lead upward each time. So what all windows near it have shown
is taken together: the top of the parabola through that is where to go back to. It may lie below all that was seen.
"""

import math

from worker.flow.parabola import Point, top
from worker.flow.sample import Sample

APART = math.log(1.04)  # nearer limits are the same place
NEAR = math.log(1.5)  # limits that tell where the peak is
ASIDE = math.log(1.1)  # of the limit of the best window, at most, lies the peak
MEMORY = 0.98  # of each window, in the next one
MOST_ANSWERS = 1_500  # of those at the peak that count: what it was like long ago says little
FADES = 0.003  # a window
SIGMAS = 2.0
MOST_HARM = 5.0  # times the way beyond the peak: so much slower no load makes answers at once, but payers may be


class Peak:
    """Fed with the windows in which the limit was reached. `limit` is that of the window in which most got done."""

    def __init__(self) -> None:
        self.limit = 0.0
        self._sample: Sample | None = None
        self._faded = 0.0
        self._seen: dict[int, Point] = {}  # by limit: its logarithm, that of what got done there, how many answers

    def forget(self) -> None:
        """Begin anew."""
        self._sample = None
        self._seen.clear()

    def passed(self, limit: float, sample: Sample) -> bool:
        """Note a window; whether plainly less got done in it than at the peak, which is at a lower limit."""
        self._note(limit, sample)
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

    def top(self, below: float) -> float:
        """Return the limit at which most gets done by all that was seen, plainly lower than `below`."""
        best = math.log(self.limit)
        at = top([point for point in self._seen.values() if abs(point.at - best) < NEAR])
        aside = 0.0 if at is None else max(-ASIDE, min(at - best, ASIDE))
        return math.exp(min(best + aside, math.log(below) - APART))

    def _note(self, limit: float, sample: Sample) -> None:
        """Remember what got done at this limit, and let what was seen before fade."""
        faded = {at: point._replace(weight=MEMORY * point.weight) for at, point in self._seen.items()}
        self._seen = {at: point for at, point in faded.items() if point.weight >= 1.0}
        place = math.log(limit)
        before = self._seen.get(int(limit), Point(place, 0.0, 0.0))
        weight = before.weight + sample.answers
        height = before.height + sample.answers / weight * (place - sample.log_latency - before.height)
        self._seen[int(limit)] = Point(place, height, weight)

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
