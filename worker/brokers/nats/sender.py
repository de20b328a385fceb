"""Publishing to a subject, many messages before the first is confirmed."""

from collections.abc import Sequence

from worker.brokers.address import Address
from worker.brokers.lots import send_in_lots
from worker.brokers.messages import Message
from worker.brokers.nats.address import stream_of
from worker.brokers.nats.session import Session, make_stream, translated
from worker.brokers.nats.wire import headers_of
from worker.errors import SinkUnavailable

AT_ONCE = 256


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
