"""Group commit: changes that wait at the same time share one transaction and one fsync.

::

    callers   ──join──▶ forming group ──(the first of them leads)──▶ one transaction ──▶ all go on
                             ▲                                              │
    callers meanwhile ───────┘  the next group; its leader waits for this commit

There is no task in the background that could die unseen: the first caller of a group carries it to the disk,
and whatever ends that call also ends the wait of all others.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

import structlog
from anyio import CancelScope, Event
from anyio.lowlevel import checkpoint

from worker.claim import Claim
from worker.errors import StateError, StorageFull
from worker.ports import Emission, Record, Spent

C = TypeVar("C")

# batch number, ordinal, generation, attempts, ambiguous attempts, first sent at, due at, in flight
AttemptRow = tuple[int, int, int, int, int, float | None, float, bool]


class Group(Generic[C]):
    """The changes of one transaction. They commute, but for `attempts`, which keep their order.

    `marks` maps batch number to the highest ordinal sent for the first time; `emissions` are what stands in the
    outbox of `records`, known once the group is committed. `steps` are changes of a kind of their own, each done by
    what the ledger's store takes as a step.
    """

    __slots__ = ("attempts", "done", "emissions", "failure", "led", "marks", "records", "steps")

    def __init__(self) -> None:
        self.marks: dict[int, int] = {}
        self.attempts: list[AttemptRow] = []
        self.records: list[Record] = []
        self.steps: list[C] = []
        self.emissions: Sequence[Emission] = ()
        self.failure: StateError | None = StateError("ledger: the commit did not end")
        self.done = Event()
        self.led = False


class Commits(Generic[C]):
    """Carries groups of changes to the disk, one at a time.

    `transact` writes one group durably, or raises and leaves everything as it was: StorageFull if
    it is worth trying again. After any other error nothing is written any more and every call raises.
    """

    def __init__(self, transact: Callable[[Group[C]], Awaitable[None]]) -> None:
        self._transact = transact
        self._forming: Group[C] = Group()
        self._turn = Event()  # set once the commit before the forming group has ended
        self._turn.set()
        self._broken: StateError | None = None

    def join(self) -> Group[C]:
        """Give the group that is forming; add the change and await `committed` without a checkpoint between.

        :raises StateError: if nothing can be written any more.
        """
        if self._broken is not None:
            raise _again(self._broken)
        return self._forming

    async def reserve(self, marks: Mapping[int, int]) -> None:
        """Note for each batch up to which ordinal first attempts may be under way; on disk on return.

        :raises StorageFull: as `committed` does, and so do the three that follow; StateError likewise.
        """
        group = self.join()
        for number, ordinal in marks.items():
            group.marks[number] = max(group.marks.get(number, 0), ordinal)
        await self.committed(group)

    async def dispatch(self, claim: Claim, attempt: int) -> None:
        """Note that attempt number `attempt` of the claim is about to be made."""
        group = self.join()
        key = (claim.batch.number, claim.ordinal, claim.generation)
        group.attempts.append((*key, attempt, claim.ambiguous_attempts, claim.first_sent_at, 0.0, True))
        await self.committed(group)

    async def defer(self, claim: Claim, spent: Spent) -> None:
        """Note what was spent on an attempt that ended without a verdict, and when the next one is due."""
        group = self.join()
        key = (claim.batch.number, claim.ordinal, claim.generation)
        row = (*key, spent.attempts, spent.ambiguous_attempts, spent.first_sent_at, spent.due_at, False)
        group.attempts.append(row)
        await self.committed(group)

    async def record(self, records: Sequence[Record]) -> Sequence[Emission]:
        """Store results; returns what stands in the outbox of them, in the order given."""
        group = self.join()
        place = len(group.records)
        group.records.extend(records)
        await self.committed(group)
        return group.emissions[place : place + len(records)]

    async def committed(self, group: Group[C]) -> None:
        """Return once the group is on disk; the leader is not interrupted by a cancellation.

        :raises StorageFull: if there was no room; nothing of the group was written.
        :raises StateError: if the ledger cannot be trusted any more.
        """
        if group.led:
            await group.done.wait()
        else:
            group.led = True
            with CancelScope(shield=True):
                await self._lead(group)
        if group.failure is not None:
            raise _again(group.failure)

    def fail(self, failure: StateError) -> None:
        """Write nothing any more: from now on every call raises `failure`."""
        if self._broken is None:
            self._broken = failure
            structlog.get_logger().error("ledger.failed", detail=str(failure))

    async def end(self, failure: StateError) -> None:
        """Let what waits be committed, then refuse everything with `failure`."""
        if self._forming.led:
            await self._forming.done.wait()
        await self._turn.wait()
        if self._broken is None:
            self._broken = failure

    async def _lead(self, group: Group[C]) -> None:
        try:
            await self._turn.wait()
            await checkpoint()  # tasks that the last commit woke may join
            self._forming, self._turn = Group(), group.done
            if self._broken is not None:
                raise _again(self._broken)  # noqa: TRY301 - the same end as for a failed commit
            await self._transact(group)
            group.failure = None
        except StorageFull as failure:
            group.failure = failure
        except StateError as failure:
            group.failure = failure
            self.fail(failure)
        except Exception as error:  # noqa: BLE001 - a bug in one change: all of the group must hear of it, none may hang
            group.failure = StateError(f"ledger: unexpected {type(error).__name__}")
            group.failure.__cause__ = error
            self.fail(group.failure)
        finally:
            group.done.set()


def _again(failure: StateError) -> StateError:
    # A fresh object for each caller: one shared by many would collect all their tracebacks.
    copy = type(failure)(*failure.args)
    copy.__cause__ = failure.__cause__
    return copy
