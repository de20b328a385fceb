"""The seam to what a dead worker knew of the batches that it held."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol


class Heir(Protocol):
    """Carries over what other workers' ledgers know, so that their batches are gone on with and not begun anew."""

    @property
    def will(self) -> bytes:
        """What to leave beside our batches, so that another worker finds our ledger; at most some kilobytes."""
        ...

    def inheriting(self, owner: str, will: bytes, refs: Sequence[str]) -> AbstractContextManager[bool]:
        """Hold a dead worker's ledger while its batches are moved; True once ours knows all that is known of them.

        False if they must stay where they are for now. `owner` names the dead worker, `will` is what it has left,
        `refs` are those of its batches. Blocking; called in a thread that an event loop waits for.
        """
        ...

    def let_go(self, refs: Sequence[str]) -> Mapping[str, int]:
        """Let go of our batches, at the end: any worker that finds their files may begin them as if they were new.

        Tells which must stay with us, for only an heir could go on with them, and how many answers each has. Blocking,
        likewise.

        :raises worker.errors.StateError: if that cannot be noted or told; all must stay then.
        """
        ...

    def answered(self, refs: Sequence[str]) -> Mapping[str, int]:
        """Tell how many claims of batches that were delivered under these refs have an answer; blocking, likewise.

        :raises worker.errors.SourceUnavailable: if that cannot be told for now.
        """
        ...
