"""Brokers of one's own on private ports, for tests that have to kill them; what they confirmed survives that."""

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.brokers import REQUIRED
from tests.processes import Server, free_port
from tests.sqs import Relay, endpoint

RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"


def redis_server(root: Path) -> Server:
    """A Redis that keeps what it confirms."""
    port = free_port()
    options = {"port": str(port), "bind": "127.0.0.1", "appendonly": "yes", "appendfsync": "always", "save": ""}
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    return Server(f"redis://127.0.0.1:{port}/0", [_found("redis-server"), *arguments], root)


def nats_server(root: Path, *options: str) -> Server:
    """A NATS with JetStream on disk."""
    port = free_port()
    command = [_found("nats-server"), "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(root / "jetstream")]
    command += options
    return Server(f"nats://127.0.0.1:{port}", command, root)


def rabbitmq_server(root: Path, **settings: int) -> Server:
    """A RabbitMQ node of its own name, ports and data; it takes some ten seconds to start."""
    port, distribution = free_port(), free_port()
    (root / "rabbitmq.conf").write_text("loopback_users = none\nlog.console = true\nlog.file = false\n")
    told = ", ".join(f"{{{name}, {value}}}" for name, value in settings.items())
    (root / "advanced.config").write_text(f"[{{rabbit, [{told}]}}].\n")
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
        RABBITMQ_ADVANCED_CONFIG_FILE=str(root / "advanced.config"),
        RABBITMQ_ENABLED_PLUGINS_FILE=str(root / "plugins"),
    )


def sqs_relay(root: Path) -> Relay:
    """The one way to SQS: the service has no restart that its users see, it is out of reach at most."""
    return Relay(endpoint())


SERVERS: dict[str, Callable[[Path], Server | Relay]] = {
    "rabbitmq": rabbitmq_server, "nats": nats_server, "redis": redis_server, "sqs": sqs_relay, "sqs-fifo": sqs_relay,
}  # fmt: skip


@contextlib.contextmanager
def running(engine: str, root: Path) -> Iterator[Server | Relay]:
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
