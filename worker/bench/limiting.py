"""`bench --limiter`: how near the adaptive limiter comes to the best fixed bound, on services of every kind.

A run is a loop over the ends of attempts in order of time; there is always another claim waiting, and a lost one is
replaced at once, which is the worst case. Five minutes of a service pass in about a tenth of a second.
"""

import heapq
from bisect import bisect_left
from collections.abc import Callable, Sequence

import msgspec

from worker.bench.services import CHANGE_AT, SERVICES, Running, Service
from worker.flow.adaptive import AdaptiveLimiter
from worker.flow.limiter import FixedLimiter, Limiter, Signal

MAXIMUM = 400
FIXED_BOUNDS = (20, 50, 75, 100, 125, 200, 400)
SECONDS, SINCE = 300.0, 60.0  # how long a run takes, and from when on it counts

GOOD_SHARE = 0.9
WINDOW_S = 20  # of which the goodput is good or not
LASTING_S = 30  # so many windows, a second apart, have to be good
LONGEST_RECOVERY_S = 90  # where it is not good again by then, it takes "so long or longer"


class Figures(msgspec.Struct, frozen=True):
    """What a run came to: `answered` when, in seconds, and the `lost` share of what ended; from `since` to `until`."""

    answered: Sequence[float]
    lost: float
    limit: int
    since: float
    until: float

    @property
    def goodput(self) -> float:
        """Answers a second."""
        return self.goodput_in(self.since, self.until)

    def goodput_in(self, since: float, until: float) -> float:
        """Answers a second in a part of the time."""
        return (bisect_left(self.answered, until) - bisect_left(self.answered, since)) / (until - since)


class Row(msgspec.Struct, frozen=True):
    """One line of the table; over all seeds the mean, and as `least` and `most` the worst of them.

    `share` is the adaptive limiter's goodput by that of the best fixed bound. `recovery_s`, the longest, is None for
    what never changes.
    """

    service: str
    best_bound: int
    best_per_s: float
    adaptive_per_s: float
    share: float
    least_share: float
    lost: float
    most_lost: float
    losses_follow_load: bool
    recovery_s: int | None


class Clock:
    """Tells the time that the run has reached."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Tell the time, in seconds."""
        return self.now


def play(
    service: Service, limiter: Callable[[Clock], Limiter], seed: int, *, seconds: float = SECONDS, since: float = SINCE
) -> Figures:
    """Run a service against a limiter and count from `since` on."""
    clock, running = Clock(), Running(service, seed)
    bound = limiter(clock)
    under_way: list[tuple[float, int, float, Signal]] = []
    answered: list[float] = []
    number = lost = 0
    while clock.now < seconds:
        while bound.try_acquire():
            end = running.begin(clock.now)
            number += 1
            heapq.heappush(under_way, (end.at, number, clock.now, end.signal))
        at, _, began, signal = heapq.heappop(under_way)
        clock.now = at
        bound.release(signal, at - began)
        if signal is Signal.OK:
            answered.append(at)
        elif at >= since:
            lost += 1
    ok = len(answered) - bisect_left(answered, since)
    return Figures(answered, lost / max(1, ok + lost), bound.limit, since, seconds)


def adaptive(service: Service, seed: int = 1, *, seconds: float = SECONDS, since: float = SINCE) -> Figures:
    """Run a service against the adaptive limiter, from its usual start."""
    return play(service, lambda clock: AdaptiveLimiter(8, MAXIMUM, clock=clock), seed, seconds=seconds, since=since)


def fixed(service: Service, bound: int, seed: int = 1, *, seconds: float = SECONDS, since: float = SINCE) -> Figures:
    """Run a service against a fixed bound."""
    return play(service, lambda _clock: FixedLimiter(bound), seed, seconds=seconds, since=since)


def table(*, seeds: int, tell: Callable[[str], None]) -> list[Row]:
    """Hold the adaptive limiter against the best fixed bound on every service; `tell` is told which one is next."""
    rows = []
    for number, name in enumerate(SERVICES, start=1):
        tell(f"{number} of {len(SERVICES)}: {name}")
        rows.append(row(name, seeds=seeds))
    return rows


def row(name: str, *, seeds: int) -> Row:
    """Sweep the fixed bounds with the first seed, and hold the adaptive limiter against the best with all of them."""
    service = SERVICES[name]
    # Far beyond the best bound nothing is gained, and a service that sheds in 2 ms would be asked millions of times.
    bounds = [bound for bound in FIXED_BOUNDS if bound <= 1.25 * service.best_bound]
    swept = {bound: fixed(service, bound) for bound in bounds}
    best = max(swept, key=lambda bound: swept[bound].goodput)
    theirs = [swept[best], *(fixed(service, best, seed) for seed in range(2, seeds + 1))]
    ours = [adaptive(service, seed) for seed in range(1, seeds + 1)]
    shares = [own.goodput / its.goodput for own, its in zip(ours, theirs, strict=True)]
    recovery_s = None
    if service.changes:
        settled = max(each.goodput_in(CHANGE_AT + LASTING_S, SECONDS) for each in swept.values())
        recovery_s = max(recovered_after_s(own, settled) for own in ours)
    return Row(
        service=name,
        best_bound=best,
        best_per_s=_mean([each.goodput for each in theirs]),
        adaptive_per_s=_mean([each.goodput for each in ours]),
        share=_mean(shares),
        least_share=min(shares),
        lost=_mean([each.lost for each in ours]),
        most_lost=max(each.lost for each in ours),
        losses_follow_load=service.losses_follow_load,
        recovery_s=recovery_s,
    )


def recovered_after_s(figures: Figures, per_s: float) -> int:
    """Return how many seconds after the change it is good again for a while, by a goodput that can be had then.

    What was in flight at the change may be answered at the old pace: that alone is too short to count.
    """
    good_for = 0
    for after_s in range(LONGEST_RECOVERY_S + LASTING_S):
        since = CHANGE_AT + after_s
        good = figures.goodput_in(since, since + WINDOW_S) >= GOOD_SHARE * per_s
        good_for = good_for + 1 if good else 0
        if good_for == LASTING_S:
            return after_s + 1 - LASTING_S
    return LONGEST_RECOVERY_S


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
