"""RabbitMQ: the connection, and publishing to a queue through the default exchange.

``amqp://[user:password@]host[:5672]/[virtual host]?queue=…&dead=…&most_bytes=…`` (``amqps://`` with TLS)

The library's "robust" connections are not used: they restore channels that consume nothing any more (aio-pika #231,
#632), and leave messages that cannot be acknowledged (#312). A lost session is opened anew, as a whole.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial

import aio_pika
import anyio
import anyio.to_thread
from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractIncomingMessage, FieldValue
from aio_pika.exceptions import (
    AMQPChannelError,
    AMQPError,
    AuthenticationError,
    ChannelClosed,
    ChannelInvalidStateError,
    ChannelNotFoundEntity,
    DeliveryError,
    ProbableAuthenticationError,
    ProtocolSyntaxError,
)

from worker.brokers.address import Address, parse_address
from worker.brokers.extras import CREATE_IT
from worker.brokers.lots import send_in_lots
from worker.brokers.messages import Message, message_from
from worker.errors import SettingsError, SinkUnavailable, WorkerError, out_of_reach

PORT, TLS_PORT = 5672, 5671
CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 30.0
CLOSE_WITHIN_S = 2.0
HEARTBEAT_S = 20
AT_ONCE = 256
CONTENT_TYPE = "application/EDI-X12"


def address_of(url: str, *, setting: str, queue: str) -> Address:
    """Take the URL of a queue apart.

    :raises worker.errors.SettingsError: if it cannot be read so.
    """
    # 16 MiB is what RabbitMQ 4 takes; before it was 128.
    parameters = {"queue": queue, "dead": "", "most_bytes": str(16 << 20)}
    port = TLS_PORT if url.startswith("amqps:") else PORT
    address = parse_address(url, setting=setting, port=port, parameters=parameters)
    if not address["most_bytes"].isdigit():
        raise SettingsError([f"{setting}: parameter most_bytes must be a number of bytes"])
    return address


def dead_of(address: Address) -> str:
    """Name the queue of the dead letters."""
    return address["dead"] or f"{address['queue']}.dead"


@contextmanager
def _unlogged(library: str) -> Iterator[None]:
    """Pass over what the library logs: it raises as well what keeps us out, and in an outage does both every 2 s."""

    def passed_over(_: logging.LogRecord) -> bool:
        return False

    logger = logging.getLogger(library)
    logger.addFilter(passed_over)
    try:
        yield
    finally:
        logger.removeFilter(passed_over)


class Session:
    """One connection with one channel, from `connect` to its loss. `number` tells sessions apart."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.number = 0
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None

    @property
    def channel(self) -> AbstractChannel:
        """Give the channel.

        :raises aio_pika.exceptions.ChannelInvalidStateError: if the session is lost.
        """
        channel, connection = self._channel, self._connection
        if channel is None or connection is None or channel.is_closed or connection.is_closed:
            raise ChannelInvalidStateError("lost")
        return channel

    async def connect(self) -> AbstractChannel:
        """Connect anew. Told within `translated`."""
        await self.close()
        self.number += 1
        address = self.address
        context = await anyio.to_thread.run_sync(address.trusting) if address.scheme == "amqps" else None
        with _unlogged("aiormq.connection"):
            self._connection = await aio_pika.connect(
                host=address.host,
                port=address.port,
                login=address.user or "guest",
                password=str(address.password) or "guest",
                virtualhost=address.path or "/",
                ssl=context is not None,
                ssl_context=context,
                timeout=CONNECT_TIMEOUT_S,
                heartbeat=str(HEARTBEAT_S),
            )
        return await self.renew()

    async def renew(self) -> AbstractChannel:
        """Open another channel: an error closes the one that it happened on."""
        if self._connection is None:
            raise ChannelInvalidStateError("lost")
        self._channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        return self._channel

    async def close(self) -> None:
        """Disconnect; idempotent."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            # The library waits for the broker's good-bye: for a minute, if that has stopped taking what we send.
            with (
                anyio.move_on_after(CLOSE_WITHIN_S),
                suppress(AMQPError, ChannelInvalidStateError, OSError, RuntimeError),
            ):
                await connection.close()


@contextmanager
def translated(
    address: Address,
    unavailable: type[WorkerError],
    *,
    missing: type[WorkerError] | None = None,
    needed: Sequence[str] = (),
) -> Iterator[None]:
    """Turn aio-pika's errors into ours, without their texts; `needed` are others that may be missing."""
    where = address.shown
    try:
        yield
    except (AuthenticationError, ProbableAuthenticationError):
        raise SettingsError([f"rabbitmq: {where} refuses this user or its password"]) from None
    except ProtocolSyntaxError:
        raise SettingsError([f"rabbitmq: {where} refuses the virtual host, or is no AMQP 0-9-1 broker"]) from None
    except ChannelNotFoundEntity:
        queues = " or ".join(map(repr, (address["queue"], *needed)))
        text = f"rabbitmq: the queue {queues} is missing at {where}; {CREATE_IT}"
        raise (missing(text) if missing else SettingsError([text])) from None
    except DeliveryError:
        raise unavailable(f"rabbitmq: {where} does not take the message now (queue full or missing)") from None
    except (ChannelClosed, AMQPChannelError) as error:
        if "ACCESS_REFUSED" in str(error):
            raise SettingsError([f"rabbitmq: {where} refuses this user its rights on the queue"]) from None
        raise unavailable(f"rabbitmq: {where} closed the channel ({type(error).__name__})") from None
    except (TimeoutError, AMQPError, ChannelInvalidStateError, OSError, RuntimeError) as error:
        raise unavailable(out_of_reach(f"rabbitmq: {where}", error)) from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # aiormq cancels what waits on a connection that is lost; nobody cancelled us.
        raise unavailable(f"rabbitmq: the connection to {where} was lost") from None


async def ready_queue(session: Session, name: str, *, create: bool, dead: str = "") -> tuple[int, int]:
    """See that a durable queue is there, or make it as a quorum queue; returns its ready messages and its consumers.

    `dead`: where the broker itself puts what exceeds a delivery limit that somebody set. Told within `translated`.
    """
    try:
        queue = await session.channel.declare_queue(name, passive=True, timeout=ANSWER_TIMEOUT_S)
    except ChannelNotFoundEntity:
        await session.renew()
        if not create:
            raise
        arguments: dict[str, FieldValue] = {"x-queue-type": "quorum"}
        if dead:
            arguments |= {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}
        queue = await session.channel.declare_queue(name, durable=True, arguments=arguments, timeout=ANSWER_TIMEOUT_S)
    told = queue.declaration_result
    return told.message_count or 0, told.consumer_count or 0


async def publish(session: Session, queue: str, message: Message) -> None:
    """Publish one message, confirmed on return. Told within `translated`."""
    headers: dict[str, FieldValue] = dict(message.all_headers())
    own = aio_pika.Message(
        message.body,
        headers=headers,
        content_type=CONTENT_TYPE,
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=message.message_id or None,
    )
    await session.channel.default_exchange.publish(own, queue, mandatory=True, timeout=ANSWER_TIMEOUT_S)


def message_of(received: AbstractIncomingMessage) -> Message:
    """Read a message as it came; headers that are no texts are the broker's."""
    headers: Mapping[str, object] = received.headers or {}
    texts = {name: value for name, value in headers.items() if isinstance(value, str)}
    return message_from(received.body, texts, message_id=received.message_id or "")


class RabbitSender:
    """Publishes to a queue (`worker.brokers.engine.Sender`)."""

    def __init__(self, address: Address) -> None:
        self._session = Session(address)
        self._address = address
        self.most_bytes = int(address["most_bytes"])
        self.shown = f"{address.shown}?queue={address['queue']}"

    async def open(self, *, create: bool) -> None:
        """Connect and see that the queue is there; see `Sender.open`."""
        with translated(self._address, SinkUnavailable):
            await self._session.connect()
            await ready_queue(self._session, self._address["queue"], create=create)

    async def send(self, messages: Sequence[Message]) -> None:
        """Publish in order, many before the first is confirmed; see `Sender.send`."""
        with translated(self._address, SinkUnavailable, missing=SinkUnavailable):
            to_queue = partial(publish, self._session, self._address["queue"])
            await send_in_lots(to_queue, messages, at_once=AT_ONCE)

    async def close(self) -> None:
        """Disconnect."""
        await self._session.close()
