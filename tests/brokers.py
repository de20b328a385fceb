"""The real brokers for tests: where they are, whether they are there, and names of one's own on them."""

import asyncio
import contextlib
import os
import socket
import uuid
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aio_pika
import nats
import pytest
import redis
from aiobotocore.session import AioSession
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from tests import sqs
from worker import sinks
from worker.brokers import rabbitmq
from worker.brokers.deaths import Deaths
from worker.brokers.messages import Message, message_from
from worker.brokers.redis import message_of
from worker.brokers.senders import CLAIMS, sender_from_url
from worker.brokers.sqs.wire import message_of as sqs_message_of
from worker.ports import Sink
from worker.settings import InputSettings
from worker.sources import BrokerSource, from_url

T = TypeVar("T")

AMQP_URL = os.environ.get("TEST_AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")
NATS_URL = os.environ.get("TEST_NATS_URL", "nats://127.0.0.1:4222")
REDIS_URL = os.environ.get("TEST_REDIS_URL", "redis://127.0.0.1:6379/0")

REQUIRED = os.environ.get("REQUIRE_SERVICES") == "1"


def need(url: str) -> None:
    """Skip the test, with the reason, unless somebody listens there; fail instead where services are required."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 0), timeout=5).close()
    except OSError as error:
        reason = f"nobody listens at {parts.hostname}:{parts.port} ({error.strerror or error})"
        if REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)


def own_name() -> str:
    """Make a name that nobody else uses."""
    return f"test-{uuid.uuid4().hex[:12]}"


class Place:
    """One place on a real broker, made for one test: claims come from it, results go to it."""

    server: str

    def __init__(self, url: str, root: Path) -> None:
        self.url = url
        self.root = root

    def put(self, name: str, data: bytes) -> None:
        """Publish a batch, as `enqueue` does."""
        self.publish(Message(data, name=name, message_id=uuid.uuid4().hex))

    def publish(self, *messages: Message) -> None:
        """Publish messages and wait for the broker's word."""
        finish(self._publish(messages))

    async def _publish(self, messages: Sequence[Message]) -> None:
        sender = sender_from_url(self.url, setting="test", place=CLAIMS)
        await sender.open(create=True)
        try:
            await sender.send(messages)
        finally:
            await sender.close()

    def source(self, *, worker_id: str = "tester", **settings: Any) -> BrokerSource:
        """Make a source on it, each time as a restarted worker would."""
        deaths = self.root / f"{worker_id}.attempts"
        source = from_url(self.url, InputSettings(**settings), worker_id=worker_id, deaths=Deaths(deaths), create=True)
        assert isinstance(source, BrokerSource)
        return source

    def sink(self) -> Sink:
        """Make a sink on it."""
        return sinks.from_url(self.url, create=True)

    async def letters(self) -> list[Message]:
        """Read the dead letters."""
        raise NotImplementedError

    async def published(self) -> list[Message]:
        """Read what was published and not taken."""
        raise NotImplementedError

    async def left(self) -> int:
        """Count what a consumer still has to get or to acknowledge."""
        return len(await self.published())

    def remove(self) -> None:
        """Remove it from the broker."""
        raise NotImplementedError


class RedisPlace(Place):
    """A stream."""

    def __init__(self, root: Path, url: str = REDIS_URL) -> None:
        need(url)
        self.stream = own_name()
        self.server = url
        super().__init__(f"{url}?stream={self.stream}", root)
        self.client = redis.Redis.from_url(url, protocol=2)

    async def letters(self) -> list[Message]:
        return [message_of(fields) for _, fields in self._entries(f"{self.stream}:dead")]

    async def published(self) -> list[Message]:
        return [message_of(fields) for _, fields in self._entries(self.stream)]

    def _entries(self, stream: str) -> Any:
        return self.client.xrange(stream)

    def remove(self) -> None:
        self.client.delete(self.stream, f"{self.stream}:dead", f"{self.stream}:ids")
        self.client.close()


class NatsPlace(Place):
    """A stream."""

    def __init__(self, root: Path, url: str = NATS_URL) -> None:
        need(url)
        self.subject = own_name()
        self.server = url
        super().__init__(f"{url}?subject={self.subject}", root)

    @property
    def stream(self) -> str:
        return self.subject.upper()

    async def letters(self) -> list[Message]:
        return await self._messages(f"{self.stream}_DEAD")

    async def published(self) -> list[Message]:
        return await self._messages(self.stream)

    async def left(self) -> int:
        # Not what the stream holds: a server that was killed may have forgotten that it deleted what was acknowledged,
        # and remember that it was (seen with 2.9 after kill -9). Nobody gets those messages again.
        client = await nats.connect(self.server)
        try:
            consumers = await client.jetstream().consumers_info(self.stream)
            return sum((one.num_pending or 0) + (one.num_ack_pending or 0) for one in consumers)
        finally:
            await client.close()

    async def _messages(self, stream: str) -> list[Message]:
        client = await nats.connect(self.server)
        try:
            jetstream = client.jetstream()
            state = (await jetstream.stream_info(stream)).state
            if not state.messages:
                return []
            raw = [await self._get(jetstream, stream, seq) for seq in range(state.first_seq, state.last_seq + 1)]
            return [one for one in raw if one is not None]
        finally:
            await client.close()

    @staticmethod
    async def _get(jetstream: JetStreamContext, stream: str, seq: int) -> Message | None:
        try:
            found = await jetstream.get_msg(stream, seq)
        except NotFoundError:
            return None
        headers = dict(found.headers or {})
        return message_from(found.data or b"", headers, message_id=headers.pop("Nats-Msg-Id", ""))

    def remove(self) -> None:
        finish(self._remove())

    async def _remove(self) -> None:
        client = await nats.connect(self.server)
        for stream in (self.stream, f"{self.stream}_DEAD"):
            with contextlib.suppress(NotFoundError):
                await client.jetstream().delete_stream(stream)
        await client.close()


class RabbitPlace(Place):
    """A queue."""

    def __init__(self, root: Path, url: str = AMQP_URL) -> None:
        need(url)
        self.queue = own_name()
        self.server = url
        super().__init__(f"{url}?queue={self.queue}", root)

    async def letters(self) -> list[Message]:
        return await self._messages(f"{self.queue}.dead")

    async def published(self) -> list[Message]:
        return await self._messages(self.queue)

    async def _messages(self, queue: str) -> list[Message]:
        """Get them without acknowledging any: closing the connection puts them back."""
        found = []
        async with await aio_pika.connect(self.server) as connection:
            place = await (await connection.channel()).get_queue(queue)
            while (message := await place.get(fail=False)) is not None:
                found.append(rabbitmq.message_of(message))
        return found

    def remove(self) -> None:
        finish(self._remove())

    async def _remove(self) -> None:
        async with await aio_pika.connect(self.server) as connection:
            channel = await connection.channel()
            for queue in (self.queue, f"{self.queue}.dead"):
                await channel.queue_delete(queue)


class SqsPlace(Place):
    """A standard queue."""

    suffix = ""

    def __init__(self, root: Path, url: str = "") -> None:
        self.server = url or sqs.endpoint()
        name = own_name()
        self.queues = (f"{name}{self.suffix}", f"{name}-dead{self.suffix}")
        super().__init__(f"sqs:{self.queues[0]}?region={sqs.REGION}&endpoint={self.server}", root)

    async def letters(self) -> list[Message]:
        return await self._messages(self.queues[1])

    async def published(self) -> list[Message]:
        return await self._messages(self.queues[0])

    async def left(self) -> int:
        async with self.client() as client:
            url = (await client.get_queue_url(QueueName=self.queues[0]))["QueueUrl"]
            told = (await client.get_queue_attributes(QueueUrl=url, AttributeNames=["All"]))["Attributes"]
            return int(told["ApproximateNumberOfMessages"]) + int(told["ApproximateNumberOfMessagesNotVisible"])

    def client(self) -> Any:
        """Make a client of the library's own."""
        return AioSession().create_client("sqs", region_name=sqs.REGION, endpoint_url=sqs.endpoint())

    async def _messages(self, queue: str) -> list[Message]:
        """Receive all that can be had, and give it back."""
        found: list[dict[str, Any]] = []
        async with self.client() as client:
            url = (await client.get_queue_url(QueueName=queue))["QueueUrl"]
            while more := await self._receive(client, url):
                found += more
            for one in found:
                await client.change_message_visibility(
                    QueueUrl=url, ReceiptHandle=one["ReceiptHandle"], VisibilityTimeout=0
                )
        return [sqs_message_of(one) for one in found]

    @staticmethod
    async def _receive(client: Any, url: str) -> list[dict[str, Any]]:
        answer = await client.receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=60, WaitTimeSeconds=0, MessageAttributeNames=["All"]
        )
        return list(answer.get("Messages", []))

    def remove(self) -> None:
        finish(self._remove())

    async def _remove(self) -> None:
        async with self.client() as client:
            for queue in self.queues:
                with contextlib.suppress(client.exceptions.QueueDoesNotExist):
                    await client.delete_queue(QueueUrl=(await client.get_queue_url(QueueName=queue))["QueueUrl"])


class SqsFifoPlace(SqsPlace):
    """A FIFO queue."""

    suffix = ".fifo"


PLACES: dict[str, Callable[..., Place]] = {
    "rabbitmq": RabbitPlace, "nats": NatsPlace, "redis": RedisPlace, "sqs": SqsPlace, "sqs-fifo": SqsFifoPlace,
}  # fmt: skip


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end beside the running loop; blocks."""

    async def finished() -> T:
        result = await work
        await asyncio.sleep(0.01)  # nats-py closes its transports a moment after it says so
        return result

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, finished()).result()
