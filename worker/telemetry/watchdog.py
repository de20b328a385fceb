"""Notices that the event loop stands still, and tells where: nothing of the worker runs meanwhile, probes included.

A thread looks at the time of the loop's last beat. What keeps the interpreter's lock, as a regular expression or a
decoder may, keeps the thread waiting, too: so the loop itself tells, once it runs again, for how long it did not. A
process that was stopped, or whose machine was, looks the same.
"""

import sys
import threading
import time
from traceback import walk_stack

import anyio
import structlog

from worker.telemetry.scrub import frame_names

BLOCKED_AFTER_S = 10.0
BEATS_A_LIMIT = 10


async def watch_loop(blocked_after_s: float = BLOCKED_AFTER_S) -> None:
    """Beat, and have a thread listen, until cancelled; standing still for longer than this is told."""
    pulse = _Pulse(blocked_after_s)
    thread = threading.Thread(target=pulse.listen, name="watchdog", daemon=True)
    thread.start()
    try:
        while True:
            await anyio.sleep(blocked_after_s / BEATS_A_LIMIT)
            pulse.beat()
    finally:
        pulse.over.set()


class _Pulse:
    """When the loop last ran, told by the loop and read by the thread."""

    def __init__(self, blocked_after_s: float) -> None:
        self.over = threading.Event()
        self._blocked_after_s = blocked_after_s
        self._loop_thread = threading.get_ident()
        self._last = time.monotonic()

    def beat(self) -> None:
        now = time.monotonic()
        if (stood_s := now - self._last) >= self._blocked_after_s:
            structlog.get_logger().warning("loop.freed", elapsed_s=round(stood_s, 1))
        self._last = now

    def listen(self) -> None:
        told = None
        while not self.over.wait(self._blocked_after_s / BEATS_A_LIMIT):
            last = self._last
            if last != told and time.monotonic() - last >= self._blocked_after_s:
                told = last
                structlog.get_logger().error("loop.blocked", frames=self._frames())

    def _frames(self) -> list[str]:
        # The only way to see what another thread does; only names of files and numbers of lines are taken from it.
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - documented, in spite of its name
        return frame_names(reversed(list(walk_stack(frame)))) if frame is not None else []
