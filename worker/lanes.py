"""Lanes: tasks that make one attempt after another, and wait for the next one instead of ending.

::

    dispatcher ──begin──▶ a waiting lane, or a new one ──▶ attempt ──▶ the next at once ──▶ attempt … ──▶ waits again

A task costs more to make than to wake, as much as a tenth of a whole attempt: so the claims of a worker that is kept
busy in bursts cost no task each.
"""

from collections.abc import Awaitable, Callable

from anyio.abc import TaskGroup

from worker.effort import Effort
from worker.flow.bell import Bell

MOST_WAITING = 256


class _Lane:
    """One lane that waits: what it is given, and the bell that tells it."""

    __slots__ = ("bell", "effort")

    def __init__(self) -> None:
        self.bell = Bell()
        self.effort: Effort | None = None


class Lanes:
    """The lanes of one task group.

    `attempt` makes an attempt and does not raise for its claim's sake, `next_at_once` gives the next if nothing has to
    be waited for.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        attempt: Callable[[Effort], Awaitable[None]],
        next_at_once: Callable[[], Effort | None],
    ) -> None:
        self._tasks = tasks
        self._attempt = attempt
        self._next_at_once = next_at_once
        self._waiting: list[_Lane] = []
        self._closed = False

    def begin(self, effort: Effort) -> None:
        """Have the attempt made, beside all others."""
        if not self._waiting:
            self._tasks.start_soon(self._run, effort)
            return
        lane = self._waiting.pop()  # the one that went last: what it touches is still at hand
        lane.effort = effort
        lane.bell.ring()

    def close(self) -> None:
        """Let the lanes end once their attempts have; nothing is begun any more."""
        self._closed = True
        for lane in self._waiting:
            lane.bell.ring()
        self._waiting = []

    async def _run(self, effort: Effort | None) -> None:
        lane = _Lane()
        while effort is not None:
            await self._attempt(effort)
            effort = self._next_at_once()
            if effort is None and not self._closed and len(self._waiting) < MOST_WAITING:
                self._waiting.append(lane)
                await lane.bell.wait()
                effort, lane.effort = lane.effort, None
