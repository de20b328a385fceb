"""Files that change while they are looked at, read and taken (failures.md, 47 to 49)."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from structlog.testing import capture_logs

from tests.spools import Clock, SpoolFolder, batch, names, take_all
from worker.sources.file_leases import Lease, lease, unbroken
from worker.x12 import Survey, survey

BOTH_WAYS = pytest.mark.parametrize("ask_kernel", [True, False], ids=["kernel asked", "kernel not asked"])


@pytest.mark.fault(47)
@BOTH_WAYS
async def test_a_file_being_written_is_taken_when_it_is_whole_and_not_before(
    spool: SpoolFolder, ask_kernel: bool
) -> None:
    data = batch(1, claims=3) + batch(2, claims=3)
    pieces = [data[at : at + len(data) // 8] for at in range(0, len(data), len(data) // 8)]

    def write_slowly() -> None:
        with (spool.incoming / "slow.837").open("wb", buffering=0) as file:
            for piece in pieces:
                file.write(piece)
                time.sleep(0.05)

    async with spool.opened(ask_kernel=ask_kernel) as source, anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, write_slowly)
        with anyio.fail_after(60):
            (delivery,) = await source.take(1)

    assert delivery.data == data


@pytest.mark.fault(47)
async def test_a_prefix_that_ends_between_two_interchanges_is_not_taken_while_its_writer_is_there(
    spool: SpoolFolder,
) -> None:
    first, second = batch(1), batch(2)
    async with spool.opened() as source:
        with (spool.incoming / "two.837").open("wb", buffering=0) as file:
            file.write(first)
            with anyio.move_on_after(0.3) as early:
                await source.take(1)
            file.write(second)
        with anyio.fail_after(60):
            (delivery,) = await source.take(1)

    assert early.cancelled_caught
    assert delivery.data == first + second


@pytest.mark.fault(47)
async def test_a_file_left_open_by_its_writer_is_taken_when_it_was_quiet_for_long_enough(
    spool: SpoolFolder, clock: Clock
) -> None:
    async with spool.opened(monotonic=clock) as source:
        with (spool.incoming / "open.837").open("wb", buffering=0) as file:
            file.write(batch())
            with anyio.move_on_after(0.2):
                await source.take(1)
            clock.ahead_s += 5
            assert await take_all(source) == []
            left = await source.left_over()
            clock.ahead_s += 3600
            found = await take_all(source)

    assert list(left) == ["open.837"]
    assert names(found) == {"open.837"}


@pytest.mark.fault(47)
async def test_an_incomplete_file_stays_for_an_hour_and_is_then_quarantined(spool: SpoolFolder, clock: Clock) -> None:
    reads = 0

    def counted(chunks: Iterable[bytes]) -> Survey:
        nonlocal reads
        reads += 1
        return survey(chunks)

    spool.put("half.837", batch()[:-20])
    async with spool.opened(monotonic=clock, survey=counted) as source:
        for _ in range(20):
            assert await take_all(source) == []
        reads_at_first = reads
        clock.ahead_s += 3500
        for _ in range(20):
            assert await take_all(source) == []
        stayed = spool.incoming_names()
        left = await source.left_over()
        clock.ahead_s += 200
        assert await take_all(source) == []

    assert (reads_at_first, reads) == (1, 3)
    assert stayed == {"half.837"}
    assert list(left) == ["half.837"]
    assert list(spool.quarantined()) == ["half.837"]
    assert '"code":"incomplete"' in spool.quarantined()["half.837"]


@pytest.mark.fault(47)
async def test_an_incomplete_file_that_is_completed_is_taken(spool: SpoolFolder) -> None:
    spool.put("late.837", batch()[:-20])
    async with spool.opened() as source:
        assert await take_all(source) == []
        with (spool.incoming / "late.837").open("ab") as file:
            file.write(batch()[-20:])

        found = await take_all(source)

    assert [delivery.data for delivery in found] == [batch()]


@pytest.mark.fault(47)
async def test_an_incomplete_file_that_was_renamed_in_is_quarantined_at_once(spool: SpoolFolder) -> None:
    spool.put("half.837.tmp", batch()[:-20])
    (spool.incoming / "half.837.tmp").rename(spool.incoming / "half.837")
    async with spool.opened(ready="renamed") as source:
        assert await take_all(source) == []

    assert '"code":"incomplete"' in spool.quarantined()["half.837"]


class Meddling:
    """A survey that lets something happen to the file while the first survey of it is under way."""

    def __init__(self, meddle: Callable[[], object]) -> None:
        self._meddle: Callable[[], object] | None = meddle

    def __call__(self, chunks: Iterable[bytes]) -> Survey:
        found = survey(chunks)
        if self._meddle is not None:
            meddle, self._meddle = self._meddle, None
            meddle()
        return found


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


@pytest.mark.fault(48)
@pytest.mark.parametrize("size", ["small", "large"])
async def test_a_file_that_grows_while_it_is_read_is_taken_as_it_became(
    spool: SpoolFolder, clock: Clock, size: str
) -> None:
    data = batch(1, claims=2 if size == "small" else 40_000)
    path = spool.incoming / "grows.837"
    spool.put(path.name, data)
    meddling = Meddling(lambda: append(path, batch(2)))

    async with spool.opened(ask_kernel=False, monotonic=lambda: 10 * clock(), survey=meddling) as source:
        with anyio.fail_after(60):
            (delivery,) = await source.take(1)
        taken = b"".join(delivery.chunks())

    assert taken == data + batch(2)
    assert delivery.size == len(taken)


@pytest.mark.fault(48)
async def test_a_writer_who_comes_between_survey_and_rename_is_noticed_by_the_kernel(spool: SpoolFolder) -> None:
    path = spool.incoming / "a.837"
    data = batch(1, claims=2)  # a file of one claim is read without the survey that this test steps into
    spool.put(path.name, data)
    writers: list[threading.Thread] = []

    def let_a_writer_come() -> None:
        writers.append(threading.Thread(target=append, args=(path, batch(2))))
        writers[0].start()
        time.sleep(0.2)  # the writer's open() now waits for our lease to end

    async with spool.opened(survey=Meddling(let_a_writer_come), rescan_s=60) as source:
        with anyio.fail_after(30):
            (delivery,) = await source.take(1)
    writers[0].join()

    assert delivery.data == data + batch(2)
    assert spool.held() == [f"{int(delivery.ref.split(':')[0]):x}-a.837"]


def test_a_broken_lease_sends_no_signal_that_kills(tmp_path: Path) -> None:
    path = tmp_path / "a.837"
    path.write_bytes(batch())
    for _ in range(3):
        fd = os.open(path, os.O_RDONLY)
        if lease(fd) is not Lease.GRANTED:
            pytest.skip("this file system has no leases")
        writer = threading.Thread(target=append, args=(path, b"x"))
        writer.start()
        time.sleep(0.05)
        assert not unbroken(fd)
        os.close(fd)
        writer.join()


@pytest.mark.fault(49)
async def test_files_that_disappear_while_the_folder_is_looked_through_are_skipped(spool: SpoolFolder) -> None:
    for number in range(600):
        spool.put(f"{number:03}.837", batch(number))
    gone: set[str] = set()

    def remove() -> None:
        for number in range(599, -1, -2):
            with contextlib.suppress(FileNotFoundError):
                (spool.incoming / f"{number:03}.837").unlink()
                gone.add(f"{number:03}.837")

    thread = threading.Thread(target=remove)
    async with spool.opened() as source:
        thread.start()
        found = await take_all(source)
        thread.join()

    assert names(found) | gone == {f"{number:03}.837" for number in range(600)}
    assert names(found) & gone == set()


@pytest.mark.fault(49)
async def test_a_file_removed_while_it_was_worked_on_is_settled_with_a_warning(spool: SpoolFolder) -> None:
    spool.put("a.837", batch(1))
    spool.put("b.837", batch(2))
    async with spool.opened() as source:
        found = await take_all(source)
        next(spool.root.glob("work/*/*-a.837")).unlink()
        with capture_logs() as logs:
            await source.settle(found)

    assert [line["batch"] for line in logs if line["event"] == "input.vanished"] == ["a.837"]
    assert spool.archived() == ["b.837"]
