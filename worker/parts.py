"""What a run is made of: the parts that the settings name, opened and wired.

They are opened in the order in which a mistake in them should be noticed: ledger and sinks first, the input last
(`worker.app`), so that nothing is taken before everything it needs is there.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import msgspec

from worker import sinks, sources
from worker.brokers.deaths import deaths_beside
from worker.brokers.fetched import fetched_folder
from worker.fleet import open_sharing
from worker.flow.allowance import ANSWER_BYTES, Allowance
from worker.flow.gate import GateState
from worker.flow.pace import Pace
from worker.inheritance import heir_of
from worker.ledger import ParkedClaims, ParkedFilter, WholeLedger, open_state, worker_name
from worker.pacing import STEADY, make_pace
from worker.pipeline import Neighbours, Pipeline
from worker.ports import Sink, Source
from worker.precheck import PrecheckClient, open_client
from worker.reconciliation import Period, begin_period
from worker.replay import NoSource
from worker.settings import Settings
from worker.settling import OnSettled
from worker.tally import Tally
from worker.telemetry.http import serve_probes
from worker.upkeep import ReadPause, look_for_pause, pause_of

Beside = Callable[[], Coroutine[Any, Any, None]]
Observer = Callable[[Pipeline, Tally], Coroutine[Any, Any, None]]


class Order(msgspec.Struct, frozen=True):
    """What is wanted of a run; see `worker.app.work`."""

    source: Source | None
    once: bool
    force: bool
    replay: ParkedFilter | None
    create: bool
    observer: Observer | None
    on_settled: OnSettled | None


class Parts(msgspec.Struct, frozen=True):
    """What a run is made of; all of it is open but the source. `sharing` is what has to run beside the flow."""

    ledger: WholeLedger
    source: Source
    api: PrecheckClient
    pace: Pace
    pipeline: Pipeline
    period: Period
    pause: ReadPause
    sharing: Beside


async def open_parts(stack: AsyncExitStack, settings: Settings, order: Order, tally: Tally) -> Parts:
    """Open everything but the source; `stack` closes it again.

    :raises worker.errors.SettingsError: if a part cannot be as configured.
    :raises worker.errors.StateError: if ledger or sink cannot be used.
    """
    state, create = settings.state, order.create
    ledger = await stack.enter_async_context(open_state(state, environment=settings.environment, create=create))
    outputs = [sinks.from_url(url, create=create) for url in settings.output.urls]
    await stack.enter_async_context(_closing(outputs))
    large = Allowance(ANSWER_BYTES)
    api = await stack.enter_async_context(open_client(settings, large))
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
        large=large,
        steady=STEADY,
    )
    await pipeline.open_sinks()
    await stack.enter_async_context(serve_probes(settings.telemetry.http, tally, lambda: _unready(pipeline)))
    return Parts(ledger, source, api, pace, pipeline, period, pause, sharing)


async def _source(settings: Settings, ledger: WholeLedger, outputs: Sequence[Sink], order: Order) -> Source:
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


def _unready(pipeline: Pipeline) -> str | None:
    """Say why the worker takes no work right now; None if it does."""
    if pipeline.gate.state is GateState.SHUT:
        return "gate shut: " + ", ".join(pipeline.gate.reasons)
    if not pipeline.intake.available:
        return "input unavailable"
    return None


@asynccontextmanager
async def _closing(outputs: Sequence[Sink]) -> AsyncIterator[None]:
    """Close the sinks in the end, all at once: several may be where nobody answers."""
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as closing:
                for sink in outputs:
                    closing.start_soon(sink.close)
