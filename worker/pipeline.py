"""The way of a claim as one task group inside another: the flow ends first, what stores its results last.

::

    ┌─ storing ─────────────────────────────────────────────────────┐
    │  recorder ─▶ ledger ─▶ outbox per sink · settler · gate probes │
    │  ┌─ flow ────────────────────────────────────────────────┐    │
    │  │  intake ─▶ turns ─▶ submitter                          │    │
    │  └────────────────────────────────────────────────────────┘    │
    └────────────────────────────────────────────────────────────────┘

A drain stops intake and dispatcher, lets the attempts under way end (for `drain_s` at most), then lets the
results reach the sinks and settles what is finished. What is unfinished goes back to the source; the ledger
knows how far it is.
"""

import math
from collections.abc import Callable, Sequence

import anyio
import msgspec

from worker.attempting import Attempter
from worker.batches import Board
from worker.bounds import Bounds
from worker.feed import Feed
from worker.feeding import Feeder
from worker.flow.allowance import Allowance
from worker.flow.pace import Pace
from worker.flow.probes import run_probes
from worker.intake import Intake
from worker.outbox import Outbox
from worker.ports import Api, Emission, Ledger, Replayable, Sink, Source
from worker.recorder import Recorder
from worker.replay import Replay
from worker.reserving import AHEAD
from worker.screening import make_screen
from worker.settings import Settings
from worker.settings.environment import claims_per_run
from worker.settling import OnSettled, Settler
from worker.submitter import Submitter
from worker.tally import Tally
from worker.turns import Turns

LEFT_WITHIN_S = 30.0  # from the end of the last call until the process has ended, whoever does not answer
GOODBYES_S = 8.0  # of that: two to give back what is unfinished, six to part with source, sinks and ledger
FLUSH_WITHIN_S = LEFT_WITHIN_S - GOODBYES_S


class Neighbours(msgspec.Struct, frozen=True):
    """The real parts, or fakes of them, that the flow works with; all are open."""

    source: Source
    ledger: Ledger
    sinks: Sequence[Sink]
    api: Api


class Pipeline:
    """One run of the flow. `run` returns when the source is empty (`once`) or a drain has ended.

    `large` is what large answers may take of memory, shared with the API's client.
    """

    def __init__(
        self,
        settings: Settings,
        neighbours: Neighbours,
        pace: Pace,
        tally: Tally,
        *,
        force: bool = False,
        replay: Replayable | None = None,
        on_settled: OnSettled | None = None,
        large: Allowance | None = None,
        steady: Callable[[], float] = anyio.current_time,
    ) -> None:
        self._neighbours = neighbours
        self._pace = pace
        self.gate = pace.gate
        self._drain_s = settings.telemetry.drain_s
        self.starting = anyio.CancelScope()  # what may be waited for before `run`, and not once we drain
        self._taking = anyio.CancelScope()
        self._attempting = anyio.CancelScope()
        self._over_by = math.inf
        self.timed_out = False  # whether a bounded run was ended before its work was
        self.board = Board()
        source, ledger, safe_to_repeat = neighbours.source, neighbours.ledger, settings.api.safe_to_repeat
        self.outboxes = [Outbox(sink, ledger, pace.gate) for sink in neighbours.sinks]
        bounds = Bounds.beside(settings.flow.max_in_flight)
        self.turns = Turns(
            pace.budget,
            most_waiting=bounds.waiting,
            most_batches=bounds.waiting_batches,
            most_waiting_bytes=bounds.waiting_bytes,
            most_fresh_bytes=bounds.fresh_bytes,
            allowance=claims_per_run(settings.environment),
            clock=steady,
        )
        self._recorder = Recorder(
            ledger,
            self.board,
            pace.gate,
            tally,
            settings.environment,
            announce=self._announce,
            most_drafts=bounds.drafts,
            large=large,
        )
        self.intake: Feed
        if replay is None:
            self.intake = self._intake(settings, bounds, force=force)
        else:
            self.intake = self._replay(replay, bounds, safe_to_repeat=safe_to_repeat)
        self._attempter = Attempter(
            neighbours.api,
            ledger,
            self.turns,
            self._recorder,
            pace,
            tally,
            safe_to_repeat=safe_to_repeat,
            steady=steady,
        )
        self._submitter = Submitter(self.turns, self._recorder, pace, tally, self._attempter.attempt, steady=steady)
        self._settler = Settler(source, ledger, self.board, self.outboxes, pace.gate, tally, on_settled)

    def _intake(self, settings: Settings, bounds: Bounds, *, force: bool) -> Intake:
        """Make what brings claims from the source."""
        source, ledger, safe_to_repeat = self._neighbours.source, self._neighbours.ledger, settings.api.safe_to_repeat
        feeder = Feeder(
            ledger,
            self.turns,
            self._recorder,
            self._pace.policy,
            make_screen(settings.claims, settings.environment),
            settings.input,
            safe_to_repeat=safe_to_repeat,
            force=force,
        )
        return Intake(
            source,
            ledger,
            self.board,
            self.turns,
            feeder,
            self.gate,
            settings.input,
            settings.environment,
            outboxes=self.outboxes,
            most_open=bounds.batches,
            most_fresh=bounds.fresh,
            most_reserved=AHEAD if safe_to_repeat else 0,
            force=force,
        )

    def _replay(self, parked: Replayable, bounds: Bounds, *, safe_to_repeat: bool) -> Replay:
        """Make what brings parked claims from the ledger."""
        return Replay(
            parked,
            self._neighbours.ledger,
            self.board,
            self.turns,
            self._recorder,
            self._pace,
            safe_to_repeat=safe_to_repeat,
            most_open=bounds.batches,
            most_fresh=bounds.fresh,
        )

    @property
    def unsent_results(self) -> int:
        """Count the results that some sink has not taken yet."""
        return max(0, self.board.newest - min(outbox.reached for outbox in self.outboxes))

    @property
    def known_claims(self) -> int:
        """Count the claims of all batches opened in this run that had no result before it."""
        return self.intake.known_claims

    async def open_sinks(self) -> None:
        """Open every sink where the ledger says it stands.

        :raises worker.errors.SettingsError: if one cannot be as configured.
        :raises worker.errors.StateError: if one is not what we left, or cannot be written.
        """
        for outbox in self.outboxes:
            await outbox.open()

    async def run(self, *, once: bool = False) -> None:
        """Work until the source is empty (`once`) or `drain` was called.

        :raises worker.errors.StateError: if ledger or sink cannot be trusted any more.
        """
        async with anyio.create_task_group() as storing:
            for outbox in self.outboxes:
                storing.start_soon(outbox.run)
            storing.start_soon(self._recorder.run)
            storing.start_soon(self._settler.run)
            storing.start_soon(run_probes, self._pace.gate, self._neighbours.api.healthy)
            await self._flow(once=once)
            self._be_over_by(anyio.current_time() + FLUSH_WITHIN_S)
            with anyio.CancelScope(deadline=self._over_by):
                await self._attempter.give_back(self.board)
                await self._flushed()
            storing.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            unfinished = [batch.delivery for batch in self.board]
            known = {delivery.ref for delivery in unfinished}
            unfinished += [delivery for delivery in self.intake.unopened if delivery.ref not in known]
            await self._neighbours.source.release(unfinished)

    def drain(self) -> None:
        """Take nothing more, begin no attempt, and let `run` return once the rest has ended."""
        self.starting.cancel()
        self._taking.cancel()
        self._submitter.stop()
        self._attempting.deadline = min(self._attempting.deadline, anyio.current_time() + self._drain_s)
        self._be_over_by(self._attempting.deadline + FLUSH_WITHIN_S)

    def _be_over_by(self, deadline: float) -> None:
        """Store nothing after this time, even where storing is shielded: the ledger may be away."""
        self._over_by = min(self._over_by, deadline)
        self._neighbours.ledger.end_by(self._over_by)

    async def _flow(self, *, once: bool) -> None:
        with self._attempting:
            async with anyio.create_task_group() as flow:
                flow.start_soon(self._submitter.run)
                with self._taking:
                    await self.intake.run(once=once)
                self._submitter.stop()

    async def _flushed(self) -> None:
        """Wait until every result is in every sink and every finished batch is settled."""
        await self._recorder.flushed()
        while self._unsettled:
            with anyio.move_on_after(0.05):
                await self.board.changed()

    @property
    def _unsettled(self) -> bool:
        return bool(self.unsent_results or self.board.finished or any(outbox.behind for outbox in self.outboxes))

    def _announce(self, emission: Emission) -> None:
        for outbox in self.outboxes:
            outbox.announce(emission)
