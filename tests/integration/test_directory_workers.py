"""Several workers on one folder, workers that die, and files that this worker may not read: with real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from tests.spools import Clock, SpoolFolder, batch, names, take_all

ROOT = Path(__file__).parents[2]

# Takes everything, settles it unless told to hold it, and prints one name a line.
TAKER = """
import sys, time, anyio
from worker.settings import InputSettings
from worker.sources import from_url
import logging, structlog
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))

async def main(folder, worker, hold):
    source = from_url("dir:" + folder, InputSettings(), worker_id=worker)
    await source.open()
    if "together" in sys.argv:
        print("up", flush=True)
        sys.stdin.readline()
    while found := await source.take(16, wait=False):
        for delivery in found:
            print(delivery.name, delivery.ref, flush=True)
        if not hold:
            await source.settle(found)
    if hold:
        print("holding", flush=True)
        time.sleep(60)
    await source.close()

anyio.run(main, sys.argv[1], sys.argv[2], sys.argv[3] == "hold")
"""


def taker(spool: SpoolFolder, worker: str, *, hold: bool = False) -> list[str]:
    return [sys.executable, "-c", TAKER, str(spool.incoming), worker, "hold" if hold else "settle"]


def start(command: list[str], *, stdin: int | None = None) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)


def lines_until_holding(process: subprocess.Popen[str]) -> dict[str, str]:
    assert process.stdout is not None
    found = {}
    for line in process.stdout:
        if line == "holding\n":
            break
        name, ref = line.split()
        found[name] = ref
    return found


@pytest.mark.fault(50)
def test_two_workers_take_a_thousand_files_each_once(spool: SpoolFolder) -> None:
    for number in range(1000):
        spool.put(f"{number}.837", batch(number))

    workers = [start([*taker(spool, name), "together"], stdin=subprocess.PIPE) for name in ("one", "two")]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "up\n"
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
    taken = [[line.split()[0] for line in worker.communicate(timeout=60)[0].splitlines()] for worker in workers]

    assert [worker.returncode for worker in workers] == [0, 0]
    assert len(taken[0]) + len(taken[1]) == 1000
    assert {*taken[0], *taken[1]} == {f"{number}.837" for number in range(1000)}
    assert all(taken)
    assert len(spool.archived()) == 1000


@pytest.mark.fault(50)
async def test_two_workers_of_one_name_have_a_folder_each(spool: SpoolFolder) -> None:
    async with spool.opened(worker_id="same") as one, spool.opened(worker_id="same") as other:
        spool.put("a.837", batch(1))
        first = await take_all(one)
        spool.put("b.837", batch(2))
        second = await take_all(other)
        await other.release(await take_all(one))

    assert (names(first), names(second)) == ({"a.837"}, {"b.837"})


@pytest.mark.fault(51)
async def test_what_a_killed_worker_held_is_taken_over_by_one_that_starts(spool: SpoolFolder) -> None:
    for number in range(5):
        spool.put(f"{number}.837", batch(number))
    spool.put("l" * 255, batch(9))
    process = start(taker(spool, "dies", hold=True))
    held = lines_until_holding(process)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    with capture_logs() as logs:
        async with spool.opened(worker_id="heir") as source:
            found = await take_all(source)
            await source.settle(found)

    assert {delivery.name: delivery.ref for delivery in found} == held
    assert len(held) == 6
    assert [(line["owner"], line["batches"]) for line in logs if line["event"] == "worker.taken_over"] == [("dies", 6)]
    assert len(spool.archived()) == 6
    assert list((spool.root / "work").iterdir()) == []


@pytest.mark.fault(51)
async def test_a_file_that_a_dead_worker_had_made_room_for_and_another_has_taken_is_in_nobodys_way(
    spool: SpoolFolder,
) -> None:
    clock = Clock()
    async with spool.opened(worker_id="lives", monotonic=clock) as source:
        assert await take_all(source) == []
        spool.put("l" * 255, batch())
        inode = next(spool.incoming.iterdir()).stat().st_ino
        (spool.root / f"work/dead/{inode:x}").mkdir(parents=True)
        (spool.root / "work/dead/owner").touch()
        (delivery,) = await take_all(source)
        clock.ahead_s += 10
        assert await take_all(source) == []
        await source.settle([delivery])

    assert list((spool.root / "work").iterdir()) == []


@pytest.mark.fault(51)
async def test_a_living_worker_takes_over_while_it_waits_and_not_before_the_other_is_dead(
    spool: SpoolFolder,
) -> None:
    clock = Clock()
    spool.put("a.837", batch())
    process = start(taker(spool, "dies", hold=True))
    held = lines_until_holding(process)
    async with spool.opened(worker_id="heir", monotonic=clock) as source:
        clock.ahead_s += 10
        while_it_lives = await take_all(source)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        clock.ahead_s += 10
        with anyio.fail_after(60):
            (delivery,) = await source.take(1)

    assert while_it_lives == []
    assert {delivery.name: delivery.ref} == held


@pytest.mark.fault(51)
async def test_a_worker_started_again_under_its_name_finds_its_own_folder(spool: SpoolFolder) -> None:
    spool.put("a.837", batch())
    process = start(taker(spool, "same", hold=True))
    held = lines_until_holding(process)
    process.send_signal(signal.SIGKILL)
    process.communicate()

    async with spool.opened(worker_id="same") as source:
        found = await take_all(source)
        folders = [path.name for path in (spool.root / "work").iterdir()]

    assert {delivery.name: delivery.ref for delivery in found} == held
    assert folders == ["same"]


@pytest.mark.fault(51)
def test_workers_killed_again_and_again_lose_nothing_and_settle_nothing_twice(spool: SpoolFolder) -> None:
    for number in range(300):
        spool.put(f"{number}.837", batch(number))
    for life in range(6):
        process = start(taker(spool, f"life-{life % 2}"))
        assert process.stdout is not None
        for _ in range(20):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate()

    last = start(taker(spool, "last"))
    last.communicate(timeout=60)

    assert last.returncode == 0
    assert spool.archived() == sorted(f"{number}.837" for number in range(300))
    assert spool.held() == []


@pytest.mark.fault(24)
async def test_a_rename_that_a_power_cut_undid_is_the_same_delivery_again(spool: SpoolFolder) -> None:
    spool.put("a.837", batch())
    async with spool.opened() as source:
        (first,) = await take_all(source)
        (entry,) = spool.root.glob("work/*/*-a.837")
        entry.rename(spool.incoming / "a.837")
        (again,) = await take_all(source)

    assert again.ref == first.ref


# As a user without rights, with a clock a hundred times as fast: takes until nothing has come for two seconds.
UNPRIVILEGED = """
import os, sys, time, anyio
from pathlib import Path
from worker.settings import InputSettings
from worker.sources import DirectorySource

async def main(folder):
    os.setgid(65534); os.setuid(65534)
    source = DirectorySource(
        Path(folder), InputSettings(), worker_id="w", monotonic=lambda: 100 * time.monotonic(), rescan_s=0.05
    )
    await source.open()
    found = True
    while found:
        found = []
        with anyio.move_on_after(2):
            found = await source.take(16)
        for delivery in found:
            print(delivery.name, flush=True)
        await source.settle(found)
    await source.close()

anyio.run(main, sys.argv[1])
"""


@pytest.fixture
def open_to_all() -> Iterator[SpoolFolder]:
    if os.geteuid() != 0:
        pytest.skip("starting a worker as another user needs root")
    root = Path(tempfile.mkdtemp())
    root.chmod(0o755)
    spool = SpoolFolder(root / "spool")
    for folder in (spool.root, spool.incoming):
        os.chown(folder, 65534, 65534)
    yield spool
    shutil.rmtree(root)


@pytest.mark.fault(58)
def test_an_unreadable_file_is_quarantined_in_the_end_and_others_are_not_affected(open_to_all: SpoolFolder) -> None:
    spool = open_to_all
    spool.put("secret.837", batch(1))
    (spool.incoming / "secret.837").chmod(0)
    spool.put("good.837", batch(2))

    worker = start([sys.executable, "-c", UNPRIVILEGED, str(spool.incoming)])
    printed, _ = worker.communicate(timeout=60)

    assert worker.returncode == 0
    assert "good.837" in printed.splitlines()
    assert "secret.837" not in printed.splitlines()
    reason = json.loads(spool.quarantined()["secret.837"])
    assert reason == {"code": "unreadable", "text": "could not be read, tried 5 times"}


@pytest.mark.fault(58)
def test_a_file_that_may_not_be_moved_is_left_alone(open_to_all: SpoolFolder) -> None:
    spool = open_to_all
    spool.put("roots.837", batch(1))
    os.chown(spool.incoming, 0, 0)
    spool.incoming.chmod(0o1777)  # sticky: only its owner may move a file
    spool.put("theirs.837", batch(2))
    os.chown(spool.incoming / "theirs.837", 65534, 65534)

    worker = start([sys.executable, "-c", UNPRIVILEGED, str(spool.incoming)])
    printed, _ = worker.communicate(timeout=60)

    assert worker.returncode == 0
    assert "theirs.837" in printed.splitlines()
    assert spool.incoming_names() == {"roots.837"}
    assert spool.quarantined() == {}


@pytest.mark.fault(58)
@pytest.mark.parametrize("failing", [2, 10_000])
def test_a_file_that_cannot_be_read_is_tried_again_and_taken_or_quarantined_in_the_end(
    open_to_all: SpoolFolder, failing: int
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    spool = open_to_all
    for number, name in enumerate(("good.837", "broken.837")):
        spool.put(name, batch(number))
        os.chown(spool.incoming / name, 65534, 65534)
    inject = f"inject=read:error=EIO:when=1..{failing}"
    strace = ["strace", "-f", "-qq", "-o", os.devnull, "-P", str(spool.incoming / "broken.837"), "-e", inject]

    worker = start([*strace, sys.executable, "-c", UNPRIVILEGED, str(spool.incoming)])
    printed, _ = worker.communicate(timeout=60)

    if worker.returncode != 0 and not printed:
        pytest.skip("tracing is not permitted here")
    assert "good.837" in printed.splitlines()
    assert ("broken.837" in printed.splitlines()) == (failing == 2)
    assert spool.incoming_names() == set()
    told = {name: json.loads(reason)["text"] for name, reason in spool.quarantined().items()}
    assert told == ({} if failing == 2 else {"broken.837": "could not be read, tried 5 times"})


@pytest.mark.fault(58)
def test_eio_while_reading_one_file_leaves_the_others_unaffected(spool: SpoolFolder) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    spool.put("good.837", batch(1))
    spool.put("broken.837", batch(2))
    broken = str(spool.incoming / "broken.837")
    strace = ["strace", "-f", "-qq", "-o", os.devnull, "-P", broken, "-e", "trace=read", "-e", "inject=read:error=EIO"]

    worker = start([*strace, *taker(spool, "one")])
    printed, _ = worker.communicate(timeout=60)

    if worker.returncode != 0 and not printed:
        pytest.skip("tracing is not permitted here")
    assert [line.split()[0] for line in printed.splitlines()] == ["good.837"]
    assert spool.incoming_names() == {"broken.837"}
