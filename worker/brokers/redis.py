"""Redis Streams: the connection, and publishing to a stream.

``redis://[user:password@]host[:6379]/[database]?stream=…&group=…&dead=…`` (``rediss://`` with TLS)

A message is an entry: the field ``data`` holds the body, ``id`` the producer's id, the others are headers. An id is
published once within `dedup_s`: a sorted set beside the stream remembers ids, in one script with the entry. In a
cluster both keys must lie in one slot: write the stream's name with a hash tag, ``{precheck}:claims``.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import redis.asyncio
import structlog
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as NoConnection,
)
from redis.exceptions import (
    TimeoutError as NoAnswer,
)

from worker.brokers.address import Address, parse_address
from worker.brokers.extras import CREATE_IT
from worker.brokers.messages import Message, message_from
from worker.errors import SettingsError, SinkUnavailable, WorkerError, out_of_reach

PORT = 6379
DATA = "data"
ID = "id"
MOST_BYTES = 511 << 20
SOCKET_TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 5.0

_PUBLISH = """
if ARGV[1] ~= '' and redis.call('ZADD', KEYS[2], 'NX', ARGV[2], ARGV[1]) == 0 then return 'known' end
local id = redis.call('XADD', KEYS[1], 'NOMKSTREAM', '*', unpack(ARGV, 3))
if not id then redis.call('ZREM', KEYS[2], ARGV[1]) return redis.error_reply('NOSTREAM no such stream') end
return id
"""
_FOR_NOW = ("OOM", "LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY", "NOREPLICAS", "MISCONF")
_MISSING = ("NOGROUP", "NOSTREAM")


def address_of(url: str, *, setting: str, stream: str) -> Address:
    """Take the URL of a stream apart.

    :raises worker.errors.SettingsError: if it cannot be read so.
    """
    parameters = {"stream": stream, "group": "precheck", "dead": "", "dedup_s": "86400"}
    address = database_of(url, setting=setting, parameters=parameters)
    if not address["dedup_s"].isdigit():
        raise SettingsError([f"{setting}: parameter dedup_s must be a number of seconds"])
    return address


def database_of(url: str, *, setting: str, parameters: Mapping[str, str]) -> Address:
    """Take the URL of a database apart; `parameters` are those it may have, with their defaults.

    :raises worker.errors.SettingsError: if it cannot be read so.
    """
    address = parse_address(url, setting=setting, port=PORT, parameters=parameters)
    if not (address.path.isdigit() or not address.path):
        raise SettingsError([f"{setting}: what follows the host must be a database's number, like /0"])
    return address


def client_of(
    address: Address, *, answer_timeout_s: float = SOCKET_TIMEOUT_S, connect_timeout_s: float = CONNECT_TIMEOUT_S
) -> redis.asyncio.Redis:
    """Make a client; it connects when it is used."""
    return redis.asyncio.Redis(
        host=address.host,
        port=address.port,
        db=int(address.path or 0),
        username=address.user or None,
        password=str(address.password) or None,
        protocol=2,
        # A command whose answer was lost may have been done; the caller that sends it again must know that.
        retry=Retry(NoBackoff(), 0),
        socket_timeout=answer_timeout_s,
        socket_connect_timeout=connect_timeout_s,
        ssl=address.scheme == "rediss",
        ssl_ca_certs=address["ca_file"] or None,
    )


@contextmanager
def translated(
    address: Address, unavailable: type[WorkerError], *, missing: type[WorkerError] | None = None
) -> Iterator[None]:
    """Turn redis-py's errors into ours; none of its texts, which may quote commands, is told."""
    where = address.shown
    try:
        yield
    except (AuthenticationError, NoPermissionError):
        raise SettingsError([f"redis: {where} refuses this user, its password or its rights"]) from None
    except (NoConnection, NoAnswer, OSError) as error:
        raise unavailable(out_of_reach(f"redis: {where}", error)) from None
    except ResponseError as error:
        code = str(error).partition(" ")[0]
        if code in _MISSING:
            what = "or its group is" if code == "NOGROUP" else "is"
            text = f"redis: the stream {address['stream']!r} {what} missing at {where}; {CREATE_IT}"
            raise (missing(text) if missing else SettingsError([text])) from None
        if code in _FOR_NOW:
            raise unavailable(f"redis: {where} does not take this now ({code})") from None
        if code in ("NOPERM", "NOAUTH"):
            raise SettingsError([f"redis: {where} refuses this user, its password or its rights"]) from None
        if code == "WRONGTYPE":
            raise SettingsError([f"redis: {address['stream']!r} at {where} is something other than a stream"]) from None
        raise SettingsError(
            [f"redis: {where} refuses the command ({code[:40]}); is it Redis 7, with this database?"]
        ) from None
    except RedisError as error:
        raise unavailable(f"redis: {where} failed ({type(error).__name__})") from None


async def ready_stream(client: redis.asyncio.Redis, address: Address, *, create: bool) -> None:
    """See that the stream and its group are there; with `create`, make them. Told within `translated`."""
    stream, group = address["stream"], address["group"]
    if create:
        try:
            await client.xgroup_create(stream, group, id="0", mkstream=True)
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise
        return
    await client.xpending(stream, group)


async def warn_of_forgetting(client: redis.asyncio.Redis, address: Address) -> None:
    """Tell what in the server's settings lets it lose messages that it has confirmed."""
    try:
        found = {**await client.info("persistence"), **await client.info("memory")}
    except ResponseError:
        return  # not allowed to ask
    log = structlog.get_logger()
    if not found.get("aof_enabled"):
        log.warning("settings.warned", detail=f"redis: {address.shown} has appendonly off: a restart loses messages")
    if found.get("maxmemory") and found.get("maxmemory_policy") != "noeviction":
        log.warning("settings.warned", detail=f"redis: {address.shown} may evict the stream: set noeviction")


def fields_of(message: Message) -> list[str | bytes]:
    """Lay a message out as an entry's fields and values."""
    fields: list[str | bytes] = [DATA, message.body]
    if message.message_id:
        fields += [ID, message.message_id]
    for name, value in message.all_headers().items():
        fields += [name, value]
    return fields


def message_of(fields: Mapping[bytes, bytes]) -> Message:
    """Read a message from an entry."""
    headers = {name.decode(errors="replace"): value for name, value in fields.items()}
    body, message_id = headers.pop(DATA, b""), headers.pop(ID, b"")
    texts = {name: value.decode(errors="replace") for name, value in headers.items()}
    return message_from(body, texts, message_id=message_id.decode(errors="replace"))


class RedisSender:
    """Publishes to a stream (`worker.brokers.engine.Sender`), each id once within `dedup_s`."""

    most_bytes = MOST_BYTES

    def __init__(self, address: Address) -> None:
        self._address = address
        self._client = client_of(address)
        self.shown = f"{address.shown}?stream={address['stream']}"

    async def open(self, *, create: bool) -> None:
        """See that the stream is there; see `Sender.open`."""
        with translated(self._address, SinkUnavailable):
            if create:
                await ready_stream(self._client, self._address, create=True)
            elif not await self._client.exists(self._address["stream"]):
                raise ResponseError("NOSTREAM")
            await warn_of_forgetting(self._client, self._address)

    async def send(self, messages: Sequence[Message]) -> None:
        """Publish in order; see `Sender.send`."""
        stream, now = self._address["stream"], time.time()
        ids = f"{stream}:ids"
        with translated(self._address, SinkUnavailable, missing=SinkUnavailable):
            async with self._client.pipeline(transaction=False) as pipeline:
                pipeline.zremrangebyscore(ids, "-inf", now - int(self._address["dedup_s"]))
                for message in messages:
                    arguments: list[Any] = [message.message_id, now, *fields_of(message)]
                    pipeline.eval(_PUBLISH, 2, stream, ids, *arguments)
                await pipeline.execute()

    async def close(self) -> None:
        """Disconnect."""
        await self._client.aclose()


async def bury_in(client: redis.asyncio.Redis, address: Address, letter: Message) -> None:
    """Put a letter into the stream of the dead, which is made if need be. Told within `translated`."""
    fields = fields_of(letter)
    await client.xadd(address["dead"] or f"{address['stream']}:dead", dict(zip(fields[::2], fields[1::2], strict=True)))
