"""A Redis stream as an inlet: a consumer group; what a dead consumer held is claimed once its lease is over.

Redis has no leases of its own: an entry that nobody touched for `lease_s` counts as orphaned, and signs of life are
claims by ourselves, which do not count as deliveries. A settled entry is acknowledged and deleted.
"""

import time
from collections.abc import Hashable, Sequence
from typing import Any

import structlog

from worker.brokers.engine import Arrived
from worker.brokers.messages import Message
from worker.brokers.redis import (
    address_of,
    bury_in,
    client_of,
    message_of,
    ready_stream,
    translated,
    warn_of_forgetting,
)
from worker.errors import SettingsError, SourceUnavailable

log = structlog.get_logger()

DAY_MS = 86_400_000
CLAIM_AT_ONCE = 100


class RedisInlet:
    """Takes from a stream as one consumer of its group (`worker.brokers.engine.Inlet`)."""

    scheme = "redis"

    def __init__(self, url: str, *, worker_id: str, lease_s: float) -> None:
        self._address = address_of(url, setting="input.url", stream="precheck:claims")
        self._client = client_of(self._address)
        self._consumer = worker_id
        self._stream, self._group = self._address["stream"], self._address["group"]
        self._claim_next = 0.0
        self.lease_s = lease_s
        self.place = self._stream
        self.shown = f"{self._address.shown}?stream={self._stream}"

    async def open(self, *, create: bool) -> None:
        """See that stream and group are there; see `Inlet.open`."""
        with translated(self._address, SourceUnavailable):
            await ready_stream(self._client, self._address, create=create)
            await warn_of_forgetting(self._client, self._address)
        self._claim_next = 0.0

    async def fetch(self, limit: int, wait_s: float) -> Sequence[Arrived]:
        """Claim what is orphaned, then read what is new; see `Inlet.fetch`."""
        try:
            with translated(self._address, SourceUnavailable, missing=SourceUnavailable):
                if not wait_s or time.monotonic() >= self._claim_next:
                    self._claim_next = time.monotonic() + min(1.0, self.lease_s / 3)
                    if orphaned := await self._claim(limit):
                        return orphaned
                block = max(1, int(wait_s * 1000)) if wait_s else None
                found: Any = await self._client.xreadgroup(
                    self._group, self._consumer, {self._stream: ">"}, count=limit, block=block
                )
        except SettingsError as refused:
            raise SourceUnavailable(str(refused)) from None
        return [_arrived(entry, 1) for _, entries in found or () for entry in entries]

    async def acknowledge(self, handles: Sequence[Hashable]) -> int:
        """Acknowledge and delete; see `Inlet.acknowledge`."""
        if not handles:
            return 0
        try:
            with translated(self._address, SourceUnavailable, missing=SourceUnavailable):
                async with self._client.pipeline(transaction=True) as pipeline:
                    pipeline.xack(self._stream, self._group, *map(_id, handles))
                    pipeline.xdel(self._stream, *map(_id, handles))
                    await pipeline.execute()
        except (SourceUnavailable, SettingsError):
            return 0
        return len(handles)

    async def give_back(self, handles: Sequence[Hashable]) -> None:
        """Make these orphans; see `Inlet.give_back`."""
        self._claim_next = 0.0
        try:
            await self._touch(handles, idle_ms=DAY_MS)
        except (SourceUnavailable, SettingsError):
            return  # they become orphans by themselves

    async def extend(self, handles: Sequence[Hashable]) -> None:
        """Claim our own again; see `Inlet.extend`."""
        try:
            await self._touch(handles, idle_ms=0)
        except SettingsError as refused:
            raise SourceUnavailable(str(refused)) from None

    async def bury(self, letter: Message) -> None:
        """Add the letter to the stream of the dead; see `Inlet.bury`."""
        try:
            with translated(self._address, SourceUnavailable):
                await bury_in(self._client, self._address, letter)
        except SettingsError as refused:
            raise SourceUnavailable(str(refused)) from None

    async def close(self) -> None:
        """Disconnect."""
        await self._client.aclose()

    async def _touch(self, handles: Sequence[Hashable], *, idle_ms: int) -> None:
        if not handles:
            return
        with translated(self._address, SourceUnavailable, missing=SourceUnavailable):
            await self._client.xclaim(
                self._stream, self._group, self._consumer, 0, [_id(handle) for handle in handles],
                idle=idle_ms, justid=True,
            )  # fmt: skip

    async def _claim(self, limit: int) -> list[Arrived]:
        _, entries, removed = await self._client.xautoclaim(
            self._stream, self._group, self._consumer,
            min_idle_time=int(self.lease_s * 1000), start_id="0-0", count=min(limit, CLAIM_AT_ONCE),
        )  # fmt: skip
        if removed:
            log.error("input.lost", count=len(removed), detail=f"redis: entries of {self._stream!r} were trimmed")
        if not entries:
            return []
        async with self._client.pipeline(transaction=False) as pipeline:
            for entry in entries:
                pipeline.xpending_range(self._stream, self._group, min=entry[0], max=entry[0], count=1)
            pending = await pipeline.execute()
        return [
            _arrived(entry, max(2, told[0]["times_delivered"]) if told else 2)
            for entry, told in zip(entries, pending, strict=True)
        ]


def _arrived(entry: tuple[bytes, dict[bytes, bytes]], deliveries: int) -> Arrived:
    identity, fields = entry
    return Arrived(message_of(fields), identity, identity.decode(), deliveries)


def _id(handle: Hashable) -> Any:
    return handle
