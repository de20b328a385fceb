"""Publishing to a queue, ten messages a request at most, several requests at once."""

from collections.abc import Sequence

from worker.brokers.lots import send_in_lots
from worker.brokers.messages import Message
from worker.brokers.sqs.address import QueueAddress
from worker.brokers.sqs.session import Session, translated
from worker.brokers.sqs.wire import Entry, entry_of, portions, size_of
from worker.errors import SinkUnavailable, StateError

# What base64 makes of the rest must fit as well, so that any body of `most_bytes` can be sent.
_PLAIN, _ENCODED = 3, 4
AT_ONCE = 8


class SqsSender:
    """Publishes to a queue (`worker.brokers.engine.Sender`); a FIFO queue keeps one of an id within five minutes.

    Claims of one id and other content are kept as well. Of `results` the first of an id is kept, whatever the content:
    two workers that were given the same claim get the same answer, at other times and after other numbers of attempts.
    """

    most_bytes = (1 << 18) * _PLAIN // _ENCODED

    def __init__(self, address: QueueAddress, *, results: bool) -> None:
        self._session = Session(address)
        self._address = address
        self._results = results
        self._url = ""
        self._most_bytes = 1 << 18
        self.shown = address.shown

    async def open(self, *, create: bool) -> None:
        """See that the queue is there; see `Sender.open`."""
        with translated(self._address, SinkUnavailable):
            await self._session.connect()
            queue = await self._session.queue(create=create)
        self._url, self._most_bytes = queue.url, queue.most_bytes
        self.most_bytes = queue.most_bytes * _PLAIN // _ENCODED

    async def send(self, messages: Sequence[Message]) -> None:
        """Publish in order; see `Sender.send`."""
        entries = [
            entry_of(one, fifo=self._address.fifo, group=self._address.group, by_id=self._results) for one in messages
        ]
        if (largest := max(map(size_of, entries), default=0)) > self._most_bytes:
            raise StateError(f"sqs: a message of {largest} bytes is too large for {self.shown} ({self._most_bytes})")
        cut = list(portions(entries, self._most_bytes))
        # Only one group of a FIFO queue has an order that requests at the same time could break.
        at_once = 1 if self._address.group else AT_ONCE
        with translated(self._address, SinkUnavailable, missing=SinkUnavailable):
            await send_in_lots(self._send, cut, at_once=at_once)

    async def close(self) -> None:
        """Disconnect."""
        await self._session.close()

    async def _send(self, portion: Sequence[Entry]) -> None:
        entries = [{"Id": str(number), **entry} for number, entry in enumerate(portion)]
        answer = await self._session.client.send_message_batch(QueueUrl=self._url, Entries=entries)
        failed = answer.get("Failed", [])
        if any(one.get("SenderFault") for one in failed):
            code = str(failed[0].get("Code", ""))[:60]
            raise StateError(f"sqs: {self.shown} refuses a message for good ({code})")
        if failed or len(answer.get("Successful", [])) < len(entries):
            raise SinkUnavailable(f"sqs: {self.shown} did not take every message")
