"""SQS for tests: moto's server over real sockets, one for all tests of a process, and a relay to it that can be cut.

moto keeps its queues in memory, so they do not outlive it; what is cut is the way to it.
"""

import atexit
import contextlib
import functools
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlsplit

from tests.processes import Server, free_port

REGION = "eu-central-1"
# moto takes any, and aiobotocore wants some; the worker's processes inherit them.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_EC2_METADATA_DISABLED": "true"}
os.environ |= CREDENTIALS


def moto_server(root: Path, **environ: str) -> Server:
    """A moto of one's own; it takes some three seconds to start."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    return Server(f"http://127.0.0.1:{port}", command, root, **environ)


@functools.cache
def endpoint() -> str:
    """Give the origin of the SQS that all tests share; started when first asked for, ended with the process."""
    if given := os.environ.get("TEST_SQS_ENDPOINT"):
        return given
    root = Path(tempfile.mkdtemp(prefix="sqs-"))
    server = moto_server(root)
    server.start()
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    atexit.register(server.kill)  # before that: the last that is registered is the first that is called
    return server.url


class Relay:
    """Hands bytes on to a server, as long as it is started; `kill` cuts every connection and refuses others.

    Once `mute` was called it takes connections and bytes as a machine that stands still does: nothing comes of them.
    """

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "", parts.port or 0)
        self.port = free_port()
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listening: socket.socket | None = None
        self._passing = threading.Event()
        self._passing.set()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listening,), daemon=True).start()

    def kill(self, number: int = signal.SIGKILL) -> None:
        with self._lock:
            listening, self._listening = self._listening, None
            ends, self._sockets = self._sockets, set()
        self._end(*ends, *([listening] if listening else []))

    def restart(self) -> None:
        self.kill()
        self.start()

    def mute(self) -> None:
        self._passing.clear()

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listening.accept()
                self._join(near, listening)

    def _join(self, near: socket.socket, listening: socket.socket) -> None:
        """Hand on what comes from there and from the server, unless one of them is gone by now."""
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        with self._lock:
            cut = self._listening is not listening
            if not cut:
                self._sockets |= {near, far}
        if cut:
            self._end(near, far)
            return
        for ends in ((near, far), (far, near)):
            threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                self._passing.wait()
                target.sendall(data)
        with self._lock:
            self._sockets -= {source, target}
        self._end(source, target)

    @staticmethod
    def _end(*ends: socket.socket) -> None:
        for one in ends:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
