"""What brings claims into the flow."""

from collections.abc import Sequence
from typing import Protocol

from worker.claim import Delivery


class Feed(Protocol):
    """`worker.intake.Intake` brings them from the source, `worker.replay.Replay` from the ledger."""

    @property
    def available(self) -> bool:
        """Whether the place that claims come from can be reached."""
        ...

    @property
    def known_claims(self) -> int:
        """How many claims this run has to answer, as far as it knows."""
        ...

    @property
    def revisited(self) -> Sequence[int]:
        """The numbers of batches that were settled before and had claims sent again."""
        ...

    @property
    def unopened(self) -> Sequence[Delivery]:
        """The deliveries that were taken and are not on the board."""
        ...

    async def run(self, *, once: bool = False) -> None:
        """Bring claims until cancelled; with `once`, until there is nothing more and all batches are settled."""
        ...
