"""A sink in memory."""

from collections.abc import AsyncIterator, Sequence

from anyio.lowlevel import checkpoint

from worker.claim import Batch
from worker.errors import StateError
from worker.ports import Emission


class MemorySink:
    """`worker.ports.Sink` in memory: the emissions taken, and the records of each completed batch by its id.

    The cursor is the number of results taken. While `failure` is set, `write` and `complete` raise it.
    """

    def __init__(self, name: str = "memory:") -> None:
        self.failure: StateError | None = None
        self.taken: dict[str, Emission] = {}
        self.completed: dict[str, list[bytes]] = {}
        self._name = name

    @property
    def name(self) -> str:
        """The sink's key in the ledger."""
        return self._name

    async def open(self, cursor: str | None) -> None:
        """Check that nothing was lost since `cursor`."""
        await checkpoint()
        if cursor is not None and int(cursor) > len(self.taken):
            raise StateError("memory sink: results are missing")

    async def write(self, emissions: Sequence[Emission]) -> str | None:
        """Take what is not there yet."""
        await self._change()
        for emission in emissions:
            self.taken.setdefault(emission.result_id, emission)
        return str(len(self.taken))

    async def complete(self, batch: Batch, records: AsyncIterator[bytes]) -> None:
        """Keep the batch's records."""
        await self._change()
        self.completed[batch.batch_id] = [record async for record in records]

    async def close(self) -> None:
        """Keep everything."""
        await checkpoint()

    async def _change(self) -> None:
        await checkpoint()
        if self.failure is not None:
            raise type(self.failure)(*self.failure.args)
