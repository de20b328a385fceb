"""What runs beside the flow: obeying signals and an operator's pause, ending `once` runs, removing old content."""

import contextlib
import signal
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

import anyio
import anyio.to_thread
import structlog

from worker.errors import SourceUnavailable, StateError, StorageFull
from worker.flow.gate import Gate
from worker.ledger import FleetReads, LedgerReads, WholeLedger
from worker.pausing import NOTE, Pause, pause_file, read_note, read_pause
from worker.pipeline import Pipeline
from worker.ports import Source
from worker.signals import insistence_heard, listeners_kept, pass_first_over
from worker.tally import Tally

log = structlog.get_logger()

ABORT_WITHIN_S = 3.0
ECHO_S = 0.1
PURGE_EVERY_S = 3600.0
GAUGE_EVERY_S = 1.0
ALLOWANCE_LOOK_S = 0.2
PAUSE_LOOK_S = 0.5

ReadPause = Callable[[], Awaitable[Pause | None]]


class Interrupted(Exception):
    """A second signal: end at once. `code` is 128 plus the signal's number."""

    def __init__(self, code: int) -> None:
        super().__init__(f"interrupted ({code})")
        self.code = code


async def obey_signals(pipeline: Pipeline, tally: Tally) -> None:
    """Drain on the first SIGTERM or SIGINT, end at once on the second; a terminal that is closed drains, too.

    A first one that comes once the flow is down, while books and connections are closed, is passed over.
    """
    numbers = (signal.SIGTERM, signal.SIGINT)
    with (
        _passed_over_if_first(tally),
        listeners_kept(*numbers),
        anyio.open_signal_receiver(*numbers, *_hangup()) as signals,
        insistence_heard(*numbers, echo_s=ECHO_S, within_s=ABORT_WITHIN_S) as insisted,
    ):
        async for number in signals:
            # Closing a terminal is not asking twice, though its shell and the kernel both send a SIGHUP, and a
            # manager's SIGTERM follows. A signal of timeout(1), or one to a process and its group, is one delivered
            # twice.
            if insisted() and number != signal.SIGHUP:
                raise Interrupted(128 + number)
            if not tally.stopped_by:
                tally.stopped_by = signal.Signals(number).name
                log.info("worker.draining", signal=tally.stopped_by, in_flight=tally.in_flight)
                pipeline.drain()
                # A drain with nothing to end is over before the echo has come, and then nobody would know it for one.
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(ECHO_S)


@contextlib.contextmanager
def _passed_over_if_first(tally: Tally) -> Iterator[None]:
    try:
        yield
    finally:
        if not tally.stopped_by:
            pass_first_over(echo_s=ECHO_S)


def _hangup() -> Sequence[signal.Signals]:
    """Give SIGHUP, unless it is to be ignored, as under nohup."""
    return () if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else (signal.SIGHUP,)


def pause_of(state_url: str, ledger: LedgerReads) -> ReadPause:
    """Give what reads the pause of the workers on this ledger: a note in one that is shared, or a file."""
    if isinstance(ledger, FleetReads):
        return partial(_noted_pause, ledger)
    return partial(anyio.to_thread.run_sync, read_pause, pause_file(state_url))


async def _noted_pause(ledger: FleetReads) -> Pause | None:
    return read_note(await ledger.fleet_noted(NOTE))


async def obey_pause(gate: Gate, read: ReadPause) -> None:
    """Keep the gate shut while an operator's pause holds; where that cannot be read, leave it as it is."""
    while True:
        with contextlib.suppress(StateError):
            await look_for_pause(gate, read)
        await anyio.sleep(PAUSE_LOOK_S)


async def look_for_pause(gate: Gate, read: ReadPause) -> None:
    """Shut the gate if a pause holds, withdraw it if none does.

    :raises worker.errors.StateError: if that cannot be read.
    """
    pause = await read()
    if pause is None:
        gate.open("operator")
    else:
        gate.shut("operator", pause.reason or "no reason given")


async def end_on_refusal(pipeline: Pipeline) -> None:
    """End a `once` run whose credentials are refused: nobody will come to change them."""
    while "credentials" not in pipeline.gate.reasons:
        await pipeline.gate.wait_change()
    pipeline.drain()


async def end_in_time(pipeline: Pipeline, timeout_s: float) -> None:
    """End a `once` run that takes longer than it may, for example because of an outage; 0 means any time."""
    if timeout_s:
        await anyio.sleep(timeout_s)
        log.warning("worker.timed_out", elapsed_s=timeout_s)
        pipeline.timed_out = True
        pipeline.drain()


async def keep_to_allowance(pipeline: Pipeline, tally: Tally, once: bool) -> None:
    """Say once that the sandbox takes no more claims in this run; the others stay pending."""
    # Three things at once, and this only in the sandbox: looking costs less than a bell for each.
    while not pipeline.turns.spent or tally.in_flight or pipeline.turns.waiting:  # noqa: ASYNC110 - see above
        await anyio.sleep(ALLOWANCE_LOOK_S)
    log.warning("sandbox.capped", pending=pipeline.turns.fresh)
    if once:
        pipeline.drain()


async def tell_left_over(source: Source) -> None:
    """Warn of the inputs that a `once` run leaves because they are not ready."""
    try:
        left = await source.left_over()
    except SourceUnavailable as error:
        log.error("input.unavailable", detail=str(error))  # noqa: TRY400 - the place is named
        return
    if left:
        log.warning("input.unready", names=", ".join(left[:20]), count=len(left))


async def gauge(pipeline: Pipeline, source: Source, tokens_fetched: Callable[[], int], tally: Tally) -> None:
    """Keep the tally's gauges up to date for probes and metrics, to the end; the flow itself only counts."""
    try:
        while True:
            _gauge(pipeline, source, tokens_fetched, tally)
            await anyio.sleep(GAUGE_EVERY_S)
    finally:
        _gauge(pipeline, source, tokens_fetched, tally)


def _gauge(pipeline: Pipeline, source: Source, tokens_fetched: Callable[[], int], tally: Tally) -> None:
    tally.queued = pipeline.turns.fresh
    tally.backing_off = pipeline.turns.waiting
    tally.batches_open = len(pipeline.board)
    tally.unsent_results = pipeline.unsent_results
    tally.token_refreshes = tokens_fetched()
    tally.batches_refused = source.set_aside
    tally.input_available = pipeline.intake.available


async def purge(ledger: WholeLedger, retention_days: float) -> None:
    """Remove claim content that is past its retention, now and then."""
    while True:
        try:
            purged = await ledger.purge(time.time() - retention_days * 86_400)
        except StorageFull:
            purged = 0  # the next time, then
        if purged:
            log.info("ledger.purged", results=purged)
        await anyio.sleep(PURGE_EVERY_S)
