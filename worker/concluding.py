"""What the end of an attempt, or of all attempts, means for its claim where the service has not said it."""

from typing import Literal

import msgspec

from worker.effort import Effort
from worker.errors import Ambiguous, AttemptFailed, CredentialsRefused
from worker.flow.pace import Pace
from worker.flow.retry import Again, GiveUp
from worker.flow.watch import Watch
from worker.result import AttemptClass, Disposition, Reason, Verdict

FORBIDDEN = "forbidden"
MOST_REFUSALS = 3
MOST_RACES = 5
FORBIDDEN_PAUSE_S = 5.0  # so long that others, begun after the refusal, have been answered by the next one


def speaks_of_service(verdict: Verdict) -> bool:
    """Tell whether the attempt was lost for lack of service, rather than answered about its claim."""
    return verdict.overload or verdict.no_answer or verdict.http_status is None


def unanswered(failure: AttemptFailed, *, safe_to_repeat: bool) -> Verdict:
    """Say what an attempt without an answer means for its claim."""
    if isinstance(failure, Ambiguous):
        reason = Reason(failure.code, "The connection failed before the answer was complete.", "transport")
        ended = None if safe_to_repeat else Disposition.REVIEW
        kind = AttemptClass.AMBIGUOUS
    else:
        reason = Reason(failure.code, "The service could not be reached.", "transport")
        ended, kind = None, AttemptClass.NOT_SENT
    return Verdict(disposition=ended, reason=reason, attempt_class=kind, correlation_id=failure.correlation_id)


def charged(effort: Effort, failure: AttemptFailed) -> bool:
    """Take note of an attempt without an answer; whether it counts.

    A claim that loses one race for an idle connection after another is not unlucky: the service hangs up on this claim.
    """
    effort.races += not failure.charged
    return failure.charged or effort.races > MOST_RACES


def again_or_not(effort: Effort, verdict: Verdict, pace: Pace, now: float) -> Again | GiveUp:
    """Decide whether a claim whose attempt has to be repeated may have another."""
    counted = effort.attempts - effort.excused
    return pace.policy.decide(counted, _elapsed_s(effort, pace, now), floor_s=verdict.retry_after_s or 0)


def _elapsed_s(effort: Effort, pace: Pace, now: float) -> float:
    """Seconds since the first attempt of this process, without those in which the gate was shut.

    Those count for a claim that fails trial after trial, each begun after a healthy probe, while others sent after it
    were answered: it is the claim that the service fails on, and a batch's last ones like it would have no end.
    """
    if effort.began is None:
        return 0.0
    if effort.excused > pace.policy.most_attempts and effort.failed_at < pace.watch.last_answered:
        return now - effort.began
    return now - effort.began - pace.gate.shut_time(effort.began)


def given_up(effort: Effort, verdict: Verdict) -> Verdict:
    """Turn a claim's last failed attempt into its result."""
    last = verdict.reason or Reason("unknown", "", "worker")
    text = f"Not checked: no usable answer after {effort.attempts} attempts. The last one: {last.text}"
    return msgspec.structs.replace(verdict, disposition=verdict.at_the_end, reason=Reason(last.code, text, last.source))


def meant_by_refusal(
    effort: Effort, refused: CredentialsRefused, watch: Watch, now: float
) -> Literal["credentials", "later", "claim"]:
    """Say what is refused: our credentials, or this claim alone, to be tried later or for good.

    It is for good if it was forbidden several times while others, begun after the first time, were answered.
    """
    if refused.code != FORBIDDEN:
        return "credentials"
    effort.refusals += 1
    effort.refused_at = min(effort.refused_at, now)
    spared = watch.forbidden(first=effort.refusals == 1)
    if effort.refusals < MOST_REFUSALS:
        return "later" if spared else "credentials"
    return "claim" if effort.refused_at < watch.last_answered else "credentials"


def forbidden(correlation_id: str | None) -> Verdict:
    """Say what a claim is that gets a 403 each time while others are answered."""
    text = "The service, or a firewall in front of it, forbids this claim again and again, and no other (HTTP 403)."
    reason = Reason(FORBIDDEN, text, "http")
    return Verdict(disposition=Disposition.REVIEW, reason=reason, http_status=403, correlation_id=correlation_id)


def broken(name: str) -> Verdict:
    """Say what becomes of a claim on which the worker failed with this exception."""
    reason = Reason("internal_error", f"The worker failed on this claim ({name}); please report it.", "worker")
    return Verdict(disposition=Disposition.REVIEW, reason=reason)
