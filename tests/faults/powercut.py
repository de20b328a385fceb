"""A disk whose power can be cut, a worker that lives on it, and what must hold afterwards.

The disk is an ext4 or xfs image on a loop device. A cut is the file system's SHUTDOWN ioctl without a flush of its
log (ext4's ``EXT4_IOC_SHUTDOWN``, xfs's ``XFS_IOC_GOINGDOWN``: one number, one flag): nothing reaches the image any
more, and the next mount, of a fresh loop device, replays the journal and finds what had been forced to disk and no
page of any cache. What a drive's own cache might lose in spite of a flush is not played; promise 2 leaves it out.
"""

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.harness import DEADLINE_S, WORKER, Run, Simulator, Site, log_lines, wait_until
from tests.faults.crashing import SECRET, Given, hold_against, put
from tests.oracle import assert_silent_about, read_results, whole_lines

SHUTDOWN = 0x8004587D  # _IOR('X', 125, __u32)
NO_LOG_FLUSH = struct.pack("I", 2)
IMAGE_BYTES = 320 << 20  # sparse; mkfs.xfs makes none below 300 MB
MKFS = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}
FILE_SYSTEMS = tuple(MKFS)

ROOT = Path(__file__).parents[2]
UNSYNCED_WORKER = [sys.executable, str(Path(__file__).with_name("unsynced_worker.py"))]


class Disk:
    """A mounted file system of its own, on `folder`."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.folder = folder
        self._image = image

    def cut_power(self) -> None:
        """Lose all that is not on the disk; whoever still writes gets EIO."""
        fd = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(fd, SHUTDOWN, NO_LOG_FLUSH)
        finally:
            os.close(fd)

    def restore_power(self) -> None:
        """Mount it again, once nobody has anything open there any more."""
        wait_until(lambda: _quietly("umount", self.folder))
        # A mount namespace made meanwhile by somebody else has a copy of the mount, and mounting the image again would
        # then find the dead file system instead of the disk.
        wait_until(lambda: not self._attached())
        assert self._mounted(), "the file system did not survive the cut"

    def _mounted(self) -> bool:
        return _quietly("mount", "-o", "loop", self._image, self.folder)

    def _attached(self) -> bool:
        return bool(subprocess.run(["losetup", "--associated", self._image], capture_output=True, check=True).stdout)

    def mount(self) -> None:
        """Mount the image; skips the test where that is not permitted."""
        if not self._mounted():
            pytest.skip("mounting an image on a loop device is not permitted here")

    def sync(self) -> None:
        """Force everything to disk, as a careful producer does before its file gets its name."""
        subprocess.run(["sync", "--file-system", self.folder], check=True)


@contextlib.contextmanager
def disk_of(kind: str, folder: Path) -> Iterator[Disk]:
    """Make a disk with a file system of this kind under `folder`; skips the test where that cannot be had."""
    if os.geteuid() != 0:
        pytest.skip("mounting an image needs root")
    if shutil.which(MKFS[kind][0]) is None:
        pytest.skip(f"{MKFS[kind][0]} is not installed")
    image, mounted = folder / f"{kind}.img", folder / kind
    mounted.mkdir()
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES)
    subprocess.run([*MKFS[kind], image], check=True)
    disk = Disk(image, mounted)
    disk.mount()
    try:
        yield disk
    finally:
        subprocess.run(["umount", "-l", mounted], check=False, capture_output=True)
        image.unlink()


class Life:
    """One life of the worker, until the power is cut; its log is outside of the disk.

    `unsynced` leaves out the fsync of one part (`tests.faults.unsynced_worker`).
    """

    def __init__(self, site: Site, log: Path, *, unsynced: str | None = None) -> None:
        self._log = log
        self._before_cut = b""
        command = WORKER if unsynced is None else [*UNSYNCED_WORKER, unsynced]
        with log.open("wb") as out, log.with_suffix(".err").open("wb") as err:
            self._process = subprocess.Popen(
                [*command, "run"],
                cwd=site.root,
                # Safe path: Python itself must not read the disk, or a cut while it starts would end it in its words.
                env={**site.environ, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": "1"},
                stdout=out,
                stderr=err,
            )

    def __enter__(self) -> "Life":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    @property
    def spoken(self) -> bytes:
        """All that it wrote to its log and to stderr."""
        return self._log.read_bytes() + self._log.with_suffix(".err").read_bytes()

    def lines(self, event: str, *, before_cut: bool = False) -> list[dict[str, Any]]:
        """Give the log's lines of one event, for a life that has ended."""
        log = self._before_cut if before_cut else self._log.read_bytes()
        return [line for line in log_lines(log) if line["event"] == event]

    def await_lines(self, event: str, count: int) -> None:
        """Return as soon as so many lines of that event are in the log, or fail."""
        told = b'"event":"%b"' % event.encode()
        deadline = time.monotonic() + DEADLINE_S
        while self._log.read_bytes().count(told) < count:
            assert self._process.poll() is None, "the worker ended by itself"
            assert time.monotonic() < deadline, f"{event} was not logged {count} times"
            time.sleep(0.0005)

    def end_with(self, disk: Disk) -> None:
        """Cut the power under it and give it back."""
        self._before_cut = b"\n".join(whole_lines(self._log))
        disk.cut_power()
        self._process.kill()
        self._process.wait()
        disk.restore_power()


class Scene:
    """A worker's folders on a disk, its inputs, and all its lives that a cut has ended."""

    def __init__(self, disk: Disk, simulator: Simulator, logs: Path, number: int) -> None:
        self.disk = disk
        self.site = Site(disk.folder, simulator.origin)
        self.given = Given(0, Counter(), frozenset())
        self._simulator = simulator
        self._logs = logs
        self._next_ordinal = 1 + number * 10_000
        self._lives: list[Life] = []

    def deliver(self, *, files: int = 1, claims: int = 1) -> None:
        """Put durable input files of so many claims each, no claim of which came before."""
        first, self._next_ordinal = self._next_ordinal, self._next_ordinal + files * claims
        self.given += put(self.site.inbox, files=files, claims=claims, first=first, prefix=f"from-{first}", magic="")
        self.disk.sync()

    def live(self, *, unsynced: str | None = None) -> Life:
        """Start the worker, to be ended by a cut."""
        life = Life(self.site, self._logs / f"life-{len(self._lives)}.log", unsynced=unsynced)
        self._lives.append(life)
        return life

    def completed(self) -> dict[str, int]:
        """Give the claims whose completion was logged before a cut, with the attempts they had cost.

        The fsync under way at the cut does not count: ext4's SHUTDOWN lets it succeed and keeps nothing of it, and the
        worker lives for a moment in which it can say so. Where the power is really gone, nobody says anything.
        """
        logged = (line for life in self._lives for line in life.lines("claim.completed", before_cut=True))
        return {line["claim_id"]: line["attempts"] for line in logged}

    def asked_again(self) -> list[str]:
        """Name the claims that were sent although an earlier life had logged their result."""
        numbers = {one["claim_id"]: one["patient_control_number"] for one in read_results(self.site.results)}
        sent: Counter[str] = Counter()
        for answer in self._simulator.get("answers"):
            sent[answer["patient_control_number"]] += answer["attempts"]
        return [claim for claim, cost in self.completed().items() if claim in numbers and sent[numbers[claim]] > cost]

    def assert_survived(self, done: Run) -> None:
        """Apply the oracle, and what a cut adds to it: what was logged stays so, and is not asked again."""
        assert done.returncode == 0
        results = hold_against(self.site, self.given, done)
        assert self.completed().keys() <= {result["claim_id"] for result in results}
        assert self.asked_again() == []
        assert_silent_about([SECRET, *self.given.claims, *self.given.patients], *(life.spoken for life in self._lives))

    def assert_settled_are_archived(self) -> None:
        """Look for the files of the batches that were logged as settled; use it before the next life."""
        settled = {line["batch"] for life in self._lives for line in life.lines("batch.settled", before_cut=True)}
        assert settled <= {path.name for path in self.site.archive.rglob("*.837")}


def _quietly(*command: str | Path) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
