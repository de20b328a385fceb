"""A RabbitMQ queue as an inlet: one consumer with manual acknowledgement, its prefetch what may be held at once.

RabbitMQ has no lease: a message is ours as long as the connection stands, and at most ``consumer_timeout`` (half an
hour by default). The watchdog looks at the queue whenever nothing comes: messages that wait although we want some, or
no consumer at all, mean that the session is dead, whatever the library says.
"""

import asyncio
import time
from collections.abc import Hashable, Sequence
from typing import NamedTuple

from aio_pika.abc import AbstractIncomingMessage
from aio_pika.exceptions import ChannelInvalidStateError
from aiormq.abc import AbstractChannel

from worker.brokers.engine import Arrived
from worker.brokers.messages import Message
from worker.brokers.rabbitmq import Session, address_of, dead_of, message_of, publish, ready_queue, translated
from worker.errors import SettingsError, SourceUnavailable

LOOK_EVERY_S = 5.0
# What the queue counts as delivered may still be on its way to us.
UNDERWAY_S = 0.2
STRIKES = 2


class Tag(NamedTuple):
    """What acknowledges a message: its number on the channel of one session."""

    session: int
    number: int


class RabbitInlet:
    """Consumes from a queue (`worker.brokers.engine.Inlet`)."""

    scheme = "amqp"
    lease_s = 0.0

    def __init__(self, url: str, *, prefetch: int) -> None:
        address = self._address = address_of(url, setting="input.url", queue="precheck.claims")
        self._session = Session(address)
        self._queue = address["queue"]
        self._prefetch = min(prefetch, 65_535)
        self._arrived: asyncio.Queue[Arrived] = asyncio.Queue()
        self._consuming = False
        self._look_at = 0.0
        self._strikes = 0
        self.place = self._queue
        self.shown = f"{address.shown}?queue={self._queue}"

    async def open(self, *, create: bool) -> None:
        """Connect and see that the queues are there; nothing comes before `fetch` asks for it; see `Inlet.open`."""
        self._consuming = False
        dead = dead_of(self._address)
        with translated(self._address, SourceUnavailable, needed=[dead]):
            await self._session.connect()
            await ready_queue(self._session, dead, create=create)
            await ready_queue(self._session, self._queue, create=create, dead=dead)

    async def fetch(self, limit: int, wait_s: float) -> Sequence[Arrived]:
        """Give what has come; see `Inlet.fetch`."""
        try:
            with translated(self._address, SourceUnavailable, missing=SourceUnavailable):
                if not self._consuming:
                    await self._consume()
                if self._arrived.empty():
                    await self._await_one(wait_s)
        except SettingsError as refused:
            raise SourceUnavailable(str(refused)) from None
        return [self._arrived.get_nowait() for _ in range(min(limit, self._arrived.qsize()))]

    async def acknowledge(self, handles: Sequence[Hashable]) -> int:
        """Acknowledge; see `Inlet.acknowledge`."""
        heard = 0
        try:
            with translated(self._address, SourceUnavailable):
                for tag in self._current(handles):
                    await (await self._underlay()).basic_ack(tag.number)
                    heard += 1
        except (SourceUnavailable, SettingsError):
            return heard
        return heard

    async def give_back(self, handles: Sequence[Hashable]) -> None:
        """Requeue; see `Inlet.give_back`."""
        try:
            with translated(self._address, SourceUnavailable):
                for tag in self._current(handles):
                    await (await self._underlay()).basic_nack(tag.number, requeue=True)
        except (SourceUnavailable, SettingsError):
            return  # the session is lost, and with it they are free

    async def extend(self, handles: Sequence[Hashable]) -> None:
        """Nothing to say: the connection's heartbeat speaks for all."""

    async def bury(self, letter: Message) -> None:
        """Publish the letter to the queue of the dead; see `Inlet.bury`."""
        try:
            with translated(self._address, SourceUnavailable, missing=SourceUnavailable):
                await publish(self._session, dead_of(self._address), letter)
        except SettingsError as refused:
            raise SourceUnavailable(str(refused)) from None

    async def close(self) -> None:
        """Disconnect; what is not acknowledged is free with that."""
        await self._session.close()
        self._arrived = asyncio.Queue()

    async def _consume(self) -> None:
        channel, session = self._session.channel, self._session.number
        await channel.set_qos(prefetch_count=self._prefetch)
        queue = await channel.get_queue(self._queue, ensure=False)
        arrived: asyncio.Queue[Arrived] = asyncio.Queue()

        async def receive(message: AbstractIncomingMessage) -> None:
            arrived.put_nowait(_arrived(message, session))

        await queue.consume(receive)
        # Those of the session before cannot be acknowledged any more, and are on their way again.
        self._arrived, self._strikes, self._look_at = arrived, 0, time.monotonic() + LOOK_EVERY_S
        self._consuming = True

    async def _await_one(self, wait_s: float) -> None:
        """Wait for a message to come; look at the queue if none does."""
        if wait_s and await self._came(wait_s):
            self._strikes = 0
            return
        if wait_s and time.monotonic() < self._look_at:
            _ = self._session.channel  # raises if it is lost
            return
        self._look_at = time.monotonic() + LOOK_EVERY_S
        ready, consumers = await ready_queue(self._session, self._queue, create=False)
        if not consumers:
            raise ChannelInvalidStateError("no consumer")
        if not wait_s and await self._came(UNDERWAY_S if not ready else LOOK_EVERY_S):
            return
        self._strikes = self._strikes + 1 if ready and self._arrived.empty() else 0
        if self._strikes >= STRIKES:
            raise ChannelInvalidStateError("messages wait, and none comes")

    async def _came(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                first = await self._arrived.get()
        except TimeoutError:
            return not self._arrived.empty()
        rest = [self._arrived.get_nowait() for _ in range(self._arrived.qsize())]
        for one in (first, *rest):
            self._arrived.put_nowait(one)
        return True

    def _current(self, handles: Sequence[Hashable]) -> list[Tag]:
        """Pick the handles that this session can still settle."""
        return [tag for tag in handles if isinstance(tag, Tag) and tag.session == self._session.number]

    async def _underlay(self) -> AbstractChannel:
        return await self._session.channel.get_underlay_channel()


def _arrived(received: AbstractIncomingMessage, session: int) -> Arrived:
    """RabbitMQ has no name of its own for a message: where the producer gives none, equal bytes are one delivery."""
    again = (received.headers or {}).get("x-delivery-count", 1 if received.redelivered else 0)
    deliveries = 1 + again if isinstance(again, int) else 2
    return Arrived(message_of(received), Tag(session, received.delivery_tag or 0), "", deliveries)
