"""Runs the worker: has its parts opened (`worker.parts`), owns the outermost task group, and says how it ended."""

import gc
from contextlib import AsyncExitStack

import anyio
import structlog

from worker import __version__
from worker.errors import CredentialsRefused, TokenUnavailable, Unfinished
from worker.ledger import ParkedFilter
from worker.limits import keep_limit_noted, remember_limit
from worker.openfiles import provide_open_files
from worker.parts import Observer, Order, Parts, open_parts
from worker.ports import Source
from worker.reconciliation import require_balance
from worker.settings import Settings, guarded, warnings_of
from worker.settling import OnSettled
from worker.tally import Tally
from worker.telemetry.watchdog import watch_loop
from worker.upkeep import (
    end_in_time,
    end_on_refusal,
    gauge,
    keep_to_allowance,
    obey_pause,
    obey_signals,
    purge,
    tell_left_over,
)

log = structlog.get_logger()


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
    order = Order(source, once, force, replay, create, observer, on_settled)
    settings = guarded(settings)
    provide_open_files(settings.flow.max_in_flight)
    for warning in warnings_of(settings):
        log.warning("settings.warned", detail=warning)
    tally = tally or Tally()
    async with AsyncExitStack() as stack:
        parts = await open_parts(stack, settings, order, tally)
        try:
            await _supervise(stack, parts, settings, order, tally)
        finally:
            await remember_limit(parts.ledger, parts.pace.limiter)
        await _conclude(parts, order, tally)
    return tally


async def _supervise(stack: AsyncExitStack, parts: Parts, settings: Settings, order: Order, tally: Tally) -> None:
    """Begin and run under the eyes of those who may end it: signals are obeyed while the first token is waited for."""
    pipeline, ledger = parts.pipeline, parts.ledger
    async with anyio.create_task_group() as beside:
        beside.start_soon(obey_signals, pipeline, tally)
        beside.start_soon(gauge, pipeline, parts.source, lambda: parts.api.tokens_fetched, tally)
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


async def _begin(stack: AsyncExitStack, parts: Parts) -> None:
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


async def _conclude(parts: Parts, order: Order, tally: Tally) -> None:
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
