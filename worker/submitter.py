"""Sends claims: gate, rate and limiter let them through, and a lane makes one attempt after another.

::

    turns ─▶ gate ─▶ rate ─▶ limiter ─▶ lane ─▶ attempt (`worker.attempting`)
      ▲                                            │
      └─────────────── due time ◀── not yet ───────┘   no slot and no lane is held meanwhile

The dispatcher waits for everything an attempt needs and then gives it to a lane (`worker.lanes`). A lane whose attempt
has ended continues with the next claim if that may begin at once, as it may under load. A drain stops the
dispatcher; attempts under way are not cancelled, they have their own time-out.
"""

from collections.abc import Awaitable, Callable

import anyio

from worker.effort import Effort
from worker.flow.gate import GateState
from worker.flow.limiter import Signal
from worker.flow.pace import Pace
from worker.lanes import Lanes
from worker.recorder import Recorder
from worker.tally import Tally
from worker.turns import Turns


class Submitter:
    """The dispatcher. `attempt` makes one attempt and gives back the slot that the dispatcher acquired for it."""

    def __init__(
        self,
        turns: Turns,
        recorder: Recorder,
        pace: Pace,
        tally: Tally,
        attempt: Callable[[Effort], Awaitable[None]],
        *,
        steady: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._turns = turns
        self._recorder = recorder
        self._pace = pace
        self._tally = tally
        self._attempt = attempt
        self._steady = steady
        self._dispatching = anyio.CancelScope()

    async def run(self) -> None:
        """Dispatch until `stop`, then wait for the attempts under way."""
        async with anyio.create_task_group() as tasks:
            lanes = Lanes(tasks, self._attempt, self._next_at_once)
            with self._dispatching:
                while True:
                    if effort := await self._next():
                        lanes.begin(effort)
            lanes.close()

    def stop(self) -> None:
        """Begin no further attempt."""
        self._dispatching.cancel()

    async def _next(self) -> Effort | None:
        """Wait for a claim, for room for its result, and for gate, rate and a slot, in this order."""
        pace = self._pace
        await self._turns.wait()
        await self._recorder.room()
        while True:
            if not pace.gate.try_enter():
                await pace.gate.enter()
            if not pace.rate.try_acquire():
                await pace.rate.acquire()
            while not pace.limiter.try_acquire():
                await pace.slot_free.wait()
            if pace.gate.state is not GateState.SHUT:
                return self._begin()
            pace.limiter.release(Signal.IGNORE, 0.0)

    def _next_at_once(self) -> Effort | None:
        """Give the next claim if it need not wait for anything; one that must wait is left to the dispatcher."""
        effort = self._at_once()
        if self._pace.limiter.in_flight < self._pace.limiter.limit:
            self._pace.slot_free.ring()
        return effort

    def _at_once(self) -> Effort | None:
        pace = self._pace
        stopped = self._dispatching.cancel_called
        if stopped or not pace.gate.is_open or self._recorder.crowded or not self._turns.any_now:
            return None
        if not pace.limiter.try_acquire():
            return None
        if not pace.rate.try_acquire():
            pace.limiter.release(Signal.IGNORE, 0.0)
            return None
        return self._begin()

    def _begin(self) -> Effort | None:
        """Take the claim whose turn it is, for the slot that was acquired."""
        # Trials are few: claims that fail each time, whatever the service does for others, must not take them all.
        effort = self._turns.pop() if self._pace.gate.is_open else self._turns.pop(most_repeats=1)
        if effort is None:
            self._pace.limiter.release(Signal.IGNORE, 0.0)
            return None
        self._pace.budget.record(effort.repeated, self._steady())
        self._tally.in_flight += 1
        return effort
