"""The seams: one Protocol per neighbour of the flow, and the values that cross it.

Every implementation and every fake in `worker.testing` passes the same conformance tests. A seam names only
its contract: who calls, how often, and what holds on return.
"""

from worker.ports.api import Api
from worker.ports.entries import Arrival, BatchSummary, Earlier, OpenedBatch, Position, Record, Spent
from worker.ports.heir import Heir
from worker.ports.ledger import Ledger
from worker.ports.pages import PAGE_BYTES, page_of
from worker.ports.replay import Replayable, ReplayBatch
from worker.ports.sink import Emission, Sink
from worker.ports.source import Source

__all__ = [
    "PAGE_BYTES",
    "Api",
    "Arrival",
    "BatchSummary",
    "Earlier",
    "Emission",
    "Heir",
    "Ledger",
    "OpenedBatch",
    "Position",
    "Record",
    "ReplayBatch",
    "Replayable",
    "Sink",
    "Source",
    "Spent",
    "page_of",
]
