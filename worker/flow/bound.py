"""How wide the limit is: the decisions of the adaptive limiter, without tasks and without a clock.

::

    slow start ── doubles a window ──▶ the limit that was last good, or a cut, or slower answers; then back by half, and
                  on with doubling if the answers are as slow there
    climbing  ─── most of the way to the last good limit, a rest there, then ever bolder steps beyond it
    cutting   ─── to 0.9, 0.85, 0.8, 0.7 …, each once the one before it is in effect (`worker.flow.losses`)
    holding   ─── while answers are slow (`worker.flow.brake`)

A *window* is as many answers as the limit is wide: about one round trip. The bound grows only if it was reached in that
window, for otherwise it is not what limits. Where this comes from, and what was changed:

- Additive increase, multiplicative decrease and slow start are TCP's (RFC 5681); the approach to the last good limit
  and the caution there are CUBIC's (RFC 9438 §4).
- A cut is in effect when attempts *begun after it* end: that is the round trip, exactly. A service that sheds in 10 ms
  lets the bound fall as fast as slots run out; one that loses by time-out is asked once per time-out.
- With quick refusals the loss share says little about the excess: one slot too many turns over a hundred times
  while the others wait for one answer. So the depth of a cut follows from how many cuts it took, not from the share.
- Losses that remain when the bound falls, or were as many at far lower bounds, are not caused by load: tolerate them,
  and go up. Where losses take several round trips to be known, one deep cut asks that question, not four.
"""

import math

from worker.flow.brake import DARED_TIMES, SLOWER, Brake, Pull
from worker.flow.losses import Judgement, Losses

LEAST_WINDOW = 16
CUTS = (0.9, 0.85, 0.8, 0.7)
SLOW_START_CUT = 0.7
REST_WINDOWS, REST_ANSWERS = 2, 200
LEAST_LATENCY_S = 1e-4
SEEMS_SLOWER = math.log(1.25)  # since the last doubling: not sure yet, so one more window is waited for
TELLING = 32  # answers whose mean latency says something
EASED_WINDOWS = 30  # of rest where more load got less done


class Bound:
    """Decides from the ends of attempts. Invariant: ``1 <= limit <= maximum``.

    `full` is set by the owner whenever as many are in flight as may be. `reason` says why the limit last changed,
    `good` is the limit of the last full window with no more losses than usual.
    """

    def __init__(self, initial: int, maximum: int, last_good: int | None = None) -> None:
        self.limit = float(min(initial, maximum))
        self.reason = "slow_start"
        self.full = False
        self.good: float | None = None
        self._initial = self.limit
        self._maximum = float(maximum)
        self._slow_until = float(min(last_good or maximum, maximum))
        self._slow = self.limit < self._slow_until
        self._ceiling: float | None = None
        self._rest = 0
        self._stride = 1.0
        self._cut_at = -math.inf
        self._before_doubling = math.inf
        self._doubted = False  # whether the last doubling seems to have made answers slower
        self._waited = False  # whether one more window was waited for to see that
        self._latency_s = math.inf
        self._losses = Losses()
        self._brake = Brake()
        self._open_window()

    def answered(self, latency_s: float) -> None:
        """Take note of an attempt that was answered."""
        self._ok += 1
        self._log_latency += math.log(latency_s if latency_s > LEAST_LATENCY_S else LEAST_LATENCY_S)
        self._losses.answered()
        if self._ok >= self.limit and self._ok >= LEAST_WINDOW:
            self._close_window()

    def lost(self, now: float, latency_s: float) -> None:
        """Take note of an attempt that was lost; `now` on any clock, always the same."""
        if now - latency_s < self._cut_at:
            return
        self._lost += 1
        if self._losses.lost(self.limit, latency_s, self._latency_s):
            self._cut(now)

    def restart(self, now: float) -> None:
        """Begin slowly again, up to the limit that was last good."""
        self._slow_until = self.good or self._maximum
        self._slow = self._initial < self._slow_until
        self._ceiling = None
        self._cut_at = now
        self._losses.restart()
        self._move(self._initial, "restarted")

    def _cut(self, now: float) -> None:
        factor = SLOW_START_CUT if self._slow or self._losses.late else CUTS[min(self._losses.cuts, len(CUTS)) - 1]
        self._slow = self._doubted = False
        self._cut_at = now
        self._ceiling = min(self.good or self.limit, self.limit)
        self._rest_a_while()
        self._move(self.limit * factor, "cut")

    def _move(self, limit: float, reason: str) -> None:
        """Set the limit outside of ordinary growth; the window under way is void."""
        self.limit = min(max(limit, 1.0), self._maximum)
        self.reason = reason
        self._brake.limit_moved()
        self._open_window()

    def _open_window(self) -> None:
        self._ok = 0
        self._lost = 0
        self._log_latency = 0.0
        self.full = False

    def _close_window(self) -> None:
        ok, lost, full, log_latency = self._ok, self._lost, self.full, self._log_latency / self._ok
        self._open_window()
        self._latency_s = math.exp(log_latency)
        judged = self._losses.window_closed(self.limit, ok, lost)
        if judged is Judgement.ACQUITTAL:
            self._climb_boldly()
            self._set(self.limit + self._step(), "losses_do_not_follow_load")
        elif full and judged in {Judgement.USUAL, Judgement.TOLERABLE}:
            if judged is Judgement.USUAL:
                self.good = self.limit
            self._follow(self._brake.judge(log_latency), log_latency)

    def _follow(self, pull: Pull, log_latency: float) -> None:
        if pull is Pull.FREE:
            self._grow(log_latency)
        elif pull is Pull.DARE:
            self._doubted = False
            self._set(self.limit * DARED_TIMES, "dared")
        elif pull is Pull.UNDO:
            self._set(self.limit / DARED_TIMES, "undone")
        elif pull is Pull.EASE:
            self._set(self.limit / DARED_TIMES**2, "eased")
            self._ceiling = self.limit
            self._rest_a_while()
            self._rest = EASED_WINDOWS
        elif pull is Pull.RELEASE:
            self._slow = self._slow or self._doubted
            self._climb_boldly()
            if not self._slow:
                self._stride = self.limit / 32
            self._grow(log_latency)
        elif log_latency - self._before_doubling > SLOWER:
            self._doubt(log_latency)
        else:
            self._slow = False

    def _doubt(self, log_latency: float) -> None:
        """Undo a doubling that made answers slower for two windows, and see whether that makes them faster."""
        if not self._doubted:
            self._doubted = True
            return
        self._move(self.limit / 2, "undone")
        self._brake.moved_to_compare(log_latency, -math.log(2))
        self._climb()

    def _grow(self, log_latency: float) -> None:
        if not self._slow:
            self._climb()
            self._set(self.limit + self._step(), "grew")
            return
        if self.limit >= TELLING and log_latency - self._before_doubling > SEEMS_SLOWER and not self._waited:
            self._waited = True  # the first window after a doubling still holds attempts from before it
            return
        self._before_doubling = log_latency
        self._doubted = self._waited = False
        grown = min(2 * self.limit, self._slow_until)
        self._slow = grown < self._slow_until
        self._set(grown, "slow_start")

    def _climb(self) -> None:
        """Leave slow start behind."""
        self._slow = False
        self._before_doubling = math.inf

    def _climb_boldly(self) -> None:
        """Go up by an eighth and then by quarters: what held the limit back was not the load."""
        self._ceiling, self._rest, self._stride = self.limit, 0, self.limit / 8

    def _set(self, limit: float, reason: str) -> None:
        limit = min(max(limit, 1.0), self._maximum)
        if limit != self.limit:
            self.limit, self.reason = limit, reason

    def _step(self) -> float:
        if self._ceiling is None:
            return math.sqrt(self.limit)
        if self.limit < self._ceiling - 0.5:
            return min(self._ceiling - self.limit, max(0.01 * self.limit, (self._ceiling - self.limit) * 0.75))
        if self._rest:
            self._rest -= 1
            return 0.0
        step = self._stride
        self._stride = min(2 * self._stride, max(1.0, self.limit / 4))
        return step

    def _rest_a_while(self) -> None:
        self._rest = max(REST_WINDOWS, int(REST_ANSWERS / self.limit))
        self._stride = max(1.0, self.limit / 50)
