"""Where a ledger opens, where it refuses, and that it leaves alone what it refuses."""

import hashlib
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.disks import small_disk
from worker.errors import SettingsError, StateError
from worker.ledger import open_ledger, open_ledger_readonly
from worker.ledger.place import file_system_of, is_held
from worker.ports import Arrival, Record

ARRIVAL = Arrival("ab" * 32, "in/a.837", "a.837", 10, 1.0)


async def make(path: Path) -> None:
    async with open_ledger(f"sqlite:{path}") as ledger:
        (opened,) = await ledger.open_batches([ARRIVAL])
        for ordinal in range(1, 200):
            body = b"x" * 500
            await ledger.record([Record(opened.batch.number, ordinal, 1, f"{ordinal}", "accepted", None, body)])


async def refusal(path: Path) -> str:
    with pytest.raises(StateError) as refused:
        async with open_ledger(f"sqlite:{path}"):
            pass
    return str(refused.value)


def names_in(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


async def test_folder_and_files_are_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "spool" / "state" / "ledger.db"

    async with open_ledger(f"sqlite:{path}") as ledger:
        await ledger.note("a", "b")

        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.parent.stat().st_mode) == 0o700
    assert {"ledger.db", "ledger.db-wal", "ledger.db-shm", "ledger.db.lock"} == set(modes)
    assert set(modes.values()) == {0o600}


async def test_a_clean_end_leaves_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    await make(path)

    assert names_in(tmp_path) == {"ledger.db", "ledger.db.lock"}


async def test_relative_paths_start_at_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    async with open_ledger("sqlite:state/ledger.db"):
        pass

    assert (tmp_path / "state" / "ledger.db").exists()


@pytest.mark.parametrize("url", ["postgresql://u:hunter2@db/x", "ledger.db", "mysql:x"])
def test_an_unknown_scheme_names_the_known_ones(url: str) -> None:
    with pytest.raises(SettingsError, match="known are sqlite:") as refused:
        open_ledger(url)

    assert "hunter2" not in str(refused.value)


@pytest.mark.fault(41)
async def test_a_second_process_is_refused_at_once(tmp_path: Path) -> None:
    code = """
import anyio, sys
from worker.ledger import open_ledger
async def main():
    async with open_ledger(sys.argv[1]):
        pass
anyio.run(main)
"""
    url = f"sqlite:{tmp_path}/ledger.db"

    async with open_ledger(url) as ledger:
        second = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=False)  # noqa: ASYNC221 - nothing else runs here
        await ledger.note("still", "writing")

    assert second.returncode != 0
    assert "held by another process" in second.stderr


async def test_whether_a_ledger_is_held_can_be_asked_without_holding_it(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    never = is_held(path)

    async with open_ledger(f"sqlite:{path}"):
        held = is_held(path)
    free, again = is_held(path), is_held(path)
    async with open_ledger(f"sqlite:{path}"):
        pass

    assert (never, held, free, again) == (False, True, False, False)


@pytest.mark.fault(26)
@pytest.mark.parametrize("content", [b"", b"not a database at all" * 50, b"SQLite format 3\x00" + bytes(50)])
async def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(content)

    told = await refusal(path)

    with pytest.raises(StateError) as to_readers:
        async with open_ledger_readonly(f"sqlite:{path}"):
            pass
    assert "no ledger of this worker" in told
    assert "restore it, or move it away" in told
    assert str(to_readers.value) == told
    assert path.read_bytes() == content


@pytest.mark.fault(26)
async def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE theirs (a)")
    db.close()
    before = digest(path)

    assert "another program; name another file in state.url" in await refusal(path)

    assert digest(path) == before


@pytest.mark.fault(26)
async def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await make(path)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    before = digest(path)

    assert "newer version of this worker (schema 99); run that version" in await refusal(path)
    with pytest.raises(StateError, match="newer version"):
        async with open_ledger_readonly(f"sqlite:{path}"):
            pass

    assert digest(path) == before


@pytest.mark.fault(26)
@pytest.mark.parametrize("place", [4096 + 3, 5 * 4096 + 3, -4096 + 3])
async def test_damaged_pages_are_found_and_left_alone(tmp_path: Path, place: int) -> None:
    path = tmp_path / "ledger.db"
    await make(path)
    content = bytearray(path.read_bytes())
    content[place : place + 64] = b"\xff" * 64
    path.write_bytes(content)

    assert "damaged" in await refusal(path)

    assert path.read_bytes() == content
    assert names_in(tmp_path) == {"ledger.db", "ledger.db.lock"}


@pytest.mark.fault(26)
async def test_a_truncated_ledger_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await make(path)
    content = path.read_bytes()[: 4 * 16384]
    path.write_bytes(content)

    assert "damaged" in await refusal(path)

    assert path.read_bytes() == content


@pytest.mark.fault(26)
async def test_a_log_without_its_ledger_is_not_mixed_into_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    log = tmp_path / "ledger.db-wal"
    log.write_bytes(b"log of the lost ledger")

    assert "its log ledger.db-wal is still there" in await refusal(path)

    assert not path.exists()
    assert log.read_bytes() == b"log of the lost ledger"


@pytest.mark.fault(38)
@pytest.mark.parametrize("kind", ["folder", "symlink", "fifo", "device"])
async def test_anything_but_a_regular_file_is_refused_without_blocking(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "ledger.db"
    match kind:
        case "folder":
            path.mkdir()
        case "symlink":
            await make(tmp_path / "real.db")
            path.symlink_to(tmp_path / "real.db")
        case "fifo":
            os.mkfifo(path)
        case _ if os.geteuid() != 0:
            pytest.skip("making a device needs root")
        case _:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))

    assert "not a regular file" in await refusal(path)


@pytest.mark.fault(38)
async def test_a_ledger_that_everybody_can_write_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await make(path)
    path.chmod(0o666)

    assert "written by everybody" in await refusal(path)


@pytest.mark.fault(38)
async def test_a_ledger_of_another_user_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("giving a file away needs root")
    path = tmp_path / "ledger.db"
    await make(path)
    os.chown(path, 65534, 65534)

    assert "another user" in await refusal(path)


@pytest.mark.fault(36)
async def test_a_disk_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "size=4m,ro") as disk:
        assert "EROFS" in await refusal(disk / "ledger.db")


async def test_half_a_draft_of_a_crash_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / ".ledger.db.new").write_bytes(b"half")
    (tmp_path / ".ledger.db.new-journal").write_bytes(b"half")

    await make(tmp_path / "ledger.db")

    assert names_in(tmp_path) == {"ledger.db", "ledger.db.lock"}


MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
40 27 0:50 / /srv/share rw,relatime shared:5 - nfs4 host:/x rw
41 40 0:51 / /srv/share/local rw,relatime - xfs /dev/vdb rw
42 27 0:52 / /mnt/with\040space rw - cifs //host/x rw
"""


@pytest.mark.fault(44)
@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/var/lib", "ext4"),
        ("/srv/share", "nfs4"),
        ("/srv/share/state", "nfs4"),
        ("/srv/shared", "ext4"),
        ("/srv/share/local/state", "xfs"),
        ("/mnt/with space/state", "cifs"),
    ],
)
def test_the_file_system_is_that_of_the_innermost_mount(folder: str, kind: str) -> None:
    assert file_system_of(Path(folder), MOUNTS) == kind


def test_an_unknown_mount_table_tells_nothing() -> None:
    assert file_system_of(Path("/var"), "") == ""


async def test_reading_beside_a_running_worker_sees_what_is_committed(tmp_path: Path) -> None:
    url = f"sqlite:{tmp_path}/ledger.db"

    async with open_ledger(url) as ledger:
        await ledger.note("limit", "40")
        async with open_ledger_readonly(url) as beside:
            assert await beside.noted("limit") == "40"
            await ledger.note("limit", "80")
            assert await beside.noted("limit") == "80"


async def test_reading_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    await make(path)
    (tmp_path / "ledger.db.lock").unlink()
    before = digest(path)

    async with open_ledger_readonly(f"sqlite:{path}") as ledger:
        assert await ledger.totals() == {"accepted": 199}
        names = names_in(tmp_path)

    assert names == {"ledger.db"} == names_in(tmp_path)
    assert digest(path) == before


async def test_reading_where_no_ledger_is_says_so(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="there is none"):
        async with open_ledger_readonly(f"sqlite:{tmp_path}/ledger.db"):
            pass

    assert names_in(tmp_path) == set()
