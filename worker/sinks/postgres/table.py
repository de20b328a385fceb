"""Rows into the table of results, a portion a transaction, each result once, even if another worker sends it again.

A portion is one statement, so it is there whole or not at all; if the answer to it is lost nobody knows which, and it
is sent again: ``ON CONFLICT DO NOTHING`` makes both ends the same.
"""

from collections.abc import Iterator, Sequence
from functools import partial

import msgspec

from worker.brokers.messages import Message
from worker.errors import SettingsError, SinkUnavailable
from worker.postgres.address import Address
from worker.postgres.session import Connection, connect, disconnect, repeated, translated
from worker.sinks.postgres.schema import VERSION, creation, insertion, named

# jsonb takes 255 MB, a statement 1 GB.
MOST_BYTES = 64 << 20
PORTION_BYTES = 16 << 20

_CREATING = 0x70726563  # one worker at a time makes the tables


class PostgresTable:
    """Takes results into one table (`worker.brokers.engine.Sender`)."""

    most_bytes = MOST_BYTES

    def __init__(self, address: Address) -> None:
        self._address = address
        self._insertion = insertion(address)
        self._connection: Connection | None = None
        self.shown = address.shown

    async def open(self, *, create: bool) -> None:
        """Connect anew and see that the table takes results; see `Sender.open`."""
        self._drop()
        try:
            with translated(self._address):
                self._connection = await connect(self._address)
                await self._ready(self._connection, create=create)
        except BaseException:
            self._drop()
            raise

    async def send(self, messages: Sequence[Message]) -> None:
        """Insert in order what is not there; see `Sender.send`."""
        if self._connection is None:
            raise SinkUnavailable(f"{self._address.server} is not connected")
        try:
            with translated(self._address):
                for portion in _portions(messages):
                    await repeated(partial(self._connection.execute, self._insertion, portion))
        except BaseException:
            # Whatever it was, and be it a cancellation: what the connection is in the middle of is not known.
            self._drop()
            raise

    async def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await disconnect(connection, self._address)

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def _ready(self, connection: Connection, *, create: bool) -> None:
        version_table = named(self._address, "_version")
        if create:
            await self._create(connection)
        version = await connection.fetchval(f"SELECT max(version) FROM {version_table}")  # noqa: S608 - checked names
        if version != VERSION:
            found = f"{self._address.schema}.{self._address.table} in version {version}"
            raise SettingsError([f"{self._address.server} has {found}, this worker knows {VERSION} only"])
        # No row is inserted, and still the server looks at columns, rights and the key.
        await connection.execute(self._insertion, [])

    async def _create(self, connection: Connection) -> None:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _CREATING)
            if await connection.fetchval("SELECT to_regclass($1)", named(self._address, "_version")) is not None:
                return
            if await connection.fetchval("SELECT to_regnamespace($1)", f'"{self._address.schema}"') is None:
                await connection.execute(f'CREATE SCHEMA "{self._address.schema}"')
            for statement in creation(self._address):
                await connection.execute(statement)


def _portions(messages: Sequence[Message]) -> Iterator[list[str]]:
    """Cut what is to be inserted into statements of a bounded size."""
    portion: list[str] = []
    size = 0
    for message in messages:
        if portion and size + len(message.body) > PORTION_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(_storable(message.body))
        size += len(message.body)
    if portion:
        yield portion


def _storable(body: bytes) -> str:
    """Give the record as PostgreSQL takes it: it knows no NUL in a text, so another sign stands for it."""
    if rb"\u0000" not in body:
        return body.decode()
    return msgspec.json.encode(_without_nul(msgspec.json.decode(body))).decode()


def _without_nul(value: object) -> object:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_nul(item) for key, item in value.items()}
    return value
