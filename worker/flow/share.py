"""The share that fresh claims have beside repeats, so that a failing service keeps no new claim waiting.

Repeats go first, because they have waited and have a deadline. Two rules keep them from taking everything:

- Where slots are few, a fresh claim that waits goes after `MOST_REPEATS` repeats in a row. Four for one is what a
  service needs that loses four of five attempts, and one that loses more shuts the gate (`worker.flow.outage`).
- Where room is short because claims that wait for their repeat take it up, fresh ones go at a pace that falls with the
  room: any below a half, ten a second at three quarters, none once it is taken up. Without a pace there would be one
  burst of fresh claims until it is, and then one for each that happens to end: seconds with none and seconds with many.

The pace settles where as many claims begin as end. With repeats at half of the attempts and ten a second
(`worker.flow.budget`) these are 20 a second where three of five attempts are lost, and 3 where four of five are.
"""

import math

MOST_REPEATS = 4
FREE_SHARE = 0.5  # of the room
HALF_WAY_PER_S = 10.0


class FreshShare:
    """Asked before each claim that goes, and told which one went."""

    __slots__ = ("_fresh_at", "_repeats")

    def __init__(self) -> None:
        self._repeats = 0  # in a row
        self._fresh_at = -math.inf

    def owed(self, most_repeats: int = MOST_REPEATS) -> bool:
        """Tell whether the next one should be fresh if any may go: after so many repeats in a row."""
        return self._repeats >= most_repeats

    def next_at(self, taken_up: float) -> float:
        """Say when the next fresh claim may go, with this share of the room taken up by claims between two attempts."""
        if taken_up <= FREE_SHARE:
            return -math.inf
        if taken_up >= 1.0:
            return math.inf
        return self._fresh_at + (taken_up - FREE_SHARE) / (1.0 - taken_up) / HALF_WAY_PER_S

    def repeat_gone(self) -> None:
        """Note that a repeat went."""
        self._repeats += 1

    def fresh_gone(self, now: float) -> None:
        """Note that a fresh claim went; `now` may be left at minus infinity where no claim is between two attempts."""
        self._repeats = 0
        self._fresh_at = now
