"""A broker as a source: all that is the same for every engine, on top of an `Inlet` (`worker.brokers.engine`).

::

    inlet ──▶ held? ──▶ again? ────────▶ reference? ──▶ ready ──▶ take ──▶ … ──▶ settle: acknowledge
                          suspects,         following,
                          dead letter       dead letter

A message is acknowledged when its results are in all sinks, and not before. One that is redelivered while it is held
is no second delivery; one that is redelivered to another worker gets the same `ref`, and its results the same ids.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence

import anyio
import structlog
from anyio.lowlevel import checkpoint

from worker.brokers.attempts import Attempts
from worker.brokers.engine import Inlet
from worker.brokers.held import Held
from worker.brokers.leases import keep_leases
from worker.brokers.messages import Message, dead_letter, ref_of
from worker.brokers.references import BadReference, Fetched, References
from worker.claim import Delivery
from worker.errors import SettingsError, SourceUnavailable
from worker.flow.bell import Bell
from worker.settings import InputSettings
from worker.sources.following import Following
from worker.sources.suspects import Suspects

log = structlog.get_logger()

FETCH_WAIT_S = 1.0
SOON_S = 0.05
BURY_AGAIN_S = 1.0


class BrokerSource:
    """Gives messages as deliveries (`worker.ports.Source`); holds at most `prefetch` of them."""

    def __init__(
        self,
        inlet: Inlet,
        settings: InputSettings,
        *,
        prefetch: int,
        references: References,
        attempts: Attempts,
        create: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._inlet = inlet
        self._prefetch = prefetch
        self._largest_bytes = settings.max_batch_bytes
        self._references = references
        self._following = Following(references, self._make_ready, self._refuse_reference)
        self._attempts = attempts
        self._suspects = Suspects(settings.poison_after)
        self._create = create
        self._clock = clock
        self._held = Held()
        self._messages: dict[str, Message] = {}
        self._let_go: dict[str, Callable[[], None]] = {}
        self._ready: deque[Delivery] = deque()
        self._freed = Bell()
        self._connected = False
        self._ever_connected = False
        self._filling: asyncio.Task[None] | None = None
        self._leases: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect; a broker that cannot be reached for now is waited for in `take`.

        :raises worker.errors.SettingsError: if we are refused there, or what we are to take from is missing.
        """
        await checkpoint()
        try:
            await self._attempts.open()
            await self._references.open()
            await self._inlet.open(create=self._create)
        except SourceUnavailable as error:
            log.error("input.unavailable", detail=str(error))  # noqa: TRY400 - the place is named
        except SettingsError:
            await self._inlet.close()
            self._attempts.close()
            raise
        else:
            self._connected = self._ever_connected = True
        if self._leases is None:
            self._leases = asyncio.create_task(keep_leases(self._inlet, self._held.handles))

    async def take(self, limit: int, *, wait: bool = True) -> Sequence[Delivery]:
        """Take up to `limit` messages; see `worker.ports.Source.take`.

        Where all that is there waits for references that cannot be followed for now, the input cannot be reached.
        """
        await checkpoint()
        while not self._ready:
            under_way = self._filling is not None
            await self._filled(FETCH_WAIT_S if wait else 0.0)
            if self._ready or self._following.busy:
                continue
            if (obstacle := self._following.obstacle) is not None:
                raise SourceUnavailable(obstacle)
            if not (wait or under_way):
                return []
        return [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]

    async def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Acknowledge; where the broker cannot hear it, it delivers again, and the ledger knows the batch."""
        await checkpoint()
        await self._end([delivery.ref for delivery in deliveries])

    async def refuse(self, delivery: Delivery, code: str, text: str) -> None:
        """Put the message with the dead letters, then acknowledge it; if that fails now, it comes again."""
        await checkpoint()
        if delivery.ref in self._held:
            await self._bury(delivery.ref, code, text)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give messages back to the broker, for anybody."""
        await checkpoint()
        await self._give_back([delivery.ref for delivery in deliveries])

    async def left_over(self) -> Sequence[str]:
        """Nothing is ever there and not ready."""
        await checkpoint()
        return []

    async def close(self) -> None:
        """Give back what is not settled, and end the session."""
        filling, self._filling = self._filling, None
        if filling is not None:
            with contextlib.suppress(SourceUnavailable, SettingsError):
                await filling
        leases, self._leases = self._leases, None
        if leases is not None:
            leases.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leases
        await self._following.close()
        self._ready.clear()
        await self._give_back(list(self._messages))
        await self._inlet.close()
        self._connected = False
        self._attempts.close()

    async def _filled(self, wait_s: float) -> None:
        """Fetch once. A cancelled caller loses nothing: the fetch goes on, and the next one joins it."""
        if self._filling is None:
            self._filling = asyncio.create_task(self._fill(wait_s))
        filling = self._filling
        try:
            await asyncio.shield(filling)
        finally:
            if filling.done():
                self._filling = None

    async def _fill(self, wait_s: float) -> None:
        await self._connect()
        room = self._prefetch - len(self._held)
        if self._following.busy:
            wait_s = SOON_S
        if room > 0:
            await self._fetch(room, min(wait_s, SOON_S) if self._suspects.waiting else wait_s)
        else:
            with anyio.move_on_after(wait_s):
                await self._freed.wait()
        await self._hand_on_suspects()

    async def _connect(self) -> None:
        if self._connected:
            return
        try:
            await self._attempts.open()
            if not self._ever_connected:
                await self._references.open()
            await self._inlet.open(create=self._create)
        except SettingsError as error:
            if not self._ever_connected:
                raise
            # It was right once: somebody deleted something, or changed rights, and may undo it.
            raise SourceUnavailable(str(error)) from None
        self._connected = self._ever_connected = True

    async def _fetch(self, limit: int, wait_s: float) -> None:
        try:
            arrived = await self._inlet.fetch(limit, wait_s)
        except SourceUnavailable:
            self._connected = False
            raise
        met: dict[str, int] = {}
        for one in arrived:
            ref = ref_of(self._inlet.scheme, self._inlet.place, one.message, identity=one.identity)
            if self._held.meet(ref, one.handle):
                self._messages[ref] = one.message
                met[ref] = one.deliveries
        try:
            await self._attempts.learn([ref for ref, deliveries in met.items() if deliveries > 1])
            while met:
                ref = next(iter(met))
                await self._sort(ref, met.pop(ref))
        except SourceUnavailable:
            await self._give_back(list(met))
            raise

    async def _sort(self, ref: str, deliveries: int) -> None:
        """Hand a message on, have it wait among the suspects, or bury it."""
        if deliveries == 1:
            await self._hand_on(ref)
        elif (reason := self._suspects.add(ref, self._attempts.of(ref), deliveries)) is not None:
            await self._bury(ref, "poison", reason)

    async def _hand_on_suspects(self) -> None:
        """Hand on those of the messages delivered before whose turn it is; each is noted before that."""
        refs = self._suspects.next()
        try:
            await self._attempts.begin(refs)
        except SourceUnavailable:
            await self._give_back(refs)
            raise
        for ref in refs:
            await self._hand_on(ref)

    async def _hand_on(self, ref: str) -> None:
        """Make the delivery of a message, or refuse it if there can be none; a reference is followed first."""
        message = self._messages[ref]
        if message.reference:
            self._following.add(ref, message.reference)
        else:
            await self._make_ready(ref, Fetched(len(message.body), data=message.body))

    async def _make_ready(self, ref: str, fetched: Fetched) -> None:
        """Let `take` give what a message led to."""
        if fetched.size > self._largest_bytes:
            await self._bury(ref, "too_large", f"{fetched.size} bytes, and input.max_batch_bytes is less")
            return
        if fetched.let_go is not None:
            self._let_go[ref] = fetched.let_go
        name = self._messages[ref].name or ref.rpartition(":")[2]
        self._ready.append(Delivery(name, ref, fetched.size, self._clock(), data=fetched.data, path=fetched.path))
        self._freed.ring()

    async def _refuse_reference(self, ref: str, bad: BadReference) -> None:
        await self._bury(ref, bad.code, bad.text)

    async def _bury(self, ref: str, code: str, text: str) -> None:
        message = self._messages[ref]
        try:
            await self._inlet.bury(dead_letter(message, code, text))
        except SourceUnavailable as error:
            log.error("input.bury_failed", batch=message.name, code=code, detail=str(error))  # noqa: TRY400 - as above
            await self._give_back([ref])
            await anyio.sleep(BURY_AGAIN_S)
            return
        log.warning("input.quarantined", batch=message.name, code=code, detail=text)
        await self._end([ref])

    async def _end(self, refs: Sequence[str]) -> None:
        handles = self._let_go_of(refs)
        heard = await self._inlet.acknowledge(handles)
        if heard < len(handles):
            log.warning("input.ack_lost", count=len(handles) - heard)
        with contextlib.suppress(SourceUnavailable):
            await self._attempts.forget(refs)

    async def _give_back(self, refs: Sequence[str]) -> None:
        begun = [ref for ref in refs if self._suspects.drop(ref)]
        handles = self._let_go_of(refs)
        with contextlib.suppress(SourceUnavailable):
            await self._attempts.forgive(begun)
        await self._inlet.give_back(handles)

    def _let_go_of(self, refs: Sequence[str]) -> list[Hashable]:
        """Forget held messages; returns their handles."""
        for ref in refs:
            self._messages.pop(ref, None)
            self._suspects.drop(ref)
            if (let_go := self._let_go.pop(ref, None)) is not None:
                let_go()
        self._freed.ring()
        return self._held.drop(refs)
