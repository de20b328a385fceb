"""Takes deliveries and opens them: survey, entry in the ledger, claims handed on.

::

    source ──take──▶ [one group of deliveries] ──open──▶ board and turns

The next group is taken while one is opened, for both wait for the disk most of their time.

Small batches are surveyed and split in one thread hop for many of them; a large one is split piece by piece as
its claims are used up, so that its size costs no memory. A batch met again continues where its ledger entry stands;
one of bytes that are being worked on waits aside (`worker.waiting`).
"""

from collections.abc import Sequence
from functools import partial

import anyio
import anyio.to_thread
import msgspec
import structlog
from anyio.abc import ObjectReceiveStream, ObjectSendStream, TaskGroup

from worker.batches import Board, OpenBatch
from worker.claim import Delivery
from worker.crashpoint import crashpoint
from worker.errors import SourceUnavailable, StateError
from worker.feeding import Feeder
from worker.flow.gate import Gate
from worker.flow.room import once_there_is_room
from worker.openings import tell_opened
from worker.outbox import Outbox
from worker.ports import Arrival, Ledger, OpenedBatch, Source
from worker.preparing import Prepared, prepare_all
from worker.settings import InputSettings
from worker.turns import Turns
from worker.waiting import Waiting

log = structlog.get_logger()

TAKE_AT_ONCE = 64
SOURCE_RETRY_S = 2.0


class Intake:
    """Takes from the source, and beside that opens what was taken.

    `available` is False while the source cannot be reached, `known_claims` counts the unanswered claims of all
    batches opened so far. With `force`, answered claims are sent again as their next generation; `revisited` are the
    numbers of the batches that were done before.
    """

    def __init__(
        self,
        source: Source,
        ledger: Ledger,
        board: Board,
        turns: Turns,
        feeder: Feeder,
        gate: Gate,
        settings: InputSettings,
        environment: str,
        *,
        outboxes: Sequence[Outbox],
        most_open: int,
        most_fresh: int,
        most_reserved: int,
        force: bool = False,
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._board = board
        self._turns = turns
        self._feeder = feeder
        self._gate = gate
        self._settings = settings
        self._environment = environment
        self._outboxes = outboxes
        self._most_open = most_open
        self._most_fresh = most_fresh
        self._most_reserved = most_reserved
        self._force = force
        self._threads = anyio.CapacityLimiter(1)
        self.available = True
        self.known_claims = 0
        self.revisited: list[int] = []
        self._unopened: dict[str, Delivery] = {}
        self._waiting = Waiting(board)
        self._reuses = settings.duplicates == "reuse" and not force
        self._log = log.bind()  # once: looking up how to log costs as much as a fourth of a line

    async def run(self, *, once: bool = False) -> None:
        """Take and open batches until cancelled; with `once`, until the source has nothing ready any more."""
        taken, to_open = anyio.create_memory_object_stream[Sequence[Delivery]](0)
        async with to_open, anyio.create_task_group() as feeders, taken:
            feeders.start_soon(self._open_all, to_open, feeders)
            async with anyio.create_task_group() as resuming:
                resuming.start_soon(self._resume, taken)
                await self._take_all(taken, once=once)
                resuming.cancel_scope.cancel()

    async def _take_all(self, taken: ObjectSendStream[Sequence[Delivery]], *, once: bool) -> None:
        while True:
            await self._room()
            await self._gate.wait_not_shut()
            deliveries = await self._take(wait=not once)
            if deliveries:
                await self._send(taken, deliveries)
            elif once and not self._working_on and not len(self._waiting):
                return
            elif once:
                await self._something_changed()

    async def _resume(self, taken: ObjectSendStream[Sequence[Delivery]]) -> None:
        """Have those opened again that have waited for an equal batch."""
        while True:
            await self._send(taken, await self._waiting.ready(TAKE_AT_ONCE))
            await self._room()

    async def _send(self, taken: ObjectSendStream[Sequence[Delivery]], deliveries: Sequence[Delivery]) -> None:
        self._unopened |= {delivery.ref: delivery for delivery in deliveries}
        await taken.send(deliveries)

    @property
    def unopened(self) -> Sequence[Delivery]:
        """The deliveries that were taken and are not on the board; after `run` they are to be given back."""
        return [*self._unopened.values(), *self._waiting.deliveries]

    @property
    def _working_on(self) -> int:
        return len(self._board) + len(self._unopened)

    async def _room(self) -> None:
        while self._working_on >= self._most_open or self._turns.fresh >= self._most_fresh or self._turns.heavy:
            await self._something_changed()

    async def _something_changed(self) -> None:
        with anyio.move_on_after(0.05):
            await self._board.changed()

    async def _open_all(self, to_open: ObjectReceiveStream[Sequence[Delivery]], feeders: TaskGroup) -> None:
        async for deliveries in to_open:
            await self._gate.wait_not_shut()
            await self._open(deliveries, feeders)
            for delivery in deliveries:
                self._unopened.pop(delivery.ref, None)

    async def _take(self, *, wait: bool) -> Sequence[Delivery]:
        limit = max(1, min(TAKE_AT_ONCE, self._most_open - self._working_on))
        while True:
            try:
                deliveries = await self._source.take(limit, wait=wait)
            except SourceUnavailable as error:
                if self.available:
                    # No traceback: the place is named, and nothing of ours is broken.
                    log.error("input.unavailable", detail=str(error))  # noqa: TRY400
                self.available = False
                await anyio.sleep(SOURCE_RETRY_S)
                continue
            if not self.available:
                log.info("input.available")
            self.available = True
            return deliveries

    async def _open(self, deliveries: Sequence[Delivery], feeders: TaskGroup) -> None:
        sound = []
        for one in await self._prepared(deliveries):
            if one.survey.refusal is None:
                sound.append(one)
            else:
                await self._refuse(one)
        if not sound:
            return
        arrivals = self._arrivals(sound)
        crashpoint("after_read")
        opened = await once_there_is_room(self._gate, lambda: self._noted(arrivals), what="ledger")
        started = [
            (one, await self._board_one(one, known))
            for one, known in zip(sound, opened, strict=True)
            if not (self._reuses and self._waiting.admit(one, known))
        ]
        for one, batch in started:
            if batch.finished:
                continue
            if one.claims is None:
                feeders.start_soon(self._feeder.feed, batch, one)
            else:
                await self._feeder.hand_on(batch, one.claims)

    async def _prepared(self, deliveries: Sequence[Delivery]) -> Sequence[Prepared]:
        if all(delivery.only is not None for delivery in deliveries):
            return prepare_all(deliveries, self._settings)  # nothing is left to read: a thread would cost more
        prepare = partial(prepare_all, deliveries, self._settings)
        return await anyio.to_thread.run_sync(prepare, limiter=self._threads)

    def _arrivals(self, sound: Sequence[Prepared]) -> Sequence[Arrival]:
        """Have the claims that will soon get their turn noted as begun with their batch, which saves a commit."""
        ahead = max(0, self._most_reserved - self._turns.fresh)
        arrivals = []
        for one in sound:
            reserved = min(one.units, ahead)
            ahead -= reserved
            arrivals.append(one.arrival(reserved))
        return arrivals

    async def _noted(self, arrivals: Sequence[Arrival]) -> Sequence[OpenedBatch]:
        with anyio.CancelScope(shield=True):  # what is noted must reach the board: it is given back from there
            opened = await self._ledger.open_batches(arrivals)
        return opened  # noqa: RET504 - from within the block, mypy would take the shield for one that may swallow

    async def _refuse(self, one: Prepared) -> None:
        refusal = one.survey.refusal
        if refusal is None:
            raise ValueError("intake: a sound batch is not refused")
        await self._source.refuse(one.delivery, refusal.code, refusal.text)

    async def _board_one(self, one: Prepared, known: OpenedBatch) -> OpenBatch:
        if not known.done and known.total not in (None, one.units):
            name = known.batch.name
            raise StateError(f"batch {name} was begun with another input.split; end it with that, then change it")
        if self._force and (known.done or known.answered):
            batch = await self._open_again(one, known)
        else:
            batch = OpenBatch(known, one.delivery)
        if batch.opened.done:
            batch.total = batch.answered
        else:
            self.known_claims += one.units - batch.answered
        tell_opened(self._log, one, batch, self._environment)
        self._board.open(batch)
        for outbox in self._outboxes:
            outbox.expect(known.last_seq)  # it may go by results that another worker stored, of which no outbox knows
        return batch

    async def _open_again(self, one: Prepared, known: OpenedBatch) -> OpenBatch:
        """Open a batch so that claims with a result are sent again, too; not if the ledger has forgotten some."""
        earlier = await self._ledger.earlier(known.batch.number)
        if known.done and len(earlier.generations) != one.units:
            log.warning("batch.forgotten", batch=one.delivery.name, batch_id=known.batch.batch_id)
            return OpenBatch(known, one.delivery)
        if known.done:
            self.revisited.append(known.batch.number)
        batch = OpenBatch(msgspec.structs.replace(known, answered=frozenset(), done=False), one.delivery)
        batch.earlier = earlier
        return batch
