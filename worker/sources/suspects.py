"""Messages that were delivered before: any of them may have killed the worker that had it.

The more often a message was in work at a death, the fewer of its like are in work beside it: 4 ** (limit - 1 - count)
at most. So an innocent one soon ends well, and the one that kills ends alone, at the limit, with the dead letters.
"""

# Where our own count went with the disk that held it, the broker's must do: a limit for so many deliveries each.
HARD_FACTOR = 20


class Suspects:
    """Which of the messages that came again may be handed on now; refs in, refs out."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._waiting: dict[str, int] = {}
        self._out: dict[str, int] = {}

    @property
    def waiting(self) -> bool:
        """Whether some have not had their turn."""
        return bool(self._waiting)

    def add(self, ref: str, count: int, deliveries: int) -> str | None:
        """Let a message wait for its turn that was in work at `count` deaths; or say why it shall have none."""
        if count >= self._limit or deliveries > HARD_FACTOR * self._limit:
            return f"it was in work at {count} deaths of a worker, delivered {deliveries} times"
        self._waiting[ref] = count
        return None

    def next(self) -> list[str]:
        """Give those whose turn it is, the least suspicious first."""
        refs = []
        for ref, count in sorted(self._waiting.items(), key=lambda item: item[1]):
            if len(self._out) >= min(map(self._most, (count, *self._out.values()))):
                break
            self._out[ref] = self._waiting.pop(ref)
            refs.append(ref)
        return refs

    def drop(self, ref: str) -> bool:
        """Forget one: it is done, or given back. Whether it had its turn."""
        self._waiting.pop(ref, None)
        return self._out.pop(ref, None) is not None

    def _most(self, count: int) -> int:
        return int(4 ** (self._limit - 1 - count))
