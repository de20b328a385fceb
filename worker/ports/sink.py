"""The seam to where results go, and what goes there."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from worker.claim import Batch


class Emission(msgspec.Struct, frozen=True, gc=False):
    """A result on its way out of the ledger; `seq` grows from one to the next, and gaps mean nothing."""

    seq: int
    batch_number: int
    result_id: str
    body: bytes


class Sink(Protocol):
    """Takes results out. One task calls it, in order of `seq`; idempotent on `result_id`."""

    @property
    def name(self) -> str:
        """The sink's key in the ledger: stable across restarts for the same target."""
        ...

    async def open(self, cursor: str | None) -> None:
        """Prepare the target, repair what a crash left, and learn which results after `cursor` are there.

        :raises worker.errors.SettingsError: if the target cannot be as configured.
        :raises worker.errors.StateError: if it is not what we left or cannot be written.
        """
        ...

    async def write(self, emissions: Sequence[Emission]) -> str | None:
        """Make these results durable and return the new cursor; results already there are skipped.

        :raises worker.errors.StorageFull: if there is no room; nothing torn, call again with the same.
        :raises worker.errors.StateError: if the target cannot be trusted any more.
        """
        ...

    async def complete(self, batch: Batch, records: AsyncIterator[bytes]) -> None:
        """All results of the batch have been through `write`; `records` gives them again by ordinal.

        Called at least once per batch, again after a crash; raises like `write`.
        """
        ...

    async def close(self) -> None:
        """Let go of the target."""
        ...
