"""What the end of an attempt, or of all attempts, means for its claim where the service has not said it."""

import msgspec

from worker.effort import Effort
from worker.errors import Ambiguous, AttemptFailed
from worker.result import AttemptClass, Disposition, Reason, Verdict


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


def given_up(effort: Effort, verdict: Verdict) -> Verdict:
    """Turn a claim's last failed attempt into its result."""
    last = verdict.reason or Reason("unknown", "", "worker")
    text = f"Not checked: no usable answer after {effort.attempts} attempts. The last one: {last.text}"
    return msgspec.structs.replace(verdict, disposition=verdict.at_the_end, reason=Reason(last.code, text, last.source))


def broken(name: str) -> Verdict:
    """Say what becomes of a claim on which the worker failed with this exception."""
    reason = Reason("internal_error", f"The worker failed on this claim ({name}); please report it.", "worker")
    return Verdict(disposition=Disposition.REVIEW, reason=reason)
