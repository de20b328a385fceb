"""Takes deliveries and opens them: survey, entry in the ledger, claims handed on in turns.

Small batches are surveyed and split in one thread hop for many of them; a large one is split piece by piece
as its claims are used up, so that its size costs no memory. A batch met again after a crash continues where
its ledger entry stands: answered claims are skipped, the others carry what they already cost.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice

import anyio
import anyio.to_thread
import msgspec
import structlog
from anyio.abc import TaskGroup

from worker.batches import Board, OpenBatch
from worker.claim import Claim, Delivery
from worker.effort import Effort
from worker.errors import SourceUnavailable
from worker.flow.pace import Pace
from worker.flow.room import once_there_is_room
from worker.ports import Arrival, Ledger, OpenedBatch, Source, Spent
from worker.recorder import Recorder
from worker.result import Reason, decode_result
from worker.screening import Screen
from worker.settings import InputSettings
from worker.tally import Tally
from worker.turns import LOW_WATER, Turns
from worker.x12 import SplitClaim, Survey, split, survey

log = structlog.get_logger()

TAKE_AT_ONCE = 64
SMALL_CLAIMS = 256
SMALL_BYTES = 1 << 20
PIECE_CLAIMS = 128
SOURCE_RETRY_S = 2.0


class Prepared(msgspec.Struct, frozen=True):
    """A delivery with its survey and hash; `claims` are split already where they are few.

    `units` is how many units of submission the batch holds: claims, unless `input.split` says otherwise.
    """

    delivery: Delivery
    survey: Survey
    sha256: str
    units: int
    claims: list[SplitClaim] | None


class Intake:
    """The one task that takes from the source.

    `available` is False while the source cannot be reached, `known_claims` counts the unanswered claims of all
    batches opened so far.
    """

    def __init__(
        self,
        source: Source,
        ledger: Ledger,
        board: Board,
        turns: Turns,
        recorder: Recorder,
        pace: Pace,
        tally: Tally,
        screen: Screen,
        settings: InputSettings,
        environment: str,
        *,
        most_open: int,
        most_fresh: int,
        force: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._board = board
        self._turns = turns
        self._recorder = recorder
        self._gate = pace.gate
        self._policy = pace.policy
        self._tally = tally
        self._screen = screen
        self._settings = settings
        self._environment = environment
        self._most_open = most_open
        self._most_fresh = most_fresh
        self._force = force
        self._clock = clock
        self._threads = anyio.CapacityLimiter(1)
        self.available = True
        self.known_claims = 0

    async def run(self, *, once: bool = False) -> None:
        """Take and open batches until cancelled; with `once`, until the source has nothing ready any more."""
        async with anyio.create_task_group() as feeders:
            while True:
                await self._room()
                await self._gate.wait_open()
                deliveries = await self._take(wait=not once)
                if deliveries:
                    await self._open(deliveries, feeders)
                elif once and not len(self._board):
                    return
                elif once:
                    await self._board.changed()

    async def _room(self) -> None:
        while len(self._board) >= self._most_open or self._turns.fresh >= self._most_fresh:
            with anyio.move_on_after(0.05):
                await self._board.changed()

    async def _take(self, *, wait: bool) -> Sequence[Delivery]:
        limit = min(TAKE_AT_ONCE, self._most_open - len(self._board))
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
        prepare = partial(_prepare_all, deliveries, self._settings)
        prepared = await anyio.to_thread.run_sync(prepare, limiter=self._threads)
        sound = []
        for one in prepared:
            if one.survey.refusal is None:
                sound.append(one)
            else:
                await self._refuse(one)
        if not sound:
            return
        arrivals = [_arrival(one) for one in sound]
        opened = await once_there_is_room(self._gate, lambda: self._ledger.open_batches(arrivals), what="ledger")
        for one, known in zip(sound, opened, strict=True):
            await self._start(one, known, feeders)

    async def _refuse(self, one: Prepared) -> None:
        refusal = one.survey.refusal
        if refusal is None:
            raise ValueError("intake: a sound batch is not refused")
        await self._source.refuse(one.delivery, refusal.code, refusal.text)
        self._tally.batches_refused += 1
        log.warning("batch.refused", batch=one.delivery.name, code=refusal.code)

    async def _start(self, one: Prepared, known: OpenedBatch, feeders: TaskGroup) -> None:
        batch = OpenBatch(known, one.delivery)
        if known.done:
            batch.total = batch.answered
        else:
            self.known_claims += one.units - batch.answered
        self._tell_opened(one, batch)
        self._board.open(batch)
        if batch.finished:
            return
        if one.claims is None:
            feeders.start_soon(self._feed, batch, one)
        else:
            await self._hand_on(batch, one.claims)

    async def _feed(self, batch: OpenBatch, one: Prepared) -> None:
        """Split a large batch piece by piece, as fast as its claims get their turn."""
        claims = _split(one.delivery, one.survey, one.sha256, self._settings.split)
        while True:
            piece = await anyio.to_thread.run_sync(_piece, claims, limiter=self._threads)
            if not piece:
                break
            await self._hand_on(batch, piece)
            while len(batch.fresh) >= LOW_WATER:
                await batch.wants_more.wait()

    async def _hand_on(self, batch: OpenBatch, splits: Sequence[SplitClaim]) -> None:
        """Send what can be sent, give a result to the rest."""
        answered = batch.opened.answered
        pending = [one for one in splits if one.ordinal not in answered] if answered else splits
        if batch.opened.original is not None and self._settings.duplicates == "reuse" and not self._force:
            pending = await self._reuse(batch, pending)
        fresh, refused = [], []
        for one in pending:
            reason = self._reason_to_refuse(one)
            if reason is None:
                fresh.append(self._claim(batch, one))
            else:
                refused.append((one, reason))
        self._turns.offer(batch, (claim for claim in fresh if not claim.due_at))
        for claim in fresh:
            if claim.due_at:
                self._turns.defer(Effort(batch, claim), self._policy.time_left_s(claim.due_at, self._clock()))
        if refused:
            async with anyio.create_task_group() as together:
                for one, reason in refused:
                    together.start_soon(self._recorder.refused, batch, one.ordinal, one.facts, reason)

    def _reason_to_refuse(self, one: SplitClaim) -> Reason | None:
        if one.refusal is not None:
            return Reason(one.refusal.code, f"Not sent: {one.refusal.text}.", "worker")
        return self._screen(one.facts)

    def _claim(self, batch: OpenBatch, one: SplitClaim) -> Claim:
        spent = _spent(batch.opened, one.ordinal)
        if spent is None:
            return Claim(batch.batch, one.ordinal, one.interchange, one.facts)
        return Claim(
            batch.batch,
            one.ordinal,
            one.interchange,
            one.facts,
            attempts=spent.attempts,
            ambiguous_attempts=spent.ambiguous_attempts,
            first_sent_at=spent.first_sent_at,
            due_at=spent.due_at,
        )

    async def _reuse(self, batch: OpenBatch, splits: Sequence[SplitClaim]) -> list[SplitClaim]:
        """Tell the results of an earlier, equal batch again; return the claims for which there is none."""
        original = batch.opened.original
        if original is None or not splits:
            return list(splits)
        reach = splits[-1].ordinal - splits[0].ordinal + 1
        records = await self._ledger.results_of(original.number, splits[0].ordinal - 1, reach)
        known = {result.ordinal: result for result in map(decode_result, records)}
        left = []
        for one in splits:
            earlier = known.get(one.ordinal)
            if earlier is None or not await self._recorder.reused(batch, earlier):
                left.append(one)
        return left

    def _tell_opened(self, one: Prepared, batch: OpenBatch) -> None:
        resumed = bool(batch.opened.answered or batch.opened.dispatched_through)
        log.info(
            "batch.resumed" if resumed else "batch.opened",
            batch=batch.batch.name,
            batch_id=batch.batch.batch_id,
            claims=one.units,
            answered=batch.answered,
            bytes=one.delivery.size,
            duplicate_of=batch.opened.original.batch_id if batch.opened.original else None,
        )
        if self._environment == "production" and one.survey.test:
            log.warning("batch.test_flagged", batch_id=batch.batch.batch_id)
        for finding in one.survey.findings[:5]:
            log.warning("batch.doubted", batch_id=batch.batch.batch_id, code=finding.code, segment=finding.segment)


def _spent(opened: OpenedBatch, ordinal: int) -> Spent | None:
    """Tell what an unanswered claim cost before this process: nothing, what is noted, or one unknown attempt."""
    noted = opened.spent.get(ordinal)
    if noted is not None:
        return noted
    if ordinal <= opened.dispatched_through:
        return Spent(attempts=1, ambiguous_attempts=1, first_sent_at=None, due_at=0.0)
    return None


def _arrival(one: Prepared) -> Arrival:
    delivery = one.delivery
    return Arrival(one.sha256, delivery.ref, delivery.name, delivery.size, delivery.received_at, one.units)


def _prepare_all(deliveries: Sequence[Delivery], settings: InputSettings) -> list[Prepared]:
    return [_prepare(delivery, settings) for delivery in deliveries]


def _prepare(delivery: Delivery, settings: InputSettings) -> Prepared:
    surveyed = delivery.survey or survey(delivery.chunks())
    digest = delivery.sha256 or _sha256(delivery)
    units = {"claim": surveyed.claims, "transaction": surveyed.sets, "none": surveyed.interchanges}[settings.split]
    if surveyed.refusal is not None or units > SMALL_CLAIMS or delivery.size > SMALL_BYTES:
        return Prepared(delivery, surveyed, digest, units, None)
    return Prepared(delivery, surveyed, digest, units, list(_split(delivery, surveyed, digest, settings.split)))


def _sha256(delivery: Delivery) -> str:
    digest = hashlib.sha256()
    for chunk in delivery.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _split(delivery: Delivery, surveyed: Survey, sha256: str, mode: str) -> Iterator[SplitClaim]:
    """Cut the batch; the control numbers come from its hash, so that a repeat is byte-identical."""
    return split(delivery.chunks(), surveyed, seed=int(sha256[:12], 16), mode=mode)


def _piece(claims: Iterator[SplitClaim]) -> list[SplitClaim]:
    return list(islice(claims, PIECE_CLAIMS))
