"""One measurement, run in a process of its own: ``python -m worker.bench.jobs NAME '{"…": …}'`` prints one JSON line.

A process each, so that peak memory and CPU time are this job's alone and the baseline runs under the same
conditions as what is held against it.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import anyio
import uvloop

from worker.app import work
from worker.settings import Settings, load
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec, generate
from worker.telemetry.logs import configure_logs
from worker.x12 import split, survey

Job = Callable[[dict[str, Any]], dict[str, Any]]


def bare_loop(spec: dict[str, Any]) -> dict[str, Any]:
    """Run the baseline: what aiohttp and uvloop do at most, POSTing the same bodies and reading the answers."""
    claims, in_flight = int(spec["claims"]), int(spec["in_flight"])
    bodies = _bodies(200)
    return uvloop.run(_bare_loop(f"http://127.0.0.1:{spec['port']}", claims, in_flight, bodies))


async def _bare_loop(origin: str, claims: int, in_flight: int, bodies: list[bytes]) -> dict[str, Any]:
    url = f"{origin}/oihub/pre-service/v1/claim/precheck"
    headers = {"Content-Type": "application/json", "Authorization": "Bearer bench", "providerTaxId": "123456789"}
    turns = count()

    async def post_many(session: aiohttp.ClientSession) -> None:
        while (turn := next(turns)) < claims:
            async with session.post(url, data=bodies[turn % len(bodies)], headers=headers) as response:
                await response.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        with _Meter() as meter:
            async with anyio.create_task_group() as loop:
                for _ in range(in_flight):
                    loop.start_soon(post_many, session)
    return meter.told(claims)


def end_to_end(spec: dict[str, Any]) -> dict[str, Any]:
    """Run the worker: folder in, durable results in the jsonl sink, logs on; the folder is made beforehand."""
    with TemporaryDirectory(prefix="precheck-bench-", dir=spec.get("dir")) as folder:
        root = Path(folder)
        claims = _fill(root / "in", spec)
        settings = _settings(root, spec)
        with (root / "worker.log").open("wb") as log:
            configure_logs(settings.telemetry, log)
            with _Meter() as meter:
                anyio.run(partial(work, settings, once=True), backend_options={"use_uvloop": True})
        told = meter.told(claims)
        results = (root / "out/results.jsonl").read_bytes().count(b"\n")
        ledger = sum(file.stat().st_size for file in (root / "state").iterdir())
        return told | {"results": results, "ledger_bytes": ledger}


def splitting(spec: dict[str, Any]) -> dict[str, Any]:
    """Survey and split one batch, beside a bare pass of `bytes.split` over the same bytes."""
    claims = int(spec["claims"])
    data = b"".join(generate(GeneratorSpec(claims=claims, kind="mixed")))
    with _Meter() as bare:
        segments = len(data.split(b"~"))
    chunks = [data[at : at + (1 << 18)] for at in range(0, len(data), 1 << 18)]
    with _Meter() as meter:
        surveyed = survey(chunks)
        found = sum(1 for one in split(chunks, surveyed, seed=1) if one.refusal is None)
    told = meter.told(found)
    return told | {"bytes": len(data), "bare_s": bare.cpu_s, "segments": segments}


def _fill(folder: Path, spec: dict[str, Any]) -> int:
    files, per_file = int(spec["files"]), int(spec["per_file"])
    write_folder(folder, files=files, claims_per_file=per_file, spec=GeneratorSpec(claims=per_file))
    return files * per_file


def _settings(root: Path, spec: dict[str, Any]) -> Settings:
    in_flight = int(spec["in_flight"])
    return load(
        None,
        {},
        {
            "environment": "simulator",
            "api.base_url": f"http://127.0.0.1:{spec['port']}",
            "input.url": f"dir:{root / 'in'}",
            "output.urls": [f"jsonl:{root / 'out/results.jsonl'}"],
            "state.url": f"sqlite:{root / 'state/ledger.db'}",
            "flow.mode": "fixed",
            "flow.max_in_flight": in_flight,
            "telemetry.http": "",
        },
    )


def _bodies(many: int) -> list[bytes]:
    """Make request bodies of the size that the worker sends."""
    bodies = []
    for number in range(many):
        data = b"".join(generate(GeneratorSpec(claims=1, first_ordinal=number + 1)))
        variables = {"input": {"x12RequestData": data.decode(), "payerId": "87726"}}
        bodies.append(json.dumps({"query": "query claimPreCheck", "variables": variables}).encode())
    return bodies


class _Meter:
    """Wall and CPU time of a block."""

    def __enter__(self) -> "_Meter":
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        self.wall_s = self.cpu_s = 0.0
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s = time.perf_counter() - self._wall
        self.cpu_s = time.process_time() - self._cpu

    def told(self, claims: int) -> dict[str, Any]:
        """Say it as one JSON object: rates a second, CPU in microseconds a claim, peak memory in bytes."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return {
            "claims": claims,
            "wall_s": self.wall_s,
            "per_s": claims / self.wall_s,
            "cpu_us": self.cpu_s / claims * 1e6,
            "peak_bytes": peak,
        }


JOBS: dict[str, Job] = {"bare_loop": bare_loop, "end_to_end": end_to_end, "splitting": splitting}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(JOBS[sys.argv[1]](json.loads(sys.argv[2]))) + "\n")
