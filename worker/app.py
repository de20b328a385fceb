"""The composition root: picks the parts by the settings, wires them, owns the outermost task group and the signals.

Parts are opened in the order in which a mistake in them should be noticed: ledger and sinks first, the input
last, so that nothing is taken before everything it needs is there.
"""

import gc
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import msgspec
import structlog

from worker import __version__, sinks, sources
from worker.brokers.attempts import Attempts, attempts_beside
from worker.brokers.fetched import fetched_folder
from worker.errors import CredentialsRefused, StateError, TokenUnavailable, Unfinished
from worker.fleet import open_sharing
from worker.flow.gate import GateState
from worker.flow.watch import Watch
from worker.inheritance import heir_of
from worker.ledger import LedgerReads, ParkedClaims, ParkedFilter, WholeLedger, open_state, worker_name
from worker.limits import keep_limit_noted, remember_limit
from worker.openfiles import provide_open_files
from worker.pacing import STEADY, make_pace
from worker.pipeline import Neighbours, Pipeline
from worker.ports import Api, Heir, Sink, Source
from worker.precheck import open_client
from worker.reconciliation import Period, begin_period, reconcile
from worker.replay import NoSource
from worker.settings import Settings, guarded, warnings_of
from worker.settling import OnSettled
from worker.tally import Tally
from worker.telemetry.http import serve_probes
from worker.telemetry.watchdog import watch_loop
from worker.upkeep import (
    ReadPause,
    end_in_time,
    end_on_refusal,
    gauge,
    keep_to_allowance,
    look_for_pause,
    obey_pause,
    obey_signals,
    pause_of,
    purge,
    tell_left_over,
)

log = structlog.get_logger()

Observer = Callable[[Pipeline, Tally], Coroutine[Any, Any, None]]


async def work(
    settings: Settings,
    *,
    source: Source | None = None,
    once: bool = False,
    force: bool = False,
    replay: ParkedFilter | None = None,
    create: bool = False,
    tally: Tally | None = None,
    observer: Observer | None = None,
    on_settled: OnSettled | None = None,
) -> Tally:
    """Run the worker until its input is empty (`once`) or a signal drains it; returns its counts.

    `source` replaces the configured input; with `replay` there is none, and the parked claims that the filter lets
    through are sent again. `force` sends batches again that were done before. `create` makes queues, streams and the
    like that are missing. `observer` runs beside the flow and is cancelled with it, `on_settled` is told of each batch
    that ends. A `once` run ends by balancing its books.

    :raises worker.errors.SettingsError: if a part cannot be as configured; no input was touched.
    :raises worker.errors.StateError: if ledger or sink cannot be used or trusted, or the books do not balance.
    :raises worker.errors.CredentialsRefused: from a `once` run, if we are refused; all claims stay pending.
    :raises worker.upkeep.Interrupted: on a second signal.
    """
    settings = guarded(settings)
    provide_open_files(settings.flow.max_in_flight)
    for warning in warnings_of(settings):
        log.warning("settings.warned", detail=warning)
    tally = tally or Tally()
    async with AsyncExitStack() as parts:
        ledger = await parts.enter_async_context(
            open_state(settings.state, environment=settings.environment, create=create)
        )
        outputs = [
            await parts.enter_async_context(_closing(sinks.from_url(url, create=create)))
            for url in settings.output.urls
        ]
        api = await parts.enter_async_context(open_client(settings))
        heir = await heir_of(ledger, settings, outputs)
        attempts = attempts_beside(settings.state.url, ledger, settings.environment)
        given = source if replay is None else NoSource()
        intake = given or _source(settings, heir, attempts, create=create)
        period = await begin_period(ledger)
        pace = await make_pace(settings, ledger, tally)
        sharing = await parts.enter_async_context(open_sharing(settings.flow, pace))
        pause = pause_of(settings.state.url, ledger)
        await look_for_pause(pace.gate, pause)
        pipeline = Pipeline(
            settings,
            Neighbours(intake, ledger, outputs, api),
            pace,
            tally,
            force=force,
            replay=None if replay is None else await _parked(ledger, replay, settings.environment),
            on_settled=on_settled,
            steady=STEADY,
        )
        await pipeline.open_sinks()
        await parts.enter_async_context(serve_probes(settings.telemetry.http, tally, lambda: _unready(pipeline)))

        async def begin() -> None:
            with pipeline.starting:
                await _authorize(api, pace.watch)
            await intake.open()
            parts.push_async_callback(intake.close)
            _spare_the_collector()
            log.info("worker.started", version=__version__, environment=settings.environment, once=once)

        try:
            # A purge at the same time could take away the results that a repeat supersedes.
            purging = not force and replay is None
            await _supervise(
                pipeline,
                ledger,
                settings,
                tally,
                begin,
                pause=pause,
                gauging=lambda: gauge(pipeline, intake, lambda: api.tokens_had, tally),
                once=once,
                purging=purging,
                observer=observer,
                sharing=sharing,
            )
        finally:
            await remember_limit(ledger, pace.limiter)
        if once:
            await tell_left_over(intake)
        done, refused = tally.batches_done, tally.batches_refused
        log.info("worker.stopped", claims=tally.claims_completed, batches=done, refused=refused)
        if once:
            await _balance_books(ledger, period, pipeline)
        if pipeline.timed_out:
            left = f"batches begun and not finished: {len(pipeline.board)}"
            raise Unfinished(f"flow.once_timeout_s reached; {left}; the same command goes on with what has no result")
        if once and (text := pace.gate.reasons.get("credentials")) is not None:
            raise CredentialsRefused("credentials refused", text)
    return tally


def _source(settings: Settings, heir: Heir, attempts: Attempts, *, create: bool) -> Source:
    return sources.from_url(
        settings.input.url,
        settings.input,
        heir=heir,
        prefetch=settings.flow.max_in_flight,
        attempts=attempts,
        fetched=fetched_folder(settings.input, settings.state.url, worker_name(settings.state)),
        create=create,
    )


async def _parked(ledger: WholeLedger, wanted: ParkedFilter, environment: str) -> ParkedClaims:
    """Find what is to be sent again; never a claim of another environment, which may be real there and a test here."""
    return await ParkedClaims.of(ledger, msgspec.structs.replace(wanted, environment=environment))


async def _balance_books(ledger: LedgerReads, period: Period, pipeline: Pipeline) -> None:
    books = await reconcile(ledger, period, pipeline.intake.revisited)
    if books.unbalanced:
        batch_id, problem = books.problems[0]
        raise StateError(f"the books do not balance: {batch_id}: {problem} (see status --reconcile)")


async def _authorize(api: Api, watch: Watch) -> None:
    """Get the first token before the input is touched; without one the gate is shut from the start."""
    try:
        await api.authorize()
    except TokenUnavailable as unavailable:
        watch.token_unavailable(str(unavailable))
    except CredentialsRefused as refused:
        watch.credentials_refused(str(refused))


def _spare_the_collector() -> None:
    """Collect garbage seldom: the flow makes many objects and hardly a cycle, and a tenth of its time went there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def _supervise(
    pipeline: Pipeline,
    ledger: WholeLedger,
    settings: Settings,
    tally: Tally,
    begin: Callable[[], Coroutine[Any, Any, None]],
    *,
    pause: ReadPause,
    gauging: Callable[[], Coroutine[Any, Any, None]],
    once: bool,
    purging: bool,
    observer: Observer | None,
    sharing: Callable[[], Coroutine[Any, Any, None]],
) -> None:
    """Begin and run under the eyes of those who may end it: signals are obeyed while the first token is waited for."""
    async with anyio.create_task_group() as beside:
        beside.start_soon(obey_signals, pipeline, tally)
        beside.start_soon(gauging)
        beside.start_soon(obey_pause, pipeline.gate, pause)
        beside.start_soon(watch_loop)
        beside.start_soon(keep_limit_noted, ledger, tally)
        beside.start_soon(sharing)
        if observer is not None:
            beside.start_soon(observer, pipeline, tally)
        if once:
            beside.start_soon(end_on_refusal, pipeline)
            beside.start_soon(end_in_time, pipeline, settings.flow.once_timeout_s)
        if settings.environment == "sandbox":
            beside.start_soon(keep_to_allowance, pipeline, tally, once)
        if purging:
            beside.start_soon(purge, ledger, settings.state.retention_days)
        await begin()
        await pipeline.run(once=once)
        beside.cancel_scope.cancel()


def _unready(pipeline: Pipeline) -> str | None:
    """Say why the worker takes no work right now; None if it does."""
    if pipeline.gate.state is GateState.SHUT:
        return "gate shut: " + ", ".join(pipeline.gate.reasons)
    if not pipeline.intake.available:
        return "input unavailable"
    return None


@asynccontextmanager
async def _closing(sink: Sink) -> AsyncIterator[Sink]:
    try:
        yield sink
    finally:
        with anyio.CancelScope(shield=True):
            await sink.close()
