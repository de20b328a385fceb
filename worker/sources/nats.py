"""A JetStream stream as an inlet: a durable pull consumer that all workers share.

The lease is the consumer's ``ack_wait``; a sign of life is an "in progress". A pull is answered, be it with "no
messages"; after one that is not, the watchdog asks whether the consumer is there at all: a connection proves nothing.
"""

import asyncio
import json
from collections.abc import Hashable, Sequence
from typing import Any

import nats.errors
import nats.js.errors
import structlog
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, ConsumerInfo

from worker.brokers.engine import Arrived
from worker.brokers.extras import CREATE_IT
from worker.brokers.messages import Message
from worker.brokers.nats.address import address_of, dead_of, stream_of
from worker.brokers.nats.session import ANSWER_TIMEOUT_S, Session, make_stream, translated
from worker.brokers.nats.wire import headers_of, message_of
from worker.errors import SettingsError, SourceUnavailable

log = structlog.get_logger()

ACK, NAK, IN_PROGRESS = b"+ACK", b"-NAK", b"+WPI"
PULL_WITHIN_S = 5.0
NO_MESSAGES, TIMED_OUT = "404", "408"
_ADVISORY = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES"


class NatsInlet:
    """Pulls from a consumer (`worker.brokers.engine.Inlet`)."""

    scheme = "nats"

    def __init__(self, url: str, *, lease_s: float) -> None:
        address = self._address = address_of(url, setting="input.url", subject="precheck.claims", several=True)
        self._session = Session(address)
        self._stream, self._consumer = stream_of(address), address["consumer"]
        self._pulled: Subscription | None = None
        self._inbox = ""
        self.lease_s = lease_s
        self.place = self._stream
        self.shown = f"{address.shown}?subject={address['subject']}"

    async def open(self, *, create: bool) -> None:
        """Connect, see that streams and consumer are there, and subscribe anew; see `Inlet.open`."""
        with translated(self._address, SourceUnavailable, needed=dead_of(self._address)):
            client = await self._session.connect()
            if create:
                await self._create()
            info = await self._session.jetstream.consumer_info(self._stream, self._consumer)
            await self._session.jetstream.find_stream_name_by_subject(dead_of(self._address))
            self.lease_s = _lease_of(info)
            self._inbox = client.new_inbox()
            self._pulled = await client.subscribe(self._inbox)
            await client.subscribe(f"{_ADVISORY}.{self._stream}.{self._consumer}", cb=self._given_up)

    async def fetch(self, limit: int, wait_s: float) -> Sequence[Arrived]:
        """Pull what is there; if nothing is, wait for one; see `Inlet.fetch`."""
        try:
            with translated(self._address, SourceUnavailable, missing=SourceUnavailable):
                found = await self._pull({"batch": limit, "no_wait": True}, limit, PULL_WITHIN_S)
                if not found and wait_s:
                    expires = {"batch": 1, "expires": int(wait_s * 1e9)}
                    found = await self._pull(expires, 1, wait_s + PULL_WITHIN_S)
        except SettingsError as refused:
            raise SourceUnavailable(str(refused)) from None
        return [_arrived(one) for one in found]

    async def acknowledge(self, handles: Sequence[Hashable]) -> int:
        """Acknowledge; see `Inlet.acknowledge`."""
        return len(handles) if await self._told(handles, ACK) else 0

    async def give_back(self, handles: Sequence[Hashable]) -> None:
        """Refuse them for now; see `Inlet.give_back`."""
        await self._told(handles, NAK)

    async def extend(self, handles: Sequence[Hashable]) -> None:
        """Say that they are in progress; see `Inlet.extend`."""
        if not await self._told(handles, IN_PROGRESS):
            raise SourceUnavailable(f"nats: {self._address.shown} cannot be reached")

    async def bury(self, letter: Message) -> None:
        """Publish the letter to the subject of the dead; see `Inlet.bury`."""
        headers = {name: value for name, value in headers_of(letter).items() if not name.startswith("Nats-")}
        try:
            with translated(self._address, SourceUnavailable, missing=SourceUnavailable):
                await self._session.jetstream.publish(dead_of(self._address), letter.body, headers=headers)
        except SettingsError as refused:
            raise SourceUnavailable(str(refused)) from None

    async def close(self) -> None:
        """Disconnect."""
        self._pulled = None
        await self._session.close()

    async def _create(self) -> None:
        address, jetstream = self._address, self._session.jetstream
        await make_stream(jetstream, address, self._stream, address["subject"], queue=True)
        try:
            await jetstream.find_stream_name_by_subject(dead_of(address))
        except nats.js.errors.NotFoundError:
            await make_stream(jetstream, address, f"{self._stream}_DEAD", dead_of(address), queue=False)
        try:
            await jetstream.consumer_info(self._stream, self._consumer)
        except nats.js.errors.NotFoundError:
            config = ConsumerConfig(
                durable_name=self._consumer,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=self.lease_s,
                max_deliver=-1,
                max_ack_pending=-1,
                filter_subject=address["subject"],
            )
            await jetstream.add_consumer(self._stream, config)

    async def _pull(self, request: dict[str, Any], most: int, within_s: float) -> list[Msg]:
        """Ask for messages and gather the answer, which ends with the last one or with a status."""
        client, pulled = self._session.client, self._pulled
        if pulled is None:
            raise nats.errors.ConnectionClosedError
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        await client.publish(subject, json.dumps(request).encode(), reply=self._inbox)
        found: list[Msg] = []
        while len(found) < most:
            try:
                message = await pulled.next_msg(timeout=within_s)
            except (TimeoutError, nats.errors.TimeoutError):
                if not found:
                    await self._session.jetstream.consumer_info(self._stream, self._consumer)
                return found
            status = (message.headers or {}).get("Status")
            if status is None:
                found.append(message)
            elif status not in (NO_MESSAGES, TIMED_OUT) and not found:
                told = (message.headers or {}).get("Description", "")
                if "Deleted" in told:
                    raise SourceUnavailable(f"nats: the consumer was deleted; {CREATE_IT}")
                await asyncio.sleep(0.2)  # too many wait, or too much is unacknowledged: both pass
                return found
            else:
                return found
        return found

    async def _told(self, handles: Sequence[Hashable], what: bytes) -> bool:
        """Say the same of many messages; whether the server can have heard it."""
        if not handles:
            return True
        try:
            client = self._session.client
            for handle in handles:
                await client.publish(str(handle), what)
            await client.flush(int(ANSWER_TIMEOUT_S))
        except (TimeoutError, nats.errors.Error, OSError):
            return False
        return True

    async def _given_up(self, _: Msg) -> None:
        log.error("input.lost", count=1, detail="nats: a message reached the consumer's max_deliver; set it to -1")


def _lease_of(info: ConsumerInfo) -> float:
    """Learn the consumer's lease, and see that it works as it must.

    :raises worker.errors.SettingsError: if it does not.
    """
    if info.config.ack_policy != AckPolicy.EXPLICIT or info.config.deliver_subject:
        raise SettingsError([f"input.url: the consumer {info.name!r} must be a pull consumer with explicit acks"])
    if (info.config.max_deliver or -1) > 0:
        log.warning(
            "settings.warned",
            detail=f"nats: consumer {info.name} stops at max_deliver {info.config.max_deliver}; set -1",
        )
    return float(info.config.ack_wait or 30.0)


def _arrived(received: Msg) -> Arrived:
    told = received.metadata
    # A stream that is made anew counts from 1 again; the time keeps them apart.
    identity = f"{told.sequence.stream}:{told.timestamp.timestamp()}"
    return Arrived(message_of(received), received.reply, identity, told.num_delivered or 1)
