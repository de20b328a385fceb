"""Spool folders for tests: invented batches, put there as producers do, and a source that works on them."""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from worker.claim import Delivery
from worker.settings import InputSettings
from worker.sources import DirectorySource
from worker.x12 import Survey, survey

_ISA = "ISA*00*          *00*          *ZZ*SENDER         *ZZ*RECEIVER       *250101*1200*^*00501*{0:09}*0*T*:~"

# What may stand in a folder, though nobody would call a file so.
ODD_NAMES = (
    b"-rf",
    b"two\nlines.837",
    b"\x1b[31mred.837",
    b"\x1b]0;title\x07.837",
    b"\xff\xfe latin \xe9.837",
    "Кириллица.837".encode(),
    "right\u202eto left.837".encode(),
    b"n" * 255,
    b"\xff" * 255,
    b"~backup",
    b"CASE.837",
    b"case.837",
    b"a b'c\"d;e.837",
    b"%s%n{0}",
    b"owner",
    b"reading",
)


def batch(number: int = 1, *, claims: int = 1) -> bytes:
    """Make a small invented 837 with control number `number`."""
    claim = "HL*{0}**20*1~HL*{1}*{0}*22*0~CLM*INVENTED{0}*100***11:B:1*Y*A*Y*Y~"
    body = "".join(claim.format(2 * n + 1, 2 * n + 2) for n in range(claims))
    return (
        _ISA.format(number)
        + f"GS*HC*SENDER*RECEIVER*20250101*1200*{number}*X*005010X222A1~ST*837*0001*005010X222A1~"
        + f"BHT*0019*00*{number}*20250101*1200*CH~{body}SE*{3 + 3 * claims}*0001~GE*1*{number}~IEA*1*{number:09}~"
    ).encode()


class Clock:
    """A monotonic clock that a test can move forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


class SpoolFolder:
    """A spool below `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming = root / "in"
        self.incoming.mkdir(parents=True)

    def put(self, name: str | bytes, data: bytes) -> None:
        """Write a file in place, then close it."""
        folder = os.open(self.incoming, os.O_RDONLY)
        try:
            fd = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o644, dir_fd=folder)
            with os.fdopen(fd, "wb") as file:
                file.write(data)
        finally:
            os.close(folder)

    def source(
        self,
        *,
        worker_id: str = "tester",
        survey: Callable[[Iterable[bytes]], Survey] = survey,
        ask_kernel: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
        rescan_s: float = 2.0,
        **settings: object,
    ) -> DirectorySource:
        """Make a source on this spool; `settings` are those of `[input]`."""
        return DirectorySource(
            self.incoming,
            InputSettings(**settings),  # type: ignore[arg-type]  # checked by the tests that use them
            worker_id=worker_id,
            survey=survey,
            ask_kernel=ask_kernel,
            monotonic=monotonic,
            clock=clock,
            rescan_s=rescan_s,
        )

    @asynccontextmanager
    async def opened(self, **options: object) -> AsyncIterator[DirectorySource]:
        """Open a source on this spool, and close it at the end."""
        source = self.source(**options)  # type: ignore[arg-type]  # passed on as they are
        await source.open()
        try:
            yield source
        finally:
            await source.close()

    def incoming_names(self) -> set[str]:
        """What stands in the input folder."""
        return {path.name for path in self.incoming.iterdir()}

    def held(self) -> list[str]:
        """What lies in the work folders, but for whose they are and what is being read."""
        return sorted(path.name for path in self.root.glob("work/*/*") if path.name not in ("owner", "reading"))

    def archived(self) -> list[str]:
        """What lies in the archive, whatever the day."""
        return sorted(path.name for path in self.root.glob("archive/*/*"))

    def quarantined(self) -> dict[str, str]:
        """What lies in the quarantine, with the text of its reason file."""
        found = self.root.glob("quarantine/*")
        return {
            path.name: path.with_name(f"{path.name}.reason.json").read_text()
            for path in found
            if not path.name.endswith(".reason.json")
        }


async def take_all(source: DirectorySource, *, at_once: int = 64) -> list[Delivery]:
    """Take until nothing is ready nor about to be decided."""
    found: list[Delivery] = []
    with anyio.fail_after(30):
        while deliveries := await source.take(at_once, wait=False):
            found.extend(deliveries)
    return found


def names(deliveries: Sequence[Delivery]) -> set[str]:
    """The names of deliveries."""
    return {delivery.name for delivery in deliveries}
