"""Brokers of one's own on private ports, for tests that have to kill them; what they confirmed survives that."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.brokers import REQUIRED

STARTS_WITHIN_S = 120.0
RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"


def free_port() -> int:
    """Find a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server process; `start` and `kill` as often as wanted, its data stay."""

    def __init__(self, url: str, command: Sequence[str], root: Path, **environ: str) -> None:
        self.url = url
        self._command = command
        self._root = root
        self._environ = {**os.environ, **environ}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        with (self._root / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._root, env=self._environ, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not self.listens():
            assert self._process.poll() is None, "the server ended at once"
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.05)

    def listens(self) -> bool:
        parts = urlsplit(self.url)
        try:
            socket.create_connection((parts.hostname or "", parts.port or 0), timeout=1).close()
        except OSError:
            return False
        return True

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it, by default without a word."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            process.wait(timeout=60)
            self._gone()

    def _gone(self) -> None:
        """Wait until nobody listens: a child may hold the socket a moment longer."""
        deadline = time.monotonic() + 60
        while self.listens():
            assert time.monotonic() < deadline, "the server still listens"
            time.sleep(0.05)

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()


def redis_server(root: Path) -> Server:
    """A Redis that keeps what it confirms."""
    port = free_port()
    options = {"port": str(port), "bind": "127.0.0.1", "appendonly": "yes", "appendfsync": "always", "save": ""}
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    return Server(f"redis://127.0.0.1:{port}/0", [_found("redis-server"), *arguments], root)


def nats_server(root: Path) -> Server:
    """A NATS with JetStream on disk."""
    port = free_port()
    command = [_found("nats-server"), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(root / "jetstream")]
    return Server(f"nats://127.0.0.1:{port}", command, root)


def rabbitmq_server(root: Path) -> Server:
    """A RabbitMQ node of its own name, ports and data; it takes some ten seconds to start."""
    port, distribution = free_port(), free_port()
    (root / "rabbitmq.conf").write_text("loopback_users = none\nlog.console = true\nlog.file = false\n")
    (root / "plugins").write_text("[].")
    return Server(
        f"amqp://guest:guest@127.0.0.1:{port}/",
        [_found(RABBITMQ)],
        root,
        HOME=str(root),
        ERL_EPMD_ADDRESS="127.0.0.1",
        ERL_FLAGS="-kernel inet_dist_use_interface {127,0,0,1}",
        RABBITMQ_NODENAME=f"test-{port}@localhost",
        RABBITMQ_NODE_IP_ADDRESS="127.0.0.1",
        RABBITMQ_NODE_PORT=str(port),
        RABBITMQ_DIST_PORT=str(distribution),
        RABBITMQ_MNESIA_BASE=str(root / "data"),
        RABBITMQ_LOG_BASE=str(root / "log"),
        RABBITMQ_CONF_ENV_FILE=str(root / "none"),
        RABBITMQ_CONFIG_FILE=str(root / "rabbitmq.conf"),
        RABBITMQ_ENABLED_PLUGINS_FILE=str(root / "plugins"),
    )


SERVERS = {"rabbitmq": rabbitmq_server, "nats": nats_server, "redis": redis_server}


@contextlib.contextmanager
def running(engine: str, root: Path) -> Iterator[Server]:
    """Run a server of one's own for the length of a block."""
    root.mkdir(parents=True)
    server = SERVERS[engine](root)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _found(program: str) -> str:
    """Find the server's program; skip the test where there is none, or fail where services are required."""
    found = shutil.which(program)
    if found is None:
        reason = f"{program} is not installed"
        if REQUIRED:
            pytest.fail(reason)
        pytest.skip(reason)
    return found
