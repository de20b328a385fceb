"""The service in virtual time: the simulator's models of verdicts, faults, latency and capacity without documents.

What a claim's n-th attempt meets depends on nothing but seed, claim number and n; so what must become of each claim,
and in how many attempts, is known beforehand (`foreseen`), unless capacity or an outage have a say.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import anyio
from anyio.lowlevel import checkpoint

from tests.modeltokens import ModelTokens, TokenPlan
from worker.claim import Claim
from worker.errors import Ambiguous, CredentialsRefused, WorkerError
from worker.precheck.evidence import HttpAnswer, Rules
from worker.precheck.verdict import judge
from worker.result import AttemptClass, Disposition, Reason, Verdict
from worker.simulator.capacity import OK, REFUSAL_S, Capacity, Load
from worker.simulator.config import SimulatorConfig
from worker.simulator.draws import draw
from worker.simulator.faults import drawn_fault
from worker.simulator.latency import latency_s
from worker.simulator.outcomes import Outcome
from worker.simulator.verdicts import Verdicts

Outage = tuple[float, float]
_BROKEN = {"reset": "connection_reset", "truncated": "truncated"}
_RULES = Rules()


class Event(NamedTuple):
    """Something that the service saw, `at` seconds after its start: a claim was `posted` or `told`; a `probe`.

    A claim was `barred` if its POST carried a token that is not good; that is no POST of the claim as counted here.
    `number` counts the POSTs of a claim; `said` is the HTTP status that was answered, 0 for none.
    """

    at: float
    kind: str
    claim: str = ""
    number: int = 0
    said: int = 0


class ModelApi:
    """`worker.ports.Api` by the simulator's models. Made inside the loop whose time it lives in.

    In an outage, given in seconds from the start, every call is answered with 503 after 50 ms; the health endpoint
    says so, too, unless it is `lying`. `at_once` may name an instant: calls before it all end in it, and fail. With
    `tokens` every call needs a good one, as `worker.precheck.client` gets and uses them; `tokens.run` must be running.
    """

    def __init__(
        self,
        config: SimulatorConfig,
        *,
        outages: Sequence[Outage] = (),
        lying: bool = False,
        at_once: float = 0.0,
        tokens: TokenPlan | None = None,
    ) -> None:
        self.events: list[Event] = []
        self.in_flight = 0
        self._config = config
        self._outages = outages
        self._lying = lying
        self._at_once = at_once
        self._verdicts = Verdicts(config)
        self._load = Load()
        self._numbers: Counter[str] = Counter()
        self._began = anyio.current_time()
        self.tokens = None if tokens is None else ModelTokens(tokens, config.seed, lambda: self.now)

    @property
    def now(self) -> float:
        """Seconds since the start."""
        return anyio.current_time() - self._began

    @property
    def out(self) -> bool:
        """Whether there is an outage at the moment."""
        return any(since <= self.now < until for since, until in self._outages)

    async def authorize(self) -> None:
        """Get a token, if they are needed."""
        await checkpoint()
        if self.tokens is not None:
            await self.tokens.provider.get()

    async def healthy(self) -> bool:
        """Be healthy unless there is an outage, or lie."""
        try:
            await self.authorize()
        except WorkerError:
            return False
        self.events.append(Event(self.now, "probe"))
        await anyio.sleep(REFUSAL_S)
        return self._lying or not self.out

    async def attempt(self, claim: Claim) -> Verdict:
        """Answer by the models."""
        name = claim.facts.patient_control_number
        generation = await self._enter(name)
        self._numbers[name] += 1
        number = self._numbers[name]
        self.events.append(Event(self.now, "posted", name, number))
        after_s, fault = self._begin(name, number)
        await anyio.sleep(after_s)
        status = int(fault.removeprefix("http_")) if fault.startswith("http_") else 0 if fault else OK
        self.events.append(Event(self.now, "told", name, number, status))
        if fault in _BROKEN:
            raise Ambiguous(_BROKEN[fault])
        if status != OK:
            retry_after_s = float(self._config.faults.retry_after_s) if status == 429 else None
            return judge(HttpAnswer(status, b"", retry_after_s=retry_after_s), claim.facts, _RULES)
        if self.tokens is not None:
            self.tokens.provider.accepted(generation)
        return spoken(self._verdicts.choose(name, number))

    def fingerprint(self) -> str:
        """Return a hash of all that happened, in order and with its time."""
        return hashlib.sha256(repr(self.events).encode()).hexdigest()

    async def _enter(self, name: str) -> int:
        """Get past the door with a good token, at the second try at most, and say which generation it was."""
        if self.tokens is None:
            return 0
        for _ in range(2):
            token = await self.tokens.provider.get()
            if self.tokens.lets_in(token):
                return token.generation
            self.events.append(Event(self.now, "barred", name, self._numbers[name] + 1, 401))
            await anyio.sleep(REFUSAL_S)
            self.tokens.provider.refused(token.generation)
        raise CredentialsRefused("unauthorized", "a fresh token is refused")

    def _begin(self, name: str, number: int) -> tuple[float, str]:
        config, faults = self._config, self._config.faults
        if self.out:
            return REFUSAL_S, "http_503"
        if self.now < self._at_once:
            return self._at_once - self.now, "http_500"
        work_s = latency_s(draw(config.seed, "latency", name, number), config.latency_scale)
        if fault := drawn_fault(faults, draw(config.seed, "fault", name, number)):
            return min(work_s, config.gateway_timeout_s), fault
        capacity = Capacity(faults.limit, faults.rate_per_s, config.gateway_timeout_s)
        end = self._load.begin(faults.capacity, capacity, self.now, work_s)
        return end.after_s, "" if end.status == OK else f"http_{end.status}"


def spoken(outcome: Outcome) -> Verdict:
    """Say what a verdict of the simulator is to the worker that understands it."""
    reason = Reason(outcome.name, "As the model says.", "code")
    if passes(outcome):
        return Verdict(
            disposition=None,
            reason=reason,
            attempt_class=AttemptClass.TRANSIENT,
            at_the_end=outcome.meaning,
            http_status=OK,
        )
    return Verdict(disposition=outcome.meaning, reason=reason, http_status=OK)


def passes(outcome: Outcome) -> bool:
    """Tell whether the claim is to be sent again after this outcome."""
    return outcome.recovers or outcome.meaning is Disposition.UNDELIVERED


def foreseen(config: SimulatorConfig, most: int) -> Callable[[str], tuple[Disposition, int]]:
    """Tell what becomes of a claim, by its number, and in how many attempts if it gets `most` at most."""
    verdicts = Verdicts(config)

    def foresee(name: str) -> tuple[Disposition, int]:
        for number in range(1, most + 1):
            meaning = Disposition.UNDELIVERED
            if not drawn_fault(config.faults, draw(config.seed, "fault", name, number)):
                outcome = verdicts.choose(name, number)
                meaning = outcome.meaning
                if not passes(outcome):
                    return meaning, number
        return meaning, most

    return foresee
