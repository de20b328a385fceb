"""The seam to where batches come from."""

from collections.abc import Sequence
from typing import Protocol

from worker.claim import Delivery


class Source(Protocol):
    """Gives deliveries of batches. One task calls `take`; others call the rest, concurrently with it."""

    @property
    def set_aside(self) -> int:
        """How many batches went to quarantine, or to the dead letters, since this was made; whoever refused them."""
        ...

    async def open(self) -> None:
        """Prepare the place and take back what an earlier process of ours held when it died.

        :raises worker.errors.SettingsError: if the place cannot exist as configured.
        """
        ...

    async def take(self, limit: int, *, wait: bool = True) -> Sequence[Delivery]:
        """Take up to `limit` ready batches for this worker alone; nobody else gets them until released.

        With `wait`, returns at least one, however long that takes; cancelling is safe and loses none.
        Without, returns an empty sequence once nothing is ready nor about to be decided.

        :raises worker.errors.SourceUnavailable: if the input cannot be reached for now.
        :raises worker.errors.StateError: if its disk cannot be trusted any more; so do `settle` and `refuse`.
        """
        ...

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """All results of these batches are in all sinks: archive or acknowledge. Idempotent."""
        ...

    async def refuse(self, delivery: Delivery, code: str, text: str) -> None:
        """Quarantine a batch that can never be processed, with its reason, where a person finds it, and log both."""
        ...

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give batches back unfinished, on a drain; they are taken again later with the same `ref`."""
        ...

    async def left_over(self) -> Sequence[str]:
        """Names of inputs that are there but not ready, for the one warning at the end of a `--once` run."""
        ...

    async def close(self) -> None:
        """Let go of everything; what is not settled stays ours to find again."""
        ...
