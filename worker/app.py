"""The composition root: picks the parts by the settings, wires them, owns the outermost task group and the signals.

Parts are opened in the order in which a mistake in them should be noticed: ledger and sinks first, the input
last, so that nothing is taken before everything it needs is there.
"""

import gc
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import msgspec
import structlog

from worker import __version__, sinks, sources
from worker.brokers.deaths import deaths_beside
from worker.brokers.fetched import fetched_folder
from worker.errors import CredentialsRefused, TokenUnavailable, Unfinished
from worker.fleet import open_sharing
from worker.flow.gate import GateState
from worker.flow.pace import Pace
from worker.inheritance import heir_of
from worker.ledger import ParkedClaims, ParkedFilter, WholeLedger, open_state, worker_name
from worker.limits import keep_limit_noted, remember_limit
from worker.openfiles import provide_open_files
from worker.pacing import STEADY, make_pace
from worker.pipeline import Neighbours, Pipeline
from worker.ports import Sink, Source
from worker.precheck import PrecheckClient, open_client
from worker.reconciliation import Period, begin_period, require_balance
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

Beside = Callable[[], Coroutine[Any, Any, None]]
Observer = Callable[[Pipeline, Tally], Coroutine[Any, Any, None]]


class _Order(msgspec.Struct, frozen=True):
    """What is wanted of a run; see `work`."""

    source: Source | None
    once: bool
    force: bool
    replay: ParkedFilter | None
    create: bool
    observer: Observer | None
    on_settled: OnSettled | None


class _Parts(msgspec.Struct, frozen=True):
    """What a run is made of; all of it is open but the source. `sharing` is what has to run beside the flow."""

    ledger: WholeLedger
    source: Source
    api: PrecheckClient
    pace: Pace
    pipeline: Pipeline
    period: Period
    pause: ReadPause
    sharing: Beside


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
    :raises worker.errors.Unfinished: from a `once` run that has taken as long as it may.
    :raises worker.upkeep.Interrupted: on a second signal.
    """
    order = _Order(source, once, force, replay, create, observer, on_settled)
    settings = guarded(settings)
    provide_open_files(settings.flow.max_in_flight)
    for warning in warnings_of(settings):
        log.warning("settings.warned", detail=warning)
    tally = tally or Tally()
    async with AsyncExitStack() as stack:
        parts = await _opened(stack, settings, order, tally)
        try:
            await _supervise(stack, parts, settings, order, tally)
        finally:
            await remember_limit(parts.ledger, parts.pace.limiter)
        await _conclude(parts, order, tally)
    return tally


async def _opened(stack: AsyncExitStack, settings: Settings, order: _Order, tally: Tally) -> _Parts:
    state, create = settings.state, order.create
    ledger = await stack.enter_async_context(open_state(state, environment=settings.environment, create=create))
    outputs = [
        await stack.enter_async_context(_closing(sinks.from_url(url, create=create))) for url in settings.output.urls
    ]
    api = await stack.enter_async_context(open_client(settings))
    source = await _source(settings, ledger, outputs, order)
    period = await begin_period(ledger)
    pace = await make_pace(settings, ledger, tally)
    sharing = await stack.enter_async_context(open_sharing(settings.flow, pace))
    pause = pause_of(state.url, ledger)
    await look_for_pause(pace.gate, pause)
    pipeline = Pipeline(
        settings,
        Neighbours(source, ledger, outputs, api),
        pace,
        tally,
        force=order.force,
        replay=await _parked(ledger, order.replay, settings.environment),
        on_settled=order.on_settled,
        steady=STEADY,
    )
    await pipeline.open_sinks()
    await stack.enter_async_context(serve_probes(settings.telemetry.http, tally, lambda: _unready(pipeline)))
    return _Parts(ledger, source, api, pace, pipeline, period, pause, sharing)


async def _source(settings: Settings, ledger: WholeLedger, outputs: Sequence[Sink], order: _Order) -> Source:
    """Make what claims come from. Whatever that is, an heir of ours will ask our ledger."""
    heir = await heir_of(ledger, settings, outputs)
    if order.replay is not None:
        return NoSource()
    return order.source or sources.from_url(
        settings.input.url,
        settings.input,
        heir=heir,
        prefetch=settings.flow.max_in_flight,
        deaths=deaths_beside(settings.state.url, ledger, settings.environment),
        fetched=fetched_folder(settings.input, settings.state.url, worker_name(settings.state)),
        create=order.create,
    )


async def _parked(ledger: WholeLedger, wanted: ParkedFilter | None, environment: str) -> ParkedClaims | None:
    """Find what is to be sent again; never a claim of another environment, which may be real there and a test here."""
    if wanted is None:
        return None
    return await ParkedClaims.of(ledger, msgspec.structs.replace(wanted, environment=environment))


async def _supervise(stack: AsyncExitStack, parts: _Parts, settings: Settings, order: _Order, tally: Tally) -> None:
    """Begin and run under the eyes of those who may end it: signals are obeyed while the first token is waited for."""
    pipeline, ledger = parts.pipeline, parts.ledger
    async with anyio.create_task_group() as beside:
        beside.start_soon(obey_signals, pipeline, tally)
        beside.start_soon(gauge, pipeline, parts.source, lambda: parts.api.tokens_had, tally)
        beside.start_soon(obey_pause, pipeline.gate, parts.pause)
        beside.start_soon(watch_loop)
        beside.start_soon(keep_limit_noted, ledger, tally)
        beside.start_soon(parts.sharing)
        if order.observer is not None:
            beside.start_soon(order.observer, pipeline, tally)
        if order.once:
            beside.start_soon(end_on_refusal, pipeline)
            beside.start_soon(end_in_time, pipeline, settings.flow.once_timeout_s)
        if settings.environment == "sandbox":
            beside.start_soon(keep_to_allowance, pipeline, tally, order.once)
        if not order.force and order.replay is None:  # a purge could take away the results that a repeat supersedes
            beside.start_soon(purge, ledger, settings.state.retention_days)
        await _begin(stack, parts)
        log.info("worker.started", version=__version__, environment=settings.environment, once=order.once)
        await pipeline.run(once=order.once)
        beside.cancel_scope.cancel()


async def _begin(stack: AsyncExitStack, parts: _Parts) -> None:
    """Get the first token before the input is touched; without one the gate is shut from the start."""
    with parts.pipeline.starting:
        try:
            await parts.api.authorize()
        except TokenUnavailable as unavailable:
            parts.pace.watch.token_unavailable(str(unavailable))
        except CredentialsRefused as refused:
            parts.pace.watch.credentials_refused(str(refused))
    await parts.source.open()
    stack.push_async_callback(parts.source.close)
    _spare_the_collector()


def _spare_the_collector() -> None:
    """Collect garbage seldom: the flow makes many objects and hardly a cycle, and a tenth of its time went there."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


async def _conclude(parts: _Parts, order: _Order, tally: Tally) -> None:
    """Tell how the run has ended, and raise what follows from it for its caller."""
    pipeline = parts.pipeline
    if order.once:
        await tell_left_over(parts.source)
    done, refused = tally.batches_done, tally.batches_refused
    log.info("worker.stopped", claims=tally.claims_completed, batches=done, refused=refused)
    if order.once:
        await require_balance(parts.ledger, parts.period, pipeline.intake.revisited)
    if pipeline.timed_out:
        left = f"batches begun and not finished: {len(pipeline.board)}"
        raise Unfinished(f"flow.once_timeout_s reached; {left}; the same command goes on with what has no result")
    if order.once and (text := pipeline.gate.reasons.get("credentials")) is not None:
        raise CredentialsRefused("credentials refused", text)


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
