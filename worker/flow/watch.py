"""Hears how every attempt ended and moves the gate: the one place where outcomes turn into a pause."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import anyio

from worker.flow.gate import Gate, GateState, ShutReason
from worker.flow.limiter import Signal
from worker.flow.outage import FaultRow, OutageDetector
from worker.result import Verdict

MOST_FAILURES = 5
FORBIDDEN_IN_A_ROW = 5


class Failure(NamedTuple):
    """One of the last attempts that spoke against the service, as a service ticket wants it named."""

    code: str
    trace_id: str | None
    correlation_id: str | None


class Watch:
    """Shuts the gate on an outage, refused credentials or a row of request faults, and ends its trials.

    `restart` is called when an outage begins: the limiter starts slowly again. `failures` are the last few that led
    to what shut the gate. `last_answered` is when the latest of the answered attempts began.
    """

    def __init__(
        self, gate: Gate, *, restart: Callable[[], None], clock: Callable[[], float] = anyio.current_time
    ) -> None:
        self._gate = gate
        self._restart = restart
        self._clock = clock
        self._outage = OutageDetector()
        self._faults = FaultRow()
        self._shut_at = float("-inf")
        self.last_answered = float("-inf")
        self._forbidden = 0  # claims in a row that got their first 403
        self.failures: deque[Failure] = deque(maxlen=MOST_FAILURES)

    @property
    def outage_suspected(self) -> bool:
        """Whether the last attempts were all lost, and it is only too early to call that an outage."""
        return self._outage.suspected

    def heard(
        self, signal: Signal, latency_s: float, *, request_fault: bool = False, verdict: Verdict | None = None
    ) -> None:
        """Take note of an attempt's end, once for each attempt; `request_fault` as in its `verdict`."""
        if signal is Signal.IGNORE:
            return
        if verdict is not None and verdict.no_answer:
            # No sign of scarce capacity to the limiter, but a portal that answers all with its page is an outage.
            signal = Signal.LOST
        now = self._clock()
        began = now - latency_s
        if signal is Signal.OK:
            self.last_answered = max(self.last_answered, began)
            self._forbidden = 0
        if began < self._shut_at:
            # A straggler: what shut the gate is known. Only a trial says more: one claim that fails quickly, each time,
            # must not keep the gate shut against those whose answers take longer.
            if signal is Signal.OK and not request_fault and began >= self._gate.tried_since:
                self._trial_succeeded()
            return
        if signal is Signal.LOST or request_fault:
            self._remember(verdict)
        if signal is Signal.OK:
            self._answered(request_fault, now, latency_s)
        else:
            self._lost(now)

    def credentials_refused(self, text: str, correlation_id: str | None = None) -> None:
        """Shut the gate: a fresh token was refused as well, or the token endpoint refuses who we are.

        `correlation_id` is that of the call that was refused, if one was.
        """
        self.failures.clear()
        if correlation_id is not None:
            self.failures.append(Failure("refused", None, correlation_id))
        self._shut("credentials", text)

    def forbidden(self, *, first: bool) -> bool:
        """Take note of a 403; `first` if it is the claim's. Whether that may be for the claim's sake, not for ours.

        A firewall in front of the service forbids what it takes for an attack. That is no reason to pause while the
        service has answered others, unless it forbids one claim after another.
        """
        self._forbidden += first
        answers = self.last_answered > float("-inf")
        return answers and self._gate.is_open and self._forbidden < FORBIDDEN_IN_A_ROW

    def token_unavailable(self, text: str) -> None:
        """Shut the gate: without a token nothing can be sent, and no claim should pay for that."""
        self.failures.clear()
        self._shut("outage", text)

    def _remember(self, verdict: Verdict | None) -> None:
        if verdict is not None:
            code = verdict.reason.code if verdict.reason else "unknown"
            self.failures.append(Failure(code, verdict.trace_id, verdict.correlation_id))

    def _answered(self, request_fault: bool, now: float, latency_s: float) -> None:
        self._outage.record(False, now, latency_s)
        if self._faults.record(request_fault):
            self._shut("request_fault", "the service refuses the requests as such")
        elif request_fault and "request_fault" in self._gate.reasons:
            self._shut("request_fault", "a trial was refused as well")
        elif self._gate.state is GateState.HALF_OPEN:
            self._trial_succeeded()

    def _trial_succeeded(self) -> None:
        self.failures.clear()
        self._gate.trial_succeeded()

    def _lost(self, now: float) -> None:
        if self._gate.state is GateState.HALF_OPEN:
            text = "a trial was lost"
        elif self._outage.record(True, now):
            text = "most of the last attempts were lost"
        else:
            return
        self._restart()
        self._shut("outage", text)

    def _shut(self, reason: ShutReason, text: str) -> None:
        self._shut_at = self._clock()
        self._outage.reset()
        self._gate.shut(reason, text)
