"""One row of the catalogue of events."""

from typing import Literal, NamedTuple

Level = Literal["debug", "info", "warning", "error"]


class Event(NamedTuple):
    """One event: `keys` are names from `KEYS`, separated by blanks; `action` is what the operator should do."""

    name: str
    level: Level
    meaning: str
    keys: str = ""
    action: str = ""
