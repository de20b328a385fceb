"""A server process of one's own on a private port."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

STARTS_WITHIN_S = 120.0


def free_port() -> int:
    """Find a port that nobody uses, and that the kernel gives nobody meanwhile.

    It is none of those that the kernel chooses from, for a server that asks for any port or for a connection: until our
    server listens, and while a test has it killed, the tests beside have hundreds of those.
    """
    first_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(10_000, first_given)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


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
