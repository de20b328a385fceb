"""The messages that are ours, by ref.

A broker may give a message again that we still work on: its lease was lost, or the connection. That is no second
delivery. The new handle joins the old ones, and the message is settled by all of them.
"""

from collections.abc import Hashable, Iterable


class Held:
    """Held messages: those handed on, and those that wait to be."""

    def __init__(self) -> None:
        self._handles: dict[str, list[Hashable]] = {}

    def __len__(self) -> int:
        """Count the messages."""
        return len(self._handles)

    def __contains__(self, ref: str) -> bool:
        """Tell whether it is ours."""
        return ref in self._handles

    def meet(self, ref: str, handle: Hashable) -> bool:
        """Note a delivery; whether its message is new to us."""
        handles = self._handles.get(ref)
        if handles is None:
            self._handles[ref] = [handle]
            return True
        if handle not in handles:
            handles.append(handle)
        return False

    def drop(self, refs: Iterable[str]) -> list[Hashable]:
        """Forget these messages; returns their handles. Those that are not ours are passed over."""
        return [handle for ref in refs for handle in self._handles.pop(ref, ())]

    def handles(self) -> list[Hashable]:
        """Give the newest handle of every message."""
        return [handles[-1] for handles in self._handles.values()]
