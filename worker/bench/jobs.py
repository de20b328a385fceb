"""One measurement, run in a process of its own: ``python -m worker.bench.jobs NAME '{"…": …}'`` prints one JSON line.

A process each, so that peak memory and CPU time are this job's alone and the baseline runs under the same
conditions as what is held against it.
"""

import json
import sys
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
from worker.bench import growth, scripts
from worker.bench.site import Meter, fill_folder, settings_of
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
    turns = count()

    async def post_many(session: aiohttp.ClientSession) -> None:
        while (turn := next(turns)) < claims:
            async with session.post(url, data=bodies[turn % len(bodies)], headers=scripts.HEADERS) as response:
                await response.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        with Meter() as meter:
            async with anyio.create_task_group() as loop:
                for _ in range(in_flight):
                    loop.start_soon(post_many, session)
    return meter.told(claims)


def end_to_end(spec: dict[str, Any]) -> dict[str, Any]:
    """Run the worker: folder in, durable results in the jsonl sink, logs on; the folder is made beforehand."""
    with TemporaryDirectory(prefix="precheck-bench-", dir=spec.get("dir")) as folder:
        root = Path(folder)
        claims = fill_folder(root / "in", spec)
        settings = settings_of(root, spec)
        with (root / "worker.log").open("wb") as log:
            configure_logs(settings.telemetry, log)
            with Meter() as meter:
                anyio.run(partial(work, settings, once=True), backend_options={"use_uvloop": True})
        told = meter.told(claims)
        results = (root / "out/results.jsonl").read_bytes().count(b"\n")
        ledger = sum(file.stat().st_size for file in (root / "state").iterdir())
        return told | {"results": results, "ledger_bytes": ledger}


def serve(spec: dict[str, Any]) -> dict[str, Any]:
    """Run the worker on the folder under `root` until a signal drains it; its log goes to stdout."""
    settings = settings_of(Path(spec["root"]), spec)
    configure_logs(settings.telemetry, sys.stdout.buffer)
    anyio.run(partial(work, settings, once=False), backend_options={"use_uvloop": True})
    return {}


def splitting(spec: dict[str, Any]) -> dict[str, Any]:
    """Survey and split one batch, beside a bare pass of `bytes.split` over the same bytes."""
    claims = int(spec["claims"])
    data = b"".join(generate(GeneratorSpec(claims=claims, kind="mixed")))
    with Meter() as bare:
        segments = len(data.split(b"~"))
    chunks = [data[at : at + (1 << 18)] for at in range(0, len(data), 1 << 18)]
    with Meter() as meter:
        surveyed = survey(chunks)
        found = sum(1 for one in split(chunks, surveyed, seed=1) if one.refusal is None)
    told = meter.told(found)
    return told | {"bytes": len(data), "bare_s": bare.cpu_s, "segments": segments}


def _bodies(many: int) -> list[bytes]:
    """Make request bodies of the size that the worker sends."""
    bodies = []
    for number in range(many):
        data = b"".join(generate(GeneratorSpec(claims=1, first_ordinal=number + 1)))
        variables = {"input": {"x12RequestData": data.decode(), "payerId": "87726"}}
        bodies.append(json.dumps({"query": "query claimPreCheck", "variables": variables}).encode())
    return bodies


JOBS: dict[str, Job] = {
    "bare_loop": bare_loop,
    "end_to_end": end_to_end,
    "serve": serve,
    "splitting": splitting,
    "fill": growth.fill,
    "on_top": growth.on_top,
    "start": growth.start,
    "strand": growth.strand,
    "recover": growth.recover,
    "aiohttp_script": scripts.aiohttp_script,
    "httpx_script": scripts.httpx_script,
    "taskiq_queue": scripts.taskiq_queue,
}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(JOBS[sys.argv[1]](json.loads(sys.argv[2]))) + "\n")
