"""PostgreSQL for tests: tables of one's own on the local server, and servers of one's own that can be killed."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import pytest
import trustme

from tests.brokers import REQUIRED, finish, need, own_name
from tests.processes import free_port
from worker import sinks
from worker.ledger.postgres import PostgresLedger, open_shared, parse_address
from worker.settings import StateSettings
from worker.sinks import PublishingSink

URL = os.environ.get("TEST_POSTGRES_URL", "postgresql://postgres@127.0.0.1:5432/test")
BINARIES = (Path("/usr/lib/postgresql/15/bin"), Path("/usr/lib/postgresql/16/bin"), Path("/usr/lib/postgresql/17/bin"))


class Table:
    """One table of results, made for one test."""

    def __init__(self, server: str = "") -> None:
        self.server = server or URL
        if not server:
            need(self.server)
        self.name = own_name().replace("-", "_")
        self.url = f"{self.server}?table={self.name}&sslmode=disable"

    def sink(self, *, create: bool = True) -> PublishingSink:
        """Make a sink on it, each time as a restarted worker would."""
        sink = sinks.from_url(self.url, create=create)
        assert isinstance(sink, PublishingSink)
        return sink

    def ask(self, statement: str, *values: object) -> list[Any]:
        """Run a statement, `{}` in it being the table, and give the rows."""
        return finish(asked(self.server, statement.format(self.name), *values))

    def result_ids(self) -> list[str]:
        return self.ids_at(self.server, self.name)

    @staticmethod
    def ids_at(server: str, name: str) -> list[str]:
        rows = finish(asked(server, f"SELECT result_id FROM {name} ORDER BY seq"))  # noqa: S608 - a name of our own
        return [row[0] for row in rows]

    def remove(self) -> None:
        self.ask("DROP VIEW IF EXISTS {0}_latest; DROP TABLE IF EXISTS {0}, {0}_version")


class SharedLedger:
    """One ledger for a fleet, in a schema made for one test."""

    def __init__(self, server: str = "") -> None:
        self.server = server or URL
        if not server:
            need(self.server)
        self.schema = own_name().replace("-", "_")
        self.url = f"{self.server}?schema={self.schema}&sslmode=disable"

    def state(self, name: str = "one") -> StateSettings:
        """Give the settings of the worker of this name."""
        return StateSettings(url=self.url, worker_name=name)

    @asynccontextmanager
    async def opened(self, name: str = "one", **how: Any) -> AsyncIterator[PostgresLedger]:
        """Work on it under this name; it is made if it is not there."""
        address = parse_address(self.url, setting="state.url", place="schema")
        async with open_shared(address, name, create=True, **how) as ledger:
            yield ledger

    def ask(self, statement: str, *values: object) -> list[Any]:
        """Run a statement, `{}` in it being the schema, and give the rows."""
        return finish(asked(self.server, statement.format(self.schema), *values))

    def remove(self) -> None:
        self.ask("DROP SCHEMA IF EXISTS {} CASCADE")


async def asked(server: str, statement: str, *values: object) -> list[Any]:
    """Run one statement on a connection of its own."""
    connection = await connected(server)
    try:
        if statement.startswith("SELECT"):
            return list(await connection.fetch(statement, *values))
        return [await connection.execute(statement, *values)]
    finally:
        await connection.close()


async def connected(server: str) -> asyncpg.Connection:
    """Connect, if need be as soon as the server has ended a connection that was closed before."""
    with anyio.fail_after(60):
        while True:
            try:
                return await asyncpg.connect(server, ssl=False)
            except asyncpg.TooManyConnectionsError:
                await anyio.sleep(0.02)


class Cluster:
    """A PostgreSQL server of one's own on a private port, started and stopped by `pg_ctl`."""

    def __init__(self, root: Path, *, copy_of: "Cluster | None" = None) -> None:
        self.root = root
        self.port = free_port()
        self.data = root / "data"
        self.log = root / "server.log"
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        if copy_of is not None:
            self._run("pg_basebackup", "-R", "-c", "fast", "-D", self.data, "-d", copy_of.url)
        else:
            settled = ("-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
            self._run("initdb", "-D", self.data, *settled)
        self.configure(listen_addresses="127.0.0.1", port=self.port, unix_socket_directories=root)

    def configure(self, **settings: object) -> None:
        """Add to the server's settings, for its next start."""
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def start(self) -> None:
        self._run("pg_ctl", "start", "-w", "-D", self.data, "-l", self.log)

    def stop(self, mode: str = "immediate") -> None:
        """Stop it; immediate is what a crash is: connections end without a word, nothing is flushed."""
        self._run("pg_ctl", "stop", "-w", "-m", mode, "-D", self.data)

    @contextmanager
    def standby(self, *, synchronous: bool = True) -> Iterator["Cluster"]:
        """Run a replica for the length of a block; if `synchronous`, what is committed here is there, too."""
        root = self.root / "standby"
        _make_folder(root)
        copy = Cluster(root, copy_of=self)
        copy.start()
        if synchronous:
            finish(asked(self.url, "ALTER SYSTEM SET synchronous_standby_names = '*'"))
            self.reload()
        try:
            yield copy
        finally:
            if copy.running():
                copy.stop()
            (self.data / "postgresql.auto.conf").write_text("")

    def promote(self) -> None:
        """Make a replica the one that is written."""
        self._run("pg_ctl", "promote", "-w", "-D", self.data)

    def reload(self) -> None:
        """Have it read its settings again; whoever connects from now on finds them in force."""
        before = self._read_at()
        self._run("pg_ctl", "reload", "-D", self.data)
        deadline = time.monotonic() + 60
        while self._read_at() == before:
            assert time.monotonic() < deadline, "the server does not read its settings"
            time.sleep(0.01)

    def _read_at(self) -> object:
        """Ask when the server that takes connections has read its settings."""
        return finish(asked(self.url, "SELECT pg_conf_load_time()"))[0][0]

    def trust(self, rule: str) -> None:
        """Put a rule of pg_hba.conf before the others."""
        rules = self.data / "pg_hba.conf"
        rules.write_text(f"{rule}\n{rules.read_text()}")
        self.reload()

    def certify(self, certificate: trustme.LeafCert) -> None:
        """Have it speak TLS."""
        (self.data / "server.crt").write_bytes(certificate.cert_chain_pems[0].bytes())
        key = self.data / "server.key"
        key.write_bytes(certificate.private_key_pem.bytes())
        key.chmod(0o600)
        if os.geteuid() == 0:
            shutil.chown(key, "postgres")
        self.configure(ssl="on")
        self.reload()

    def running(self) -> bool:
        return (self.data / "postmaster.pid").exists()

    @staticmethod
    def _run(program: str, *arguments: object) -> None:
        found = _found(program)
        words: Sequence[str] = [str(found), *map(str, arguments)]
        # The server refuses to run as root.
        user = "postgres" if os.geteuid() == 0 else None
        subprocess.run(words, user=user, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


@contextmanager
def cluster(**settings: object) -> Iterator[Cluster]:
    """Run a server of one's own for the length of a block."""
    _found("initdb")
    # Not below pytest's folder, which only its owner may enter.
    root = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        _make_folder(root)
        server = Cluster(root)
        server.configure(**settings)
        server.start()
        try:
            yield server
        finally:
            if server.running():
                server.stop()
    finally:
        shutil.rmtree(root)


def _make_folder(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres")


def _found(program: str) -> Path:
    """Find a program of the server; skip the test where there is none, or fail where services are required."""
    for folder in (*BINARIES, *map(Path, os.environ.get("PATH", "").split(os.pathsep))):
        if (folder / program).is_file():
            return folder / program
    if REQUIRED:
        pytest.fail(f"{program} is not installed")
    pytest.skip(f"{program} is not installed")
