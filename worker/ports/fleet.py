"""The seam to the limits that all workers of a fleet share: one bound on calls under way, one rate."""

from typing import Protocol

import msgspec


class Ask(msgspec.Struct, frozen=True):
    """What a worker asks for: `slots` it could use, `kept` it may have in use until the answer, `leaves` to begin."""

    slots: int
    kept: int
    leaves: int = 0


class Grant(msgspec.Struct, frozen=True):
    """What it gets until it asks again, within the lease: slots in all, and further leaves to begin a call."""

    slots: int
    leaves: int = 0


class FleetLimits(Protocol):
    """Gives out slots and leaves. What is granted to all together is never above the limits; one task calls it.

    A worker that does not ask again within its lease has nothing any more, and others get what it had.
    """

    async def open(self) -> None:
        """See that the place is there and takes us.

        :raises worker.errors.SettingsError: if we are refused there, or it is nothing of the kind.
        :raises worker.errors.FleetUnavailable: if it cannot be reached for now.
        """
        ...

    async def renew(self, ask: Ask) -> Grant:
        """Begin the lease anew and get a fair part of what there is; `ask.kept` is never taken away.

        :raises worker.errors.FleetUnavailable: if it cannot be reached for now.
        """
        ...

    async def leave(self) -> None:
        """Give everything back at once; out of reach, the lease ends by itself."""
        ...

    async def close(self) -> None:
        """Let go of the place; idempotent."""
        ...
