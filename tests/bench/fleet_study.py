"""A fleet in virtual time: ten million claims a day while workers die, the broker restarts and the API is away.

Real are the decisions: each worker has its own `Gate`, `Watch`, `AdaptiveLimiter`, `RetryPolicy`, `RetryBudget` and the
probes' `Backoff`; the service is the simulator's capacity model with the vendor's latencies. Modelled, as a loop over
events in order of time, are the broker, the sink and the deaths:

- Claims come evenly, ten a message. A message is acknowledged when all its results are in the sink. It is given out
  again when its worker is dead and the lease (60 s, renewed every 20 s) has run out.
- A worker dies every ten minutes with its ledger, another one takes its place 15 s later. Calls that were under way
  go on at the service and nobody hears their answers. Whoever gets its messages sends all of their claims again.
- The broker is away for 30 s; then it gives out everything that is not acknowledged, to anybody, while those who had it
  work on. A message that comes to a worker that has or had it is recognised, as the ledger does it.
- In the outage each call is refused with 503 after 50 ms, and so is the health endpoint.
- 800 calls in flight are allowed in all, an equal share a worker; the service bears 1,000. 0.3 % of calls end in 500.

No CPU, network or disk is modelled: one worker does some hundred claims a second by itself (`precheck-worker bench`).

    python -m tests.bench.fleet_study [--hours 6] [--seed 1] [WORKERS…]
"""

import argparse
import heapq
import itertools
import random
import statistics
import sys
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import anyio

from worker.flow.adaptive import AdaptiveLimiter
from worker.flow.budget import RetryBudget
from worker.flow.gate import Gate, GateState
from worker.flow.limiter import Signal
from worker.flow.retry import Again, Backoff, RetryPolicy
from worker.flow.watch import Watch
from worker.settings.sections import RetrySettings
from worker.simulator.capacity import OK, Capacity, Load
from worker.simulator.latency import latency_s

PER_DAY = 10_000_000
PER_MESSAGE = 10
FULL = (1 << PER_MESSAGE) - 1
IN_FLIGHT_IN_ALL = 800
SERVICE = Capacity(limit=1000)
FAILING = 0.003
LEASE_S, HEARTBEAT_S = 60.0, 20.0
LOST_EVERY_S, REPLACED_AFTER_S = 600.0, 15.0
BROKER_AWAY_S = 30.0
REFUSAL_S = 0.05
PATIENCE_S = 14_400.0  # what has no result so long after the last claim came is lost
STORM_S = 600.0  # how far back "as before" looks


class Plan(NamedTuple):
    """When what happens, in seconds from the start; `early` acknowledges at delivery, which no broker source may do."""

    workers: int
    seconds: float
    broker_at: float
    outage: tuple[float, float]
    per_day: int = PER_DAY
    seed: int = 1
    early: bool = False


class Figures(NamedTuple):
    """What a run came to; times in seconds, recoveries from the moment that the cause was over."""

    workers: int
    claims: int
    lost: int
    undelivered: int
    most_per_s: float
    sent_again: int
    doubled: int
    deaths: int
    death_recovery_s: tuple[float, float]
    broker_recovery_s: float
    outage_recovery_s: float
    usual_per_s: float


class Message:
    """Ten claims: bit n of `begun` is set once claim n was posted, of `done` once its result is in the sink."""

    __slots__ = ("acknowledged", "begun", "delivery", "done", "watched")

    def __init__(self) -> None:
        self.begun = self.done = 0
        self.delivery = 0  # which of its deliveries counts; an older one's acknowledgement is not heard
        self.acknowledged = False
        self.watched: list[list[float]] = []


class Effort:
    """One claim in a worker's hands."""

    __slots__ = ("attempts", "began", "bit", "excused", "message")

    def __init__(self, message: Message, bit: int) -> None:
        self.message, self.bit = message, bit
        self.attempts = self.excused = 0
        self.began = -1.0


class Worker:
    """The decisions of one worker, and what it has in hand."""

    def __init__(self, study: "Study", bound: int) -> None:
        clock = study.clock
        self.alive = True
        self.waiting = False
        self.limiter = AdaptiveLimiter(min(8, bound), bound, clock=clock)
        self.gate = Gate(clock=clock)
        self.watch = Watch(self.gate, restart=self.limiter.restart, clock=clock)
        self.budget = RetryBudget(clock=clock)
        self.policy = RetryPolicy(RetrySettings())
        self.prefetch = bound  # the default of input.prefetch: flow.max_in_flight
        self.held: dict[Message, int] = {}  # by message: which claims have no result of this worker yet
        self.tickets: dict[Message, int] = {}
        self.settled: set[Message] = set()
        self.fresh: deque[Effort] = deque()
        self.due: list[tuple[float, int, Effort]] = []
        self.waking_at = float("inf")
        self.pauses: Backoff | None = None


class Study:
    """One run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.now = 0.0
        self.chance = random.Random(plan.seed)
        self.numbers = itertools.count()
        self.events: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self.load = Load()
        self.ready: deque[Message] = deque()
        self.unacknowledged: dict[Message, Worker] = {}
        self.waiting: deque[Worker] = deque()
        self.broker_up = True
        bound = max(1, IN_FLIGHT_IN_ALL // plan.workers)
        self.bound = bound
        self.messages: list[Message] = []
        self.workers = [Worker(self, bound) for _ in range(plan.workers)]
        self.open_claims = self.undelivered = self.sent_again = self.doubled = self.results = 0
        self.deaths: list[list[float]] = []  # [died at, messages without results, recovered at]
        self.backlog: list[tuple[float, int, int]] = []

    def clock(self) -> float:
        return self.now

    def at(self, when: float, what: Callable[..., None], *given: object) -> None:
        heapq.heappush(self.events, (when, next(self.numbers), what, given))

    def run(self) -> Figures:
        plan = self.plan
        for worker in self.workers:
            self.want(worker)
        self.at(0.0, self.arrive, PER_MESSAGE * 86_400.0 / plan.per_day)
        self.at(LOST_EVERY_S, self.lose)
        self.at(plan.broker_at, self.break_broker)
        self.at(0.0, self.sample)
        while self.events and self.now < plan.seconds + PATIENCE_S:
            self.now, _, what, given = heapq.heappop(self.events)
            what(*given)
        return self.figures()

    # The broker.

    def arrive(self, every_s: float) -> None:
        message = Message()
        self.messages.append(message)
        self.open_claims += PER_MESSAGE
        self.ready.append(message)
        self.give_out()
        if self.now + every_s < self.plan.seconds:
            self.at(self.now + every_s, self.arrive, every_s)

    def want(self, worker: Worker) -> None:
        if not worker.waiting and worker.alive and len(worker.held) < worker.prefetch:
            worker.waiting = True
            self.waiting.append(worker)

    def give_out(self) -> None:
        while self.broker_up and self.ready and self.waiting:
            worker = self.waiting.popleft()
            worker.waiting = False
            if not worker.alive or worker.gate.state is GateState.SHUT:
                continue
            self.deliver(self.ready.popleft(), worker)
            self.want(worker)

    def deliver(self, message: Message, worker: Worker) -> None:
        message.delivery += 1
        self.unacknowledged[message] = worker
        worker.tickets[message] = message.delivery
        if self.plan.early:
            self.acknowledge(message, worker)
        if message in worker.settled:
            self.acknowledge(message, worker)
        elif message not in worker.held:
            worker.held[message] = FULL
            worker.fresh.extend(Effort(message, 1 << place) for place in range(PER_MESSAGE))
            self.pump(worker)

    def acknowledge(self, message: Message, worker: Worker) -> None:
        if self.broker_up and worker.tickets.get(message) == message.delivery:
            message.acknowledged = True
            self.unacknowledged.pop(message, None)

    def give_back(self, message: Message, delivery: int) -> None:
        if message.delivery == delivery and not message.acknowledged:
            self.unacknowledged.pop(message, None)
            self.ready.appendleft(message)
            self.give_out()

    def break_broker(self) -> None:
        self.broker_up = False
        self.at(self.now + BROKER_AWAY_S, self.mend_broker)

    def mend_broker(self) -> None:
        self.broker_up = True
        for message in self.unacknowledged:
            message.delivery += 1
        self.ready.extendleft(reversed(self.unacknowledged))
        self.unacknowledged.clear()
        self.give_out()

    # Deaths.

    def lose(self) -> None:
        place = self.chance.randrange(len(self.workers))
        worker = self.workers[place]
        worker.alive = False
        held = [message for message in worker.held if self.unacknowledged.get(message) is worker]
        death = [self.now, float(sum(message.done != FULL for message in worker.held)), self.now]
        self.deaths.append(death)
        for message in worker.held:
            if message.done != FULL:
                message.watched.append(death)
        for message in held:
            self.at(self.now + LEASE_S - self.chance.uniform(0, HEARTBEAT_S), self.give_back, message, message.delivery)
        self.at(self.now + REPLACED_AFTER_S, self.replace, place)
        if self.now + LOST_EVERY_S < self.plan.seconds:
            self.at(self.now + LOST_EVERY_S, self.lose)

    def replace(self, place: int) -> None:
        self.workers[place] = worker = Worker(self, self.bound)
        self.want(worker)
        self.give_out()

    # A worker.

    def pump(self, worker: Worker) -> None:
        """Begin what may begin; what has to wait for a time is woken then."""
        while worker.alive:
            effort = self.next_effort(worker)
            if effort is None or not worker.gate.try_enter():
                break
            if not worker.limiter.try_acquire():
                break
            if effort.attempts:
                heapq.heappop(worker.due)
            else:
                worker.fresh.popleft()
            self.begin(worker, effort)

    def next_effort(self, worker: Worker) -> Effort | None:
        if worker.due:
            due_at = worker.due[0][0]
            if due_at <= self.now:
                if worker.budget.allows_retry(self.now):
                    return worker.due[0][2]
                due_at = worker.budget.next_at(self.now)
            if due_at < worker.waking_at:
                worker.waking_at = due_at
                self.at(due_at, self.wake, worker)
        return worker.fresh[0] if worker.fresh else None

    def wake(self, worker: Worker) -> None:
        worker.waking_at = float("inf")
        self.pump(worker)

    def begin(self, worker: Worker, effort: Effort) -> None:
        message = effort.message
        if not effort.attempts:
            effort.began = self.now
            self.sent_again += bool(message.begun & effort.bit)
            message.begun |= effort.bit
        worker.budget.record(bool(effort.attempts), self.now)
        after_s, ok = self.post()
        self.at(self.now + after_s, self.end, worker, effort, ok, after_s)

    def healthy(self) -> bool:
        begins, ends = self.plan.outage
        return not begins <= self.now < ends

    def post(self) -> tuple[float, bool]:
        if not self.healthy():
            return REFUSAL_S, False
        end = self.load.begin("shedding", SERVICE, self.now, latency_s(self.chance.random(), 1.0))
        return end.after_s, end.status == OK and self.chance.random() >= FAILING

    def end(self, worker: Worker, effort: Effort, ok: bool, took_s: float) -> None:
        if not worker.alive:
            return
        signal = Signal.OK if ok else Signal.LOST
        effort.attempts += 1
        worker.limiter.release(signal, took_s)
        worker.watch.heard(signal, took_s)
        if ok:
            self.settle(worker, effort)
        else:
            self.again(worker, effort)
        if not worker.gate.is_open and worker.pauses is None:
            worker.pauses = Backoff(1.0, 60.0, sleep_first=True)
            self.at(self.now + worker.pauses.next_wait_s(), self.probe, worker)
        self.pump(worker)
        if worker.gate.is_open:
            self.want(worker)
            self.give_out()

    def again(self, worker: Worker, effort: Effort) -> None:
        if not worker.gate.is_open:
            effort.excused += 1
        elapsed_s = self.now - effort.began - worker.gate.shut_time(effort.began)
        decision = worker.policy.decide(effort.attempts - effort.excused, elapsed_s)
        if isinstance(decision, Again):
            heapq.heappush(worker.due, (self.now + decision.after_s, next(self.numbers), effort))
        else:
            self.undelivered += 1
            self.settle(worker, effort)

    def settle(self, worker: Worker, effort: Effort) -> None:
        """The result is in the sink; with the message's last one the message is acknowledged."""
        message = effort.message
        self.results += 1
        if message.done & effort.bit:
            self.doubled += 1
        else:
            message.done |= effort.bit
            self.open_claims -= 1
            if message.done == FULL:
                for death in message.watched:
                    death[1] -= 1
                    death[2] = self.now
        worker.held[message] &= ~effort.bit
        if not worker.held[message]:
            del worker.held[message]
            worker.settled.add(message)
            self.acknowledge(message, worker)

    def probe(self, worker: Worker) -> None:
        if not worker.alive:
            return
        if worker.gate.is_open:
            worker.pauses = None
            return
        if worker.gate.state is GateState.SHUT and self.healthy():
            worker.gate.half_open()
            self.want(worker)
            self.give_out()
        self.pump(worker)
        assert worker.pauses is not None
        self.at(self.now + worker.pauses.next_wait_s(), self.probe, worker)

    # What came of it.

    def sample(self) -> None:
        self.backlog.append((self.now, self.open_claims, self.results))
        if self.now < self.plan.seconds or (self.open_claims and len(self.events) > 0):
            self.at(self.now + 1.0, self.sample)

    def recovery_s(self, begun: float, over: float) -> float:
        """Seconds from `over` until no more claims wait than at most in the ten minutes before `begun`."""
        usual = max((waiting for at, waiting, _ in self.backlog if begun - STORM_S <= at < begun), default=0)
        return next((at - over for at, waiting, _ in self.backlog if at >= over and waiting <= usual), float("inf"))

    def figures(self) -> Figures:
        outage_begins, outage_ends = self.plan.outage
        minutes = [each[2] for each in self.backlog[::60]]
        per_minute = [(after - before) / 60 for before, after in itertools.pairwise(minutes)]
        recovered = [ended - died for died, left, ended in self.deaths if not left]
        return Figures(
            workers=self.plan.workers,
            claims=len(self.messages) * PER_MESSAGE,
            lost=sum(PER_MESSAGE - message.done.bit_count() for message in self.messages),
            undelivered=self.undelivered,
            most_per_s=max(per_minute),
            sent_again=self.sent_again,
            doubled=self.doubled,
            deaths=len(self.deaths),
            death_recovery_s=(statistics.median(recovered), max(recovered)) if recovered else (0.0, 0.0),
            broker_recovery_s=self.recovery_s(self.plan.broker_at, self.plan.broker_at + BROKER_AWAY_S),
            outage_recovery_s=self.recovery_s(outage_begins, outage_ends),
            usual_per_s=statistics.median(per_minute),
        )


def study(plan: Plan) -> Figures:
    """Run a plan; the same plan gives the same figures."""

    async def run() -> Figures:
        random.seed(plan.seed)  # the waits of back-off and probes are drawn from the module's generator
        return Study(plan).run()

    return anyio.run(run)


def usual_plan(workers: int, hours: float = 6.0, seed: int = 1) -> Plan:
    """Let the broker restart after an hour and the API be away for the third one."""
    return Plan(workers=workers, seconds=hours * 3600.0, broker_at=3900.0, outage=(7200.0, 10_800.0), seed=seed)


HEADING = (
    f"{'workers':>7} {'claims':>11} {'lost':>5} {'parked':>6} {'usual/s':>8} {'most/s':>7} {'sent again':>16}"
    f" {'twice in sink':>13} {'deaths':>6} {'after a death':>16} {'restart':>8} {'outage':>8}"
)


def row(found: Figures) -> str:
    median_s, longest_s = found.death_recovery_s
    return (
        f"{found.workers:7} {found.claims:11,} {found.lost:5} {found.undelivered:6} {found.usual_per_s:8.1f}"
        f" {found.most_per_s:7.1f} {found.sent_again:7,} ({found.sent_again / found.claims:6.3%})"
        f" {found.doubled:13,} {found.deaths:6} {median_s:5.0f} s, {longest_s:5.0f} s"
        f" {found.broker_recovery_s:6.0f} s {found.outage_recovery_s / 60:4.0f} min"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workers", nargs="*", type=int, default=[1, 2, 4, 8, 16, 32, 64])
    parser.add_argument("--hours", type=float, default=6.0, help="how long claims come; the outage is the third hour")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    sys.stdout.write(HEADING + "\n")
    for workers in given.workers:
        sys.stdout.write(row(study(usual_plan(workers, given.hours, given.seed))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
