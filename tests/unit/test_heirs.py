"""What a worker inherits by, told to stop or in front of a ledger that does not answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import anyio
import anyio.from_thread
import anyio.to_thread
import pytest

from tests.spools import batch
from worker.errors import SourceUnavailable
from worker.inheritance import Inheritance
from worker.ledger import open_ledger
from worker.settings import InputSettings
from worker.shared_inheritance import SharedInheritance
from worker.sources import DirectorySource
from worker.sources.takeover import NoHeir


class AwayLedger:
    """The part of a fleet's ledger that is asked here, while its server is away."""

    async def answered(self, refs: Sequence[str], environment: str) -> Mapping[str, int]:
        await anyio.sleep_forever()
        raise AssertionError


class DoubtfulHeir(NoHeir):
    """Cannot tell what was answered when it is asked for the first time."""

    def __init__(self) -> None:
        self._asked = 0

    def answered(self, refs: Sequence[str]) -> Mapping[str, int]:
        self._asked += 1
        if self._asked == 1:
            raise SourceUnavailable("not now")
        return {}


async def test_a_worker_of_a_fleet_whose_ledger_is_away_can_be_told_to_stop_while_it_asks_of_batches_found() -> None:
    heir = SharedInheritance(AwayLedger(), "", asked_within_s=0.1)  # type: ignore[arg-type]  # the part that is asked

    def ask() -> None:
        with pytest.raises(SourceUnavailable):
            heir.answered(["dir:in/a.837"])

    with anyio.fail_after(10.0):
        await anyio.to_thread.run_sync(ask)


async def test_batches_found_are_met_again_once_it_can_be_told_what_was_answered_of_them(tmp_path: Path) -> None:
    incoming = tmp_path / "in"
    incoming.mkdir()
    (incoming / "a.837").write_bytes(batch())
    first = DirectorySource(incoming, InputSettings(ready="renamed"), worker_id="w")
    await first.open()
    (taken,) = await first.take(10)
    await first.close()

    second = DirectorySource(incoming, InputSettings(ready="renamed"), worker_id="w", heir=DoubtfulHeir())
    await second.open()
    with pytest.raises(SourceUnavailable):
        await second.take(10)
    with anyio.fail_after(10.0):
        again = await second.take(10)
    await second.close()

    assert [one.name for one in again] == [taken.name]


async def test_a_worker_that_is_told_to_stop_takes_over_from_no_further_dead_worker(tmp_path: Path) -> None:
    may_go_on = []
    async with open_ledger(f"sqlite:{tmp_path}/ours.db") as ours, open_ledger(f"sqlite:{tmp_path}/theirs.db") as theirs:
        heir = Inheritance(ours, await ours.identity(), "", {})
        dead = Inheritance(theirs, await theirs.identity(), "", {})

    def take_over(scope: anyio.CancelScope) -> None:
        for _ in range(2):
            with heir.inheriting("dead", dead.will, []) as may:
                may_go_on.append(may)
            anyio.from_thread.run_sync(scope.cancel)

    with anyio.CancelScope() as scope:
        await anyio.to_thread.run_sync(take_over, scope)

    assert may_go_on == [True, False]
