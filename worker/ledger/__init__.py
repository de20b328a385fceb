"""The durable memory: what is being worked on, what was answered, what has gone out.

================= ==================================================================================
``sqlite:``       one file beside the worker: ``sqlite:relative``, ``sqlite:/absolute``
``postgresql:``   a schema in PostgreSQL that a fleet shares, also ``postgres:``
================= ==================================================================================
"""

import socket
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from worker.brokers.extras import needs_extra
from worker.errors import SettingsError, StateError
from worker.ledger.balance import Balance
from worker.ledger.estates import Estate
from worker.ledger.opening import identity_of
from worker.ledger.parked import ParkedClaim, ParkedFilter, ParkedGroup
from worker.ledger.place import file_is_there, is_held
from worker.ledger.reads import SqliteReads
from worker.ledger.replayable import ParkedClaims
from worker.ledger.seam import BEFORE_ALL, FleetLedger, FleetReads, LedgerReads, WholeLedger
from worker.ledger.sqlite import SqliteLedger, open_sqlite, open_sqlite_readonly
from worker.settings import StateSettings

__all__ = [
    "BEFORE_ALL",
    "Balance",
    "Estate",
    "FleetLedger",
    "FleetReads",
    "LedgerReads",
    "ParkedClaim",
    "ParkedClaims",
    "ParkedFilter",
    "ParkedGroup",
    "SqliteLedger",
    "SqliteReads",
    "WholeLedger",
    "is_held",
    "is_shared",
    "ledger_file",
    "note_for_fleet",
    "open_ledger",
    "open_ledger_readonly",
    "open_left_ledger",
    "open_state",
    "read_state",
    "worker_name",
]

KNOWN_SCHEMES = ("sqlite:", "postgresql:")
SHARED_SCHEMES = ("postgresql", "postgres")


def open_state(
    state: StateSettings, *, environment: str, create: bool = False
) -> AbstractAsyncContextManager[WholeLedger]:
    """Work on the ledger that the settings name, until the block is left.

    A file is made if it is not there, and held for this process alone. In one that a fleet shares we are
    `state.worker_name`, or our host's name, and only `create` makes it.

    :raises worker.errors.SettingsError: if no such kind of ledger is known; on entering, if a shared one is not there,
        is not ours, or we are refused.
    :raises worker.errors.StateError: on entering, if it cannot be used or reached.
    :raises worker.errors.StateHeld: on entering, if another process has it, or our name in it.
    """
    if not is_shared(state):
        return open_ledger(state.url, environment=environment)
    with needs_extra("postgres", setting="state.url"):
        from worker.ledger import postgres
    address = postgres.parse_address(state.url, setting="state.url", place="schema")
    return postgres.open_shared(address, worker_name(state), environment=environment, create=create)


def read_state(state: StateSettings) -> AbstractAsyncContextManager[LedgerReads]:
    """Read the ledger that the settings name while workers may be running on it; nothing is locked or made.

    :raises worker.errors.SettingsError: as `open_state`.
    :raises worker.errors.StateError: on entering, if it cannot be used or reached.
    """
    if not is_shared(state):
        return open_ledger_readonly(state.url)
    with needs_extra("postgres", setting="state.url"):
        from worker.ledger import postgres
    address = postgres.parse_address(state.url, setting="state.url", place="schema")
    return postgres.open_shared_readonly(address, worker_name(state))


async def note_for_fleet(state: StateSettings, key: str, value: str | None) -> bool:
    """Remember a small fact for all who share the ledger, or forget it (None); whether there was one before.

    :raises worker.errors.SettingsError: as `open_state`.
    :raises worker.errors.StateError: if it cannot be used or reached.
    """
    with needs_extra("postgres", setting="state.url"):
        from worker.ledger import postgres
    address = postgres.parse_address(state.url, setting="state.url", place="schema")
    return await postgres.note_for_fleet(address, key, value)


def is_shared(state: StateSettings) -> bool:
    """Tell whether several workers may work on this ledger at once."""
    return state.url.partition(":")[0] in SHARED_SCHEMES


def ledger_file(state: StateSettings) -> Path:
    """Give the file of a ledger that no fleet shares."""
    return Path(state.url.partition(":")[2])


def worker_name(state: StateSettings) -> str:
    """Name this worker among those that share a ledger."""
    return state.worker_name or socket.gethostname()


def open_ledger(
    url: str, *, environment: str = "", clock: Callable[[], float] = time.time
) -> AbstractAsyncContextManager[SqliteLedger]:
    """Hold the ledger in a file for this process alone, until the block is left; it is made if it is not there.

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


def open_ledger_readonly(url: str) -> AbstractAsyncContextManager[SqliteReads]:
    """Read the ledger in a file at `url` while a worker may be running on it; takes no lock and makes no file.

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
