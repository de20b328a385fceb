"""Folders that are wrong from the start, that disappear, that are replaced, and disks that are full."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from tests.disks import remount, small_disk
from tests.spools import SpoolFolder, batch, names, take_all
from worker.errors import SettingsError, SourceUnavailable, StorageFull
from worker.settings import InputSettings
from worker.sources import DirectorySource
from worker.sources.spool import look_at_spool
from worker.sources.takeover import NoHeir
from worker.sources.watch import FolderWatch


async def told_at_open(incoming: Path) -> str:
    with pytest.raises(SettingsError, match=r"^input\.url: "):
        look_at_spool(incoming)  # `check` must find all that opening will
    with pytest.raises(SettingsError) as raised:
        await DirectorySource(incoming, InputSettings(), worker_id="w").open()
    return str(raised.value)


async def test_a_folder_that_does_not_exist_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    told = await told_at_open(tmp_path / "spool" / "in")

    assert told == f"input.url: {tmp_path}/spool/in does not exist: mkdir -p {tmp_path}/spool/in"
    assert os.listdir(tmp_path) == []  # noqa: PTH208 - iterdir counts as blocking here, and this is as good


async def test_a_file_in_place_of_the_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "in").touch()

    assert await told_at_open(tmp_path / "in") == f"input.url: {tmp_path}/in is not a folder"


async def test_the_input_cannot_be_one_of_its_own_neighbours(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()

    assert "cannot be the input" in await told_at_open(tmp_path / "work")


async def test_a_neighbour_that_is_a_file_is_told(spool: SpoolFolder) -> None:
    (spool.root / "archive").touch()

    assert "work, archive, quarantine" in await told_at_open(spool.incoming)


@pytest.mark.parametrize("folder", ["in", "quarantine"])
async def test_folders_on_different_mounts_are_refused_at_the_start(tmp_path: Path, folder: str) -> None:
    (tmp_path / "in").mkdir()
    with small_disk(tmp_path / folder, "size=64k"):
        told = await told_at_open(tmp_path / "in")

    assert f"mount their parent {tmp_path} as a whole" in told


async def test_a_bind_mount_of_the_same_file_system_is_another_mount(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in").mkdir()
    with bound(tmp_path / "elsewhere", tmp_path / "in"):
        told = await told_at_open(tmp_path / "in")

    assert "not on one mount" in told


class bound:  # noqa: N801 - reads as a context manager
    """A bind mount; skips the test where mounting is not permitted."""

    def __init__(self, source: Path, target: Path) -> None:
        if os.geteuid() != 0:
            pytest.skip("mounting needs root")
        if subprocess.run(["mount", "--bind", source, target], capture_output=True, check=False).returncode:
            pytest.skip("mounting is not permitted here")
        self._target = target

    def __enter__(self) -> None:
        return

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", self._target], check=True)


async def unavailable(source: DirectorySource) -> bool:
    try:
        await source.take(1, wait=False)
    except SourceUnavailable:
        return True
    return False


@pytest.mark.fault(63)
async def test_a_folder_that_disappears_is_unavailable_and_not_empty_until_it_is_back(spool: SpoolFolder) -> None:
    async with spool.opened() as source:
        spool.incoming.rename(spool.root / "away")
        gone = [await unavailable(source) for _ in range(3)]
        (spool.root / "away").rename(spool.incoming)
        spool.put("a.837", batch())
        found = await take_all(source)

    assert gone == [True, True, True]
    assert names(found) == {"a.837"}


@pytest.mark.fault(63)
async def test_a_folder_that_is_replaced_is_told_once_and_then_used(spool: SpoolFolder) -> None:
    async with spool.opened() as source:
        spool.put("before.837", batch(1))
        held = await take_all(source)
        spool.incoming.rename(spool.root / "away")
        spool.incoming.mkdir()
        spool.put("after.837", batch(2))
        told = await unavailable(source)
        found = await take_all(source)
        await source.settle([*held, *found])

    assert told
    assert names(found) == {"after.837"}
    assert spool.archived() == ["after.837", "before.837"]


@pytest.mark.fault(63)
async def test_a_folder_that_was_replaced_is_watched_again(spool: SpoolFolder) -> None:
    async with spool.opened(rescan_s=60) as source:
        assert await take_all(source) == []
        spool.incoming.rename(spool.root / "away")
        spool.incoming.mkdir()
        await unavailable(source)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(put_later, spool)
            with anyio.fail_after(30):
                (delivery,) = await source.take(1)

    assert delivery.name == "a.837"


async def put_later(spool: SpoolFolder) -> None:
    await anyio.sleep(0.2)
    spool.put("a.837", batch())


@pytest.mark.fault(63)
async def test_an_unmounted_spool_is_unavailable_whatever_shows_through_and_goes_on_when_it_is_back(
    tmp_path: Path,
) -> None:
    disk = SpoolFolder(tmp_path / "disk")
    beneath = SpoolFolder(tmp_path / "mounted")
    beneath.put("not_ours.837", batch(9))
    with bound(disk.root, beneath.root):
        source = beneath.source()
        await source.open()
        disk.put("a.837", batch(1))
        held = await take_all(source)
    gone = [await unavailable(source) for _ in range(3)]
    with bound(disk.root, beneath.root):
        disk.put("b.837", batch(2))
        found = await take_all(source)
        await source.settle([*held, *found])
        await source.close()

    assert gone == [True, True, True]
    assert names(found) == {"b.837"}
    assert disk.archived() == ["a.837", "b.837"]
    assert beneath.incoming_names() == {"not_ours.837"}


@pytest.mark.fault(63)
async def test_what_cannot_be_archived_when_it_is_settled_is_archived_later(spool: SpoolFolder) -> None:
    spool.put("a.837", batch())
    async with spool.opened() as source:
        held = await take_all(source)
        shutil.rmtree(spool.root / "archive")
        await source.settle(held)
        before = spool.held()
        told = await unavailable(source)
        assert await take_all(source) == []

    assert len(before) == 1
    assert told
    assert spool.archived() == ["a.837"]


@pytest.mark.fault(63)
async def test_an_archive_that_is_moved_away_and_made_anew_is_used(spool: SpoolFolder) -> None:
    async with spool.opened() as source:
        (spool.root / "archive").rename(spool.root / "archive of last year")
        (spool.root / "archive").mkdir()
        await unavailable(source)
        spool.put("a.837", batch())
        await source.settle(await take_all(source))

    assert spool.archived() == ["a.837"]


@pytest.mark.fault(63)
async def test_a_work_folder_that_is_removed_makes_the_source_unavailable(spool: SpoolFolder) -> None:
    async with spool.opened() as source:
        shutil.rmtree(spool.root / "work")
        spool.put("a.837", batch())

        assert await unavailable(source)

    assert spool.incoming_names() == {"a.837"}


async def test_what_is_not_of_a_worker_in_the_work_folder_is_left_alone(spool: SpoolFolder) -> None:
    (spool.root / "work" / "notes").mkdir(parents=True)
    (spool.root / "work" / "notes" / "to-do.txt").write_bytes(batch())
    (spool.root / "work" / "readme").touch()
    async with spool.opened() as source:
        (spool.root / "work" / "tester" / "stray.837").write_bytes(batch())
        assert await take_all(source) == []
    async with spool.opened() as source:
        assert await take_all(source) == []

    assert (spool.root / "work" / "notes" / "to-do.txt").exists()
    assert (spool.root / "work" / "tester" / "stray.837").exists()


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[SpoolFolder]:
    with small_disk(tmp_path / "tiny", "size=1m,nr_inodes=14") as root:
        yield SpoolFolder(root)


def use_up_inodes(folder: Path) -> None:
    for number in range(100):
        try:
            (folder / f"filler-{number}").touch()
        except OSError:
            return


@pytest.mark.fault(29)
async def test_a_full_disk_at_settling_is_told_and_settling_again_does_the_rest(tiny: SpoolFolder) -> None:
    async with tiny.opened() as source:
        tiny.put("a.837", batch())
        held = await take_all(source)
        use_up_inodes(tiny.root)

        with pytest.raises(StorageFull):
            await source.settle(held)
        remount(tiny.root, "nr_inodes=100")
        await source.settle(held)

    assert tiny.archived() == ["a.837"]


class Leaving(NoHeir):
    """An heir's part of which only the will matters."""

    will = b"where our ledger is"


@pytest.mark.fault(28)
@pytest.mark.fault(51)
async def test_without_room_for_its_will_a_source_does_not_open_and_leaves_none(tmp_path: Path) -> None:
    with small_disk(tmp_path / "full", "size=64k") as root:
        (root / "in").mkdir()
        use_up_room(root / "filler")

        with pytest.raises(StorageFull, match=r"input: no room in .*/full to make work"):
            await DirectorySource(root / "in", InputSettings(), worker_id="w", heir=Leaving()).open()

        assert (root / "work/w/owner").read_bytes() == b""
        (root / "filler").unlink()
        source = DirectorySource(root / "in", InputSettings(), worker_id="w", heir=Leaving())
        await source.open()
        assert (root / "work/w/owner").read_bytes() == Leaving.will
        await source.close()


def use_up_room(filler: Path) -> None:
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass


@pytest.mark.fault(29)
async def test_a_full_disk_at_refusing_keeps_the_batch_and_quarantines_it_later(tiny: SpoolFolder) -> None:
    async with tiny.opened() as source:
        tiny.put("a.837", batch())
        (delivery,) = await take_all(source)
        use_up_inodes(tiny.root)
        await source.refuse(delivery, "no_claims", "why")
        before = tiny.quarantined()
        remount(tiny.root, "nr_inodes=100")
        await take_all(source)

    assert before == {}
    assert list(tiny.quarantined()) == ["a.837"]


async def test_without_inotify_files_are_found_by_looking(spool: SpoolFolder, tmp_path: Path) -> None:
    watch = FolderWatch()
    with capture_logs() as logs:
        watch.open(tmp_path / "missing")
    with anyio.fail_after(60):
        watch.drain()
        await watch.changed(0.01)
    watch.close()

    async with spool.opened(rescan_s=0.02) as source:
        await take_all(source)
        source._watch.close()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, spool.put, "a.837", batch())
            with anyio.fail_after(60):
                (delivery,) = await source.take(1)

    assert [line["event"] for line in logs] == ["input.unwatched"]
    assert delivery.name == "a.837"
