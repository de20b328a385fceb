"""What people write themselves for the same job: jobs of `bench --peers`, each as short as one would write it.

Read each file of a folder, POST its claim, append the answer to a file. No retries, no verdicts, nothing durable, no
log: what is lost in a crash is lost, and a file that was answered is asked again. All of them run on uvloop.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO, Any

import aiohttp
import uvloop

from worker.bench.site import Meter, fill_folder
from worker.settings.service import PRECHECK_QUERY, ApiSettings

HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer bench", "providerTaxId": "123456789"}

Script = Callable[[dict[str, Any], list[Path], IO[bytes], AsyncExitStack], Coroutine[Any, Any, None]]


def httpx_script(spec: dict[str, Any]) -> dict[str, Any]:
    """Run a script on httpx."""
    return _run(_with_httpx, spec)


def aiohttp_script(spec: dict[str, Any]) -> dict[str, Any]:
    """Run a script on aiohttp."""
    return _run(_with_aiohttp, spec)


def taskiq_queue(spec: dict[str, Any]) -> dict[str, Any]:
    """Put a task for each file on a Redis list, and carry the tasks out in the same process, with aiohttp."""
    return _run(_with_taskiq, spec)


def _run(script: Script, spec: dict[str, Any]) -> dict[str, Any]:
    root = Path(spec["root"])
    claims = fill_folder(root / "in", spec)
    files = sorted((root / "in").iterdir())
    with (root / "results.jsonl").open("wb") as results:
        meter = uvloop.run(_measured(script, spec, files, results))
    return meter.told(claims) | {"results": (root / "results.jsonl").read_bytes().count(b"\n")}


async def _measured(script: Script, spec: dict[str, Any], files: list[Path], results: IO[bytes]) -> Meter:
    """Run the script until all is answered; letting go of what it used is not measured."""
    async with AsyncExitStack() as parts:
        with Meter() as meter:
            await script(spec, files, results, parts)
    return meter


async def _with_httpx(spec: dict[str, Any], files: list[Path], results: IO[bytes], parts: AsyncExitStack) -> None:
    import httpx

    waiting = iter(files)

    async def post_many(client: httpx.AsyncClient) -> None:
        for path in waiting:
            answer = await client.post(_url(spec), content=_body(path), headers=HEADERS)
            results.write(answer.content + b"\n")

    limits = httpx.Limits(max_connections=spec["in_flight"], max_keepalive_connections=spec["in_flight"])
    client = await parts.enter_async_context(httpx.AsyncClient(limits=limits, timeout=60.0))
    async with asyncio.TaskGroup() as group:
        for _ in range(spec["in_flight"]):
            group.create_task(post_many(client))


async def _with_aiohttp(spec: dict[str, Any], files: list[Path], results: IO[bytes], parts: AsyncExitStack) -> None:
    waiting = iter(files)
    session = await parts.enter_async_context(_session())
    async with asyncio.TaskGroup() as group:
        for _ in range(spec["in_flight"]):
            group.create_task(_post_many(session, spec, waiting, results))


async def _post_many(
    session: aiohttp.ClientSession, spec: dict[str, Any], waiting: Iterator[Path], results: IO[bytes]
) -> None:
    for path in waiting:
        await _post(session, spec, path, results)


async def _post(session: aiohttp.ClientSession, spec: dict[str, Any], path: Path, results: IO[bytes]) -> None:
    async with session.post(_url(spec), data=_body(path), headers=HEADERS) as answer:
        results.write(await answer.read() + b"\n")


async def _with_taskiq(spec: dict[str, Any], files: list[Path], results: IO[bytes], parts: AsyncExitStack) -> None:
    import taskiq.api
    import taskiq_redis

    logging.getLogger("taskiq").setLevel(logging.CRITICAL)  # it tells at length that it was cancelled
    broker = taskiq_redis.ListQueueBroker(spec["redis"], queue_name=f"precheck-bench-{Path(spec['root']).name}")
    session = await parts.enter_async_context(_session())
    left = len(files)
    done = asyncio.Event()

    async def check(path: str) -> None:
        nonlocal left
        await _post(session, spec, Path(path), results)
        left -= 1
        if not left:
            done.set()

    task = broker.register_task(check, task_name="check")
    await broker.startup()
    parts.push_async_callback(broker.shutdown)
    receiver = asyncio.create_task(
        taskiq.api.run_receiver_task(broker, max_async_tasks=spec["in_flight"], run_startup=False)
    )
    parts.push_async_callback(_ended, receiver)
    for path in files:
        await task.kiq(str(path))
    await done.wait()


async def _ended(receiver: asyncio.Task[None]) -> None:
    """Cancel the receiver and wait for it: some seconds, for its read from Redis has to time out first."""
    receiver.cancel()
    await asyncio.gather(receiver, return_exceptions=True)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


def _url(spec: dict[str, Any]) -> str:
    return f"http://127.0.0.1:{spec['port']}{ApiSettings().precheck_path}"


def _body(path: Path) -> bytes:
    variables = {"input": {"x12RequestData": path.read_text(), "payerId": "87726"}}
    return json.dumps({"query": PRECHECK_QUERY, "variables": variables}).encode()
