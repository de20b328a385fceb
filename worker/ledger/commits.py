"""Group commit: changes that wait at the same time share one transaction and one fsync.

::

    callers   ──join──▶ forming group ──(the first of them leads)──▶ one transaction in a thread ──▶ all go on
                             ▲                                              │
    callers meanwhile ───────┘  the next group; its leader waits for this commit

There is no task in the background that could die unseen: the first caller of a group carries it to the disk,
and whatever ends that call also ends the wait of all others.
"""

import sqlite3
from collections.abc import Callable, Sequence

import structlog
from anyio import CancelScope, CapacityLimiter, Event, to_thread
from anyio.lowlevel import checkpoint

from worker.errors import StateError, StorageFull
from worker.ports import Record

# batch number, ordinal, generation, attempts, ambiguous attempts, first sent at, due at, in flight
AttemptRow = tuple[int, int, int, int, int, float | None, float, bool]


class Group:
    """The changes of one transaction. They commute, but for `attempts`, which keep their order.

    `marks` maps batch number to the highest ordinal sent for the first time; `seqs` are the places in the
    outbox of `records`, known once the group is committed.
    """

    __slots__ = ("attempts", "done", "failure", "led", "marks", "records", "seqs", "steps")

    def __init__(self) -> None:
        self.marks: dict[int, int] = {}
        self.attempts: list[AttemptRow] = []
        self.records: list[Record] = []
        self.steps: list[Callable[[sqlite3.Connection], None]] = []
        self.seqs: Sequence[int] = ()
        self.failure: StateError | None = StateError("ledger: the commit did not end")
        self.done = Event()
        self.led = False


class Commits:
    """Carries groups of changes to the disk, one at a time.

    `transact` writes one group durably in a thread, or raises and leaves everything as it was: StorageFull if
    it is worth trying again. After any other error nothing is written any more and every call raises.
    """

    def __init__(self, transact: Callable[[Group], None]) -> None:
        self._transact = transact
        self._forming = Group()
        self._turn = Event()  # set once the commit before the forming group has ended
        self._turn.set()
        self._thread = CapacityLimiter(1)
        self._broken: StateError | None = None

    def join(self) -> Group:
        """Give the group that is forming; add the change and await `committed` without a checkpoint between.

        :raises StateError: if nothing can be written any more.
        """
        if self._broken is not None:
            raise _again(self._broken)
        return self._forming

    async def committed(self, group: Group) -> None:
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

    async def _lead(self, group: Group) -> None:
        try:
            await self._turn.wait()
            await checkpoint()  # whoever the last commit woke may join
            self._forming, self._turn = Group(), group.done
            if self._broken is not None:
                raise _again(self._broken)  # noqa: TRY301 - the same end as for a failed commit
            await to_thread.run_sync(self._transact, group, limiter=self._thread)
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
