"""The `Heir` of a worker whose ledger is the fleet's: it knows what every other worker of the fleet knew."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog

from worker.errors import SourceUnavailable
from worker.from_thread import ask_loop_within
from worker.ledger import FleetLedger

ASKED_WITHIN_S = 20.0


class SharedInheritance:
    """`worker.ports.Heir` on a shared ledger: a dead worker's batch becomes ours as it is opened, its results with it.

    The ledger waits out a server that is away; a thread that asks it waits for `asked_within_s` only, because
    it cannot be cancelled meanwhile.
    """

    will = b"shared"

    def __init__(self, ledger: FleetLedger, environment: str, *, asked_within_s: float = ASKED_WITHIN_S) -> None:
        self._ledger = ledger
        self._environment = environment
        self._asked_within_s = asked_within_s

    @contextmanager
    def inheriting(self, owner: str, will: bytes, refs: Sequence[str]) -> Iterator[bool]:
        """Let batches be moved at once; one that has left a ledger in a file had one of its own."""
        if will != self.will:
            detail = "it had another ledger than the fleet's"
            structlog.get_logger().warning("ledger.missed", owner=owner, detail=detail)
        yield True

    def let_go(self, refs: Sequence[str]) -> Mapping[str, int]:
        """Keep nothing: the worker that finds one of these batches continues with it."""
        return {}

    def answered(self, refs: Sequence[str]) -> Mapping[str, int]:
        """Ask the fleet's ledger how many claims of these batches have an answer; see `worker.ports.Heir`."""
        try:
            return ask_loop_within(self._asked_within_s, self._ledger.answered, refs, self._environment)
        except TimeoutError:
            raise SourceUnavailable("input: the ledger cannot be asked what was answered of batches found") from None
