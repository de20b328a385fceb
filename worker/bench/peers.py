"""The measurements of `bench --peers`: the same job by what people write themselves, beside the worker.

============= =====================================================================================
worker        this one: everything durable, verdicts read, a log line a claim
aiohttp       a script: read a file, POST, append the answer to a file
httpx         the same
taskiq        a task a file on a Redis list, carried out with aiohttp; Redis' own time is not seen
============= =====================================================================================

One folder of one-claim files each, the same stub in a process of its own, and before each the bare loop, to which the
ratios are. A peer that does not end in time is told as such.
"""

import importlib.util
import subprocess
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from worker.bench.figures import Figure, Tell, Told, job, stub
from worker.errors import SettingsError

LIBRARIES = ("httpx", "taskiq", "taskiq_redis")
PEERS = {"worker": "on_top", "aiohttp": "aiohttp_script", "httpx": "httpx_script", "taskiq": "taskiq_queue"}
WITHIN_S = 120.0


def require_peers() -> None:
    """Make sure that the libraries of the extra are there.

    :raises worker.errors.SettingsError: naming those that are missing.
    """
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise SettingsError(
            [f"--peers: needs {', '.join(missing)}; in a clone of this program: pip install '.[peers]'"]
        )


def measure_peers(*, files: int, rounds: int, redis: str, tell: Tell, within_s: float = WITHIN_S) -> list[Figure]:
    """Let each do the job in turns, medians of the rounds; one that takes longer than `within_s` is given up."""
    spec = {"in_flight": 64, "files": files, "per_file": 1, "redis": redis}
    runs: dict[str, list[tuple[Told, Told]]] = {name: [] for name in PEERS}
    failures: dict[str, str] = {}
    with stub(0.0) as port:
        for turn, name in product(range(rounds), PEERS):
            if name in failures:
                continue
            tell(f"peers: {name}, {spec['files']:,} claims, round {turn + 1} of {rounds}")
            bare = job("bare_loop", {"port": port, "in_flight": 64, "claims": spec["files"]})
            try:
                runs[name].append((_once(PEERS[name], spec | {"port": port}, within_s), bare))
            except subprocess.TimeoutExpired:
                failures[name] = f"had not ended after {within_s:g} s"
            except subprocess.CalledProcessError as error:
                failures[name] = f"ended with code {error.returncode}"
    return [_figure(name, runs[name], failures.get(name)) for name in PEERS]


def _once(name: str, spec: dict[str, Any], within_s: float) -> Told:
    with TemporaryDirectory(prefix="precheck-bench-") as root:
        told = job(name, spec | {"root": str(Path(root))}, within_s=within_s)
    if told["results"] != spec["files"]:
        raise RuntimeError(f"bench: {spec['files']} claims went in, {told['results']} results came out")
    return told


def _figure(name: str, runs: list[tuple[Told, Told]], failure: str | None) -> Figure:
    if failure is not None or not runs:
        return Figure(f"peer {name}", None, None, failure or "not run", "", {})
    numbers = {key: float(median(run[key] for run, _ in runs)) for key in ("per_s", "cpu_us", "peak_bytes")}
    bare_per_s = median(bare["per_s"] for _, bare in runs)
    peak_mb = numbers["peak_bytes"] / 1e6
    return Figure(
        name=f"peer {name}",
        ratio=median(run["per_s"] / bare["per_s"] for run, bare in runs),
        target=None,
        measured=f"{numbers['per_s']:,.0f} claims/s, {numbers['cpu_us']:.0f} µs CPU, {peak_mb:.0f} MB",
        baseline=f"{bare_per_s:,.0f}/s",
        numbers=numbers,
    )
