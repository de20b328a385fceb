"""The measurements of `bench --latency`: what a worker that is not busy adds to each claim, and what an idle one uses.

One-claim files land in its folder at a steady pace. Two processes beside it see when: this one puts the files there,
reads the worker's log as it comes and sees the results file grow; the stub notes when a request was whole. All read the
machine's one monotonic clock.

============= ==================================================================== ==============
what          measured                                                             bound
============= ==================================================================== ==============
to the wire   a file has its name → its request is whole at the stub, p50 and p99  15 and 50 ms
to the ledger the answer leaves the stub → the log says that it is durable, p99    50 ms
idle          CPU time of a worker whose folder stays empty                        0.5 % of a core
============= ==================================================================== ==============
"""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

from worker.bench.figures import Figure, Tell, stub
from worker.simulator.generator import GeneratorSpec, generate
from worker.simulator.stub import claim_number

A_SECOND = 100
DELAY_S = 0.02  # of the answer, so that it is told apart from the request
WARM_UP = 50
WIRE_P50_MS, WIRE_P99_MS, LEDGER_P99_MS = 15.0, 50.0, 50.0
IDLE_SHARE = 0.005
SETTLED_S = 3.0
STARTED_WITHIN_S = 30.0
DONE = b'"claim.completed"'


class Watched:
    """A worker's log, read as it comes: when it said that a claim's result is durable, by claim id."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.started = threading.Event()
        self.durable_at: dict[str, float] = {}
        self._process = process
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def end(self) -> None:
        """Drain the worker and read what it still says."""
        self._process.terminate()
        self._reading.join(STARTED_WITHIN_S)

    def wait_for(self, claims: int, within_s: float) -> None:
        """Wait for so many results.

        :raises RuntimeError: if they do not come in time.
        """
        until = time.monotonic() + within_s
        while len(self.durable_at) < claims:
            if time.monotonic() > until:
                raise RuntimeError(f"bench: {len(self.durable_at)} of {claims} results came within {within_s:g} s")
            time.sleep(0.05)

    def _read(self) -> None:
        if self._process.stdout is None:
            return
        for line in self._process.stdout:
            if DONE in line:
                now = time.monotonic()
                self.durable_at[json.loads(line)["claim_id"]] = now
            elif b'"worker.started"' in line:
                self.started.set()


def measure_latency(*, seconds: int, tell: Tell) -> list[Figure]:
    """Let files land for so long, then none for as long."""
    with TemporaryDirectory(prefix="precheck-bench-") as folder, stub(DELAY_S, "--notes") as port:
        root = Path(folder)
        (root / "in").mkdir(mode=0o700)
        with _worker(root, port) as (process, watched):
            tell(f"latency: {A_SECOND} files a second, {seconds} s")
            landed = _land(root, A_SECOND * seconds + WARM_UP)
            watched.wait_for(len(landed), within_s=60.0)
            noted = _notes(port)
            figures = _latencies(landed, noted, watched.durable_at)
            tell(f"idle: {seconds} s")
            time.sleep(SETTLED_S)
            began, used_s = time.monotonic(), _cpu_s(process.pid)
            time.sleep(seconds)
            share = (_cpu_s(process.pid) - used_s) / (time.monotonic() - began)
    return [
        *figures,
        _bounded("idle", IDLE_SHARE, share, f"{share:.2%} of a core over {seconds} s", f"{IDLE_SHARE:.1%}"),
    ]


@contextmanager
def _worker(root: Path, port: int) -> Iterator[tuple[subprocess.Popen[bytes], Watched]]:
    spec = {"root": str(root), "port": port, "in_flight": 64}
    command = [sys.executable, "-m", "worker.bench.jobs", "serve", json.dumps(spec)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        watched = Watched(process)
        try:
            if not watched.started.wait(STARTED_WITHIN_S):
                raise RuntimeError(f"bench: the worker did not start within {STARTED_WITHIN_S:g} s")
            yield process, watched
        finally:
            watched.end()


def _land(root: Path, files: int) -> list[tuple[str, str, float]]:
    """Put files into the folder at a steady pace; tells claim number, claim id and time of each."""
    landed = []
    hidden = root / "in/.next.tmp"
    began = time.monotonic()
    for number in range(1, files + 1):
        content = b"".join(generate(GeneratorSpec(claims=1, first_ordinal=number, control_number=number)))
        hidden.write_bytes(content)
        time.sleep(max(0.0, began + number / A_SECOND - time.monotonic()))
        now = time.monotonic()
        hidden.rename(root / f"in/batch-{number:06}.837")
        landed.append((claim_number(content).decode(), f"{sha256(content).hexdigest()[:20]}:1", now))
    return landed


def _notes(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/notes", timeout=30) as answer:
        return dict(json.load(answer))


def _latencies(
    landed: Sequence[tuple[str, str, float]], noted: dict[str, float], durable_at: dict[str, float]
) -> list[Figure]:
    counted = landed[WARM_UP:]
    wire = _percentiles([noted[claim] - at for claim, _, at in counted])
    ledger = _percentiles([durable_at[claim_id] - noted[claim] - DELAY_S for claim, claim_id, _ in counted])
    return [
        _bounded("to the wire, p50", WIRE_P50_MS, wire[0], f"{wire[0]:.1f} ms", f"{WIRE_P50_MS:g} ms"),
        _bounded("to the wire, p99", WIRE_P99_MS, wire[1], f"{wire[1]:.1f} ms", f"{WIRE_P99_MS:g} ms"),
        _bounded(
            "to the ledger, p99",
            LEDGER_P99_MS,
            ledger[1],
            f"{ledger[1]:.1f} ms (p50 {ledger[0]:.1f} ms)",
            f"{LEDGER_P99_MS:g} ms",
        ),
    ]


def _percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """Tell p50 and p99 in milliseconds."""
    cuts = quantiles(seconds, n=100)
    return cuts[49] * 1000, cuts[98] * 1000


def _bounded(name: str, bound: float, value: float, measured: str, baseline: str) -> Figure:
    ratio = bound / value if value > 0 else None
    return Figure(name, ratio, 1.0, measured, baseline, {"value": value})


def _cpu_s(pid: int) -> float:
    """Tell the user and system time of a process (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
