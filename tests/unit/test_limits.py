"""What is told of the limit on calls in flight: moves to the tally, plain ones to the log, the last to `status`."""

from functools import partial

import anyio
from anyio.lowlevel import checkpoint
from structlog.testing import capture_logs

from tests.clocks import SetClock
from worker.flow.adaptive import LimitChange
from worker.limits import LIMIT_NOW, LimitNow, LimitTeller, keep_limit_noted, read_limit
from worker.tally import Tally
from worker.testing import MemoryLedger


def test_a_plain_change_is_told_once_in_ten_seconds_and_counted_at_once() -> None:
    clock, tally = SetClock(), Tally()
    teller = LimitTeller(tally, clock=clock)

    with capture_logs() as lines:
        clock.now += 5
        teller.changed(LimitChange(16, 8, "slow_start"))
        early = (len(lines), tally.limit, tally.limit_reason)
        clock.now += 5
        teller.changed(LimitChange(64, 16, "slow_start"))
        clock.now += 5
        teller.changed(LimitChange(44, 64, "cut"))
        clock.now += 5
        teller.changed(LimitChange(45, 44, "grew"))

    assert early == (0, 16, "slow_start")
    assert [(line["limit"], line["before"], line["reason"]) for line in lines] == [
        (64, 8, "slow_start"),
        (45, 64, "grew"),
    ]
    assert {line["log_level"] for line in lines} == {"info"}
    assert (tally.limit, tally.limit_reason) == (45, "grew")


def test_a_small_change_is_never_told() -> None:
    clock, tally = SetClock(), Tally()
    teller = LimitTeller(tally, clock=clock)

    with capture_logs() as lines:
        for limit in range(101, 120):
            clock.now += 60
            teller.changed(LimitChange(limit, limit - 1, "grew"))

    assert lines == []


async def test_the_limit_is_noted_when_it_moved_and_not_while_it_rests() -> None:
    ledger, tally = MemoryLedger(), Tally()
    tally.limit, tally.limit_reason = 64, "slow_start"
    times = iter((1.0, 2.0, 3.0))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(keep_limit_noted, ledger, tally, every_s=0, wall=lambda: next(times)))
        for _ in range(20):
            await checkpoint()
        first = read_limit(await ledger.noted(LIMIT_NOW))
        tally.limit, tally.limit_reason = 44, "cut"
        for _ in range(20):
            await checkpoint()
        second = read_limit(await ledger.noted(LIMIT_NOW))
        tasks.cancel_scope.cancel()

    assert first == LimitNow(64, "slow_start", 1.0)
    assert second == LimitNow(44, "cut", 2.0)


async def test_why_submission_is_paused_is_noted_until_it_goes_on() -> None:
    ledger, tally = MemoryLedger(), Tally()
    tally.limit, tally.limit_reason = 8, "restarted"
    noted = []

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(partial(keep_limit_noted, ledger, tally, every_s=0, wall=lambda: 1.0))
        for gate in ("outage", ""):
            tally.gate = gate
            for _ in range(20):
                await checkpoint()
            noted.append(read_limit(await ledger.noted(LIMIT_NOW)))
        tasks.cancel_scope.cancel()

    assert noted == [LimitNow(8, "restarted", 1.0, "outage"), LimitNow(8, "restarted", 1.0, "")]


def test_a_note_that_cannot_be_read_is_none() -> None:
    assert read_limit(None) is None
    assert read_limit("64") is None
