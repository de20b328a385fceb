"""The seams of an engine: an `Inlet` that messages are taken from, a `Sender` that they are published with.

An engine keeps no promise beyond its own session: what survives a lost connection, a redelivery or a dead worker is
the business of those who use it (`worker.sources.brokered`, `worker.sinks.published`). Foreign exceptions end here.
"""

from collections.abc import Hashable, Sequence
from typing import Protocol

import msgspec

from worker.brokers.messages import Message


class Arrived(msgspec.Struct, frozen=True, eq=False):
    """A message as it came. `handle` settles it; `identity` is the broker's own name for it, "" if it has none.

    `deliveries` counts how often the broker gave it to anybody, this time included; where a broker only says that it
    did before, 2.
    """

    message: Message
    handle: Hashable
    identity: str
    deliveries: int = 1


class Inlet(Protocol):
    """One queue, stream or subject to take from. `scheme` and `place` name it in refs; `shown` to people.

    `lease_s` is how long the broker waits for a sign of life of a message before it gives it to another, 0.0 for
    a broker that waits as long as the connection stands.
    """

    scheme: str
    place: str
    shown: str
    lease_s: float

    async def open(self, *, create: bool) -> None:
        """Connect, or connect anew; with `create`, make what is missing. No message is taken before the first `fetch`.

        :raises worker.errors.SettingsError: if we are refused, or something is missing; names the command that helps.
        :raises worker.errors.SourceUnavailable: if the broker cannot be reached for now.
        """
        ...

    async def fetch(self, limit: int, wait_s: float) -> Sequence[Arrived]:
        """Get up to `limit` messages, waiting up to `wait_s` for the first; none if there is none.

        Never cancelled. One that was given before and lost its lease comes again, with another handle or the same.

        :raises worker.errors.SourceUnavailable: if the session is lost, or nobody listens any more: open it again.
        """
        ...

    async def acknowledge(self, handles: Sequence[Hashable]) -> int:
        """Tell the broker that these are done; returns how many it can have heard of. Lost sessions cost no error."""
        ...

    async def give_back(self, handles: Sequence[Hashable]) -> None:
        """Let the broker deliver these again at once, to anybody. Lost sessions cost no error."""
        ...

    async def extend(self, handles: Sequence[Hashable]) -> None:
        """Say that these are being worked on.

        :raises worker.errors.SourceUnavailable: if that cannot be said now.
        """
        ...

    async def bury(self, letter: Message) -> None:
        """Put a letter with the dead, durable on return; the message that it is made of is acknowledged afterwards.

        :raises worker.errors.SourceUnavailable: if that cannot be done now.
        """
        ...

    async def close(self) -> None:
        """End the session; idempotent."""
        ...


class Sender(Protocol):
    """Publishes to one queue, stream or subject. `most_bytes` is the largest message that the broker takes."""

    shown: str
    most_bytes: int

    async def open(self, *, create: bool) -> None:
        """Connect, or connect anew; with `create`, make what is missing.

        :raises worker.errors.SettingsError: if we are refused, or something is missing; names the command that helps.
        :raises worker.errors.SinkUnavailable: if the broker cannot be reached for now.
        """
        ...

    async def send(self, messages: Sequence[Message]) -> None:
        """Publish these in order; on return the broker has confirmed every one. Sent again, a message may be doubled.

        :raises worker.errors.SinkUnavailable: if any is not confirmed; open again, then send all again.
        :raises worker.errors.StateError: if the broker refuses one for good.
        """
        ...

    async def close(self) -> None:
        """End the session; idempotent."""
        ...
