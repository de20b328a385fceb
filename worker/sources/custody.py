"""The messages that are ours: from their arrival until the broker was told how they ended.

::

    take_in ──▶ suspected? ──▶ handed on ──▶ end: acknowledged, when its results are in all sinks
                    │              ├───────▶ give_back: anybody's again, the note of it taken back
                    └──────────────┴───────▶ bury: with the dead letters, then acknowledged

A message is known by its `ref`, which is the same for every worker and every delivery. One that comes again while it is
ours is no second delivery. Where the broker cannot hear us it delivers again, and the ledger knows the batch.
"""

import contextlib
from collections.abc import Callable, Hashable, Sequence

import anyio
import structlog

from worker.brokers.deaths import Deaths
from worker.brokers.engine import Arrived, Inlet
from worker.brokers.held import Held
from worker.brokers.messages import Message, dead_letter, ref_of
from worker.errors import SourceUnavailable
from worker.flow.bell import Bell
from worker.sources.suspects import Suspects

log = structlog.get_logger()

BURY_AGAIN_S = 1.0
GIVE_BACK_WITHIN_S = 2.0


class Custody:
    """Messages of one inlet. `freed` rings when there may be room for more, `set_aside` counts the buried."""

    def __init__(self, inlet: Inlet, deaths: Deaths, *, poison_after: int) -> None:
        self._inlet = inlet
        self._deaths = deaths
        self._suspects = Suspects(poison_after)
        self._held = Held()
        self._messages: dict[str, Message] = {}
        self._let_go: dict[str, Callable[[], None]] = {}
        self.set_aside = 0
        self.freed = Bell()

    def __len__(self) -> int:
        """Count the messages."""
        return len(self._held)

    def __contains__(self, ref: str) -> bool:
        """Tell whether the message is ours."""
        return ref in self._held

    def refs(self) -> list[str]:
        """Name them all."""
        return list(self._messages)

    def handles(self) -> list[Hashable]:
        """Give the newest handle of every message, by which its lease is extended."""
        return self._held.handles()

    def message(self, ref: str) -> Message:
        """Give a message that is ours."""
        return self._messages[ref]

    def name_of(self, ref: str) -> str:
        """Name the batch as its producer did, or by its ref, in the log and on its dead letter alike."""
        return self._messages[ref].name or ref.rpartition(":")[2]

    @property
    def has_suspects(self) -> bool:
        """Whether messages that were delivered before wait for their turn."""
        return self._suspects.waiting

    def take_in(self, arrived: Sequence[Arrived]) -> dict[str, int]:
        """Note what came; gives those that are new to us, with how often the broker delivered each to anybody."""
        met: dict[str, int] = {}
        for one in arrived:
            ref = ref_of(self._inlet.scheme, self._inlet.place, one.message, identity=one.identity)
            if self._held.meet(ref, one.handle):
                self._messages[ref] = one.message
                met[ref] = one.deliveries
        return met

    async def suspect(self, met: dict[str, int]) -> list[str]:
        """Of the messages taken in, let those wait that were delivered before, or bury them; gives the others.

        :raises worker.errors.SourceUnavailable: if it cannot be told what is noted of them; all are given back.
        """
        fresh = [ref for ref, deliveries in met.items() if deliveries == 1]
        again = {ref: deliveries for ref, deliveries in met.items() if deliveries > 1}
        try:
            await self._deaths.learn(list(again))
        except SourceUnavailable:
            await self.give_back(list(met))
            raise
        for ref, deliveries in again.items():
            if (reason := self._suspects.add(ref, self._deaths.of(ref), deliveries)) is not None:
                await self.bury(ref, "poison", reason)
        return fresh

    async def next_suspects(self) -> list[str]:
        """Give those that waited and whose turn it is; that they are in work now is noted before that.

        :raises worker.errors.SourceUnavailable: if it cannot be noted; they are given back.
        """
        refs = self._suspects.next()
        try:
            await self._deaths.begin(refs)
        except SourceUnavailable:
            await self.give_back(refs)
            raise
        return refs

    def keep(self, ref: str, let_go: Callable[[], None]) -> None:
        """Have `let_go` called once the message is not ours any more."""
        self._let_go[ref] = let_go

    async def end(self, refs: Sequence[str]) -> None:
        """Acknowledge; those that are not ours are passed over."""
        handles = self._dropped(refs)
        heard = await self._inlet.acknowledge(handles)
        if heard < len(handles):
            log.warning("input.ack_lost", count=len(handles) - heard)
        with contextlib.suppress(SourceUnavailable):
            await self._deaths.forget(refs)

    async def give_back(self, refs: Sequence[str], *, within_s: float = GIVE_BACK_WITHIN_S) -> bool:
        """Give these back to the broker, for anybody; those that are not ours are passed over.

        Returns whether the broker took that within the time: one that does not answer has them free once our session
        or their lease is over, and nobody waits for it.
        """
        begun = [ref for ref in refs if self._suspects.drop(ref)]
        handles = self._dropped(refs)
        with contextlib.suppress(SourceUnavailable):
            await self._deaths.forgive(begun)
        with anyio.move_on_after(within_s) as giving:
            await self._inlet.give_back(handles)
        return not giving.cancelled_caught

    async def bury(self, ref: str, code: str, text: str) -> None:
        """Put a message with the dead letters, then acknowledge it; if that fails now, it comes again."""
        name = self.name_of(ref)
        try:
            await self._inlet.bury(dead_letter(self._messages[ref], name, code, text))
        except SourceUnavailable as error:
            log.error("input.bury_failed", batch=name, code=code, detail=str(error))  # noqa: TRY400 - the place is named
            await self.give_back([ref])
            await anyio.sleep(BURY_AGAIN_S)
            return
        self.set_aside += 1
        log.warning("input.quarantined", batch=name, code=code, detail=text)
        await self.end([ref])

    def _dropped(self, refs: Sequence[str]) -> list[Hashable]:
        """Forget messages; gives their handles."""
        for ref in refs:
            self._messages.pop(ref, None)
            self._suspects.drop(ref)
            if (let_go := self._let_go.pop(ref, None)) is not None:
                let_go()
        self.freed.ring()
        return self._held.drop(refs)
