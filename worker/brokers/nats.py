"""NATS JetStream: the connection, and publishing to a subject of a stream.

``nats://[user:password@]host[:4222]?subject=…&stream=…&consumer=…&dead=…&replicas=…&dedup_s=…&tls=true``

A message's id goes as ``Nats-Msg-Id``: the server keeps one of those that come within the stream's window (`dedup_s`
where --create made it). The connection is not mended behind our back: a lost one is opened anew by whoever uses it,
for a pull or a sign of life that went with the old one is gone.
"""

import asyncio
import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence

import anyio
import anyio.to_thread
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, Header, RetentionPolicy, StorageType, StreamConfig

from worker.brokers.address import Address, parse_address
from worker.brokers.extras import CREATE_IT
from worker.brokers.lots import send_in_lots
from worker.brokers.messages import Message, message_from
from worker.errors import SettingsError, SinkUnavailable, WorkerError, out_of_reach

PORT = 4222
CONNECT_TIMEOUT_S = 5
ANSWER_TIMEOUT_S = 10.0
CLOSE_WITHIN_S = 2.0
AT_ONCE = 256
STREAM_NOT_FOUND = 10059
CONSUMER_NOT_FOUND = 10014
# What the server takes for subjects, with and without wildcards, and for names of streams and consumers.
_LISTENED_TO = re.compile(r"[^\s.]+(\.[^\s.]+)*\Z")
_SUBJECT = re.compile(r"[^\s.*>]+(\.[^\s.*>]+)*\Z")
_NAME = re.compile(r"[^\s.*>/\\]+\Z")


def address_of(url: str, *, setting: str, subject: str, several: bool = False) -> Address:
    """Take the URL of a subject apart, or of `several` if it may have wildcards.

    :raises worker.errors.SettingsError: if it cannot be read so.
    """
    parameters = {
        "subject": subject, "stream": "", "consumer": "precheck", "dead": "", "replicas": "1", "dedup_s": "3600",
        "tls": "false",
    }  # fmt: skip
    address = parse_address(url, setting=setting, port=PORT, parameters=parameters)
    problems = [
        f"{setting}: parameter {name} must be a whole number"
        for name in ("replicas", "dedup_s")
        if not address[name].isdigit()
    ]
    subjects = {"subject": address["subject"], "dead": dead_of(address)}
    problems += [
        f"{setting}: parameter {name} must be a subject without blanks, * and >: {subject[:80]!r} is published to"
        for name, subject in subjects.items()
        if not (_LISTENED_TO if several and name == "subject" else _SUBJECT).match(subject)
    ]
    problems += [
        f"{setting}: parameter {name} must be a name without blanks, dots, slashes, * and >"
        for name in ("stream", "consumer")
        if not _NAME.match(address[name] or "-")
    ]
    if address["tls"] not in ("true", "false"):
        problems.append(f"{setting}: parameter tls must be true or false")
    if address.path:
        problems.append(f"{setting}: nothing but parameters may follow the host; the subject is one: ?subject=…")
    if problems:
        raise SettingsError(problems)
    return address


def stream_of(address: Address) -> str:
    """Name the stream: as given, or after its subject."""
    return address["stream"] or re.sub(r"[^A-Z0-9_-]", "_", address["subject"].upper())


def dead_of(address: Address) -> str:
    """Name the subject of the dead letters."""
    return address["dead"] or f"{address['subject']}.dead"


class _Client(Client):
    """The library's client, which with a server that does not ask for TLS speaks in the clear, whatever it was told."""

    def _connect_command(self) -> bytes:
        """Write what tells the server who we are, the first thing that is sent."""
        if "tls" in self.options and not self._server_info.get("tls_required"):
            raise nats.errors.SecureConnWantedError
        return super()._connect_command()


class Session:
    """One connection, from `connect` to its loss."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._client: Client | None = None
        self._trouble: Exception | None = None

    @property
    def client(self) -> Client:
        """Give the connection.

        :raises nats.errors.ConnectionClosedError: if it is lost.
        """
        if self._client is None or not self._client.is_connected:
            raise nats.errors.ConnectionClosedError
        return self._client

    @property
    def jetstream(self) -> JetStreamContext:
        """Give the connection's streams; raises like `client`."""
        return self.client.jetstream(timeout=ANSWER_TIMEOUT_S)

    async def connect(self) -> Client:
        """Connect anew. Told within `translated`."""
        await self.close()
        address = self.address
        # Ours before it is connected: one that was refused has a socket to close, too.
        client = self._client = _Client()
        context = await anyio.to_thread.run_sync(address.trusting) if address["tls"] == "true" else None
        try:
            await client.connect(
                f"nats://{address.host}:{address.port}",
                user=address.user or None,
                password=str(address.password) or None,
                tls=context,
                tls_hostname=address.host if context else None,
                allow_reconnect=False,
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=CONNECT_TIMEOUT_S,
                ping_interval=20,
                error_cb=self._hear,
            )
        except nats.errors.NoServersError as error:
            raise error from self._trouble
        return client

    async def close(self) -> None:
        """Disconnect; idempotent."""
        client, self._client = self._client, None
        if client is not None and not client.is_closed:
            # The library waits until all that it has still to say is taken: for ever, if the server has stopped taking.
            with anyio.move_on_after(CLOSE_WITHIN_S), contextlib.suppress(nats.errors.Error, OSError):
                await client.close()
                await asyncio.sleep(0)  # the library does not wait for its transport to close

    async def _hear(self, error: Exception) -> None:
        """Take what the library would log: the calls that fail tell it as well, but for why there is no connection."""
        self._trouble = error


@contextlib.contextmanager
def translated(
    address: Address,
    unavailable: type[WorkerError],
    *,
    missing: type[WorkerError] | None = None,
    needed: str = "",
) -> Iterator[None]:
    """Turn nats-py's errors into ours, without their texts; `needed` beside the stream is what else may be missing."""
    where = address.shown
    try:
        yield
    except nats.errors.SecureConnWantedError:
        raise SettingsError([f"nats: {where} does not ask for TLS, and tls=true sends nothing without"]) from None
    except nats.errors.AuthorizationError:
        raise SettingsError([f"nats: {where} refuses this user, its password or its rights"]) from None
    except nats.js.errors.NotFoundError as error:
        raise _missing(address, error.err_code, missing, needed) from None
    except nats.js.errors.NoStreamResponseError:
        raise _missing(address, STREAM_NOT_FOUND, missing, needed) from None
    except nats.js.errors.ServiceUnavailableError:
        raise unavailable(f"nats: {where} has no JetStream now (start it with -js)") from None
    except nats.js.errors.APIError as error:
        raise unavailable(f"nats: {where} does not do this now (error {error.err_code})") from None
    except (TimeoutError, nats.errors.Error, OSError) as error:
        if "authorization" in str(error).lower():
            raise SettingsError([f"nats: {where} refuses this user, its password or its rights"]) from None
        raise unavailable(out_of_reach(f"nats: {where}", error)) from None


def _missing(address: Address, code: int | None, kind: type[WorkerError] | None, needed: str) -> WorkerError:
    if code == CONSUMER_NOT_FOUND:
        what = f"the consumer {address['consumer']!r}"
    else:
        what = f"the stream {stream_of(address)!r}" + (f", or one for {needed!r}," if needed else "")
    text = f"nats: {what} is missing at {address.shown}; {CREATE_IT}"
    return kind(text) if kind else SettingsError([text])


async def make_stream(jetstream: JetStreamContext, address: Address, name: str, subject: str, *, queue: bool) -> None:
    """Make a stream on disk, unless it is there; a `queue` loses what is acknowledged. Told within `translated`."""
    try:
        await jetstream.stream_info(name)
    except nats.js.errors.NotFoundError:
        config = StreamConfig(
            name=name,
            subjects=[subject],
            storage=StorageType.FILE,
            retention=RetentionPolicy.WORK_QUEUE if queue else RetentionPolicy.LIMITS,
            discard=DiscardPolicy.NEW,
            num_replicas=int(address["replicas"]),
            duplicate_window=float(address["dedup_s"]),
        )
        await jetstream.add_stream(config)


def headers_of(message: Message) -> dict[str, str]:
    """Lay a message's headers out; a line break would end the header, and none is of use there."""
    headers = {name: value.replace("\r", " ").replace("\n", " ") for name, value in message.all_headers().items()}
    return {**headers, Header.MSG_ID.value: message.message_id} if message.message_id else headers


def message_of(received: Msg) -> Message:
    """Read a message as it came."""
    headers: Mapping[str, str] = received.headers or {}
    own = {name: value for name, value in headers.items() if not name.startswith("Nats-")}
    return message_from(received.data, own, message_id=headers.get(Header.MSG_ID.value, ""))


class NatsSender:
    """Publishes to a subject (`worker.brokers.engine.Sender`). As a `queue`, what is acknowledged is removed."""

    most_bytes = 1 << 20

    def __init__(self, address: Address, *, queue: bool) -> None:
        self._session = Session(address)
        self._address = address
        self._queue = queue
        self.shown = f"{address.shown}?subject={address['subject']}"

    async def open(self, *, create: bool) -> None:
        """Connect and see that the stream is there; see `Sender.open`."""
        with translated(self._address, SinkUnavailable):
            client = await self._session.connect()
            # NATS counts headers and body together.
            self.most_bytes = client.max_payload
            stream, jetstream = stream_of(self._address), self._session.jetstream
            if create:
                await make_stream(jetstream, self._address, stream, self._address["subject"], queue=self._queue)
            else:
                await jetstream.stream_info(stream)

    async def send(self, messages: Sequence[Message]) -> None:
        """Publish in order, many before the first is confirmed; see `Sender.send`."""
        with translated(self._address, SinkUnavailable, missing=SinkUnavailable):
            await send_in_lots(self._publish, messages, at_once=AT_ONCE)

    async def close(self) -> None:
        """Disconnect."""
        await self._session.close()

    async def _publish(self, message: Message) -> None:
        headers = headers_of(message) or None
        await self._session.jetstream.publish(self._address["subject"], message.body, headers=headers)
