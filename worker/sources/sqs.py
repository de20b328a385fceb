"""An SQS queue as an inlet: long polls, visibility as the lease, deletion as the acknowledgement.

The lease is asked for with each receive, so `input.lease_s` holds whatever the queue's own visibility timeout is. SQS
bounds it: twelve hours after its delivery a message comes again, whatever signs of life were given.
"""

import asyncio
from collections.abc import Hashable, Sequence
from typing import Any

from worker.brokers.engine import Arrived
from worker.brokers.messages import Message
from worker.brokers.sqs.address import parse_queue
from worker.brokers.sqs.session import Session, translated, whole_seconds
from worker.brokers.sqs.wire import AT_ONCE, entry_of, message_of, size_of, without_reason
from worker.errors import SettingsError, SourceUnavailable

QUEUE = "precheck-claims"
SHORT_POLL_S = 0.5
BESIDE = 8  # receives at once, while each gives as many as one can


class SqsInlet:
    """Takes from a queue (`worker.brokers.engine.Inlet`)."""

    scheme = "sqs"

    def __init__(self, url: str, *, lease_s: float) -> None:
        self._address = parse_queue(url, setting="input.url", queue=QUEUE)
        self._session = Session(self._address)
        self._url = self._dead_url = ""
        self._dead_most_bytes = 0
        self._ours: set[str] = set()
        self._lease_s = whole_seconds(lease_s)
        self.lease_s = float(self._lease_s)
        self.place = self._address.name
        self.shown = self._address.shown

    async def open(self, *, create: bool) -> None:
        """See that the queue and the one for its dead letters are there; see `Inlet.open`."""
        with translated(self._address, SourceUnavailable):
            await self._session.connect()
            queue = await self._session.queue(create=create, lease_s=self.lease_s)
            self._dead_url = await self._session.dead_letters(queue, create=create)
        self._url, self._dead_most_bytes = queue.url, queue.most_bytes

    async def fetch(self, limit: int, wait_s: float) -> Sequence[Arrived]:
        """Receive, and while the queue gives all that one request can, receive more; see `Inlet.fetch`.

        Not waiting is one second's wait: a short poll asks some of the service's machines and finds nothing on them.
        """
        wait = 0 if 0.0 < wait_s < SHORT_POLL_S else max(1, round(wait_s))
        found = await self._receive(min(AT_ONCE, limit), wait)
        while len(found) % AT_ONCE == 0 and found and (room := limit - len(found)) > 0:
            asked = [min(AT_ONCE, room - start) for start in range(0, min(room, BESIDE * AT_ONCE), AT_ONCE)]
            more = await asyncio.gather(*(self._receive(most, 0) for most in asked), return_exceptions=True)
            came = [one for part in more if not isinstance(part, BaseException) for one in part]
            found += came
            if len(came) < sum(asked):
                break
        return found

    async def acknowledge(self, handles: Sequence[Hashable]) -> int:
        """Delete; see `Inlet.acknowledge`."""
        self._ours.difference_update(map(str, handles))
        done, _ = await self._told("delete_message_batch", handles)
        return len(done)

    async def give_back(self, handles: Sequence[Hashable]) -> None:
        """Make these visible; see `Inlet.give_back`."""
        self._ours.difference_update(map(str, handles))
        await self._told("change_message_visibility_batch", handles, VisibilityTimeout=0)

    async def extend(self, handles: Sequence[Hashable]) -> None:
        """Begin the leases anew; see `Inlet.extend`."""
        done, reached = await self._told("change_message_visibility_batch", handles, VisibilityTimeout=self._lease_s)
        if not reached:
            raise SourceUnavailable(f"sqs: {self.shown} cannot be reached")
        # What was settled meanwhile has no lease to begin anew.
        if lost := self._ours.intersection(map(str, handles)) - done:
            self._ours -= lost
            raise SourceUnavailable(f"sqs: {self.shown} says that the lease of {len(lost)} is over")

    async def bury(self, letter: Message) -> None:
        """Send the letter to the queue of the dead; see `Inlet.bury`."""
        entry = entry_of(letter, fifo=self._address.fifo)
        if size_of(entry) > self._dead_most_bytes:
            entry = without_reason(entry)
        try:
            with translated(self._address, SourceUnavailable, missing=SourceUnavailable):
                await self._session.client.send_message(QueueUrl=self._dead_url, **entry)
        except SettingsError as refused:
            raise SourceUnavailable(str(refused)) from None

    async def close(self) -> None:
        """Disconnect."""
        self._ours.clear()
        await self._session.close()

    async def _receive(self, most: int, wait: int) -> list[Arrived]:
        try:
            with translated(self._address, SourceUnavailable, missing=SourceUnavailable):
                answer = await self._session.client.receive_message(
                    QueueUrl=self._url,
                    MaxNumberOfMessages=most,
                    WaitTimeSeconds=wait,
                    VisibilityTimeout=self._lease_s,
                    MessageSystemAttributeNames=["ApproximateReceiveCount"],
                    MessageAttributeNames=["All"],
                )
        except SettingsError as refused:
            raise SourceUnavailable(str(refused)) from None
        arrived = [_arrived(one) for one in answer.get("Messages", [])]
        self._ours.update(str(one.handle) for one in arrived)
        return arrived

    async def _told(self, what: str, handles: Sequence[Hashable], **more: int) -> tuple[set[str], bool]:
        """Say the same of many messages; returns of which it was heard, and whether the service was reached."""
        heard: set[str] = set()
        for start in range(0, len(handles), AT_ONCE):
            portion = [str(handle) for handle in handles[start : start + AT_ONCE]]
            entries = [{"Id": str(number), "ReceiptHandle": one, **more} for number, one in enumerate(portion)]
            try:
                with translated(self._address, SourceUnavailable, missing=SourceUnavailable):
                    answer = await getattr(self._session.client, what)(QueueUrl=self._url, Entries=entries)
            except (SourceUnavailable, SettingsError):
                return heard, False
            heard.update(portion[int(one["Id"])] for one in answer.get("Successful", []))
        return heard, True


def _arrived(received: dict[str, Any]) -> Arrived:
    count = received.get("Attributes", {}).get("ApproximateReceiveCount", "2")
    return Arrived(message_of(received), str(received["ReceiptHandle"]), str(received["MessageId"]), int(count))
