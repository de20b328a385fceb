"""A bell: tasks that wait are woken when it rings; ringing it while none waits costs nothing.

An `anyio.Event` rings once and costs a few microseconds to make; on the path of every claim that adds up.
"""

import anyio


class Bell:
    """Wakes all who wait at the moment it rings. Waiters check their condition again: a ring is only a hint."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def ring(self) -> None:
        """Wake everyone who is waiting now."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Wait for the next ring."""
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()
