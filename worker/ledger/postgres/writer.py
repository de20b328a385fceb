"""The one connection that writes: a group of changes becomes one transaction, under the worker's name."""

from collections.abc import Awaitable, Callable
from functools import partial

from worker.crashpoint import crashpoint
from worker.errors import SettingsError, StateError
from worker.ledger.commits import Group
from worker.ledger.postgres import changes, confirmed
from worker.ledger.postgres.tenure import LAST_PLACE, Tenure, begin_tenure, hold_parked, resume_tenure
from worker.postgres.address import Address
from worker.postgres.session import Connection, connect, disconnect, repeated, translated

Step = Callable[[Connection, "Writer"], Awaitable[None]]


class Writer:
    """Writes groups durably, and connects anew after any doubt; `next_seq` is the next place in our outbox."""

    def __init__(self, address: Address, connection: Connection, tenure: Tenure, clock: Callable[[], float]) -> None:
        self._address = address
        self._connection: Connection | None = connection
        self._clock = clock
        self.tenure = tenure
        self.next_seq = 1
        self._confirmed = 0
        self._replaying = False

    @classmethod
    async def begun(cls, address: Address, connection: Connection, name: str, clock: Callable[[], float]) -> "Writer":
        """Take hold of the name on a connection; told within `translated`.

        :raises StateHeld: if a living worker has it.
        """
        writer = cls(address, connection, await begin_tenure(connection, name, clock()), clock)
        writer._confirmed = await confirmed.counted(connection, writer.tenure.worker)
        await writer._learn_place(connection)
        return writer

    async def write(self, group: Group[Step]) -> None:
        """Return once the group is committed; see `worker.ledger.commits.Commits`.

        :raises SinkUnavailable: if the server cannot be reached for now. Nothing was changed, or all of it and no
            answer came: to do it again is the same.
        :raises StateError: if the ledger cannot be written.
        """
        try:
            with translated(self._address):
                if self._connection is None or self._connection.is_closed():
                    self._connection = await self._connected_anew()
                await repeated(partial(self._commit, self._connection, group, self.next_seq))
        except SettingsError as error:
            self._drop()
            raise StateError(f"ledger: {error}") from None
        except BaseException:
            self._drop()
            raise

    async def hold_parked(self, connection: Connection) -> None:
        """Be the only one who sends parked claims again, from now on.

        :raises StateHeld: if somebody else is at it.
        """
        await hold_parked(connection)
        self._replaying = True

    async def close(self) -> None:
        """Let go of the name."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await disconnect(connection, self._address)

    async def _commit(self, connection: Connection, group: Group[Step], place: int) -> None:
        self.next_seq = place  # what a transaction in vain has taken is free again
        await self._transact(connection, group)

    async def _transact(self, connection: Connection, group: Group[Step]) -> None:
        async with connection.transaction():
            for step in group.steps:
                await step(connection, self)
            if group.marks:
                await changes.move_marks(connection, group.marks)
            if group.attempts:
                await changes.note_attempts(connection, group.attempts, self.tenure.worker)
            if group.records:
                worker = self.tenure.worker
                stored = await changes.store_results(connection, group.records, worker, self.next_seq, self._clock())
                group.emissions, self.next_seq = stored
            await confirmed.count(connection, self.tenure.worker, self._confirmed + 1)
            crashpoint("before_commit")
        self._confirmed += 1
        crashpoint("after_commit")

    async def _connected_anew(self) -> Connection:
        connection = await connect(self._address)
        try:
            self._confirmed = await confirmed.require_all(
                connection, self._address, self.tenure.worker, self._confirmed
            )
            self.tenure = await resume_tenure(connection, self.tenure)
            if self._replaying:
                await hold_parked(connection)
            await self._learn_place(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _learn_place(self, connection: Connection) -> None:
        self.next_seq = max(self.next_seq, 1 + await connection.fetchval(LAST_PLACE, self.tenure.worker))

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()
