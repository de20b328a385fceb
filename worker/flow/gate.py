"""The switch that pauses all submission.

::

              shut(reason)                  half_open()
    open ───────────────────▶ shut ───────────────────────▶ half-open
      ▲                        ▲ │                           │     │
      │                        │ │ open(the last reason)     │     │
      │                        └─┼───────────────────────────┘     │ a trial succeeds
      └──────────────────────────┴─────────────────────────────────┘

=================  ============================================  ==========================
reason             shut by                                       opened by
=================  ============================================  ==========================
``outage``         most of the last attempts lost                a probe, then a trial
``credentials``    a second 401 with a fresh token               a probe, then a trial
``request_fault``  several requests in a row refused as such     a probe, then a trial
``storage``        a full disk, a sink out of reach              the task that found room
``operator``       a person                                      that person
=================  ============================================  ==========================

Several reasons can hold at once; the gate is open when none does. Half-open lets a few attempts through to try the
service. While it is not open a claim's deadline stands still (design.md §7).
"""

import math
from collections import Counter, deque
from collections.abc import Callable
from enum import StrEnum
from typing import Literal

import anyio
import msgspec

from worker.flow.bell import Bell

ShutReason = Literal["outage", "credentials", "request_fault", "storage", "operator"]

# These speak of the service, so trying it is the way to learn that they are over.
PROBED: frozenset[ShutReason] = frozenset({"outage", "credentials", "request_fault"})

TRIALS = 3
TRIAL_PERIOD_S = 10.0  # a trial lost on its way (cancelled, no token) must not leave the gate half-open for ever
MOST_PAUSES = 1024


class GateState(StrEnum):
    """Whether attempts may be made."""

    OPEN = "open"
    HALF_OPEN = "half_open"
    SHUT = "shut"


class GateChange(msgspec.Struct, frozen=True, gc=False):
    """What a gate's observer is told: the state it now has, the reason that came or went, how long it was shut.

    `came` is True if the reason did not hold before: that, and nothing else, is news for an operator. `reasons` are
    all that hold now.
    """

    state: GateState
    reason: ShutReason
    text: str
    shut_for_s: float
    came: bool = False
    reasons: tuple[ShutReason, ...] = ()


class Gate:
    """Open, shut for one or more reasons, or half-open. `on_change` is called at once, after each change."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = anyio.current_time,
        on_change: Callable[[GateChange], None] | None = None,
    ) -> None:
        self.is_open = True
        # How many wait for room in which place (`worker.flow.room`); "storage" holds while there is one.
        self.full_places: Counter[str] = Counter()
        self._clock = clock
        self._on_change = on_change
        self._reasons: dict[ShutReason, str] = {}
        self.tried_since = math.inf  # when it was last half-opened
        self._trying = False
        self._trials = 0
        self._trials_at = 0.0
        self._changed = Bell()
        self._shut_at = 0.0
        self._pauses: deque[tuple[float, float]] = deque(maxlen=MOST_PAUSES)

    @property
    def state(self) -> GateState:
        """Whether attempts may be made."""
        if not self._reasons:
            return GateState.OPEN
        return GateState.HALF_OPEN if self._trying and PROBED.issuperset(self._reasons) else GateState.SHUT

    @property
    def reasons(self) -> dict[ShutReason, str]:
        """Why it is not open: each reason that holds with its text; empty when open."""
        return dict(self._reasons)

    def shut(self, reason: ShutReason, text: str = "") -> None:
        """Let no attempt through because of `reason`; ends a trial. Shutting again changes the reason's text."""
        before = self.state
        if self.is_open:
            self._shut_at = self._clock()
        came = reason not in self._reasons
        known = self._reasons.get(reason) == text
        self._reasons[reason] = text
        self.is_open = False
        if reason in PROBED:
            self._trying = False
        if not known or self.state is not before:
            self._tell(reason, text, came=came)

    def open(self, reason: ShutReason) -> None:
        """Withdraw one reason; the gate opens if it was the last."""
        if reason not in self._reasons:
            return
        text = self._reasons.pop(reason)
        if PROBED.isdisjoint(self._reasons):
            self._trying = False
        if not self._reasons:
            self.is_open = True
            self._pauses.append((self._shut_at, self._clock()))
        self._tell(reason, text)

    def half_open(self) -> None:
        """Let a few attempts through, once no reason holds that a trial cannot settle; called after a healthy probe."""
        tried = next((reason for reason in self._reasons if reason in PROBED), None)
        if tried is None or self._trying:
            return
        self._trying = True
        self.tried_since = self._clock()
        self._grant_trials(self.tried_since)
        self._tell(tried, self._reasons[tried])

    def trial_succeeded(self) -> None:
        """Withdraw every reason that a trial can settle; called when one got an answer, though another was lost."""
        for reason in [reason for reason in self._reasons if reason in PROBED]:
            self.open(reason)

    def try_enter(self) -> bool:
        """Let one attempt through now, if it may; each True in half-open state uses up one trial."""
        if self.is_open:
            return True
        if self.state is not GateState.HALF_OPEN:
            return False
        now = self._clock()
        if now >= self._trials_at + TRIAL_PERIOD_S:
            self._grant_trials(now)
        if not self._trials:
            return False
        self._trials -= 1
        return True

    async def enter(self) -> None:
        """Wait until one attempt may be made; for those who make attempts."""
        while not self.try_enter():
            half_open = self.state is GateState.HALF_OPEN
            wait_s = self._trials_at + TRIAL_PERIOD_S - self._clock() if half_open else None
            with anyio.move_on_after(wait_s):
                await self._changed.wait()

    async def wait_not_shut(self) -> None:
        """Wait until attempts may be made, if only a few; for those who bring what the trials need, like the intake."""
        while self.state is GateState.SHUT:
            await self._changed.wait()

    async def wait_change(self) -> None:
        """Wait until a reason comes or goes or the state changes."""
        await self._changed.wait()

    def shut_time(self, since: float) -> float:
        """Seconds since `since` (on the gate's clock) in which the gate was not open."""
        total = 0.0 if self.is_open else self._clock() - max(self._shut_at, since)
        for begun, ended in reversed(self._pauses):
            if ended <= since:
                break
            total += ended - max(begun, since)
        return total

    def _grant_trials(self, now: float) -> None:
        self._trials, self._trials_at = TRIALS, now

    def _tell(self, reason: ShutReason, text: str, *, came: bool = False) -> None:
        self._changed.ring()
        if self._on_change is not None:
            shut_for_s = self._pauses[-1][1] - self._pauses[-1][0] if self.is_open else self._clock() - self._shut_at
            self._on_change(GateChange(self.state, reason, text, shut_for_s, came, tuple(self._reasons)))
