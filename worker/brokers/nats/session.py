"""The connection to NATS, and what its library's errors mean.

The connection is not mended behind our back: a lost one is opened anew by its next user, for a pull or a sign of life
that went with the old one is gone.
"""

import asyncio
import contextlib
from collections.abc import Iterator

import anyio
import anyio.to_thread
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from worker.brokers.address import Address
from worker.brokers.extras import CREATE_IT
from worker.brokers.nats.address import stream_of
from worker.errors import SettingsError, WorkerError, out_of_reach

CONNECT_TIMEOUT_S = 5
ANSWER_TIMEOUT_S = 10.0
CLOSE_WITHIN_S = 2.0
STREAM_NOT_FOUND = 10059
CONSUMER_NOT_FOUND = 10014


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
