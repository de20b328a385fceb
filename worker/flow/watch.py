"""Hears how every attempt ended and moves the gate: the one place where outcomes turn into a pause."""

from collections.abc import Callable

import anyio

from worker.flow.gate import Gate, GateState, ShutReason
from worker.flow.limiter import Signal
from worker.flow.outage import FaultRow, OutageDetector


class Watch:
    """Shuts the gate on an outage, refused credentials or a row of request faults, and ends its trials.

    `restart` is called when an outage begins: the limiter starts slowly again.
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

    def heard(self, signal: Signal, latency_s: float, *, request_fault: bool = False) -> None:
        """Take note of an attempt's end, once for each attempt; `request_fault` as in the verdict."""
        if signal is Signal.IGNORE:
            return
        now = self._clock()
        if now - latency_s < self._shut_at:
            return  # a straggler: what shut the gate is already known, and what opens it must be newer
        if signal is Signal.OK:
            self._answered(request_fault, now)
        else:
            self._lost(now)

    def credentials_refused(self, text: str) -> None:
        """Shut the gate: a fresh token was refused as well, or the token endpoint refuses who we are."""
        self._shut("credentials", text)

    def token_unavailable(self, text: str) -> None:
        """Shut the gate: without a token nothing can be sent, and no claim should pay for that."""
        self._shut("outage", text)

    def _answered(self, request_fault: bool, now: float) -> None:
        self._outage.record(False, now)
        if self._faults.record(request_fault):
            self._shut("request_fault", "the service refuses the requests as such")
        elif request_fault and "request_fault" in self._gate.reasons:
            self._shut("request_fault", "a trial was refused as well")
        elif self._gate.state is GateState.HALF_OPEN:
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
