"""What is remembered of the files that were not ready, so that an unchanged file is not read again and again."""

from concurrent.futures import Future

import msgspec

from worker.claim import SMALL_BYTES
from worker.paths import Sight
from worker.sources.reading import Reading

MOST_REMEMBERED = 50_000


class Sighting(msgspec.Struct, gc=False):
    """The last look at one file. `since` and `due` are on the monotonic clock: unchanged since, not again before."""

    sight: Sight
    since: float
    due: float = 0.0
    near: bool = False  # a decision is
    tries: int = 0  # to read it, in vain
    reading: Future[Reading] | None = None
    passed: int = 0  # the last pass that met it


class Sightings:
    """Sightings by name, of one folder, as many as memory is granted for.

    A file there is no room for is met as a new one on each pass; large ones are always granted room, for reading
    them again would cost more.
    """

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._by_name: dict[str, Sighting] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def of(self, name: str) -> Sighting | None:
        """Recall the last look at the file of this name."""
        return self._by_name.get(name)

    def met(self, name: str, sight: Sight, now: float) -> Sighting:
        """Recall the file of this name, or begin to remember it if it is new, or not what it was."""
        known = self._by_name.get(name)
        if known is None or known.sight != sight:
            known = Sighting(sight, now)
            if len(self._by_name) < self._most or name in self._by_name or sight[2] > SMALL_BYTES:
                self._by_name[name] = known
        return known

    def forget(self, name: str) -> None:
        """Drop what is known: the file has gone its way."""
        self._by_name.pop(name, None)

    def sweep(self, passed: int) -> None:
        """Drop what pass number `passed` did not meet any more."""
        gone = [name for name, sighting in self._by_name.items() if sighting.passed != passed]
        for name in gone:
            del self._by_name[name]
