"""A broker as a source: all that is the same for every engine, on top of an `Inlet` (`worker.brokers.engine`).

::

    inlet ──▶ custody ──────▶ reference? ──▶ ready ──▶ take ──▶ … ──▶ settle: acknowledge
              held? again?,       following
              dead letters

What is ours, and how it ends, is `worker.sources.custody`'s; here is when to connect, to fetch and to hand on.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence

import anyio
from anyio.lowlevel import checkpoint

from worker.brokers.deaths import Deaths
from worker.brokers.engine import Inlet
from worker.brokers.leases import keep_leases
from worker.brokers.references import BadReference, Fetched, References
from worker.claim import Delivery
from worker.errors import SettingsError, SourceUnavailable
from worker.settings import InputSettings
from worker.sources.custody import Custody
from worker.sources.following import Following

FETCH_WAIT_S = 1.0
SOON_S = 0.05
FILLED_WITHIN_S = 1.5
PARTED_WITHIN_S = 2.0
OPENED_WITHIN_S = 15.0


class BrokerSource:
    """Gives messages as deliveries (`worker.ports.Source`); holds at most `prefetch` of them."""

    def __init__(
        self,
        inlet: Inlet,
        settings: InputSettings,
        *,
        prefetch: int,
        references: References,
        deaths: Deaths,
        create: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._inlet = inlet
        self._prefetch = prefetch
        self._largest_bytes = settings.max_batch_bytes
        self._references = references
        self._following = Following(references, self._make_ready, self._refuse_reference)
        self._deaths = deaths
        self._custody = Custody(inlet, deaths, poison_after=settings.poison_after)
        self._create = create
        self._clock = clock
        self._ready: deque[Delivery] = deque()
        self._connected = False
        self._ever_connected = False
        self._filling: asyncio.Task[None] | None = None
        self._leases: asyncio.Task[None] | None = None
        self._patience_s = PARTED_WITHIN_S  # with a broker that we leave

    @property
    def set_aside(self) -> int:
        """Count the messages; see `worker.ports.Source.set_aside`."""
        return self._custody.set_aside

    async def open(self) -> None:
        """Connect; a broker that cannot be reached for now is waited for in `take`, which also says so.

        One that does not answer, too: a start is not held up by the sum of all the times that a library waits.

        :raises worker.errors.SettingsError: if we are refused there, or what we are to take from is missing.
        """
        await checkpoint()
        try:
            with anyio.move_on_after(OPENED_WITHIN_S):
                await self._deaths.open()
                await self._references.open()
                await self._inlet.open(create=self._create)
                self._connected = self._ever_connected = True
        except SourceUnavailable:
            pass
        except SettingsError:
            await self._inlet.close()
            await self._references.close()
            self._deaths.close()
            raise
        if self._leases is None:
            self._leases = asyncio.create_task(keep_leases(self._inlet, self._custody.handles))

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
        await self._custody.end([delivery.ref for delivery in deliveries])

    async def refuse(self, delivery: Delivery, code: str, text: str) -> None:
        """Put the message with the dead letters, then acknowledge it; if that fails now, it comes again."""
        await checkpoint()
        if delivery.ref in self._custody:
            await self._custody.bury(delivery.ref, code, text)

    async def release(self, deliveries: Sequence[Delivery]) -> None:
        """Give messages back to the broker, for anybody."""
        await checkpoint()
        if not await self._custody.give_back([delivery.ref for delivery in deliveries]):
            self._patience_s = 0.0

    async def left_over(self) -> Sequence[str]:
        """Nothing is ever there and not ready."""
        await checkpoint()
        return []

    async def close(self) -> None:
        """Give back what is not settled, and end the session."""
        parted_by = anyio.current_time() + self._patience_s
        filling, self._filling = self._filling, None
        if filling is not None:
            await asyncio.wait((filling,), timeout=min(FILLED_WITHIN_S, self._patience_s))
            filling.cancel()  # what it would have brought from a broker that does not answer comes again
            with contextlib.suppress(SourceUnavailable, SettingsError, asyncio.CancelledError):
                await filling
        leases, self._leases = self._leases, None
        if leases is not None:
            leases.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await leases
        await self._following.close()
        self._ready.clear()
        await self._custody.give_back(self._custody.refs(), within_s=max(0.0, parted_by - anyio.current_time()))
        await self._inlet.close()
        self._connected = False
        self._deaths.close()

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
        room = self._prefetch - len(self._custody)
        if self._following.busy:
            wait_s = SOON_S
        if room > 0:
            await self._fetch(room, min(wait_s, SOON_S) if self._custody.has_suspects else wait_s)
        else:
            with anyio.move_on_after(wait_s):
                await self._custody.freed.wait()
        for ref in await self._custody.next_suspects():
            await self._hand_on(ref)

    async def _connect(self) -> None:
        if self._connected:
            return
        try:
            await self._deaths.open()
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
        for ref in await self._custody.suspect(self._custody.take_in(arrived)):
            await self._hand_on(ref)

    async def _hand_on(self, ref: str) -> None:
        """Make the delivery of a message, or refuse it if there can be none; a reference is followed first."""
        message = self._custody.message(ref)
        if message.reference:
            self._following.add(ref, message.reference)
        else:
            await self._make_ready(ref, Fetched(len(message.body), data=message.body))

    async def _make_ready(self, ref: str, fetched: Fetched) -> None:
        """Let `take` give what a message led to."""
        if fetched.size > self._largest_bytes:
            await self._custody.bury(ref, "too_large", f"{fetched.size} bytes, and input.max_batch_bytes is less")
            return
        if fetched.let_go is not None:
            self._custody.keep(ref, fetched.let_go)
        name = self._custody.name_of(ref)
        self._ready.append(Delivery(name, ref, fetched.size, self._clock(), data=fetched.data, path=fetched.path))
        self._custody.freed.ring()

    async def _refuse_reference(self, ref: str, bad: BadReference) -> None:
        await self._custody.bury(ref, bad.code, bad.text)
