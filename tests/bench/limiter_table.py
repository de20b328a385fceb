"""How near the adaptive limiter comes to the best fixed bound, on simulated services.

Each service is a few lines: told when an attempt begins, it says how it ends and when. A run is a loop over the ends in
order of time; there is always another claim waiting, and a lost one is replaced at once, which is the worst case.

    python -m tests.bench.limiter_table
"""

import heapq
import math
import random
import sys
from collections.abc import Callable
from typing import NamedTuple, Protocol

from tests.clocks import SetClock
from worker.flow.adaptive import AdaptiveLimiter, LimitChange
from worker.flow.limiter import FixedLimiter, Limiter, Signal

MEDIAN_S, SIGMA = 2.4, 0.56  # contract.md §5: half of the answers within 2.4 s, 95 % within 6 s
MEAN_S = MEDIAN_S * math.exp(SIGMA**2 / 2)
MAXIMUM = 400
FIXED_BOUNDS = (20, 50, 75, 100, 125, 200, 400)


class End(NamedTuple):
    """When an attempt ends, and how."""

    at: float
    signal: Signal


class Service(Protocol):
    """A model of the service under load."""

    def begin(self, now: float) -> End:
        """Take an attempt at `now`; calls come in order of time."""
        ...


class Sampler:
    """Draws how long the work of one claim takes."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def __call__(self) -> float:
        return self.chance.lognormvariate(math.log(MEDIAN_S), SIGMA)


class Shedding:
    """Works on up to `capacity(now)` claims at once and turns others away after `refusal_s`."""

    def __init__(self, work: Sampler, capacity: Callable[[float], float], refusal_s: float = 0.05) -> None:
        self.work, self.capacity, self.refusal_s = work, capacity, refusal_s
        self.ends: list[float] = []

    def begin(self, now: float) -> End:
        while self.ends and self.ends[0] <= now:
            heapq.heappop(self.ends)
        if len(self.ends) >= self.capacity(now):
            return End(now + self.refusal_s, Signal.LOST)
        end = now + self.work()
        heapq.heappush(self.ends, end)
        return End(end, Signal.OK)


class Queueing:
    """`workers` claims at once, the others wait; beyond `gateway_s` the gateway says 504 while the work goes on."""

    def __init__(self, work: Sampler, workers: int, gateway_s: float = math.inf) -> None:
        self.work, self.gateway_s = work, gateway_s
        self.free = [0.0] * workers

    def begin(self, now: float) -> End:
        end = max(now, heapq.heappop(self.free)) + self.work()
        heapq.heappush(self.free, end)
        return End(end, Signal.OK) if end - now < self.gateway_s else End(now + self.gateway_s, Signal.LOST)


class RateLimited:
    """Answers `per_s` claims a second with bursts of one second's worth, 429 to others at once."""

    def __init__(self, work: Sampler, per_s: float) -> None:
        self.work, self.per_s = work, per_s
        self.tokens, self.at = per_s, 0.0

    def begin(self, now: float) -> End:
        self.tokens = min(self.per_s, self.tokens + (now - self.at) * self.per_s)
        self.at = now
        if self.tokens < 1:
            return End(now + 0.05, Signal.LOST)
        self.tokens -= 1
        return End(now + self.work(), Signal.OK)


class Knee:
    """Answers take longer the more are in work, until together they get less done: the knee lies at `knee`."""

    def __init__(self, work: Sampler, knee: float, power: float) -> None:
        self.work, self.knee, self.power = work, knee, power
        self.ends: list[float] = []

    def begin(self, now: float) -> End:
        while self.ends and self.ends[0] <= now:
            heapq.heappop(self.ends)
        end = now + self.work() * (1 + (len(self.ends) / self.knee) ** self.power)
        heapq.heappush(self.ends, end)
        return End(end, Signal.OK)


class Failing:
    """Loses a share of what another service would answer, whatever the load."""

    def __init__(self, inner: Service, share: Callable[[float], float], chance: random.Random, after_s: float) -> None:
        self.inner, self.share, self.chance, self.after_s = inner, share, chance, after_s

    def begin(self, now: float) -> End:
        if self.chance.random() < self.share(now):
            return End(now + self.after_s, Signal.LOST)
        return self.inner.begin(now)


class Drifting:
    """Takes `times` as long as another service from `since` on."""

    def __init__(self, inner: Service, since: float, times: float) -> None:
        self.inner, self.since, self.times = inner, since, times

    def begin(self, now: float) -> End:
        end = self.inner.begin(now)
        return end if now < self.since else End(now + (end.at - now) * self.times, end.signal)


class Figures(NamedTuple):
    """What a run came to. `goodput` is answers a second after the start, `lost` the share of losses among all ends."""

    goodput: float
    lost: float
    limit: int
    trace: list[tuple[float, LimitChange]]


def play(
    service: Service,
    limiter: Callable[[SetClock, Callable[[LimitChange], None]], Limiter],
    *,
    seconds: float,
    since: float,
) -> Figures:
    """Run a service against a limiter and count from `since` on."""
    clock = SetClock(0.0)
    trace: list[tuple[float, LimitChange]] = []
    bound = limiter(clock, lambda change: trace.append((clock.now, change)))
    under_way: list[tuple[float, int, float, Signal]] = []
    number = ok = lost = 0
    while clock.now < seconds:
        while bound.try_acquire():
            end = service.begin(clock.now)
            number += 1
            heapq.heappush(under_way, (end.at, number, clock.now, end.signal))
        at, _, began, signal = heapq.heappop(under_way)
        clock.now = at
        bound.release(signal, at - began)
        if at >= since:
            ok += signal is Signal.OK
            lost += signal is Signal.LOST
    return Figures(ok / (seconds - since), lost / max(1, ok + lost), bound.limit, trace)


def adaptive(clock: SetClock, on_change: Callable[[LimitChange], None]) -> Limiter:
    return AdaptiveLimiter(8, MAXIMUM, clock=clock, on_change=on_change)


def fixed(limit: int) -> Callable[[SetClock, Callable[[LimitChange], None]], Limiter]:
    return lambda _clock, _on_change: FixedLimiter(limit)


def at_time(moment: float, before: float, after: float) -> Callable[[float], float]:
    return lambda now: before if now < moment else after


CHANGE_AT = 120.0
AMPLE = 1000


class Scenario(NamedTuple):
    """A service by seed, the best of `FIXED_BOUNDS` for it, and whether its losses follow the load."""

    service: Callable[[int], Service]
    best_bound: int
    losses_follow_load: bool = True


def shedding(capacity: Callable[[float], float], refusal_s: float = 0.05) -> Callable[[int], Service]:
    return lambda seed: Shedding(Sampler(seed), capacity, refusal_s)


def failing(share: Callable[[float], float], after_s: float, capacity: float = AMPLE) -> Callable[[int], Service]:
    return lambda seed: Failing(shedding(always(capacity))(seed), share, random.Random(seed), after_s)


def always(value: float) -> Callable[[float], float]:
    return lambda _now: value


SCENARIOS = {
    "sheds above 100, in 50 ms": Scenario(shedding(always(100)), 100),
    "sheds above 100, in 2 ms": Scenario(shedding(always(100), 0.002), 100),
    "sheds above 100, in 2 s": Scenario(shedding(always(100), 2.0), 100),
    "sheds above 20": Scenario(shedding(always(20)), 20),
    "never sheds": Scenario(shedding(always(AMPLE)), 400),
    "capacity halved to 100": Scenario(shedding(at_time(CHANGE_AT, 200, 100)), 200),
    "capacity doubled to 200": Scenario(shedding(at_time(CHANGE_AT, 100, 200)), 200),
    "100 workers, endless queue": Scenario(lambda seed: Queueing(Sampler(seed), 100), 100),
    "100 workers, 504 after 15 s": Scenario(lambda seed: Queueing(Sampler(seed), 100, 15.0), 100),
    "429 above 40 a second": Scenario(lambda seed: RateLimited(Sampler(seed), 40), 125),
    "knee at 100, gentle": Scenario(lambda seed: Knee(Sampler(seed), 100, 2), 100),
    "knee at 100, sharp": Scenario(lambda seed: Knee(Sampler(seed), 100, 4), 75),
    "1 % fail at once": Scenario(failing(always(0.01), 0.05), 400, losses_follow_load=False),
    "1 % fail, sheds above 100": Scenario(failing(always(0.01), 0.05, 100), 100),
    "1 % fail after 30 s": Scenario(failing(always(0.01), 30.0), 400, losses_follow_load=False),
    "3 % fail from the start": Scenario(failing(always(0.03), 0.5), 400, losses_follow_load=False),
    "20 % fail after 10 s, from then on": Scenario(
        failing(at_time(CHANGE_AT, 0.0, 0.2), 10.0), 400, losses_follow_load=False
    ),
    "slow since the start": Scenario(lambda seed: Drifting(Shedding(Sampler(seed), always(AMPLE)), 12.0, 3.0), 400),
    "5 % fail from then on": Scenario(failing(at_time(CHANGE_AT, 0.0, 0.05), 1.0), 400, losses_follow_load=False),
    "20 % fail from then on": Scenario(failing(at_time(CHANGE_AT, 0.0, 0.2), 1.0), 400, losses_follow_load=False),
    "answers take 3 times as long": Scenario(
        lambda seed: Drifting(Shedding(Sampler(seed), always(AMPLE)), CHANGE_AT, 3.0), 400
    ),
}


def against_fixed(scenario: Scenario, bound: int, seed: int = 1, *, seconds: float, since: float) -> Figures:
    return play(scenario.service(seed), fixed(bound), seconds=seconds, since=since)


def own(scenario: Scenario, seed: int = 1, *, seconds: float, since: float) -> Figures:
    return play(scenario.service(seed), adaptive, seconds=seconds, since=since)


def row(name: str, *, seconds: float = 300.0, since: float = 60.0) -> str:
    """Sweep the fixed bounds and hold the adaptive limiter against the best."""
    scenario = SCENARIOS[name]
    # Far beyond the best bound nothing is gained, and a service that sheds in 2 ms would be asked millions of times.
    bounds = [bound for bound in FIXED_BOUNDS if bound <= 1.25 * scenario.best_bound]
    swept = {bound: against_fixed(scenario, bound, seconds=seconds, since=since).goodput for bound in bounds}
    bound = max(swept, key=lambda each: swept[each])
    mine = own(scenario, seconds=seconds, since=since)
    return (
        f"{name:30} best fixed {bound:3}: {swept[bound]:6.1f}/s   adaptive: {mine.goodput:6.1f}/s"
        f" {mine.goodput / swept[bound]:5.0%}   lost {mine.lost:5.1%}   limit {mine.limit}"
    )


if __name__ == "__main__":
    for scenario_name in SCENARIOS:
        sys.stdout.write(row(scenario_name) + "\n")
        sys.stdout.flush()
