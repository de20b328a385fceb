"""Which file is which, and when it was written (failures.md, 61, 62, 64); permissions and speed."""

import os
import stat
import threading
import time
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from tests.spools import Clock, SpoolFolder, batch, names, take_all
from worker.sources.file_leases import Lease, lease

BOTH_WAYS = pytest.mark.parametrize("ask_kernel", [True, False], ids=["kernel asked", "kernel not asked"])


@pytest.mark.fault(61)
async def test_the_same_bytes_under_two_names_are_two_deliveries_of_one_hash(spool: SpoolFolder) -> None:
    spool.put("a.837", batch())
    spool.put("copy of a.837", batch())
    async with spool.opened() as source:
        first, second = await take_all(source)

    assert first.sha256 == second.sha256
    assert first.ref != second.ref


@pytest.mark.fault(62)
async def test_a_name_used_again_is_a_new_delivery_and_both_are_archived(spool: SpoolFolder) -> None:
    async with spool.opened() as source:
        spool.put("daily.837", batch(1))
        (first,) = await take_all(source)
        spool.put("daily.837", batch(2))
        (second,) = await take_all(source)
        await source.settle([first, second])

    assert (first.data, second.data) == (batch(1), batch(2))
    assert first.ref != second.ref
    assert spool.archived() == ["daily.837", "daily.837.2"]


@pytest.mark.fault(62)
async def test_a_batch_whose_name_is_taken_when_it_is_given_back_is_still_taken_again(spool: SpoolFolder) -> None:
    async with spool.opened() as source:
        spool.put("daily.837", batch(1))
        (first,) = await take_all(source)
        spool.put("daily.837", batch(2))
        await source.release([first])

        found = await take_all(source)

    assert {delivery.data for delivery in found} == {batch(1), batch(2)}
    assert first.ref in {delivery.ref for delivery in found}


@pytest.mark.fault(64)
@BOTH_WAYS
@pytest.mark.parametrize("modified", [0, 4_000_000_000], ids=["1970", "2096"])
async def test_a_modification_time_far_off_neither_delays_nor_hastens(
    spool: SpoolFolder, clock: Clock, modified: int, ask_kernel: bool
) -> None:
    for name, data in (("whole.837", batch()), ("half.837", batch()[:-20])):
        spool.put(name, data)
        os.utime(spool.incoming / name, (modified, modified))
    async with spool.opened(monotonic=clock, ask_kernel=ask_kernel) as source:
        with anyio.fail_after(60):
            found = await take_all(source)

    assert names(found) == {"whole.837"}
    assert spool.incoming_names() == {"half.837"}


@pytest.mark.fault(64)
@BOTH_WAYS
@pytest.mark.parametrize("years", [10, -10])
async def test_a_jump_of_the_wall_clock_neither_delays_nor_hastens(
    spool: SpoolFolder, clock: Clock, years: int, ask_kernel: bool
) -> None:
    jumped_s = 0.0
    spool.put("half.837", batch()[:-20])
    async with spool.opened(monotonic=clock, ask_kernel=ask_kernel, clock=lambda: time.time() + jumped_s) as source:
        assert await take_all(source) == []
        jumped_s = years * 365 * 86_400
        spool.put("whole.837", batch())
        with anyio.fail_after(60):
            found = await take_all(source)
        stayed = spool.incoming_names()
        clock.ahead_s += 3600
        assert await take_all(source) == []

    assert names(found) == {"whole.837"}
    assert stayed == {"half.837"}
    assert list(spool.quarantined()) == ["half.837"]


async def test_files_and_folders_are_for_the_owner_only(spool: SpoolFolder) -> None:
    spool.put("a.837", batch())
    async with spool.opened() as source:
        await source.settle(await take_all(source))
        folders = [path for path in spool.root.rglob("*") if path.is_dir() and path != spool.incoming]
        modes = {stat.S_IMODE(path.stat().st_mode) for path in folders}

    assert len(folders) == 5
    assert modes == {0o700}


def land(spool: SpoolFolder, name: str, landed: list[float]) -> None:
    time.sleep(0.02)
    landed.append(time.perf_counter())
    spool.put(name, batch())


async def test_a_file_that_lands_is_taken_within_milliseconds(spool: SpoolFolder) -> None:
    delays = []
    async with spool.opened() as source:
        for number in range(15):
            landed: list[float] = []

            thread = threading.Thread(target=land, args=(spool, f"{number}.837", landed))
            thread.start()
            await source.take(1)
            taken = time.perf_counter()
            thread.join()
            delays.append(taken - landed[0])

    assert sorted(delays)[len(delays) // 2] < 0.05


def test_a_lease_is_refused_while_somebody_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.837"
    with path.open("wb"):
        fd = os.open(path, os.O_RDONLY)
        busy = lease(fd)
        os.close(fd)
    fd = os.open(path, os.O_RDONLY)
    free = lease(fd)
    os.close(fd)

    if free is Lease.UNKNOWN:
        pytest.skip("this file system has no leases")
    assert (busy, free) == (Lease.REFUSED, Lease.GRANTED)
