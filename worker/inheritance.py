"""Goes on with what a worker had begun when it died: the `Heir` of a worker with a ledger in a file.

::

    hold their ledger ─▶ bring its results to its own sinks ─▶ ours learns of the batches ─▶ set aside in theirs ─▶ move

Whatever was answered there is told by that ledger and no other: here first, as its own worker would at its next start,
or then, should its sinks be out of our reach. So no result goes out by two ledgers, wherever a crash comes: until a
file has moved its dead worker may start again and go on with it, and what ours has learned of it by then only waits.

Where their ledger cannot be found or read, their batches are begun anew, and one line says so.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import anyio
import msgspec
import structlog

from worker import sinks
from worker.claim import Batch
from worker.crashpoint import crashpoint
from worker.errors import SettingsError, StateError, StateHeld, StorageFull
from worker.from_thread import ask_loop, is_awaited
from worker.ledger import Estate, FleetLedger, SqliteLedger, WholeLedger, open_left_ledger
from worker.outbox import records_of
from worker.ports import Heir, Position, Sink
from worker.settings import Settings
from worker.shared_inheritance import SharedInheritance

log = structlog.get_logger()

SINKS = "sinks"
FILES = ("jsonl:", "edi:")
CARRIED_AT_ONCE = 512
CARRIED_WITHIN_S = 30.0


class _Will(msgspec.Struct, frozen=True):
    """What a worker leaves beside its batches: where its ledger is, and how to know that it is that one."""

    ledger: str
    identity: str


async def heir_of(ledger: WholeLedger, settings: Settings, outputs: Sequence[Sink]) -> Heir:
    """Give what carries over, into this ledger, what dead workers knew.

    :raises worker.errors.StateError: if the ledger cannot be written.
    """
    if isinstance(ledger, FleetLedger):
        return SharedInheritance(ledger, settings.environment)
    if isinstance(ledger, SqliteLedger):
        return await Inheritance.prepared(ledger, settings, outputs)
    raise TypeError("inheritance: a ledger of an unknown kind")


class Inheritance:
    """`worker.ports.Heir` of the worker that holds `ledger`; `outputs` maps its own sinks' names to their URLs."""

    def __init__(self, ledger: SqliteLedger, identity: str, environment: str, outputs: Mapping[str, str]) -> None:
        self._ledger = ledger
        self._left = _Will(os.path.realpath(ledger.path), identity)
        self._environment = environment
        self._outputs = outputs
        self._told: set[str] = set()
        self.will = msgspec.json.encode(self._left)

    @classmethod
    async def prepared(cls, ledger: SqliteLedger, settings: Settings, outputs: Sequence[Sink]) -> Self:
        """Note in our ledger what an heir of ours will ask it.

        :raises worker.errors.StateError: if the ledger cannot be written, be it for lack of room: without this what we
            answer would be asked for again after our death.
        """
        urls = {sink.name: url for sink, url in zip(outputs, settings.output.urls, strict=True)}
        names = msgspec.json.encode(sorted(urls)).decode()
        identity = await ledger.identity()
        if await ledger.noted(SINKS) != names:
            await ledger.note(SINKS, names)
        return cls(ledger, identity, settings.environment, urls)

    @contextmanager
    def inheriting(self, owner: str, will: bytes, refs: Sequence[str]) -> Iterator[bool]:
        """Hold a dead worker's ledger while its batches are moved; see `worker.ports.Heir`."""
        try:
            left = msgspec.json.decode(will, type=_Will)
        except msgspec.DecodeError:
            self._begin_anew(owner, "it has left no word of its ledger")
            yield True
            return
        if left == self._left:
            yield True  # our own earlier life
            return
        if not is_awaited():
            yield False  # we are told to stop, and a ledger whose sinks are out of reach takes half a minute
            return
        try:
            theirs = open_left_ledger(Path(left.ledger), left.identity, environment=self._environment)
        except (StateHeld, StorageFull) as error:
            self._wait(owner, str(error))
            yield False
            return
        except StateError as error:
            if left.identity != self._left.identity:  # else ours has moved since
                self._begin_anew(owner, str(error))
            yield True
            return
        try:
            yield self._inherit(owner, theirs, refs)
        finally:
            ask_loop(theirs.close)

    def let_go(self, refs: Sequence[str]) -> Mapping[str, int]:
        """Keep those of which anything was sent or answered, and set the others aside; see `worker.ports.Heir`."""
        estates = ask_loop(self._ledger.estates, refs)
        begun = [estate for estate in estates if estate.done or estate.answered or estate.dispatched_through]
        kept = {estate.ref: estate.answered for estate in begun}
        if fresh := [estate.number for estate in estates if estate.ref not in kept]:
            ask_loop(self._ledger.set_aside, fresh)
        return kept

    def answered(self, refs: Sequence[str]) -> Mapping[str, int]:
        """Ask our ledger how many claims of these batches have an answer; see `worker.ports.Heir`."""
        return ask_loop(self._ledger.answered, refs, self._environment)

    def _inherit(self, owner: str, theirs: SqliteLedger, refs: Sequence[str]) -> bool:
        try:
            ask_loop(self._carry_over, owner, theirs, refs)
        except StorageFull as error:
            self._wait(owner, str(error))
            return False
        except StateError as error:
            self._begin_anew(owner, str(error))
        return True

    async def _carry_over(self, owner: str, theirs: SqliteLedger, refs: Sequence[str]) -> None:
        estates = await theirs.estates(refs)
        if not estates:
            return  # taken, and nothing begun
        if await _Executor(theirs, self._outputs).settle([estate for estate in estates if estate.complete]):
            estates = await theirs.estates(refs)
        results = 0
        for estate in estates:
            results += await self._ledger.inherit(theirs, estate)
        crashpoint("inherited")
        await theirs.set_aside([estate.number for estate in estates if not estate.done])
        crashpoint("set_aside")
        log.info("ledger.inherited", owner=owner, batches=len(estates), results=results)

    def _begin_anew(self, owner: str, detail: str) -> None:
        log.warning("ledger.missed", owner=owner, detail=detail)

    def _wait(self, owner: str, detail: str) -> None:
        if owner not in self._told:
            self._told.add(owner)
            log.warning("ledger.awaited", owner=owner, detail=detail)


class _Executor:
    """Does at a dead worker's sinks what its next start would do first."""

    def __init__(self, ledger: SqliteLedger, ours: Mapping[str, str]) -> None:
        self._ledger = ledger
        self._ours = ours

    async def settle(self, complete: Sequence[Estate]) -> bool:
        """Bring every result to all of its sinks, and end the batches that are complete; False if that cannot be."""
        try:
            with anyio.fail_after(CARRIED_WITHIN_S):
                for name in await self._names():
                    await self._carry_to(name, complete)
                if complete:
                    await self._ledger.finish([estate.number for estate in complete])
        except (SettingsError, StateError, TimeoutError) as error:
            log.error("results.left", place=str(self._ledger.path), detail=str(error) or "its sinks do not answer")  # noqa: TRY400 - the place is named
            return False
        return True

    async def _names(self) -> Sequence[str]:
        noted = await self._ledger.noted(SINKS)
        return await self._ledger.sinks() if noted is None else msgspec.json.decode(noted, type=list[str])

    async def _carry_to(self, name: str, complete: Sequence[Estate]) -> None:
        position = await self._ledger.position(name)
        if not complete and not await self._ledger.outbox(position.seq, 1):
            return
        sink = self._sink(name)
        try:
            await sink.open(position.cursor)
            while emissions := await self._ledger.outbox(position.seq, CARRIED_AT_ONCE):
                position = Position(emissions[-1].seq, await sink.write(emissions))
                await self._ledger.advance(name, position)
            for estate in complete:
                batch = Batch(estate.number, estate.batch_id, estate.name, estate.received_at)
                await sink.complete(batch, records_of(self._ledger, estate.number, estate.total or 0))
        finally:
            with anyio.CancelScope(shield=True):
                await sink.close()

    def _sink(self, name: str) -> Sink:
        """Make a dead worker's sink: a file by its name alone, anything else only if we have the same."""
        if name.startswith(FILES):
            return sinks.from_url(name)
        if name in self._ours:
            return sinks.from_url(self._ours[name])
        raise StateError(f"sink: {name} is none of ours")
