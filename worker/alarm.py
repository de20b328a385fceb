"""What an operator is told when submission pauses: one alarm for each reason, with all that a service ticket needs.

The same reason given again (a trial failed as well), or one of several that went away, is no second alarm.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import structlog

from worker.diagnosis import near_advice
from worker.flow.gate import PROBED, GateChange, GateState, ShutReason
from worker.flow.watch import Failure
from worker.tally import Tally

log = structlog.get_logger()

# What an operator does about each reason; the line is read at 3 a.m.
ADVICE: Mapping[ShutReason, str] = MappingProxyType(
    {
        "outage": "wait; claims are kept; if it lasts, raise a ticket with the vendor and quote the ids of this line",
        "credentials": "check auth.client_id, the secret and the environment; a new secret file is read by itself",
        "request_fault": "check api.query, api.precheck_path and api.headers against the vendor's documents",
        "storage": "make room on the disk, or bring back the sink that is out of reach; work goes on by itself",
        "operator": "whoever paused it resumes it: precheck-worker resume",
    }
)


def tell_gate(change: GateChange, tally: Tally, failures: Sequence[Failure]) -> None:
    """Log a change of the gate and keep the tally's word for it; `failures` are the last attempts that failed."""
    tally.gate = change.reasons[0] if change.reasons else ""
    if change.state is GateState.OPEN:
        log.info("gate.opened", reason=change.reason, shut_s=round(change.shut_for_s, 1))
    elif change.state is GateState.HALF_OPEN:
        log.info("gate.probed", reason=change.reason)
    elif not change.came:
        shut_s = round(change.shut_for_s, 1)
        log.warning("gate.held", reason=change.reason, detail=change.text, reasons=change.reasons, shut_s=shut_s)
    else:
        told = failures if change.reason in PROBED else ()
        log.error(
            "gate.shut",
            reason=change.reason,
            detail=change.text,
            advice=_advice(change, told),
            failures=dict(Counter(failure.code for failure in told)) or None,
            trace_ids=[failure.trace_id for failure in told if failure.trace_id] or None,
            correlation_ids=[failure.correlation_id for failure in told if failure.correlation_id] or None,
        )


def _advice(change: GateChange, told: Sequence[Failure]) -> str:
    """Say what to do: a ticket with the vendor helps nobody whose own network is down."""
    code = Counter(failure.code for failure in told).most_common(1)[0][0] if told else change.text.rpartition(" ")[2]
    if change.reason == "outage" and (near := near_advice(code)):
        return f"claims are kept, and go on by themselves; {near}"
    return ADVICE[change.reason]
