"""Makes one attempt of a claim and sees to its end: a result, or the time at which the next one is due.

::

    ledger: in flight ─▶ POST ─▶ answered, or not ─▶ verdict ─▶ result, to the recorder
                                                          └──▶ not yet: due time to the ledger and the turns
"""

import time
from collections.abc import Callable, Iterable

import anyio
import structlog

from worker.batches import OpenBatch
from worker.concluding import (
    FORBIDDEN_PAUSE_S,
    again_or_not,
    broken,
    charged,
    forbidden,
    given_up,
    meant_by_refusal,
    speaks_of_service,
    unanswered,
)
from worker.crashpoint import crashpoint
from worker.effort import Effort
from worker.errors import AttemptFailed, CredentialsRefused, StateError, TokenUnavailable
from worker.flow.limiter import Signal
from worker.flow.pace import Pace
from worker.flow.retry import GiveUp
from worker.flow.room import once_there_is_room
from worker.ports import Api, Ledger
from worker.recorder import Recorder
from worker.reserving import Reservations
from worker.result import AttemptClass, Verdict
from worker.tally import Tally
from worker.turns import Turns

log = structlog.get_logger()


class Attempter:
    """Makes attempts, many at a time, one task each; the caller has acquired a slot for each."""

    def __init__(
        self,
        api: Api,
        ledger: Ledger,
        turns: Turns,
        recorder: Recorder,
        pace: Pace,
        tally: Tally,
        *,
        safe_to_repeat: bool = True,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._api = api
        self._ledger = ledger
        self._turns = turns
        self._recorder = recorder
        self._pace = pace
        self._tally = tally
        self._reservations = Reservations(ledger, turns, pace.gate, run_ahead=safe_to_repeat)
        self._safe_to_repeat = safe_to_repeat
        self._clock = clock
        self._steady = steady

    async def give_back(self, batches: Iterable[OpenBatch]) -> None:
        """Take back in the ledger what was noted for claims not begun; called once no attempt is under way."""
        await self._reservations.give_back(batches)

    async def attempt(self, effort: Effort) -> None:
        """Make one attempt, give its slot back and act on its end; a failure here affects this claim only.

        :raises worker.errors.StateError: if the ledger cannot be trusted any more.
        """
        try:
            verdict, latency_s = await self._post(effort)
            if verdict is not None:
                await self._conclude(effort, verdict, latency_s)
        except StateError:
            raise
        except Exception as error:  # the outermost frame of an attempt: one claim fails, not all
            log.exception("task.failed", claim_id=effort.claim.claim_id)
            self._recorder.answered(effort, broken(type(error).__name__), latency_s=None)

    async def _post(self, effort: Effort) -> tuple[Verdict | None, float]:
        """Post once; a verdict of None means that nothing was sent and the claim is back in its queue."""
        began = self._steady()
        signal, request_fault = Signal.IGNORE, False
        verdict: Verdict | None = None
        try:
            await self._note_dispatch(effort, began)
            crashpoint("after_inflight")
            posted = self._steady()
            try:
                verdict = await self._api.attempt(effort.claim)
            except AttemptFailed as failure:
                verdict = unanswered(failure, safe_to_repeat=self._safe_to_repeat)
                counts = charged(effort, failure)
                signal = Signal.LOST if counts else Signal.IGNORE
                counts = counts or verdict.disposition is not None  # what ends the claim counts
            except TokenUnavailable as unavailable:
                self._pace.watch.token_unavailable(str(unavailable))
                await self._take_back(effort)
                return None, 0.0
            except CredentialsRefused as refused:
                verdict = await self._refused(effort, refused)
                return verdict, self._steady() - posted
            else:
                crashpoint("after_response")
                signal = Signal.LOST if verdict.overload else Signal.OK
                request_fault = verdict.request_fault
                counts = True
            latency_s = self._steady() - posted
            self._count(effort, verdict, charged=counts)
            return verdict, latency_s
        finally:
            taken_s = self._steady() - began
            self._tally.in_flight -= 1
            self._pace.limiter.release(signal, taken_s)
            self._pace.watch.heard(signal, taken_s, request_fault=request_fault, verdict=verdict)

    async def _refused(self, effort: Effort, refused: CredentialsRefused) -> Verdict | None:
        """Pause submission for refused credentials, unless only this claim is refused; None while it stays pending."""
        watch = self._pace.watch
        match meant_by_refusal(effort, refused, watch, self._steady()):
            case "claim":
                effort.attempts += effort.refusals
                return forbidden(refused.correlation_id)
            case "later":
                await self._defer(effort, FORBIDDEN_PAUSE_S)
            case "credentials":
                watch.credentials_refused(str(refused), refused.correlation_id)
                await self._take_back(effort)
        return None

    async def _note_dispatch(self, effort: Effort, now: float) -> None:
        if effort.began is None:
            effort.began = now
        if effort.first_sent_at is None:
            effort.first_sent_at = self._clock()
        if not effort.noted:
            await self._reservations.cover(effort)
            return
        number = effort.attempts + 1
        await once_there_is_room(self._pace.gate, lambda: self._ledger.dispatch(effort.claim, number), what="ledger")

    async def _take_back(self, effort: Effort) -> None:
        """Put a claim that was not sent back into its queue, and note in the ledger that it is not in flight."""
        if not effort.attempts:
            effort.first_sent_at = None
        await self._defer(effort, 0.0)

    async def _defer(self, effort: Effort, after_s: float) -> None:
        spent = effort.spent(self._clock() + after_s)
        await once_there_is_room(self._pace.gate, lambda: self._ledger.defer(effort.claim, spent), what="ledger")
        crashpoint("after_defer")
        effort.noted = True
        self._turns.defer(effort, after_s)

    def _count(self, effort: Effort, verdict: Verdict, *, charged: bool) -> None:
        effort.attempts += charged
        ambiguous = verdict.attempt_class is AttemptClass.AMBIGUOUS
        # Where a repeat is not safe, what was ambiguous is definitive, and still nobody knows.
        unknown = ambiguous or (verdict.no_answer and verdict.disposition is not None)
        effort.ambiguous_attempts += charged and unknown
        self._tally.attempted(verdict.attempt_class.value, verdict.http_status, retry=effort.repeated)
        effort.repeated = True
        if verdict.retry_after_s:
            self._pace.rate.hold_until(self._steady() + verdict.retry_after_s)

    async def _conclude(self, effort: Effort, verdict: Verdict, latency_s: float) -> None:
        """Store the result, or note when the claim is due again."""
        if verdict.disposition is not None:
            self._recorder.answered(effort, verdict, latency_s=latency_s)
            return
        effort.failed_at = min(effort.failed_at, self._steady())
        if not self._pace.gate.is_open:
            effort.excused += 1  # a trial, or under way when the gate was shut: it is the outage's, not the claim's
        decision = again_or_not(effort, verdict, self._pace, self._steady())
        if isinstance(decision, GiveUp) and speaks_of_service(verdict) and self._pace.watch.outage_suspected:
            effort.excused += 1  # an attempt by which an outage is recognised must not be its last
            decision = again_or_not(effort, verdict, self._pace, self._steady())
        if isinstance(decision, GiveUp):
            self._recorder.answered(effort, given_up(effort, verdict), latency_s=latency_s)
            return
        log.debug(
            "claim.retried",
            claim_id=effort.claim.claim_id,
            attempts=effort.attempts,
            reason=verdict.reason.code if verdict.reason else None,
            http_status=verdict.http_status,
            after_ms=round(decision.after_s * 1000),
        )
        await self._defer(effort, decision.after_s)
