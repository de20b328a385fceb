"""How far each step up leads, once slow start is over: most of the way to the ceiling, a rest, then ever bolder steps.

The ceiling is the limit that was last good. Below it a step covers three quarters of the way; at it the limit rests;
beyond it the steps double, from a fiftieth up to a quarter. Without a ceiling a step is the root of the limit.
"""

import math

REST_WINDOWS, REST_ANSWERS = 1, 200
EASED_WINDOWS = 30  # of rest where more load got less done
BOLDEST, CAUTIOUS = 1 / 4, 1 / 16  # shares of the limit that a step beyond the ceiling comes to at most
AT_IT = 0.5  # this near is at the ceiling


class Climb:
    """The steps of one bound. `ceiling` is None until something was found out about it."""

    def __init__(self) -> None:
        self.ceiling: float | None = None
        self._rest = 0
        self._stride = 1.0
        self._boldest = BOLDEST

    def below(self, limit: float) -> bool:
        """Whether this limit is plainly below the ceiling."""
        return self.ceiling is None or limit < self.ceiling - AT_IT

    def beyond(self, limit: float) -> bool:
        """Whether this limit is plainly beyond the ceiling."""
        return self.ceiling is not None and limit > self.ceiling + 2 * AT_IT

    def step(self, limit: float) -> float:
        """Take the next step from this limit: how far it leads."""
        if self.ceiling is None:
            return math.sqrt(limit)
        if self.below(limit):
            return min(self.ceiling - limit, max(0.01 * limit, (self.ceiling - limit) * 0.75))
        if self._rest:
            self._rest -= 1
            return 0.0
        step = self._stride
        self._stride = min(2 * self._stride, max(1.0, limit * self._boldest))
        return step

    def after_cut(self, limit: float, ceiling: float) -> None:
        """Come back carefully: this limit was too much."""
        self.ceiling = ceiling
        self._rest_at(limit)
        self._boldest = BOLDEST

    def eased(self, limit: float) -> None:
        """Rest long at this limit and be cautious afterwards: beyond it less got done."""
        self.ceiling = limit
        self._rest_at(limit)
        self._rest = EASED_WINDOWS
        self._boldest = CAUTIOUS

    def boldly(self, limit: float, share: float) -> None:
        """Continue from this limit, at first by this share of it: the load was not what held it back."""
        self.ceiling, self._rest, self._stride, self._boldest = limit, 0, share * limit, BOLDEST

    def _rest_at(self, limit: float) -> None:
        self._rest = max(REST_WINDOWS, int(REST_ANSWERS / limit))
        self._stride = max(1.0, limit / 50)
