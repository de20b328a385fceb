"""The real brokers for tests: where they are, whether they are there, and names of one's own on them."""

import asyncio
import os
import socket
import uuid
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest
import redis

from worker import sinks
from worker.brokers.messages import Message
from worker.brokers.redis import message_of
from worker.brokers.senders import sender_from_url
from worker.ports import Sink
from worker.settings import InputSettings
from worker.sources import BrokerSource, from_url

T = TypeVar("T")

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
        sender = sender_from_url(self.url, setting="test", place="unused")
        await sender.open(create=True)
        try:
            await sender.send(messages)
        finally:
            await sender.close()

    def source(self, *, worker_id: str = "tester", **settings: Any) -> BrokerSource:
        """Make a source on it, each time as a restarted worker would."""
        attempts = self.root / f"{worker_id}.attempts"
        source = from_url(self.url, InputSettings(**settings), worker_id=worker_id, attempts_file=attempts, create=True)
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

    def remove(self) -> None:
        """Remove it from the broker."""
        raise NotImplementedError


class RedisPlace(Place):
    """A stream."""

    def __init__(self, root: Path, url: str = REDIS_URL) -> None:
        need(url)
        self.stream = own_name()
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


PLACES: dict[str, Callable[[Path], Place]] = {"redis": RedisPlace}


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end beside the running loop; blocks."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
