"""How many bytes of what is large may be in memory at once; what is small is bounded by its number instead."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from worker.flow.bell import Bell

LARGE_BYTES = 64 << 10
ANSWER_BYTES = 32 << 20


class Allowance:
    """Bytes are taken before they arrive and given back once they are gone; first come, first served.

    One that is larger than all of it gets it alone.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.taken_bytes = 0
        self._turn = anyio.Lock()
        self._returned = Bell()

    @asynccontextmanager
    async def taking(self, size: int) -> AsyncIterator[None]:
        """Wait until there is room for so many bytes, and hold it until the block is left."""
        async with self._turn:
            while self.taken_bytes and self.taken_bytes + size > self.most_bytes:
                await self._returned.wait()
            self.add(size)
        try:
            yield
        finally:
            self.give_back(size)

    def add(self, size: int) -> None:
        """Count bytes that are there already, whether or not there is room."""
        self.taken_bytes += size

    def give_back(self, size: int) -> None:
        """Tell that so many of the bytes are gone."""
        self.taken_bytes -= size
        self._returned.ring()
