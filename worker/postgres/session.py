"""One connection to PostgreSQL: how it is made, and what its errors mean.

Which errors pass by themselves is a list of classes of SQLSTATE (PostgreSQL, appendix A); what is not on it is none of
them. Neither the server's texts nor the library's are told: both quote rows.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import anyio.to_thread
import asyncpg
import structlog

from worker.errors import SettingsError, SinkUnavailable, StateError, out_of_reach
from worker.postgres.address import Address

Connection: TypeAlias = "asyncpg.Connection[Any]"

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 60.0
TRIES = 5
CLOSE_WITHIN_S = 1.0  # the server gives free what we hold without a good-bye, too

_FOR_NOW = {
    "08": "the connection is lost",
    "25": "it cannot be written: is it a replica?",
    "40": "another transaction was in the way",
    "53": "it is short of connections, memory or disk",
    "55": "a lock is in the way",
    "57": "it is starting, stopping or was told to stop the statement",
    "58": "its system failed",
}
_CHANGED = "is not as --create makes it: let it be made anew under another name"
_REFUSED_ANYWHERE = {
    "28": "refuses this user or its password",
    "3D": "has no such database; create it: createdb",
}
_REFUSED = _REFUSED_ANYWHERE | {
    "42501": "refuses this user the rights to {table}: GRANT SELECT, INSERT ON it, SELECT ON its _version,"
    " for --create CREATE ON its schema",
    "42P01": "lacks the table {table}; create it: precheck-worker run --create",
    "3F": "lacks the schema of {table}; create it: precheck-worker run --create",
    "42": "has a table {table} that " + _CHANGED,
}
_REFUSED_LEDGER = _REFUSED_ANYWHERE | {
    "42501": "refuses this user the rights to the ledger {schema}: it must own the schema, for --create CREATE on the"
    " database",
    "42P01": "lacks the ledger {schema}; create it: precheck-worker run --create",
    "3F": "lacks the ledger {schema}; create it: precheck-worker run --create",
    "42": "has a ledger {schema} that " + _CHANGED,
}


async def connect(address: Address) -> Connection:
    """Connect to the first host that can be written. Told within `translated`."""
    hosts, ports = zip(*address.hosts, strict=True)
    password, tls = await anyio.to_thread.run_sync(_secrets_of, address)
    connection: Connection = await asyncpg.connect(
        host=list(hosts),
        port=list(ports),
        user=address.user,
        password=password,
        database=address.database,
        ssl=tls or False,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=ANSWER_TIMEOUT_S,
        target_session_attrs="read-write",
        server_settings={"application_name": "precheck-worker"} | ({} if address.table else _of_ledger(address)),
    )
    try:
        await _make_safe(connection, address)
    except BaseException:
        connection.terminate()
        raise
    return connection


def _secrets_of(address: Address) -> tuple[str, ssl.SSLContext | None]:
    """Read password and certificates, which may lie on a disk that stands still; blocking."""
    return address.current_password(), address.tls()


async def disconnect(connection: Connection, address: Address) -> None:
    """End a connection, orderly if that is soon done."""
    try:
        with translated(address):
            await connection.close(timeout=CLOSE_WITHIN_S)
    except (StateError, SettingsError):
        connection.terminate()


async def repeated(work: Callable[[], Awaitable[object]]) -> None:
    """Do a transaction, and again at once where another worker's was in the way; called within `translated`.

    Another worker's transaction is gone in a moment, and no reason to pause.
    """
    for _ in range(TRIES - 1):
        try:
            await work()
        except (asyncpg.SerializationError, asyncpg.DeadlockDetectedError):
            continue
        return
    await work()


def _of_ledger(address: Address) -> dict[str, str]:
    """Name the schema that statements are about, and have the server notice soon that a machine of ours is gone."""
    keepalive = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}
    return keepalive | {"search_path": f'"{address.schema}"'}


async def _make_safe(connection: Connection, address: Address) -> None:
    """See that what is confirmed is kept, and that every text can be."""
    encoding, commit, fsync = await connection.fetchrow(
        "SELECT current_setting('server_encoding'), current_setting('synchronous_commit'), current_setting('fsync')"
    )
    if encoding != "UTF8":
        raise SettingsError([f"{address.setting}: the database at {address.server} must have the encoding UTF8"])
    if commit == "off":
        await connection.execute("SET synchronous_commit = on")
    if fsync == "off":
        detail = f"{address.server} has fsync off: a power cut loses results"
        structlog.get_logger().warning("settings.warned", detail=detail)


@contextmanager
def translated(address: Address) -> Iterator[None]:
    """Turn asyncpg's errors into ours.

    :raises worker.errors.SettingsError: if we are refused, or something is missing.
    :raises worker.errors.SinkUnavailable: if it is not possible for now.
    :raises worker.errors.StateError: if the server refuses a result for good.
    """
    where = address.server
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _meant(error, where, address) from None
    except asyncpg.TargetServerAttributeNotMatched:
        raise SinkUnavailable(f"{where} cannot be used now: {_FOR_NOW['25']}") from None
    except ssl.SSLCertVerificationError:
        raise SettingsError([f"{where} has a certificate that is not trusted: see sslrootcert and sslmode"]) from None
    except asyncpg.ClientConfigurationError:
        raise SettingsError([f"{where} cannot be connected to with these settings"]) from None
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncio.IncompleteReadError) as error:
        if type(error) is ConnectionError and "SSL" in str(error):
            raise SettingsError(
                [f"{where} does not speak TLS; sslmode=disable would show results to the network"]
            ) from None
        raise SinkUnavailable(out_of_reach(where, error)) from None


def _meant(error: asyncpg.PostgresError, where: str, address: Address) -> SettingsError | StateError:
    state = str(error.sqlstate or "")
    if (text := _FOR_NOW.get(state[:2])) is not None:
        return SinkUnavailable(f"{where} cannot be used now: {text} ({state})")
    refused = _REFUSED if address.table else _REFUSED_LEDGER
    for beginning in (state, state[:2]):
        if beginning in refused:
            text = refused[beginning].format(table=f"{address.schema}.{address.table}", schema=address.schema)
            return SettingsError([f"{where} {text}"])
    return StateError(f"{where} refuses a result or a statement for good ({state})")
