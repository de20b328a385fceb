"""How the service bears load: models of its capacity, told when a call begins and saying how and when it ends.

============== ======================================================================================
``queueing``   works on `limit` claims at once, the others wait; 504 to what would take too long
``shedding``   works on `limit` claims at once and turns the others away with 503
``rate``       takes `rate_per_s` claims a second, one second's worth at once; 429 to the others
``knee``       works on all at once, but slower by the square of the load once that exceeds `limit`
``slowing``    works on all at once, the slower the more: 1 + load to the power of `power` times as long
``gateway``    works on `limit` claims at once; the gateway answers the others with 504 when its time is up
============== ======================================================================================

The load is the calls under way by `limit`. Pure: time and the work of a claim, both in seconds, come from outside, so
that a run is the same for the same seed, on the wall clock as in virtual time. The capacity may change from one call
to the next.
"""

import heapq
from typing import Literal, NamedTuple

OK = 200
REFUSAL_S = 0.05  # how long it takes to be turned away

Model = Literal["", "queueing", "shedding", "rate", "knee", "slowing", "gateway"]


class Capacity(NamedTuple):
    """What the model can bear.

    `gateway_s` is when the gateway in front of it loses patience, `refusal_s` how long it takes to turn a call away.
    """

    limit: int = 50
    rate_per_s: float = 50.0
    gateway_s: float = 110.0
    refusal_s: float = REFUSAL_S
    power: float = 2.0


class End(NamedTuple):
    """How a call ends: after so many seconds, with this HTTP status; 200 stands for the claim's own answer."""

    after_s: float
    status: int


class Load:
    """The calls under way. `begin` is called in order of time."""

    def __init__(self) -> None:
        self._ends: list[float] = []
        self._allowance = 0.0
        self._allowed_at: float | None = None

    def begin(self, model: Model, capacity: Capacity, now: float, work_s: float) -> End:
        """Take a call at `now` that means this much work."""
        while self._ends and self._ends[0] <= now:
            heapq.heappop(self._ends)
        match model:
            case "queueing":
                return self._queue(capacity, now, work_s)
            case "shedding":
                return self._work(now, work_s) if len(self._ends) < capacity.limit else End(capacity.refusal_s, 503)
            case "gateway":
                return self._work(now, work_s) if len(self._ends) < capacity.limit else End(capacity.gateway_s, 504)
            case "rate":
                return (
                    self._work(now, work_s) if self._allow(capacity.rate_per_s, now) else End(capacity.refusal_s, 429)
                )
            case "knee":
                load = (len(self._ends) + 1) / capacity.limit
                return self._in_time(self._work(now, work_s * max(1.0, load * load)), capacity)
            case "slowing":
                load = len(self._ends) / capacity.limit
                return self._in_time(self._work(now, work_s * (1.0 + load**capacity.power)), capacity)
            case _:
                return End(work_s, OK)

    def _work(self, now: float, work_s: float) -> End:
        heapq.heappush(self._ends, now + work_s)
        return End(work_s, OK)

    def _queue(self, capacity: Capacity, now: float, work_s: float) -> End:
        begins = now
        while len(self._ends) >= capacity.limit:  # more than one where the limit has come down
            begins = heapq.heappop(self._ends)
        heapq.heappush(self._ends, begins + work_s)
        return self._in_time(End(begins - now + work_s, OK), capacity)

    def _in_time(self, end: End, capacity: Capacity) -> End:
        """Let the gateway answer what takes too long; the service works on it all the same."""
        return end if end.after_s <= capacity.gateway_s else End(capacity.gateway_s, 504)

    def _allow(self, rate_per_s: float, now: float) -> bool:
        since = now - self._allowed_at if self._allowed_at is not None else 1.0
        self._allowed_at = now
        self._allowance = min(self._allowance + since * rate_per_s, max(rate_per_s, 1.0))
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True
