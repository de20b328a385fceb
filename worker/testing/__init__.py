"""A fake for every seam, held to the same conformance tests as the real ones."""

from worker.testing.api import ScriptedApi
from worker.testing.fleet import MemoryFleet, MemoryPlace
from worker.testing.ledger import MemoryLedger
from worker.testing.sink import MemorySink
from worker.testing.source import MemorySource

__all__ = ["MemoryFleet", "MemoryLedger", "MemoryPlace", "MemorySink", "MemorySource", "ScriptedApi"]
