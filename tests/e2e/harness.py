"""The worker and the simulator as processes, as a user starts them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any, ClassVar, Self

WORKER = (sys.executable, "-m", "worker")
SIMULATOR = (*WORKER, "simulate", "--port", "0")
DEADLINE_S = 120.0


class Simulator:
    """`precheck-worker simulate` on a free port, or another program that tells its address as that does."""

    def __init__(self, *options: str, program: Sequence[str] = SIMULATOR) -> None:
        self._err = TemporaryFile("w+")  # noqa: SIM115 - closed with the simulator; a pipe that is full would stop it
        self._process = subprocess.Popen([*program, *options], stdout=subprocess.PIPE, stderr=self._err, text=True)
        assert self._process.stdout is not None
        self.stderr = ""
        self.origin = self._process.stdout.readline().removeprefix("simulator: ").strip()
        assert self.origin, "the simulator ended at once"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, what: str) -> Any:
        data = self._told(what)
        return [json.loads(line) for line in data.splitlines()] if what == "answers" else json.loads(data)

    def set_faults(self, **faults: object) -> None:
        self._told("faults", json.dumps(faults).encode())

    def revoke(self) -> None:
        self._told("revoke", b"")

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Take connections and requests, as the kernel does by itself, and answer none until the end."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, and keep what it said on stderr; nothing to do if that was done."""
        if self._err.closed:
            return
        with self._err:
            self._process.send_signal(signal.SIGTERM)
            self._process.communicate(timeout=DEADLINE_S)
            self._err.seek(0)
            self.stderr = self._err.read()

    def _told(self, what: str, data: bytes | None = None) -> bytes:
        status, body = fetch(f"{self.origin}/_simulator/{what}", data)
        assert status == 200, body.decode()
        return body


class Site:
    """One worker's folders and settings under `root`; every run of it sees the same."""

    def __init__(self, root: Path, origin: str) -> None:
        self.root = root
        self.inbox = root / "spool/in"
        self.inbox.mkdir(parents=True)
        self.results = root / "spool/out/results.jsonl"
        self.ledger = root / "spool/state/ledger.db"
        self.archive = root / "spool/archive"
        self.quarantine = root / "spool/quarantine"
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith("PRECHECK_")},
            "PRECHECK_ENVIRONMENT": "simulator",
            "PRECHECK_API__BASE_URL": origin,
            "PRECHECK_RETRY__BASE_S": "0.05",
            "PRECHECK_RETRY__MAX_S": "0.2",
            "PRECHECK_TELEMETRY__HTTP": "",
        }

    def start(self, *arguments: str, **environ: str) -> "Run":
        return Run(self, arguments, environ)

    def run(self, *arguments: str, **environ: str) -> "Run":
        return self.start(*arguments, **environ).wait()

    def run_once(self, *, within_s: float = DEADLINE_S, **environ: str) -> "Run":
        return self.start("run", "--once", **environ).wait(within_s=within_s)


class Run:
    """One process of the worker. Its output goes to files, for a pipe that nobody reads would stop it."""

    _alive: ClassVar[set["Run"]] = set()

    @classmethod
    def end_all(cls) -> None:
        """Kill what a failed test did not wait for: it would go on beside the next tests, and be charged to them."""
        for run in list(cls._alive):
            run._kill()

    def __init__(
        self, site: Site, arguments: Sequence[str], environ: dict[str, str], *, program: Sequence[str] = WORKER
    ) -> None:
        self._out, self._err = TemporaryFile(), TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        self.process = subprocess.Popen(
            [*program, *arguments],
            cwd=site.root,
            env={**site.environ, **environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdout=self._out,
            stderr=self._err,
        )
        self._alive.add(self)
        self.returncode = -1
        self.stdout = self.stderr = b""
        self.peak_bytes = 0

    def has_logged(self, event: str) -> bool:
        """Look into what a running worker has written so far."""
        output = os.pread(self._out.fileno(), os.fstat(self._out.fileno()).st_size, 0)
        return f'"event":"{event}"'.encode() in output

    def stop(self, number: int) -> "Run":
        self.process.send_signal(number)
        return self.wait()

    def wait(self, *, within_s: float = DEADLINE_S) -> "Run":
        deadline = time.monotonic() + within_s
        while self.process.poll() is None:
            self._look_at_memory()
            if time.monotonic() > deadline:
                self._kill()
                raise TimeoutError("the worker did not end in time")
            time.sleep(0.02)
        self._alive.discard(self)
        self.returncode = self.process.returncode
        self.stdout, self.stderr = self._read(self._out), self._read(self._err)
        return self

    def _kill(self) -> None:
        self._alive.discard(self)
        self.process.kill()
        self.process.wait()
        self._out.close()
        self._err.close()

    def _look_at_memory(self) -> None:
        """Note the most memory it ever had resident; the kernel keeps count."""
        try:
            status = Path(f"/proc/{self.process.pid}/status").read_text()
        except OSError:
            return
        if found := re.search(r"VmHWM:\s+(\d+) kB", status):
            self.peak_bytes = max(self.peak_bytes, int(found[1]) * 1024)

    @staticmethod
    def _read(file: IO[bytes]) -> bytes:
        with file:
            file.seek(0)
            return file.read()


def wait_until(condition: Callable[[], bool], *, within_s: float = DEADLINE_S) -> None:
    """Look again and again; fail if it does not come true in time."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the awaited did not happen"
        time.sleep(0.01)


def fetch(url: str, data: bytes | None = None) -> tuple[int, bytes]:
    """Ask for a URL, with a POST if there are data; give the status, whatever it is, and the body."""
    try:
        with urllib.request.urlopen(url, data, timeout=DEADLINE_S) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read()


def log_lines(output: bytes) -> list[dict[str, Any]]:
    """Parse a worker's log; a line that is no JSON object fails."""
    return [json.loads(line) for line in output.splitlines()]
