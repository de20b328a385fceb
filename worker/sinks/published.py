"""A broker as a sink, or a database: one message a result, its id the result's, its body the record as jsonl has it.

Results are published in order and confirmed before the ledger's position moves on. After a crash the last ones may be
published again: at most duplicates under the same ``result_id``, which is the message's id, and where the broker knows
ids (NATS, Redis, SQS FIFO, PostgreSQL) it keeps one of them. A record that is too large goes out reduced
(`worker.brokers.fitting`).
"""

from collections.abc import AsyncIterator, Sequence

import structlog

from worker.brokers.engine import Sender
from worker.brokers.fitting import LEFT_OUT_HEADER, fitted
from worker.brokers.messages import Message
from worker.claim import Batch
from worker.errors import SettingsError, SinkUnavailable
from worker.ports import Emission

log = structlog.get_logger()

# Room for headers beside the body.
HEADERS_BYTES = 1024


class PublishingSink:
    """`worker.ports.Sink` on a sender. A broker that is out of reach is waited for in `write`."""

    def __init__(self, sender: Sender, *, create: bool = False) -> None:
        self._sender = sender
        self._create = create
        self._connected = False
        self._last_seq = 0

    @property
    def name(self) -> str:
        """The sink's key in the ledger."""
        return self._sender.shown

    async def open(self, cursor: str | None) -> None:
        """Connect; where to go on is the ledger's knowledge alone.

        :raises worker.errors.SettingsError: if we are refused there, or the place is missing.
        """
        self._last_seq = 0
        try:
            await self._connect()
        except SinkUnavailable as error:
            log.error("sink.unavailable", sink=self.name, detail=str(error))  # noqa: TRY400 - the place is named

    async def reach(self) -> None:
        """Connect to see whether results could be sent; nothing is changed, unless `create` makes what is missing.

        :raises worker.errors.SettingsError: if we are refused there, or the place is missing.
        :raises worker.errors.SinkUnavailable: if it cannot be reached for now.
        """
        await self._connect()

    async def write(self, emissions: Sequence[Emission]) -> str | None:
        """Publish what was not published in this life; on return the broker has confirmed it.

        :raises worker.errors.SinkUnavailable: if that is not possible for now; call again with the same.
        """
        messages = [self._message(emission) for emission in emissions if emission.seq > self._last_seq]
        try:
            await self._connect()
            if messages:
                await self._sender.send(messages)
        except SinkUnavailable:
            self._connected = False
            raise
        except SettingsError as error:
            # It was right at the start: somebody deleted something, or changed rights, and may undo it.
            self._connected = False
            raise SinkUnavailable(str(error)) from None
        if emissions:
            self._last_seq = max(self._last_seq, emissions[-1].seq)
        return None

    async def complete(self, batch: Batch, records: AsyncIterator[bytes]) -> None:
        """Do nothing: the batch's results were published one by one."""

    async def close(self) -> None:
        """Disconnect."""
        self._connected = False
        await self._sender.close()

    async def _connect(self) -> None:
        if not self._connected:
            await self._sender.open(create=self._create)
            self._connected = True

    def _message(self, emission: Emission) -> Message:
        body, left_out = fitted(emission.body, self._sender.most_bytes - HEADERS_BYTES)
        headers = {}
        if left_out:
            headers[LEFT_OUT_HEADER] = ",".join(left_out)
            log.warning(
                "sink.reduced",
                sink=self.name,
                claim_id=emission.result_id.rpartition(":")[0],
                bytes=len(emission.body),
                names=", ".join(left_out),
            )
        return Message(body, message_id=emission.result_id, headers=headers)
