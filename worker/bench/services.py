"""The services against which `bench --limiter` holds the limiter: the simulator's models of capacity, in virtual time.

Told when an attempt begins, a service says when it ends and how. All that is drawn depends on the seed.
"""

import math
import random
from typing import NamedTuple

import msgspec

from worker.flow.limiter import Signal
from worker.simulator.capacity import OK, Capacity, Load, Model
from worker.simulator.latency import latency_s

CHANGE_AT = 120.0  # when services change, in seconds after the start
TURNED_AWAY = frozenset({429, 503})
MEDIAN_S, SIGMA = 2.4, 0.56  # contract.md §5: half of the answers within 2.4 s, 95 % within 6 s


class End(NamedTuple):
    """When an attempt ends, and how."""

    at: float
    signal: Signal


class Failing(msgspec.Struct, frozen=True):
    """A share of the attempts is lost after so many seconds, whatever the load, from `since` on."""

    share: float
    after_s: float
    since: float = 0.0


class Bears(NamedTuple):
    """How a service bears load: one of the simulator's models, and what that can bear."""

    model: Model = ""
    capacity: Capacity = Capacity()


class Service(msgspec.Struct, frozen=True):
    """What a service is like.

    `best_bound` is the best of the fixed bounds that are tried, as far as known. `later` is how it bears load from
    `CHANGE_AT` on. Work takes `slower` times as long from `slower_since` on. With `heavy_tail` one answer in a hundred
    takes half a minute and more. `losses_follow_load` says whether less would be lost with fewer calls in flight.
    """

    bears: Bears
    best_bound: int
    later: Bears | None = None
    failing: Failing = Failing(0.0, 0.0)
    slower: float = 1.0
    slower_since: float = CHANGE_AT
    heavy_tail: bool = False
    losses_follow_load: bool = True

    @property
    def changes(self) -> bool:
        """Whether it becomes another at `CHANGE_AT`."""
        fails_later = self.failing.share > 0.0 and self.failing.since == CHANGE_AT
        slower_later = self.slower != 1.0 and self.slower_since == CHANGE_AT
        return self.later is not None or fails_later or slower_later


class Running:
    """A service at work."""

    def __init__(self, service: Service, seed: int) -> None:
        self._service = service
        self._load = Load()
        self._work, self._chance = random.Random(seed), random.Random(seed)
        self._left_s: float | None = None

    def begin(self, now: float) -> End:
        """Take an attempt at `now`; called in order of time."""
        service, failing = self._service, self._service.failing
        if failing.share and self._chance.random() < failing.share and now >= failing.since:
            return End(now + failing.after_s, Signal.LOST)
        drawn_s = self._draw() if self._left_s is None else self._left_s
        work_s = drawn_s * service.slower if now >= service.slower_since else drawn_s
        model, capacity = service.later if service.later and now >= CHANGE_AT else service.bears
        end = self._load.begin(model, capacity, now, work_s)
        # A call that is turned away has no work done: that is left for the next, so that the work of the calls taken in
        # is the same however many are not.
        self._left_s = drawn_s if end.status in TURNED_AWAY else None
        return End(now + end.after_s, Signal.OK if end.status == OK else Signal.LOST)

    def _draw(self) -> float:
        if self._service.heavy_tail:
            return latency_s(self._work.random(), 1.0)
        return self._work.lognormvariate(math.log(MEDIAN_S), SIGMA)


def _sheds(limit: int, refusal_s: float = 0.05) -> Bears:
    return Bears("shedding", Capacity(limit=limit, refusal_s=refusal_s))


def _queues(limit: int, gateway_s: float = 1e9) -> Bears:
    return Bears("queueing", Capacity(limit=limit, gateway_s=gateway_s))


def _gateway(limit: int, gateway_s: float) -> Bears:
    return Bears("gateway", Capacity(limit=limit, gateway_s=gateway_s))


def _slows(limit: int, power: float) -> Bears:
    return Bears("slowing", Capacity(limit=limit, power=power, gateway_s=1e9))


_ALL = Bears()  # any load

SERVICES = {
    "sheds above 100, in 50 ms": Service(_sheds(100), 100),
    "sheds above 100, in 2 ms": Service(_sheds(100, 0.002), 100),
    "sheds above 100, in 2 s": Service(_sheds(100, 2.0), 100),
    "sheds above 20": Service(_sheds(20), 20),
    "never sheds": Service(_ALL, 400),
    "heavy tail, never sheds": Service(_ALL, 400, heavy_tail=True),
    "heavy tail, sheds above 100": Service(_sheds(100), 100, heavy_tail=True),
    "heavy tail, queues above 100": Service(_queues(100, 110.0), 100, heavy_tail=True),
    "capacity halved to 100": Service(_sheds(200), 200, later=_sheds(100)),
    "capacity doubled to 200": Service(_sheds(100), 200, later=_sheds(200)),
    "workers halved to 100": Service(_queues(200, 15.0), 200, later=_queues(100, 15.0)),
    "100 workers, endless queue": Service(_queues(100), 100),
    "100 workers, 504 after 15 s": Service(_queues(100, 15.0), 100),
    "504 above 100, in 15 s": Service(_gateway(100, 15.0), 100),
    "504 above 100, in 110 s": Service(_gateway(100, 110.0), 100),
    "429 above 40 a second": Service(Bears("rate", Capacity(rate_per_s=40.0)), 125),
    "knee at 100, gentle": Service(_slows(100, 2.0), 100),
    "knee at 100, sharp": Service(_slows(100, 4.0), 75),
    "knee at 100, sudden": Service(Bears("knee", Capacity(limit=100)), 100),
    "1 % fail at once": Service(_ALL, 400, failing=Failing(0.01, 0.05), losses_follow_load=False),
    "1 % fail, sheds above 100": Service(_sheds(100), 100, failing=Failing(0.01, 0.05)),
    "1 % fail after 30 s": Service(_ALL, 400, failing=Failing(0.01, 30.0), losses_follow_load=False),
    "3 % fail from the start": Service(_ALL, 400, failing=Failing(0.03, 0.5), losses_follow_load=False),
    "5 % fail from then on": Service(_ALL, 400, failing=Failing(0.05, 1.0, CHANGE_AT), losses_follow_load=False),
    "20 % fail from then on": Service(_ALL, 400, failing=Failing(0.2, 1.0, CHANGE_AT), losses_follow_load=False),
    "20 % fail after 10 s, from then on": Service(
        _ALL, 400, failing=Failing(0.2, 10.0, CHANGE_AT), losses_follow_load=False
    ),
    "answers take 3 times as long": Service(_ALL, 400, slower=3.0),
    "slow since the start": Service(_ALL, 400, slower=3.0, slower_since=12.0),
}
