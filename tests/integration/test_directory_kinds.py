"""Odd kinds, odd names, very many of them (failures.md, 56 to 60)."""

import contextlib
import os
import resource
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from structlog.testing import capture_logs

from tests.spools import ODD_NAMES, Clock, SpoolFolder, batch, names, take_all
from worker.sources.folder import Folder
from worker.sources.reading import Candidate, NotAFile
from worker.sources.watch import FolderWatch


@pytest.mark.fault(56)
async def test_symlinks_are_left_alone_with_one_warning_each(spool: SpoolFolder) -> None:
    (spool.root / "elsewhere.837").write_bytes(batch())
    (spool.incoming / "passwd.837").symlink_to("/etc/passwd")
    (spool.incoming / "link.837").symlink_to(spool.root / "elsewhere.837")
    (spool.incoming / "dangling.837").symlink_to("nowhere")
    (spool.incoming / "loop.837").symlink_to("loop.837")
    async with spool.opened() as source:
        with capture_logs() as logs:
            assert await take_all(source) == []
            assert await take_all(source) == []

    ignored = [(line["event"], line["name"], line["code"]) for line in logs]
    assert sorted(ignored) == [
        ("input.ignored", f"{name}.837", "symlink") for name in ("dangling", "link", "loop", "passwd")
    ]
    assert len(spool.incoming_names()) == 4


@pytest.mark.fault(56)
async def test_a_file_with_a_second_name_is_taken_when_the_other_is_gone(spool: SpoolFolder, clock: Clock) -> None:
    other = spool.root / "being_published"
    other.write_bytes(batch())
    (spool.incoming / "a.837").hardlink_to(other)
    async with spool.opened(monotonic=clock) as source:
        with anyio.move_on_after(0.2):
            await source.take(1)
        clock.ahead_s += 5
        while_linked = await take_all(source)
        other.unlink()
        clock.ahead_s += 1
        after = await take_all(source)

    assert while_linked == []
    assert names(after) == {"a.837"}


@pytest.fixture
def special_files(spool: SpoolFolder) -> Iterator[set[str]]:
    made = {"fifo.837", "socket.837", "zero.837"}
    os.mkfifo(spool.incoming / "fifo.837")
    (spool.incoming / "zero.837").symlink_to("/dev/zero")
    (spool.incoming / "folder.837").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(spool.incoming)  # a socket's path must be short
        listening.bind("socket.837")
        os.chdir(here)
        with contextlib.suppress(PermissionError):
            os.mknod(spool.incoming / "device.837", stat.S_IFCHR | 0o600, os.makedev(1, 5))
            made.add("device.837")
        yield made


@pytest.mark.fault(57)
@pytest.mark.parametrize("ready", ["complete", "renamed"])
async def test_fifos_sockets_devices_and_folders_are_refused_without_blocking(
    spool: SpoolFolder, special_files: set[str], ready: str
) -> None:
    spool.put("good.837", batch())
    async with spool.opened(ready=ready) as source:
        with anyio.fail_after(60), capture_logs() as logs:
            found = await take_all(source)
        left = await source.left_over()

    assert names(found) == {"good.837"}
    assert {line["name"] for line in logs if line["event"] == "input.ignored"} == special_files
    assert list(left) == []
    assert spool.quarantined() == {}


@pytest.mark.fault(56)
@pytest.mark.fault(57)
def test_what_takes_a_files_place_after_its_name_was_seen_is_refused_as_well(spool: SpoolFolder) -> None:
    os.mkfifo(spool.incoming / "fifo")
    (spool.incoming / "link").symlink_to("/etc/passwd")
    (spool.incoming / "folder").mkdir()
    folder = os.open(spool.incoming, os.O_RDONLY)

    for name in ("fifo", "link", "folder"):
        with pytest.raises(NotAFile):
            Candidate(name, folder, ask=True)

    os.close(folder)


@pytest.mark.fault(59)
async def test_files_of_any_name_are_taken_settled_and_found_again(spool: SpoolFolder) -> None:
    for number, name in enumerate(ODD_NAMES):
        spool.put(name, batch(number))
    spool.put(b"..hidden", batch())
    spool.put(b".hidden", batch())

    async with spool.opened() as source:
        first = await take_all(source)
    async with spool.opened() as source:
        second = await take_all(source)
        shown = [delivery.name for delivery in second]
        await source.settle(second)

    assert sorted(delivery.ref for delivery in first) == sorted(delivery.ref for delivery in second)
    assert all(name.isprintable() for name in shown)
    assert sorted(os.fsencode(name) for name in spool.archived()) == sorted(ODD_NAMES)
    assert spool.incoming_names() == {".hidden", "..hidden"}
    assert spool.held() == []


@pytest.mark.fault(59)
async def test_a_long_name_is_given_back_and_quarantined_as_well(spool: SpoolFolder) -> None:
    name = "n" * 255
    spool.put(name, batch())
    async with spool.opened() as source:
        await source.release(await take_all(source))
        back = spool.incoming_names()
        (delivery,) = await take_all(source)
        await source.refuse(delivery, "no_claims", "why")

    assert back == {name}
    assert list(spool.quarantined()) == ["n" * 243]
    assert spool.held() == []


@pytest.mark.fault(60)
async def test_very_many_files_that_are_not_ready_neither_fill_memory_nor_starve_one_that_is(
    spool: SpoolFolder, clock: Clock
) -> None:
    folder = os.open(spool.incoming, os.O_RDONLY)
    for number in range(20_000):
        os.close(os.open(f"{number}.part", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    for number in range(3000):
        with os.fdopen(os.open(f"{number}.837", os.O_CREAT | os.O_WRONLY, dir_fd=folder), "wb") as file:
            file.write(b"ISA*00*")
    os.close(folder)
    (spool.incoming / "deep" / "deeper").mkdir(parents=True)
    (spool.incoming / "deep" / "not_entered.837").write_bytes(batch())

    async with spool.opened(monotonic=clock) as source:
        assert await take_all(source) == []
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        spool.put("ready.837", batch())
        with anyio.fail_after(60):
            (delivery,) = await source.take(1)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        left = await source.left_over()

    assert delivery.name == "ready.837"
    assert grown < 10_000
    assert len(left) == 1000


@pytest.mark.fault(60)
async def test_every_file_gets_its_turn_however_few_are_taken_at_once(spool: SpoolFolder) -> None:
    for number in range(700):
        spool.put(f"{number}.837", batch(number))
    async with spool.opened() as source:
        found = await take_all(source, at_once=7)

    assert names(found) == {f"{number}.837" for number in range(700)}
    assert len(found) == 700


@pytest.mark.fault(60)
async def test_a_file_given_back_behind_the_pass_is_found_before_the_input_counts_as_empty(spool: SpoolFolder) -> None:
    for number in range(3):
        spool.put(f"{number}.837", batch(number))
    async with spool.opened(rescan_s=60) as source:
        first = await source.take(1)
        await source.release(first)
        found = [delivery for _ in range(3) for delivery in await source.take(1, wait=False)]

    assert names(found) == {"0.837", "1.837", "2.837"}


class CarefulWatch(FolderWatch):
    """A watch that objects to being drained while a pass is under way: an event would be lost."""

    def __init__(self, folder: Folder) -> None:
        super().__init__()
        self._folder = folder
        self.drained = 0

    def drain(self) -> None:
        assert not self._folder.under_way
        self.drained += 1
        super().drain()


async def test_what_happens_during_a_pass_is_not_forgotten(spool: SpoolFolder) -> None:
    for number in range(3):
        spool.put(f"{number}.837", batch(number))
    async with spool.opened() as source:
        source._watch.close()
        source._watch = watch = CarefulWatch(source._folder)

        found = await take_all(source, at_once=1)

    assert len(found) == 3
    assert watch.drained == 2
