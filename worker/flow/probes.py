"""Asks the health endpoint while the gate is shut, and half-opens it.

The vendor calls it "the first thing to do if something goes wrong" (contract.md §1). Where it does not exist, or is not
for us, the few claims of a trial have to find out, unless requests are refused as such: then each trial costs a claim.
"""

from collections.abc import Awaitable, Callable
from typing import NoReturn

from worker.flow.gate import PROBED, Gate, GateState, ShutReason
from worker.flow.retry import Backoff

# Seconds between probes, first and at most. Refused credentials and requests are for a person to mend, and each trial
# of a request fault may cost a claim: nothing is gained by asking often.
PAUSES: dict[ShutReason, tuple[float, float]] = {
    "outage": (1.0, 60.0),
    "credentials": (5.0, 60.0),
    "request_fault": (30.0, 600.0),
}


async def run_probes(gate: Gate, healthy: Callable[[], Awaitable[bool | None]]) -> NoReturn:
    """Probe whenever the gate is shut for a reason that a probe can settle; runs until cancelled.

    A trial that fails goes on with the longer pauses of the shutting before it: only an open gate starts afresh.
    """
    while True:
        while PROBED.isdisjoint(gate.reasons):
            await gate.wait_change()
        await _probe_until_open(gate, healthy)


async def _probe_until_open(gate: Gate, healthy: Callable[[], Awaitable[bool | None]]) -> None:
    first_s, most_s = max(PAUSES[reason] for reason in gate.reasons if reason in PROBED)
    async for _ in Backoff(first_s, most_s, sleep_first=True):
        if PROBED.isdisjoint(gate.reasons):
            return
        if gate.state is GateState.SHUT:
            told = await healthy()
            if told or (told is None and "request_fault" not in gate.reasons):
                gate.half_open()
        while gate.state is GateState.HALF_OPEN:
            await gate.wait_change()
