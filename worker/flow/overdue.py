"""How many of the calls under way are out for longer than answers take: a hint of losses, long before they are known.

While the limit is reached throughout, it is by Little's law the sum of the latencies of what ends, by the time in which
it ended. What is missing is out and does not come back soon: a gateway holds what its service does not take until its
patience ends. Those calls keep their slots until then, so a lower limit gains nothing before; but neither does a higher
one. And what came back as answers is what the service bears.
"""

TELLING_LIMIT = 64
MISSING = 0.25  # of the limit is a sign
MISSING_AFTER_DOUBLING = 0.5  # for the slow ones of those begun at once are still on their way
LARGE_STEP = 1.3
NONE_MISSING = 0.05
TELLING_WINDOWS = 4  # what began before them and ends after them counts little in so many


class Overdue:
    """Keeps account of two stretches of time: the window under way, and the windows since the limit moved.

    `idle` is set by the owner when fewer are under way than may be: then nothing follows. `served` is the share of
    the limit that came back as answers in the last window that could tell.
    """

    def __init__(self) -> None:
        self.idle = True
        self.served = 1.0
        self._step = 1.0  # by which factor the limit was last moved
        self._answered_s = self._lost_s = 0.0
        self._opened_at = self._moved_at = 0.0
        self._ended_s = self._full_s = 0.0  # since the limit moved: latencies, and slots by the time they were there
        self._windows = 0

    def answered(self, latency_s: float) -> None:
        """Take note of an attempt that was answered."""
        self._answered_s += latency_s

    def lost(self, now: float, latency_s: float) -> None:
        """Take note of an attempt that was lost."""
        self._lost_s += latency_s
        self._ended_s += min(latency_s, now - self._moved_at)

    def open_window(self, now: float) -> None:
        """Begin anew."""
        self._answered_s = self._lost_s = 0.0
        self._opened_at, self.idle = now, False

    def moved(self, now: float, step: float) -> None:
        """Note by which factor the limit was moved."""
        self._step, self._moved_at = step, now
        self._ended_s = self._full_s = 0.0
        self._windows = 0

    def window_closed(self, limit: float, now: float) -> bool:
        """Tell whether so many are missing that a higher limit gains nothing."""
        full_s = limit * (now - self._opened_at)
        if self.idle or full_s <= 0.0:
            return False
        self.served = self._answered_s / full_s
        ended_s = self._answered_s + self._lost_s
        self._ended_s += self._answered_s
        self._full_s += full_s
        self._windows += 1
        large = self._windows == 1 and self._step > LARGE_STEP
        return limit >= TELLING_LIMIT and 1.0 - ended_s / full_s > (MISSING_AFTER_DOUBLING if large else MISSING)

    @property
    def none(self) -> bool:
        """Whether hardly any was missing since the limit moved."""
        return self._windows >= TELLING_WINDOWS and 1.0 - self._ended_s / self._full_s <= NONE_MISSING
