import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import anyio
import pytest

from tests.virtualtime import START_S, virtual_time
from worker.flow.gate import TRIAL_PERIOD_S, TRIALS, Gate, GateChange, GateState
from worker.flow.limiter import Signal
from worker.flow.outage import FaultRow, OutageDetector
from worker.flow.probes import run_probes
from worker.flow.watch import Watch


@virtual_time
async def test_the_gate_is_open_only_when_no_reason_holds() -> None:
    gate = Gate()
    assert gate.is_open
    assert gate.try_enter()

    gate.shut("storage", "results is full")
    gate.shut("operator", "maintenance")
    gate.open("storage")
    assert (gate.is_open, gate.state, gate.reasons) == (False, GateState.SHUT, {"operator": "maintenance"})
    assert not gate.try_enter()

    gate.open("operator")
    gate.open("operator")
    assert (gate.is_open, gate.state, gate.reasons) == (True, GateState.OPEN, {})


@virtual_time
async def test_everybody_who_waits_goes_on_when_the_gate_opens() -> None:
    gate = Gate()
    gate.shut("operator")
    passed: list[str] = []

    async def enter(name: str) -> None:
        await gate.enter()
        passed.append(name)

    async def watch() -> None:
        await gate.wait_not_shut()
        passed.append("watcher")

    async with anyio.create_task_group() as tasks:
        for name in ("a", "b", "c"):
            tasks.start_soon(enter, name)
        tasks.start_soon(watch)
        await anyio.sleep(60)
        assert passed == []
        gate.open("operator")

    assert passed == ["a", "b", "c", "watcher"]


@virtual_time
async def test_half_open_lets_a_few_through_and_a_success_opens_for_all() -> None:
    gate = Gate()
    gate.shut("outage")
    entered: list[float] = []

    async def enter() -> None:
        await gate.enter()
        entered.append(anyio.current_time() - START_S)

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(enter)
        await anyio.sleep(5)
        gate.half_open()
        await anyio.sleep(1)
        assert entered == [5.0] * TRIALS
        gate.trial_succeeded()

    assert entered == [5.0] * TRIALS + [6.0] * (10 - TRIALS)
    assert gate.is_open


@virtual_time
async def test_trials_that_are_never_heard_of_again_are_replaced() -> None:
    gate = Gate()
    gate.shut("outage")
    gate.half_open()
    begun = anyio.current_time()

    for _ in range(TRIALS + 1):
        await gate.enter()

    assert anyio.current_time() - begun == pytest.approx(TRIAL_PERIOD_S)


@virtual_time
async def test_half_open_waits_for_reasons_that_a_trial_cannot_settle() -> None:
    gate = Gate()
    gate.shut("outage")
    gate.shut("storage")

    gate.half_open()
    assert not gate.try_enter()

    gate.open("storage")
    assert gate.state is GateState.HALF_OPEN
    assert gate.try_enter()


@virtual_time
async def test_a_gate_shut_by_an_operator_alone_is_not_half_opened() -> None:
    gate = Gate()
    gate.shut("operator")

    gate.half_open()

    assert gate.state is GateState.SHUT


@virtual_time
async def test_shut_time_counts_every_pause_since_a_moment_and_the_present_one() -> None:
    gate = Gate()
    await anyio.sleep(10)
    gate.shut("outage")
    await anyio.sleep(20)
    gate.shut("storage")
    gate.open("outage")
    await anyio.sleep(5)
    gate.open("storage")
    await anyio.sleep(100)
    gate.shut("operator")
    await anyio.sleep(7)

    assert gate.shut_time(START_S) == pytest.approx(32)
    assert gate.shut_time(START_S + 20) == pytest.approx(22)
    assert gate.shut_time(START_S + 100) == pytest.approx(7)
    assert gate.shut_time(START_S + 140) == pytest.approx(2)
    gate.open("operator")
    assert gate.shut_time(START_S) == pytest.approx(32)
    assert gate.shut_time(START_S + 200) == 0.0


@virtual_time
async def test_its_observer_hears_each_change_once() -> None:
    heard: list[GateChange] = []
    gate = Gate(on_change=heard.append)

    gate.shut("outage", "lost")
    gate.shut("outage", "lost")
    await anyio.sleep(3)
    gate.half_open()
    gate.half_open()
    gate.trial_succeeded()

    assert heard == [
        GateChange(GateState.SHUT, "outage", "lost", 0.0, came=True, reasons=("outage",)),
        GateChange(GateState.HALF_OPEN, "outage", "lost", 3.0, reasons=("outage",)),
        GateChange(GateState.OPEN, "outage", "lost", 3.0),
    ]


@pytest.mark.parametrize(
    ("script", "outage"),
    [
        ([(0.1 * i, True) for i in range(49)], False),  # all lost, but for less than 5 s
        ([(0.1 * i, True) for i in range(60)], True),
        ([(1.0 * i, True) for i in range(9)], False),  # nine in a row
        ([(1.0 * i, True) for i in range(10)], True),
        ([(120.0 * i, True) for i in range(10)], True),  # each a time-out
        ([(0.1 * i, i % 2 == 0) for i in range(600)], False),  # half of them
        ([(0.1 * i, i % 10 != 0) for i in range(600)], True),  # nine of ten
        ([(0.1 * i, i % 4 != 0) for i in range(600)], False),  # three of four
        ([(0.01 * i, True) for i in range(100)] + [(1 + 0.01 * i, False) for i in range(600)], False),  # a blip
        ([(1.0 * i, False) for i in range(100)], False),
    ],
)
@pytest.mark.fault(89)
def test_an_outage_is_most_of_the_last_attempts_lost_for_some_seconds(
    script: list[tuple[float, bool]], outage: bool
) -> None:
    detector = OutageDetector()

    verdicts = [detector.record(lost, at) for at, lost in script]

    assert any(verdicts) is outage


@pytest.mark.fault(89)
def test_answers_to_what_was_sent_before_do_not_hide_an_outage() -> None:
    detector = OutageDetector()
    for second in range(30):
        detector.record(False, second / 10, 2.0)

    told = [detector.record(step % 3 != 0, 3.0 + step / 4, 3.0 + step / 4) for step in range(40)]

    assert any(told)


def test_a_row_of_losses_lasts_longer_than_answers_take_before_it_is_an_outage() -> None:
    detector = OutageDetector()
    for second in range(30):
        detector.record(False, float(second), 9.9)

    told = [detector.record(True, 30.0 + step) for step in range(40)]

    assert told.index(True) == 30


def test_an_outage_is_suspected_before_it_is_told() -> None:
    detector = OutageDetector()

    told = [(detector.record(True, 0.01 * step), detector.suspected) for step in range(10)]
    detector.record(False, 5.0, 1.0)

    assert told == [(False, False)] * 9 + [(False, True)]
    assert not detector.suspected


def test_after_a_reset_nothing_is_remembered() -> None:
    detector = OutageDetector()
    for second in range(9):
        detector.record(True, float(second))

    detector.reset()

    assert not detector.record(True, 9.0)


@pytest.mark.parametrize(
    ("faults", "shut"), [("ffff", False), ("fffff", True), ("ffff.ffff", False), ("f.fffff", True)]
)
def test_five_request_faults_in_a_row_speak_against_the_settings(faults: str, shut: bool) -> None:
    row = FaultRow()

    assert [row.record(fault == "f") for fault in faults][-1] is shut


class Service:
    """Answers attempts and probes according to what it is told to be."""

    def __init__(self) -> None:
        self.up = True
        self.answers_probes: bool | None = None
        self.health_unusable = False
        self.probes: list[float] = []
        self.attempts: list[float] = []

    async def healthy(self) -> bool | None:
        await anyio.sleep(0.1)
        self.probes.append(anyio.current_time() - START_S)
        if self.health_unusable:
            return None
        return self.up if self.answers_probes is None else self.answers_probes


class Flow:
    """A dispatcher as the submitter has one, with eight attempts a second of 0.5 s each."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.changes: list[GateChange] = []
        self.restarts = 0
        self.gate = Gate(on_change=self.changes.append)
        self.watch = Watch(self.gate, restart=self.restart)

    def restart(self) -> None:
        self.restarts += 1

    async def dispatch(self) -> None:
        async with anyio.create_task_group() as tasks:
            while True:
                await self.gate.enter()
                tasks.start_soon(self.attempt)
                await anyio.sleep(0.125)

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Dispatch, and probe while the gate is shut."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.dispatch)
            tasks.start_soon(run_probes, self.gate, self.service.healthy)
            yield
            tasks.cancel_scope.cancel()

    async def attempt(self) -> None:
        self.service.attempts.append(anyio.current_time() - START_S)
        await anyio.sleep(0.5)
        self.watch.heard(Signal.OK if self.service.up else Signal.LOST, 0.5)


@pytest.mark.fault(89)
@virtual_time
async def test_an_outage_shuts_the_gate_is_probed_ever_less_often_and_ends_by_itself() -> None:
    random.seed(1)
    service = Service()
    flow = Flow(service)

    async with flow.at_work():
        await anyio.sleep(60)
        service.up = False
        await anyio.sleep(3600)
        service.up = True
        await anyio.sleep(120)

    assert [change.state for change in flow.changes] == [GateState.SHUT, GateState.HALF_OPEN, GateState.OPEN]
    assert flow.restarts == 1
    assert len([at for at in service.attempts if 75 < at < 3660]) == 0
    pauses = [after - before for before, after in pairwise(service.probes)]
    assert max(pauses) <= 60.2
    assert 60 < len(service.probes) < 200
    assert flow.gate.is_open


@virtual_time
async def test_a_health_endpoint_that_lies_costs_a_few_attempts_and_not_all() -> None:
    service = Service()
    service.up, service.answers_probes = False, True
    flow = Flow(service)

    async with flow.at_work():
        await anyio.sleep(3600)

    after_the_start = [at for at in service.attempts if at > 30]
    assert len(service.probes) > 50
    assert len(after_the_start) <= TRIALS * len(service.probes)
    assert not flow.gate.is_open


@pytest.mark.fault(89)
@virtual_time
async def test_an_outage_ends_also_where_there_is_no_health_endpoint() -> None:
    service = Service()
    service.up, service.health_unusable = False, True
    flow = Flow(service)

    async with flow.at_work():
        await anyio.sleep(3600)
        tried = len([at for at in service.attempts if at > 30])
        service.up = True
        await anyio.sleep(120)

    assert 0 < tried <= TRIALS * len(service.probes)
    assert flow.gate.is_open


@virtual_time
async def test_requests_refused_as_such_are_not_tried_because_nobody_says_that_the_service_is_well() -> None:
    service = Service()
    service.health_unusable = True
    flow = Flow(service)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_probes, flow.gate, service.healthy)
        flow.gate.shut("request_fault", "the service refuses the requests as such")
        await anyio.sleep(3600)
        tasks.cancel_scope.cancel()

    assert len(service.probes) > 5
    assert flow.gate.state is GateState.SHUT


@pytest.mark.fault(76)
@virtual_time
async def test_refused_credentials_keep_it_shut_until_a_trial_gets_an_answer() -> None:
    service = Service()
    flow = Flow(service)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_probes, flow.gate, service.healthy)
        flow.watch.credentials_refused("401 with a fresh token")
        await anyio.sleep(5.2)
        flow.watch.credentials_refused("401 with a fresh token")
        await anyio.sleep(61)
        flow.watch.heard(Signal.OK, 0.5)
        tasks.cancel_scope.cancel()

    states = [change.state.value for change in flow.changes]
    assert states == ["shut", "half_open", "shut", "half_open", "open"]
    assert flow.restarts == 0


@virtual_time
async def test_request_faults_in_a_row_shut_it_and_a_good_answer_opens_it() -> None:
    gate = Gate()
    watch = Watch(gate, restart=lambda: None)

    for _ in range(5):
        watch.heard(Signal.OK, 0.1, request_fault=True)
    assert list(gate.reasons) == ["request_fault"]

    await anyio.sleep(30)
    gate.half_open()
    watch.heard(Signal.OK, 0.1, request_fault=True)
    assert gate.state is GateState.SHUT

    await anyio.sleep(30)
    gate.half_open()
    watch.heard(Signal.OK, 0.1)
    assert gate.is_open


@virtual_time
async def test_an_answer_that_was_on_its_way_before_the_gate_shut_neither_opens_nor_shuts_it() -> None:
    gate = Gate()
    watch = Watch(gate, restart=lambda: None)
    for _ in range(12):
        await anyio.sleep(1)
        watch.heard(Signal.LOST, 0.5)
    assert gate.state is GateState.SHUT
    await anyio.sleep(30)
    gate.half_open()

    watch.heard(Signal.LOST, 60.0)
    watch.heard(Signal.OK, 60.0)
    assert gate.state.value == "half_open"
    watch.heard(Signal.OK, 1.0)
    assert gate.is_open


@pytest.mark.fault(68)
@virtual_time
async def test_without_a_token_the_gate_is_shut_until_a_probe_and_a_trial_succeed() -> None:
    service = Service()
    flow = Flow(service)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run_probes, flow.gate, service.healthy)
        flow.watch.token_unavailable("token unavailable: refused")
        assert not flow.gate.try_enter()
        tasks.start_soon(flow.dispatch)
        await anyio.sleep(10)
        tasks.cancel_scope.cancel()

    assert flow.gate.is_open
    assert service.attempts[0] == pytest.approx(1.1)


@virtual_time
async def test_what_says_nothing_about_the_service_moves_nothing() -> None:
    gate = Gate()
    watch = Watch(gate, restart=lambda: None)

    for _ in range(100):
        await anyio.sleep(1)
        watch.heard(Signal.IGNORE, 0.5)

    assert gate.is_open
