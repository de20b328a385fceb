"""What the ledger does when the disk is full or broken, the process killed, or a change is wrong."""

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from tests.disks import remount, small_disk
from worker.claim import Batch
from worker.errors import StateError, StorageFull
from worker.ledger import SqliteLedger, open_ledger
from worker.ledger.failures import translate
from worker.ports import Arrival, Emission, Record

ARRIVAL = Arrival("ab" * 32, "in/a.837", "a.837", 10, 1.0)


def record(batch: Batch, ordinal: int, size: int = 2000) -> Record:
    body = random.Random(ordinal).randbytes(size)  # what cannot be compressed fills the disk
    return Record(batch.number, ordinal, 1, f"{batch.batch_id}:{ordinal}:1", "accepted", None, body)


async def fill(ledger: SqliteLedger, batch: Batch, *, start: int = 1) -> int:
    """Record one result after the other until there is no room; tells the ordinal that did not fit."""
    for ordinal in range(start, 10_000):
        try:
            await ledger.record([record(batch, ordinal)])
        except StorageFull:
            return ordinal
    raise AssertionError("the disk never filled up")


@pytest.mark.fault(28)
async def test_a_full_disk_changes_nothing_and_is_over_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        async with open_ledger(f"sqlite:{disk}/ledger.db") as ledger:
            (opened,) = await ledger.open_batches([ARRIVAL])
            failed = await fill(ledger, opened.batch)
            again = await fill(ledger, opened.batch, start=failed)
            held = await ledger.outbox(0, 10_000)

            remount(disk, "size=8m")
            await ledger.record([record(opened.batch, again)])

            assert len(held) == again - 1
            assert [emission.result_id for emission in await ledger.outbox(0, 10_000)] == [
                f"{opened.batch.batch_id}:{ordinal}:1" for ordinal in range(1, again + 1)
            ]
            assert (await ledger.summaries())[0].counts == {"accepted": again}


@pytest.mark.fault(28)
async def test_a_full_disk_is_told_to_every_caller_of_the_group(tmp_path: Path) -> None:
    refused: list[int] = []
    with small_disk(tmp_path / "disk", "size=1m") as disk:
        async with open_ledger(f"sqlite:{disk}/ledger.db") as ledger:
            (opened,) = await ledger.open_batches([ARRIVAL])

            async def store(ordinal: int) -> None:
                try:
                    await ledger.record([record(opened.batch, ordinal, 40_000)])
                except StorageFull:
                    refused.append(ordinal)

            async with anyio.create_task_group() as tasks:
                for ordinal in range(1, 41):
                    tasks.start_soon(store, ordinal)
            stored = len(await ledger.outbox(0, 100))

    assert stored + len(refused) == 40
    assert len(refused) > 1


def test_an_error_of_the_disk_before_there_is_a_ledger_is_told_as_one(tmp_path: Path) -> None:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_DELETE
    error.sqlite_errorname = "SQLITE_IOERR_DELETE"

    failure = translate(error, tmp_path / "ledger.db")

    assert (type(failure), str(failure)) == (StateError, f"ledger: {tmp_path}/ledger.db: SQLITE_IOERR_DELETE")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault(29)
async def test_a_disk_without_inodes_refuses_to_make_a_ledger(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=4m,nr_inodes=2") as disk:
        with pytest.raises(StorageFull):
            async with open_ledger(f"sqlite:{disk}/ledger.db"):
                pass

        remount(disk, "nr_inodes=50")
        async with open_ledger(f"sqlite:{disk}/ledger.db") as ledger:
            await ledger.note("a", "b")


FILE_SIZE_LIMIT = """
import anyio, os, resource, sys
from worker.errors import StorageFull
from worker.ledger import open_ledger
from worker.ports import Arrival, Record

async def main():
    async with open_ledger(sys.argv[1]) as ledger:
        (opened,) = await ledger.open_batches([Arrival("ab" * 32, "r", "n", 1, 1.0)])
        def record(n):
            return Record(opened.batch.number, n, 1, str(n), "accepted", None, os.urandom(2000))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
        n = 1
        try:
            while True:
                await ledger.record([record(n)])
                n += 1
        except StorageFull:
            pass
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        await ledger.record([record(n)])
        print(n, len(await ledger.outbox(0, 100_000)))

anyio.run(main)
"""


@pytest.mark.fault(30)
def test_a_file_size_limit_is_like_a_full_disk(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FILE_SIZE_LIMIT, f"sqlite:{tmp_path}/ledger.db"],
        capture_output=True,
        text=True,
        check=True,
    )

    tried, stored = run.stdout.split()
    assert int(tried) > 5
    assert tried == stored
    assert not (tmp_path / ".ledger.db.room").exists()


BROKEN_DISK = """
import anyio, os, sys
from worker.errors import StateError, StorageFull
from worker.ledger import open_ledger
from worker.ports import Arrival, Record

async def main():
    async with open_ledger(sys.argv[1]) as ledger:
        stored, refused = 0, []
        for n in range(1, 40):
            try:
                if n == 1:
                    (opened,) = await ledger.open_batches([Arrival("ab" * 32, "r", "n", 1, 1.0)])
                await ledger.record([Record(opened.batch.number, n, 1, str(n), "accepted", None, os.urandom(2000))])
                stored += 1
            except StorageFull:
                print("full")
            except StateError as error:
                refused.append(str(error))
        try:
            await ledger.outbox(0, 1)
        except StateError:
            refused.append("read")
        print(stored, len(refused), refused[0])

anyio.run(main)
"""


@pytest.mark.fault(33)
@pytest.mark.parametrize(("call", "when"), [("fsync,fdatasync", 9), ("pwrite64", 30)])
def test_an_error_of_the_disk_is_never_tried_again(tmp_path: Path, call: str, when: int) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    url = f"sqlite:{tmp_path}/ledger.db"
    tracing = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", f"{tmp_path}/ledger.db-wal", "-e", f"trace={call}"]
    inject = ["-e", f"inject={call}:error=EIO:when={when}"]

    run = subprocess.run([*tracing, *inject, sys.executable, "-c", BROKEN_DISK, url], capture_output=True, check=False)
    if b"ptrace" in run.stderr and not run.stdout:
        pytest.skip("strace is not permitted here")

    lines = run.stdout.decode().splitlines()
    stored, refused, reason = lines[-1].split(" ", 2)
    assert "SQLITE_IOERR" in reason
    assert int(stored) > 0
    assert int(stored) + int(refused) == 40
    assert "full" not in lines


@pytest.mark.fault(33)
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
async def test_a_ledger_that_could_not_be_made_is_made_by_the_next_start(tmp_path: Path, error: str) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    path = tmp_path / "ledger.db"
    code = "from pathlib import Path; import sys; from worker.ledger.schema import create; create(Path(sys.argv[1]))"
    # The last fsync of the draft's journal is that of going over to the write-ahead log.
    tracing = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", f"{tmp_path}/.ledger.db.new-journal"]
    inject = ["-e", f"inject=fdatasync:error={error}:when=9+"]

    run = await anyio.run_process([*tracing, *inject, sys.executable, "-c", code, str(path)], check=False)
    if b"ptrace" in run.stderr:
        pytest.skip("strace is not permitted here")
    made = path.exists()
    async with open_ledger(f"sqlite:{path}") as ledger:
        await ledger.note("key", "value")

    assert run.returncode != 0
    assert not made


KILLED = """
import anyio, sys
from worker.ledger import open_ledger
from worker.ports import Arrival, Record

async def main():
    async with open_ledger(sys.argv[1]) as ledger:
        (opened,) = await ledger.open_batches([Arrival("ab" * 32, "r", "n", 1, 1.0)])
        ordinals = iter(range(max(opened.answered, default=0) + 1, 10_000_000))

        async def store():
            for n in ordinals:
                body = b"%d" % n * 400
                (stored,) = await ledger.record([Record(opened.batch.number, n, 1, str(n), "accepted", None, body)])
                sys.stdout.write(f"{n} {stored.seq}\\n")
                sys.stdout.flush()

        print("ready", flush=True)
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(store)

anyio.run(main)
"""


@pytest.mark.fault(5)
async def test_whatever_was_told_as_stored_survives_kill_9(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/ledger.db"
    told: dict[int, int] = {}
    chance = random.Random(7)

    for _ in range(5):
        run = subprocess.Popen([sys.executable, "-c", KILLED, url], stdout=subprocess.PIPE)  # noqa: ASYNC220 - nothing else runs here
        assert run.stdout is not None
        assert run.stdout.readline() == b"ready\n"
        begun = b"".join(run.stdout.readline() for _ in range(30))
        time.sleep(chance.uniform(0.0, 0.1))  # noqa: ASYNC251 - the other process is what runs
        os.kill(run.pid, signal.SIGKILL)
        rest, _ = run.communicate()
        out = begun + rest
        told |= {int(n): int(seq) for n, _, seq in (line.partition(b" ") for line in out.split(b"\n")[:-1])}

    async with open_ledger(url) as ledger:
        stored: list[Emission] = []
        while page := await ledger.outbox(stored[-1].seq if stored else 0, 1_000_000):
            stored += page
    assert len(told) > 100
    assert told.items() <= {int(emission.result_id.split(":")[1]): emission.seq for emission in stored}.items()
    assert all(emission.body == b"%d" % int(emission.result_id.split(":")[1]) * 400 for emission in stored)
    assert len({emission.result_id for emission in stored}) == len(stored)


@pytest.mark.fault(20)
async def test_a_bug_in_one_change_ends_all_waiting_and_all_later_calls(tmp_path: Path) -> None:
    ended: list[str] = []
    async with open_ledger(f"sqlite:{tmp_path}/ledger.db") as ledger:
        (opened,) = await ledger.open_batches([ARRIVAL])
        wrong = Record(opened.batch.number, 1, 1, "x", "accepted", None, object())  # type: ignore[arg-type]  # the bug

        async def store(each: Record) -> None:
            try:
                await ledger.record([each])
            except StateError:
                ended.append("state")

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for ordinal in range(2, 30):
                    tasks.start_soon(store, record(opened.batch, ordinal))
                tasks.start_soon(store, wrong)
        with pytest.raises(StateError):
            await ledger.note("a", "b")
        with pytest.raises(StateError):
            await ledger.outbox(0, 1)

    assert len(ended) == 29
    async with open_ledger(f"sqlite:{tmp_path}/ledger.db") as ledger:
        assert await ledger.outbox(0, 100) == []


@pytest.mark.fault(40)
async def test_a_ledger_deleted_under_its_worker_is_noticed(tmp_path: Path) -> None:
    async with open_ledger(f"sqlite:{tmp_path}/ledger.db") as ledger:
        await ledger.note("a", "b")
        (tmp_path / "ledger.db").unlink()

        with pytest.raises(StateError, match="moved or deleted"):
            await ledger.note("a", "c")


@pytest.mark.fault(44)
async def test_a_lock_by_another_program_is_waited_for_and_then_told_as_no_room(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with open_ledger(f"sqlite:{path}") as ledger:
        await ledger.note("a", "b")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StorageFull, match="locked"):
            await ledger.note("a", "c")

        other.execute("ROLLBACK")
        other.close()
        await ledger.note("a", "c")
        assert await ledger.noted("a") == "c"


async def test_a_cancelled_leader_still_carries_its_group(tmp_path: Path) -> None:
    async with open_ledger(f"sqlite:{tmp_path}/ledger.db") as ledger:
        (opened,) = await ledger.open_batches([ARRIVAL])
        follower: list[int] = []

        async def follow() -> None:
            follower.append((await ledger.record([record(opened.batch, 2)]))[0].seq)

        async with anyio.create_task_group() as tasks:
            with anyio.CancelScope() as doomed:
                tasks.start_soon(follow)
                doomed.cancel()
                await ledger.record([record(opened.batch, 1)])

        assert doomed.cancelled_caught or follower
        assert {emission.seq for emission in await ledger.outbox(0, 10)} >= set(follower) != set()


async def test_calls_after_the_end_are_refused(tmp_path: Path) -> None:
    async with open_ledger(f"sqlite:{tmp_path}/ledger.db") as ledger:
        pass

    with pytest.raises(StateError, match="closed"):
        await ledger.note("a", "b")
    with pytest.raises(StateError, match="closed"):
        await ledger.noted("a")
    await ledger.close()


async def test_what_waits_when_the_block_is_left_is_committed(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/ledger.db"

    async with anyio.create_task_group() as tasks, open_ledger(url) as ledger:
        for n in range(50):
            tasks.start_soon(ledger.note, f"key{n}", "value")
        await anyio.lowlevel.checkpoint()

    async with open_ledger(url) as ledger:
        assert [await ledger.noted(f"key{n}") for n in range(50)] == ["value"] * 50


async def test_the_log_is_folded_into_the_file_under_way(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    async with open_ledger(f"sqlite:{path}") as ledger:
        (opened,) = await ledger.open_batches([ARRIVAL])
        for ordinal in range(1, 60):
            await ledger.record([record(opened.batch, ordinal, 500_000)])

        assert path.stat().st_size > 10_000_000
        assert (tmp_path / "ledger.db-wal").stat().st_size < 25_000_000


LEFT = """
import anyio, os, sys
from worker.ledger import open_ledger
from worker.ports import Arrival, Record

async def main():
    async with open_ledger(sys.argv[1]) as ledger:
        (opened,) = await ledger.open_batches([Arrival("ab" * 32, "r", "n", 1, 1.0)])
        await ledger.record([Record(opened.batch.number, 1, 1, "one", "accepted", None, b"body")])
        os._exit(9)

anyio.run(main)
"""


@pytest.mark.fault(33)
async def test_what_a_dead_process_left_in_the_log_is_written_anew_before_anything_is_added(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await anyio.run_process([sys.executable, "-c", LEFT, f"sqlite:{path}"], check=False)
    before = results_without_log(path)

    async with open_ledger(f"sqlite:{path}") as ledger:
        await ledger.note("key", "value")
        after = results_without_log(path)

    assert (before, after) == (0, 1)


def results_without_log(path: Path) -> int:
    """Count the results in the ledger's own file, whatever its log knows beside it."""
    alone = path.with_name("alone.db")
    shutil.copyfile(path, alone)
    with sqlite3.connect(f"{alone.as_uri()}?immutable=1", uri=True) as db:
        found: tuple[int] = db.execute("SELECT count(*) FROM results").fetchone()
    db.close()
    return found[0]


@pytest.mark.fault(33)
def test_a_log_whose_name_may_not_be_on_the_disk_is_not_relied_on(tmp_path: Path) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    made = subprocess.run([sys.executable, "-c", LEFT, f"sqlite:{tmp_path}/ledger.db"], check=False)
    (tmp_path / "ledger.db-wal").unlink()
    tracing = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(tmp_path), "-e", "inject=fsync:error=EIO:when=1"]

    run = subprocess.run(
        [*tracing, sys.executable, "-c", LEFT, f"sqlite:{tmp_path}/ledger.db"], capture_output=True, check=False
    )
    if b"ptrace" in run.stderr:
        pytest.skip("strace is not permitted here")

    assert made.returncode == 9
    assert run.returncode == 1
    assert run.stderr.decode().splitlines()[-1].startswith(f"worker.errors.StateError: ledger: cannot sync {tmp_path}")
