"""How wide the limit is: the decisions of the adaptive limiter, without tasks and without a clock.

::

    slow start ── doubles a window ──▶ the limit that was last good, a cut, slower answers, or less done; then back by
                  half, and on with doubling if the answers are as slow there (`worker.flow.start`)
    climbing  ─── most of the way to the last good limit, a rest there, then ever bolder steps (`worker.flow.climb`)
    cutting   ─── to 0.9, 0.85, 0.8, 0.7 …, each once the one before it is in effect (`worker.flow.losses`); from a
                  step beyond the last good limit to just below that
    holding   ─── while answers are slow (`worker.flow.brake`), or many are overdue (`worker.flow.overdue`)
    easing    ─── back to where most got done, if plainly less does (`worker.flow.peak`)

A *window* is as many answers as the limit is wide: about one round trip. The bound grows only if it was reached in that
window, for otherwise it is not what limits. Where this comes from, and what was changed:

- Additive increase, multiplicative decrease and slow start are TCP's (RFC 5681); the approach to the last good limit
  and the caution there are CUBIC's (RFC 9438 §4).
- A cut is in effect when attempts *begun after it* end: that is the round trip, exactly. A service that sheds in 10 ms
  lets the bound fall as fast as slots run out; one that loses by time-out is asked once per time-out.
- With quick refusals the loss share says little about the excess: one slot too many turns over a hundred times
  while the others wait for one answer. So the depth of a cut follows from how many cuts it took, not from the share.
- Losses that remain when the bound falls, or were as many at far lower bounds, are not caused by load: tolerate them.
- Where losses take several round trips to be known, the cut is to what came back as answers, and one slot at a time, as
  those losses come in: they hold their slots until then, and a cut at once would leave none to those that get answers.
"""

import math

from worker.flow.brake import DARED_TIMES, Brake, Pull
from worker.flow.climb import Climb
from worker.flow.losses import Judgement, Losses
from worker.flow.overdue import Overdue
from worker.flow.peak import Peak
from worker.flow.sample import Latencies, Sample
from worker.flow.start import SlowStart

LEAST_WINDOW = 16
CUTS = (0.9, 0.85, 0.8, 0.7)
SLOW_START_CUT = 0.7
JUST_BELOW = 0.97  # the limit that was last good
LEAST_SERVED, MOST_SERVED = 0.3, 0.9  # shares of the limit that a cut by late losses leaves


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
        self._start = SlowStart(self.limit, float(min(last_good or maximum, maximum)))
        self._cut_at = -math.inf
        self._latency_s = math.inf
        self._before = self.limit  # of the last window: most answers of this one began under it
        self._late = False  # whether the last cut was for losses that take long to be known
        self._missing = False  # whether many are under way that do not come back
        self._target: float | None = None  # down to which slots are given up as such losses come in
        self._next_step_at = -math.inf
        self._losses = Losses()
        self._brake = Brake()
        self._overdue = Overdue()
        self._peak = Peak()
        self._climb = Climb()
        self._open_window(0.0)
        self.idle()  # up to now

    def answered(self, latency_s: float) -> bool:
        """Take note of an attempt that was answered; True asks for `close_window`."""
        self._answers.add(latency_s)
        self._overdue.answered(latency_s)
        self._losses.answered()
        return self._answers.count >= self._start.width * self.limit and self._answers.count >= LEAST_WINDOW

    def idle(self) -> None:
        """Take note that fewer are under way than may be."""
        self._overdue.idle = self._start.idle = True

    def lost(self, now: float, latency_s: float) -> None:
        """Take note of an attempt that was lost; `now` on any clock, always the same."""
        self._overdue.lost(now, latency_s)
        if now - latency_s < self._cut_at:
            if self._target is not None:
                self._give_up_slot(self._target)
            return
        self._lost += 1
        self._losses.beyond = self._climb.beyond(self.limit)
        if self._losses.lost(self.limit, latency_s, self._latency_s, self._overdue.served):
            self._cut(now)
        elif self._missing and self._losses.suspicious and latency_s > 2 * self._latency_s:
            self._give_up_slot(self._overdue.served * self.limit)

    def restart(self, now: float) -> None:
        """Begin slowly again, up to the limit that was last good."""
        self._start = SlowStart(self._initial, self.good or self._maximum)
        self._cut_at = now
        self._losses.restart()
        self._peak.forget()
        self._climb = Climb()
        self._move(self._initial, "restarted", now)

    def _cut(self, now: float) -> None:
        self._late = self._losses.late
        self._target = None
        self._peak.forget()
        if self._late:
            served = min(max(self._overdue.served, LEAST_SERVED), MOST_SERVED)
            ceiling = self._target = served * self.limit
            limit = max(ceiling, self.limit - 1)
        else:
            ceiling = min(self.good or self.limit, self.limit)
            limit = self.limit * (SLOW_START_CUT if self._start.on else CUTS[min(self._losses.cuts, len(CUTS)) - 1])
            if self._losses.asking:
                limit = max(limit, JUST_BELOW * ceiling)
        self._climb.after_cut(self.limit, ceiling)
        self._start.stop()
        self._cut_at = now
        self._move(limit, "cut", now)

    def _give_up_slot(self, least: float) -> None:
        """Leave the slot of a loss that took long empty, and no other: those that get answers are all needed."""
        if self.limit > least:
            self.limit, self.reason = max(self.limit - 1, least, 1.0), "overdue"

    def _move(self, limit: float, reason: str, now: float) -> None:
        """Set the limit outside of ordinary growth; the window under way is void."""
        before, self.limit = self.limit, min(max(limit, 1.0), self._maximum)
        self.reason = reason
        self._brake.limit_moved()
        self._overdue.moved(now, self.limit / before)
        self._open_window(now)

    def _open_window(self, now: float) -> None:
        self._answers = Latencies()
        self._lost = 0
        self.full = False
        self._start.open_window(now)
        self._overdue.open_window(now)

    def close_window(self, now: float) -> None:
        """Learn from the window that is complete, or from a part of it."""
        complete = self._start.complete
        if self._start.look(self._answers.count, now):
            self._undo_doubling(now)
            return
        if not complete:
            return
        sample, lost, full, before = self._answers.sample(), self._lost, self.full, self.limit
        self._missing = self._overdue.window_closed(self.limit, now)
        if now - self._cut_at > self._losses.late_s:
            self._target = None
        self._open_window(now)
        self._latency_s = math.exp(sample.log_latency)
        self._losses.beyond = self._climb.beyond(self.limit)
        judged = self._losses.window_closed(self.limit, sample.answers, lost)
        if judged is Judgement.ACQUITTAL:
            self._climb_boldly(1 / 8)
            self._set(self.limit + self._climb.step(self.limit), "losses_do_not_follow_load")
        elif full and not self._missing and judged in {Judgement.USUAL, Judgement.TOLERABLE}:
            if judged is Judgement.USUAL:
                self.good = self.limit
            self._listen(sample, now)
        self._before = before
        if self.limit != before:
            self._overdue.moved(now, self.limit / before)

    def _listen(self, sample: Sample, now: float) -> None:
        """Learn from how long the answers of a full window took."""
        passed = self._peak.passed(self._before, sample) and self._peak.limit < self.limit
        doubling = self._start.on or self._start.judging
        if not passed or doubling or self._brake.comparing:
            self._follow(self._brake.judge(sample), sample, now)
            return
        before, limit = self.limit, self._peak.top(self.limit)
        self._start.stop()
        self._move(limit, "eased", now)
        self._brake.moved_to_compare(sample.log_latency, math.log(limit / before))
        self._climb.eased(self.limit)

    def _follow(self, pull: Pull, sample: Sample, now: float) -> None:
        if pull is Pull.FREE:
            self._grow(sample, now)
        elif pull is Pull.DARE:
            self._start.stop()
            self._set(self.limit * DARED_TIMES, "dared")
        elif pull is Pull.UNDO:
            self._set(self.limit / DARED_TIMES, "undone")
        elif pull is Pull.EASE:
            self._set(self.limit / DARED_TIMES**2, "eased")
            self._climb.eased(self.limit)
        elif pull is Pull.LOWER:
            self._start.stop()
            self._move(self.limit / math.sqrt(2), "eased", now)
            self._brake.moved_to_compare(sample.log_latency, -math.log(2) / 2)
        elif pull is Pull.RELEASE:
            self._start.resume()
            self._climb_boldly(1 / 8 if self._start.on else 1 / 32)
            self._grow(sample, now)
        elif self._start.slowed(sample):
            self._doubt(sample, now)
        else:
            self._start.on = False

    def _doubt(self, sample: Sample, now: float) -> None:
        """Undo a doubling that made answers slower for two windows, and see whether that makes them faster."""
        if self._start.doubts(sample):
            self._start.stop(resumable=True)
            self._move(self.limit / 2, "undone", now)
            self._brake.moved_to_compare(sample.log_latency, -math.log(2))

    def _undo_doubling(self, now: float) -> None:
        """Undo a doubling after which less gets done, and see whether answers are as fast as before it."""
        before = self._start.before
        self._start.stop(resumable=True)
        self._move(self._start.limit_before, "undone", now)
        self._brake.moved_back(before)

    def _grow(self, sample: Sample, now: float) -> None:
        if self._start.on:
            self._set(self._start.next_limit(self.limit, sample), "slow_start")
            return
        self._start.stop()
        if not self._late or self._climb.below(self.limit) or self._may_step(now):
            self._set(self.limit + self._climb.step(self.limit), "grew")

    def _may_step(self, now: float) -> bool:
        """Wait with the next step until the last one would have lost something, unless all of it comes back."""
        if now < self._next_step_at and not self._overdue.none:
            return False
        self._next_step_at = now + self._losses.late_s
        return True

    def _climb_boldly(self, share: float) -> None:
        """Forget what seemed to be the best limit: what held it back was not the load."""
        self._late = False
        self._peak.forget()
        self._climb.boldly(self.limit, share)

    def _set(self, limit: float, reason: str) -> None:
        limit = min(max(limit, 1.0), self._maximum)
        if limit != self.limit:
            self.limit, self.reason = limit, reason
