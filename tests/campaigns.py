"""Campaigns of the real flow in virtual time: a producer, the pipeline, and the service by the simulator's models.

Real is everything between source and sink: intake, feeding, turns, submitter, recorder, outbox, settling, and all that
decides about pace. Source, ledger and sink are the shipped fakes. The same seed gives the same run, event for event.
"""

import logging
import math
import random
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate, pairwise
from typing import NamedTuple

import anyio
import msgspec
import structlog

from tests.modelapi import Event, ModelApi, Outage
from tests.modeltokens import TokenCall, TokenPlan
from tests.virtualtime import run
from worker.batches import OpenBatch
from worker.flow.adaptive import AdaptiveLimiter
from worker.flow.budget import RetryBudget
from worker.flow.gate import Gate, GateChange
from worker.flow.limiter import FixedLimiter, Limiter
from worker.flow.pace import Pace
from worker.flow.rate import Rate
from worker.flow.retry import RetryPolicy
from worker.flow.watch import Watch
from worker.pipeline import Neighbours, Pipeline
from worker.result import Result, decode_result
from worker.settings import FlowSettings, RetrySettings, Settings
from worker.simulator.config import SimulatorConfig
from worker.simulator.generator import Generator, GeneratorSpec
from worker.tally import Tally
from worker.testing import MemoryLedger, MemorySink, MemorySource


class Arrival(NamedTuple):
    """A batch that comes `at` seconds after the start, with so many claims."""

    at: float
    claims: int


class Campaign(msgspec.Struct, frozen=True, kw_only=True):
    """What a run is made of; `at_once`, `lying` and `tokens` as in `ModelApi`. `fixed` keeps the bound.

    `prefetch` is how many batches the source may have held at once, as a broker's does.
    """

    service: SimulatorConfig
    arrivals: Sequence[Arrival]
    retry: RetrySettings = RetrySettings()
    most_in_flight: int = 400
    fixed: bool = False
    outages: Sequence[Outage] = ()
    lying: bool = False
    at_once: float = 0.0
    tokens: TokenPlan | None = None
    prefetch: float = math.inf


class Found(msgspec.Struct):
    """What a run came to; times in seconds after its start.

    `results` are by patient control number; `took_by_arrival` has for each claim when its batch came, and how long from
    then to the claim's last answer. `most_token_calls` is how many were under way at once.
    """

    events: list[Event]
    fingerprint: str
    results: dict[str, Result] = {}
    told: int = 0
    took_by_arrival: list[tuple[float, float]] = []
    gate: list[tuple[float, GateChange]] = []
    most_open: int = 0
    settled: int = 0
    token_calls: list[TokenCall] = []
    most_token_calls: int = 0

    @property
    def took_s(self) -> list[float]:
        """How long each claim took, in order of that."""
        return sorted(took for _, took in self.took_by_arrival)

    @property
    def posts(self) -> list[Event]:
        """The attempts."""
        return [event for event in self.events if event.kind == "posted"]

    @property
    def retries(self) -> list[float]:
        """When each repeat was sent."""
        return [event.at for event in self.posts if event.number > 1]


def play(campaign: Campaign) -> Found:
    """Run a campaign to its end."""
    random.seed(campaign.service.seed)  # tenacity's draws; what the service draws depends on the claims alone
    with _silence():
        return run(_play(campaign), threads=True)


@contextmanager
def _silence() -> Iterator[None]:
    """Write no logs: half of the time would go there."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


async def _play(campaign: Campaign) -> Found:
    source, sink, ledger = MemorySource(prefetch=campaign.prefetch), MemorySink(), MemoryLedger()
    api = ModelApi(
        campaign.service,
        outages=campaign.outages,
        lying=campaign.lying,
        at_once=campaign.at_once,
        tokens=campaign.tokens,
    )
    found = Found(api.events, "")
    flow = FlowSettings(mode="fixed" if campaign.fixed else "adaptive", max_in_flight=campaign.most_in_flight)
    settings = Settings(flow=flow, retry=campaign.retry)
    gate = Gate(on_change=lambda change: found.gate.append((api.now, change)))

    def count_open(_batch: OpenBatch | None = None) -> None:
        found.most_open = max(found.most_open, len(pipeline.board))

    neighbours = Neighbours(source, ledger, [sink], api)
    pipeline = Pipeline(settings, neighbours, _pace(settings, gate), Tally(), on_settled=count_open)
    await pipeline.open_sinks()
    await source.open()
    arrived: dict[str, float] = {}

    async def produce() -> None:
        generator = Generator(GeneratorSpec(claims=1, seed=campaign.service.seed))
        ordinal = 1
        for number, arrival in enumerate(campaign.arrivals, start=1):
            await anyio.sleep(max(0.0, arrival.at - api.now))
            name = f"{number}.837"
            data = b"".join(generator.batch(arrival.claims, ordinal, number))
            source.put(name, data, read=True)
            arrived[name] = api.now
            ordinal += arrival.claims
            count_open()
        while len(source.settled) < len(campaign.arrivals):  # noqa: ASYNC110 - the source tells nobody
            await anyio.sleep(1.0)
        pipeline.drain()

    async with anyio.create_task_group() as group:
        if api.tokens is not None:
            group.start_soon(api.tokens.run)
        group.start_soon(produce)
        await pipeline.run()
        group.cancel_scope.cancel()
    if api.tokens is not None:
        found.token_calls, found.most_token_calls = api.tokens.calls, api.tokens.most_under_way
    found.settled, found.told = len(source.settled), len(sink.taken)
    found.fingerprint = api.fingerprint()
    found.results = {
        result.patient_control_number or "": result
        for result in (decode_result(emission.body) for emission in sink.taken.values())
    }
    last = {event.claim: event.at for event in api.events if event.kind == "told"}
    for name, result in found.results.items():
        at = arrived[result.batch_name]
        found.took_by_arrival.append((at, last[name] - at))
    return found


def _pace(settings: Settings, gate: Gate) -> Pace:
    flow = settings.flow
    limiter: Limiter = (
        FixedLimiter(flow.max_in_flight)
        if flow.mode == "fixed"
        else AdaptiveLimiter(flow.initial_in_flight, flow.max_in_flight)
    )
    return Pace(
        gate=gate,
        watch=Watch(gate, restart=limiter.restart),
        rate=Rate(flow.rate_per_s),
        limiter=limiter,
        budget=RetryBudget(settings.retry.budget_ratio),
        policy=RetryPolicy(settings.retry),
    )


def slots(times: Sequence[float], width_s: float) -> list[int]:
    """Count how many lie in each slot of time, from the first to the last."""
    if not times:
        return []
    first = int(min(times) / width_s)
    counts = [0] * (int(max(times) / width_s) - first + 1)
    for moment in times:
        counts[int(moment / width_s) - first] += 1
    return counts


def excess_of_retries(posts: Sequence[Event], window_s: float, floor_per_s: float) -> float:
    """Return by how many repeats exceed half of the attempts and the floor in the worst span of `window_s` or more.

    The worst one ends with an attempt; it begins just before another, or is as short as may be.
    """
    spent = [0.0, *accumulate(0.5 if event.number > 1 else -0.5 for event in posts)]
    lowest = float("inf")
    least_since: deque[tuple[float, int]] = deque()  # within the last `window_s`, each less than those after it
    worst, begin = float("-inf"), 0
    for end, event in enumerate(posts):
        while least_since and least_since[-1][0] >= spent[end]:
            least_since.pop()
        least_since.append((spent[end], end))
        while posts[begin].at <= event.at - window_s:
            lowest = min(lowest, spent[begin] - floor_per_s * posts[begin].at)
            begin += 1
        while least_since[0][1] < begin:
            least_since.popleft()
        after = spent[end + 1]
        worst = max(worst, after - floor_per_s * event.at - lowest, after - least_since[0][0] - floor_per_s * window_s)
    return worst


def largest_gap(times: Sequence[float]) -> float:
    """Return the longest time between two that follow each other."""
    return max((later - earlier for earlier, later in pairwise(times)), default=0.0)


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that this share of an ordered sequence does not exceed."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
