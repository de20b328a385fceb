"""A PostgreSQL that is down, dies, fails over or refuses, with results on their way to it: no row twice, none lost."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
import trustme

from tests.conformance.test_sinks import emissions, ids
from tests.e2e.harness import Site, log_lines, wait_until
from tests.faults.crashing import put
from tests.oracle import assert_ledger_at_rest
from tests.postgres import Cluster, Table, asked, cluster, connected
from worker import sinks
from worker.errors import SettingsError, SinkUnavailable
from worker.ports import Emission, Sink

pytestmark = pytest.mark.fault(43)


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """One server for all tests here; it is running when a test begins."""
    settings = {
        "max_connections": 5, "superuser_reserved_connections": 0, "wal_level": "replica", "max_wal_senders": 2,
        # As careless as a server can be told to be: what it confirms without our asking for more, it forgets.
        "synchronous_commit": "off", "wal_writer_delay": 10000,
    }  # fmt: skip
    with cluster(**settings) as one:
        yield one


async def write(sink: Sink, wanted: Sequence[Emission]) -> int:
    """Write, waiting as the worker does while the server is out of reach; tells how often it was."""
    waited = 0
    with anyio.fail_after(60):
        while True:
            try:
                await sink.write(wanted)
            except SinkUnavailable:
                waited += 1
                await anyio.sleep(0.05)  # a pause between tries, as the worker makes
            else:
                return waited


async def test_a_server_that_is_down_at_the_start_is_waited_for(server: Cluster) -> None:
    table = Table(server.url)
    server.stop("fast")
    sink = table.sink()

    await sink.open(None)
    with pytest.raises(SinkUnavailable, match=rf"127\.0\.0\.1:{server.port}/postgres cannot be reached"):
        await sink.write(emissions(1))
    await anyio.to_thread.run_sync(server.start)
    await sink.write(emissions(1))
    await sink.close()

    assert table.result_ids() == ids(1)


@pytest.mark.slow
async def test_a_server_that_crashes_in_the_middle_has_every_row_once(server: Cluster) -> None:
    table = Table(server.url)
    sink = table.sink()
    await sink.open(None)
    waited = written = crashes = 0

    async def write_all() -> None:
        nonlocal waited, written
        while crashes < 2 or written < 1000:
            waited += await write(sink, emissions(*range(written + 1, written + 11)))
            written += 10

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write_all)
        while crashes < 2:
            await anyio.sleep(0.2)  # results are written meanwhile, so that the crash finds some on their way
            await anyio.to_thread.run_sync(server.stop)
            await anyio.to_thread.run_sync(server.start)
            crashes += 1
    await sink.close()

    assert waited >= 2
    assert table.result_ids() == ids(*range(1, written + 1))


class Severing:
    """A way to the server that can be cut just before a statement arrives, or just before its answer does."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.listens_on = 0
        self.cut = ""
        self.cuts = 0

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        listener = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.listens_on = listener.sockets[0].getsockname()[1]
        async with listener:
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        both = [
            asyncio.ensure_future(self._carry(reader, to_server, "question")),
            asyncio.ensure_future(self._carry(from_server, writer, "answer")),
        ]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for one in both:
            one.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        for end in (writer, to_server):
            end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, what: str) -> None:
        while data := await reader.read(1 << 16):
            # Its own first statement of a connection is let through; an INSERT's answer is told by its tag.
            if self.cut == what and (what == "question" or b"INSERT 0 " in data):
                self.cut = ""
                self.cuts += 1
                return
            writer.write(data)
            await writer.drain()


@pytest.mark.parametrize(("cut", "is_there"), [("question", False), ("answer", True)])
async def test_a_commit_whose_outcome_is_unknown_is_sent_again(server: Cluster, cut: str, is_there: bool) -> None:
    table, way = Table(server.url), Severing(server.port)
    async with way.open():
        sink = sinks.from_url(table.url.replace(str(server.port), str(way.listens_on)), create=True)
        await sink.open(None)
        await sink.write(emissions(1))
        way.cut = cut

        with pytest.raises(SinkUnavailable):
            await sink.write(emissions(2, 3))
        between = table.result_ids()
        await sink.write(emissions(2, 3))
        await sink.close()

    assert way.cuts == 1
    assert between == (ids(1, 2, 3) if is_there else ids(1))
    assert table.result_ids() == ids(1, 2, 3)


async def test_a_serialization_failure_is_repeated_and_pauses_nothing(server: Cluster) -> None:
    table = Table(server.url)
    copy = f"SELECT (jsonb_populate_record(one, $1::jsonb)).* FROM {table.name} AS one"  # noqa: S608 - a name of our own
    other = await connected(server.url)
    await other.execute("ALTER DATABASE postgres SET default_transaction_isolation = 'repeatable read'")
    try:
        sink = table.sink()
        await sink.open(None)
        await sink.write(emissions(1))
        transaction = other.transaction()
        await transaction.start()
        await other.execute(f"INSERT INTO {table.name} OVERRIDING USER VALUE {copy}", f'{{"result_id": "{ids(2)[0]}"}}')

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sink.write, emissions(2, 3))
            with anyio.fail_after(60):
                while not await asked(server.url, "SELECT pid FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                    await anyio.sleep(0.01)  # until it waits for the other's row, which nothing else tells
            await transaction.commit()
        await sink.close()
    finally:
        await other.execute("ALTER DATABASE postgres RESET default_transaction_isolation")
        await other.close()

    assert table.result_ids() == ids(1, 2, 3)


async def test_a_server_without_a_free_connection_is_waited_for(server: Cluster) -> None:
    table = Table(server.url)
    taken = [await connected(server.url) for _ in range(5)]
    sink = table.sink()

    await sink.open(None)
    with pytest.raises(SinkUnavailable, match=r"short of connections, memory or disk \(53300\)"):
        await sink.write(emissions(1))
    for one in taken:
        await one.close()
    await write(sink, emissions(1))
    await sink.close()

    assert table.result_ids() == ids(1)


async def test_a_server_that_becomes_read_only_is_waited_for(server: Cluster) -> None:
    table = Table(server.url)
    sink = table.sink()
    await sink.open(None)
    await sink.write(emissions(1))
    await sink.close()
    sink = table.sink()
    table.ask("ALTER DATABASE postgres SET default_transaction_read_only = on")
    try:
        await sink.open(None)
        with pytest.raises(SinkUnavailable, match="cannot be written: is it a replica"):
            await sink.write(emissions(2))
    finally:
        connection = await connected(server.url)
        await connection.execute("SET transaction_read_only = off")
        await connection.execute(
            "BEGIN READ WRITE; ALTER DATABASE postgres RESET default_transaction_read_only; COMMIT"
        )
        await connection.close()
    await sink.write(emissions(2))
    await sink.close()

    assert table.result_ids() == ids(1, 2)


@pytest.mark.slow
async def test_a_failover_is_followed_to_the_host_that_can_be_written(server: Cluster) -> None:
    table = Table(server.url)
    sink = table.sink()
    await sink.open(None)
    await sink.write(emissions(1))
    await sink.close()
    with server.standby() as standby:
        both = table.url.replace("127.0.0.1", f"127.0.0.1:{standby.port},127.0.0.1")
        pair, alone = sinks.from_url(both), sinks.from_url(table.url.replace(str(server.port), str(standby.port)))
        await pair.open(None)
        await pair.write(emissions(2))
        await alone.open(None)
        with pytest.raises(SinkUnavailable, match="is it a replica"):
            await alone.write(emissions(3))

        server.stop()
        with pytest.raises(SinkUnavailable):
            await pair.write(emissions(3))
        standby.promote()
        await write(pair, emissions(3))
        await write(alone, emissions(3))
        await pair.close()
        await alone.close()

        assert Table.ids_at(standby.url, table.name) == ids(1, 2, 3)
    server.start()


async def test_a_refused_login_is_told_without_the_password(server: Cluster) -> None:
    table = Table(server.url)
    table.ask("CREATE ROLE clerk LOGIN PASSWORD 'right-one'")
    server.trust("host all clerk 127.0.0.1/32 scram-sha-256")
    wrong = table.url.replace("postgres@", "clerk:hunter2@")
    right = table.url.replace("postgres@", "clerk:right-one@")

    with pytest.raises(SettingsError, match="refuses this user or its password") as refused:
        await sinks.from_url(wrong, create=True).open(None)
    assert "hunter2" not in repr(refused.value)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__

    with pytest.raises(SettingsError, match="GRANT SELECT, INSERT"):
        await sinks.from_url(right, create=True).open(None)
    sink = table.sink()
    await sink.open(None)
    await sink.close()
    with pytest.raises(SettingsError, match="GRANT SELECT, INSERT"):
        await sinks.from_url(right).open(None)
    table.ask("GRANT SELECT, INSERT ON {0} TO clerk; GRANT SELECT ON {0}_version TO clerk")
    clerks = sinks.from_url(right)
    await clerks.open(None)
    await clerks.write(emissions(1))
    await clerks.close()
    with pytest.raises(SettingsError, match=r"has no such database; create it: createdb"):
        await sinks.from_url(table.url.replace("/postgres?", "/nowhere?")).open(None)

    assert table.result_ids() == ids(1)


async def test_tls_is_required_checked_and_used(server: Cluster, tmp_path: Path) -> None:
    table = Table(server.url)
    secured = table.url.replace("sslmode=disable", "sslmode=verify-full")
    with pytest.raises(SettingsError, match="does not speak TLS"):
        await sinks.from_url(secured, create=True).open(None)

    authority, roots = trustme.CA(), tmp_path / "roots.pem"
    authority.cert_pem.write_to_path(str(roots))
    server.certify(authority.issue_cert("127.0.0.1"))
    with pytest.raises(SettingsError, match="certificate that is not trusted"):
        await sinks.from_url(secured, create=True).open(None)
    sink = sinks.from_url(f"{secured}&sslrootcert={roots}", create=True)
    await sink.open(None)
    await sink.write(emissions(1))
    [row] = table.ask("SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)"
                      " WHERE ssl AND application_name = 'precheck-worker'")  # fmt: skip
    await sink.close()

    assert row[0] == 1
    assert table.result_ids() == ids(1)


@pytest.mark.slow
def test_a_worker_killed_with_its_database_leaves_one_row_per_claim(site: Site, server: Cluster) -> None:
    table = Table(server.url)
    site.environ["PRECHECK_OUTPUT__URLS"] = f'["{table.url}"]'
    site.environ["PRECHECK_FLOW__RATE_PER_S"] = "150"
    put(site.inbox, files=30, claims=1, first=1, prefix="small", magic="")
    put(site.inbox, files=1, claims=370, first=1000, prefix="large", magic="")

    run = site.start("run", "--create")
    wait_until(lambda: run.has_logged("worker.started") and len(table.result_ids()) > 60)
    killed = run.stop(signal.SIGKILL)
    before = len(table.result_ids())
    run = site.start("run", "--once")
    wait_until(lambda: len(table.result_ids()) > before + 60)
    server.stop()
    wait_until(lambda: run.has_logged("sink.unavailable"))
    server.start()
    done = run.wait()

    rows = Counter(tuple(row) for row in table.ask("SELECT batch_name, ordinal, disposition FROM {}"))
    assert killed.returncode == -signal.SIGKILL
    assert before < 400
    assert done.returncode == 0, done.stderr.decode()
    assert len(rows) == 400
    assert set(rows.values()) == {1}
    assert_ledger_at_rest(site.ledger)
    told = [line["event"] for line in log_lines(done.stdout)]
    assert told.index("sink.unavailable") < told.index("storage.freed") < told.index("worker.stopped")
