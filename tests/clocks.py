"""Clocks for what takes its time from a function."""


class SetClock:
    """A clock that stands still unless a test sets `now`."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Tell the time."""
        return self.now
