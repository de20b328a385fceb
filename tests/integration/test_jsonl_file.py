"""The results file on real disks: crashes, full disks, broken disks, and people who move files."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.disks import remount, small_disk
from worker.errors import SettingsError, StateError, StorageFull
from worker.ports import Emission
from worker.sinks import JsonlSink
from worker.sinks.files import write_all
from worker.sinks.scan import PREFIX, result_id_of


def emissions(*seqs: int, size: int = 100) -> list[Emission]:
    return [Emission(n, 1, f"b:{n}:1", PREFIX + b'b:%d:1","text":"%s"}' % (n, b"x" * size)) for n in seqs]


def lines(*seqs: int, size: int = 100) -> bytes:
    return b"".join(emission.body + b"\n" for emission in emissions(*seqs, size=size))


async def opened(path: Path, cursor: str | None = None) -> JsonlSink:
    sink = JsonlSink(path)
    await sink.open(cursor)
    return sink


async def written(path: Path, *seqs: int, cursor: str | None = None) -> str | None:
    sink = await opened(path, cursor)
    after = await sink.write(emissions(*seqs))
    await sink.close()
    return after


async def refusal(path: Path, cursor: str | None = None) -> str:
    with pytest.raises((SettingsError, StateError)) as refused:
        await opened(path, cursor)
    return str(refused.value)


async def test_file_and_folders_are_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "spool" / "out" / "results.jsonl"

    await written(path, 1)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700


@pytest.mark.fault(6)
@pytest.mark.parametrize("tail", [b"{", PREFIX[:9], PREFIX, PREFIX + b"b:3:", PREFIX + b'b:3:1","text":"half'])
@pytest.mark.parametrize("lost", [True, False])
async def test_a_torn_last_line_is_cut_off_and_told(tmp_path: Path, tail: bytes, lost: bool) -> None:
    path = tmp_path / "results.jsonl"
    cursor = await written(path, 1, 2)
    with path.open("ab") as file:
        file.write(tail)

    with capture_logs() as logs:
        await written(path, 3, cursor=None if lost else cursor)

    assert path.read_bytes() == lines(1, 2, 3)
    assert [(log["event"], log["torn_bytes"]) for log in logs] == [("sink.tail_repaired", len(tail))]


async def test_blocks_of_zeros_after_a_power_cut_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    cursor = await written(path, 1)
    with path.open("ab") as file:
        file.write(lines(2)[:50] + bytes(4096) + lines(4)[-20:] + lines(5))

    await written(path, 2, 3, 4, 5, cursor=cursor)

    assert path.read_bytes() == lines(1, 2, 3, 4, 5)


@pytest.mark.parametrize(
    "content",
    [
        b"hello\n",
        b"a,b,c",
        b'{"other":1}\n',
        b"\n",
        lines(1) + b"edited by hand\n" + lines(2),
        lines(1) + b"half a note",
    ],
)
async def test_a_file_with_lines_of_others_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(content)

    assert "is no result" in await refusal(path)

    assert path.read_bytes() == content


@pytest.mark.fault(38)
@pytest.mark.parametrize("kind", ["folder", "symlink", "dangling", "fifo", "device"])
async def test_anything_but_a_regular_file_is_refused_without_blocking(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "results.jsonl"
    match kind:
        case "folder":
            path.mkdir()
        case "symlink":
            (tmp_path / "real").touch()
            path.symlink_to(tmp_path / "real")
        case "dangling":
            path.symlink_to(tmp_path / "nowhere")
        case "fifo":
            os.mkfifo(path)
        case _ if os.geteuid() != 0:
            pytest.skip("making a device needs root")
        case _:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))

    assert "not a regular file" in await refusal(path)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.fault(38)
async def test_a_file_of_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.touch()
    path.chmod(0o622)
    assert "written by everybody" in await refusal(path)

    if os.geteuid() != 0:
        pytest.skip("giving a file away needs root")
    path.chmod(0o600)
    os.chown(path, 65534, 65534)
    assert "another user" in await refusal(path)


async def test_a_folder_that_is_none_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "out").touch()

    with pytest.raises(SettingsError, match="not a folder"):
        await opened(tmp_path / "out" / "results.jsonl")


@pytest.mark.fault(36)
async def test_a_disk_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64k,ro") as disk:
        assert "EROFS" in await refusal(disk / "results.jsonl")


@pytest.mark.fault(27)
async def test_a_full_disk_tears_no_line_and_is_over_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        path = disk / "results.jsonl"
        sink = await opened(path)
        await sink.write(emissions(1, size=40_000))
        for _ in range(2):
            with pytest.raises(StorageFull):
                await sink.write(emissions(2, 3, size=20_000))
            assert path.read_bytes() == lines(1, size=40_000)

        remount(disk, "size=1m")
        await sink.write(emissions(2, 3, size=20_000))
        await sink.close()

        assert path.read_bytes() == lines(1, size=40_000) + lines(2, 3, size=20_000)


@pytest.mark.fault(29)
async def test_a_disk_without_inodes_is_a_full_one(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64k,nr_inodes=1") as disk, pytest.raises(StorageFull):
        await opened(disk / "results.jsonl")


@pytest.mark.fault(37)
async def test_a_disk_that_turns_read_only_is_waited_for(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=64k") as disk:
        path = disk / "results.jsonl"
        cursor = await written(path, 1)
        remount(disk, "ro")
        assert "EROFS" in await refusal(path, cursor)

        remount(disk, "rw")
        await written(path, 2, cursor=cursor)

        assert path.read_bytes() == lines(1, 2)


FILE_SIZE_LIMIT = """
import anyio, resource, sys
from pathlib import Path
from worker.errors import StorageFull
from worker.ports import Emission
from worker.sinks import JsonlSink
from worker.sinks.scan import PREFIX

async def main():
    sink = JsonlSink(Path(sys.argv[1]))
    await sink.open(None)
    emissions = [Emission(n, 1, f"b:{n}:1", PREFIX + b'b:%d:1","text":"%s"}' % (n, b"x" * 100)) for n in range(1, 21)]
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
    try:
        await sink.write(emissions)
    except StorageFull:
        print(Path(sys.argv[1]).stat().st_size)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await sink.write(emissions)
    await sink.close()

anyio.run(main)
"""


@pytest.mark.fault(30)
def test_a_file_size_limit_is_like_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"

    run = subprocess.run([sys.executable, "-c", FILE_SIZE_LIMIT, path], capture_output=True, text=True, check=True)

    assert run.stdout == "0\n"
    assert path.read_bytes() == lines(*range(1, 21))


@pytest.mark.fault(31)
def test_what_the_system_takes_in_pieces_is_written_whole() -> None:
    data = bytes(range(256)) * 1000
    reading, writing = os.pipe()
    os.set_blocking(writing, False)  # a pipe of this kind takes what has room, and then nothing for a while
    received = bytearray()

    def receive() -> None:
        while piece := os.read(reading, 1000):
            received.extend(piece)

    reader = threading.Thread(target=receive)
    reader.start()
    write_all(writing, data)
    os.close(writing)
    reader.join()
    os.close(reading)

    assert bytes(received) == data


BROKEN_DISK = """
import anyio, sys
from pathlib import Path
from worker.errors import StateError, StorageFull
from worker.ports import Emission
from worker.sinks import JsonlSink
from worker.sinks.scan import PREFIX

async def main():
    sink = JsonlSink(Path(sys.argv[1]))
    await sink.open(None)
    for n in range(1, 6):
        body = PREFIX + b'b:%d:1","text":"%s"}' % (n, b"x" * 100)
        try:
            await sink.write([Emission(n, 1, f"b:{n}:1", body)])
            print("written")
        except StorageFull:
            print("full")
        except StateError as error:
            print(str(error).rpartition(": ")[2])

anyio.run(main)
"""


@pytest.mark.parametrize(
    ("inject", "told", "kept"),
    [
        pytest.param("fsync:error=EIO:when=2", ["written", *["EIO"] * 4], [1, 2], marks=pytest.mark.fault(33)),
        pytest.param("write:error=EIO:when=2", ["written", *["EIO"] * 4], [1], marks=pytest.mark.fault(32)),
        pytest.param("fsync:error=EDQUOT:when=2", ["written", "full", *["written"] * 3], [1, 3, 4, 5]),
        pytest.param("write:error=ENOSPC:when=2", ["written", "full", *["written"] * 3], [1, 3, 4, 5]),
        pytest.param("write:error=EAGAIN:when=2..4", ["written"] * 5, [1, 2, 3, 4, 5], marks=pytest.mark.fault(34)),
    ],
)
def test_what_the_disk_says_decides_between_waiting_and_stopping(
    tmp_path: Path, inject: str, told: list[str], kept: list[int]
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    path = tmp_path / "results.jsonl"
    tracing = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(path), "-e", f"inject={inject}"]

    run = subprocess.run([*tracing, sys.executable, "-c", BROKEN_DISK, path], capture_output=True, check=False)
    if b"ptrace" in run.stderr and not run.stdout:
        pytest.skip("strace is not permitted here")

    assert run.stdout.decode().split() == told
    assert path.read_bytes() == lines(*kept)


KILLED = """
import anyio, structlog, sys
from pathlib import Path
from worker.ports import Emission
from worker.sinks import JsonlSink
from worker.sinks.scan import PREFIX

structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # it tells of torn tails

async def main():
    sink = JsonlSink(Path(sys.argv[1]))
    await sink.open(sys.argv[3] or None)
    seq = int(sys.argv[2])
    print("ready", flush=True)
    while True:
        bodies = [(n, PREFIX + b'b:%d:1","text":"%s"}' % (n, b"x" * 100)) for n in range(seq, seq + 50)]
        emissions = [Emission(n, 1, f"b:{n}:1", body) for n, body in bodies]
        cursor = await sink.write(emissions)
        seq += 50
        print(seq, cursor, flush=True)

anyio.run(main)
"""


@pytest.mark.fault(7)
def test_kill_9_neither_loses_nor_doubles_a_result(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    known = "1", ""

    for round_ in range(5):
        run = subprocess.Popen([sys.executable, "-c", KILLED, path, *known], stdout=subprocess.PIPE, text=True)
        assert run.stdout is not None
        assert run.stdout.readline() == "ready\n"
        begun = "".join(run.stdout.readline() for _ in range(5 * (round_ + 1)))
        os.kill(run.pid, signal.SIGKILL)
        rest, _ = run.communicate()
        told = [line.split() for line in (begun + rest).split("\n")[:-1]]
        # The ledger is a few positions behind the sink.
        known = (told[-4][0], told[-4][1]) if len(told) > 4 else known

    found = [result_id_of(line) for line in path.read_bytes().splitlines(keepends=True)]
    sound = [each for each in found if each is not None]
    assert sound == [f"b:{n}:1" for n in range(1, len(sound) + 1)]
    assert len(sound) > 100
    assert found[len(sound) :] in ([], [None])


@pytest.mark.fault(40)
@pytest.mark.parametrize("harm", ["deleted", "renamed", "replaced", "truncated", "appended"])
async def test_a_file_changed_under_the_sink_is_noticed_before_the_next_write(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "results.jsonl"
    sink = await opened(path)
    await sink.write(emissions(1, 2))
    match harm:
        case "deleted":
            path.unlink()
        case "renamed":
            path.rename(tmp_path / "older.jsonl")
        case "replaced":
            shutil.copy(path, tmp_path / "copy")
            (tmp_path / "copy").rename(path)
        case "truncated":
            os.truncate(path, 10)
        case _:
            with path.open("ab") as file:
                file.write(b"x")
    before = path.read_bytes() if path.exists() else None

    for _ in range(2):
        with pytest.raises(StateError, match="while it was open"):
            await sink.write(emissions(3))
    await sink.close()

    assert (path.read_bytes() if path.exists() else None) == before


@pytest.mark.fault(40)
@pytest.mark.parametrize("harm", ["deleted", "truncated", "rewritten"])
async def test_a_file_that_lost_what_we_wrote_is_refused_at_the_start(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "results.jsonl"
    cursor = await written(path, 1, 2)
    match harm:
        case "deleted":
            path.unlink()
        case "truncated":
            path.write_bytes(lines(1))
        case _:
            path.write_bytes(lines(7, 8, 9))

    assert "not the file we left" in await refusal(path, cursor)


async def test_a_file_rotated_within_its_folder_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    cursor = await written(path, 1)
    await written(path, 2, cursor=cursor)
    path.rename(tmp_path / "results-2025-01.jsonl")

    after = await written(path, 2, 3, cursor=cursor)
    await written(path, 4, cursor=after)

    assert (tmp_path / "results-2025-01.jsonl").read_bytes() == lines(1, 2)
    assert path.read_bytes() == lines(3, 4)


async def test_what_is_written_again_at_the_start_keeps_its_place_and_the_time_by_which_days_are_told(
    tmp_path: Path,
) -> None:
    path = tmp_path / "results.jsonl"
    cursor = await written(path, 1)
    await written(path, 2, 3, cursor=cursor)
    os.utime(path, (1_000_000_000, 1_000_000_000))

    sink = await opened(path, cursor)
    kept = path.stat().st_mtime
    await sink.write(emissions(2, 3, 4))
    await sink.close()

    assert kept == 1_000_000_000
    assert path.read_bytes() == lines(1, 2, 3, 4)


async def test_a_file_restored_from_a_copy_is_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    cursor = await written(path, 1)
    shutil.copy(path, tmp_path / "copy")
    path.unlink()
    (tmp_path / "copy").rename(path)

    await written(path, 2, cursor=cursor)

    assert path.read_bytes() == lines(1, 2)


@pytest.mark.parametrize("cursor", ["", "x", "1:2", "1:2:zz", "a:b:c"])
async def test_a_position_of_another_kind_is_refused(tmp_path: Path, cursor: str) -> None:
    path = tmp_path / "results.jsonl"
    await written(path, 1)

    assert "is none of a results file" in await refusal(path, cursor)


@pytest.mark.parametrize(
    ("line", "result_id"),
    [
        (PREFIX + b'b:1:1"}\n', "b:1:1"),
        (b'{"result_id": "b:1:1", "schema": 1}\n', "b:1:1"),
        (PREFIX + b'b\\u003a1","more":[1]}\n', "b:1"),
        (PREFIX + "bé".encode() + b'"}\n', "bé"),
        (PREFIX + b"b:1:1}\n", None),
        (PREFIX + b'b:1:1","a":"\x00"}\n', None),
        (b'{"result_id":1}\n', None),
        (b"[]\n", None),
        (b"\xff\xfe\n", None),
    ],
)
def test_the_result_id_is_read_from_any_record(line: bytes, result_id: str | None) -> None:
    assert result_id_of(line) == result_id
