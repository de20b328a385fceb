"""The durable memory: what is being worked on, what was answered, what has gone out.

============ ============================================================
``sqlite:``  one file beside the worker: ``sqlite:relative``, ``sqlite:/absolute``
============ ============================================================
"""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from worker.errors import SettingsError, StateError
from worker.ledger.balance import Balance
from worker.ledger.estates import Estate
from worker.ledger.opening import identity_of
from worker.ledger.parked import ParkedClaim, ParkedFilter, ParkedGroup
from worker.ledger.place import file_is_there
from worker.ledger.reads import BEFORE_ALL, LedgerReads
from worker.ledger.replayable import ParkedClaims
from worker.ledger.sqlite import SqliteLedger, open_sqlite, open_sqlite_readonly

__all__ = [
    "BEFORE_ALL",
    "Balance",
    "Estate",
    "LedgerReads",
    "ParkedClaim",
    "ParkedClaims",
    "ParkedFilter",
    "ParkedGroup",
    "SqliteLedger",
    "open_ledger",
    "open_ledger_readonly",
    "open_left_ledger",
]

KNOWN_SCHEMES = ("sqlite:",)


def open_ledger(
    url: str, *, environment: str = "", clock: Callable[[], float] = time.time
) -> AbstractAsyncContextManager[SqliteLedger]:
    """Hold the ledger at `url` for this process alone, until the block is left; it is made if it is not there.

    Batches are recognised within one `environment` only: a file tried in the sandbox is a new batch in
    production. `clock` tells seconds since the epoch.

    :raises worker.errors.SettingsError: if no such kind of ledger is known.
    :raises worker.errors.StateError: on entering, if what is there is not ours, not whole, not on a local disk
        or held by another process; it is left as it was.
    """
    return open_sqlite(_path(url), environment=environment, clock=clock)


def open_left_ledger(
    path: Path, identity: str, *, environment: str, clock: Callable[[], float] = time.time
) -> SqliteLedger:
    """Hold the ledger of a dead worker, to take over its batches; blocking. Close it.

    :raises worker.errors.StateHeld: if its worker lives again.
    :raises worker.errors.StateError: if this very ledger is not there, or cannot be used; it is left as it was.
    """
    if not path.is_absolute() or not file_is_there(path):
        raise StateError(f"ledger: there is none at {path}")
    if identity_of(path) != identity:
        raise StateError(f"ledger: {path} is another one")
    return SqliteLedger.opened(path, environment, clock, hand_over=True)


def open_ledger_readonly(url: str) -> AbstractAsyncContextManager[LedgerReads]:
    """Read the ledger at `url` while a worker may be running on it; takes no lock and makes no file.

    :raises worker.errors.SettingsError: if no such kind of ledger is known.
    :raises worker.errors.StateError: on entering, if there is no ledger or it is not ours.
    """
    return open_sqlite_readonly(_path(url))


def _path(url: str) -> Path:
    scheme, _, rest = url.partition(":")
    match scheme:
        case "sqlite" if rest:
            return Path(rest).absolute()
        case "sqlite":
            raise SettingsError(["state.url: no path after 'sqlite:'"])
        case _:
            raise SettingsError([f"state.url: unknown scheme {scheme + ':'!r}, known are {', '.join(KNOWN_SCHEMES)}"])
