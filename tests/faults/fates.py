"""What a failed call of the system must lead to: the end of the worker and its words, a line of its log, or nothing.

The calls are those that strace has written down with ``-y -ttt -s 0``. The first row that fits a call is its fate; one
that no row fits fails the test, for nobody has said what is right there. Behind a call stands ``starting`` until
the worker has started, and ``first`` if none of the same came before.
"""

import errno
import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from tests.e2e.harness import Run, Site, log_lines
from worker.disk import explained

_CALL = re.compile(r"(?P<pid>\d+) +(?P<at>\d+\.\d+) (?P<text>.*)")
_RESUMED = re.compile(r"<\.\.\. \w+ resumed>(?P<rest>.*)")
_FAILED = re.compile(r"(?P<call>.*) = -1 (?P<error>\w+) \(.*\) \(INJECTED\)")


class Fate(NamedTuple):
    """A row: the calls and errors that it is about, what the worker says at its end, or the event it logs, and why.

    With `or_not` the worker may end or go on, for the call does not show which of its callers it serves.
    """

    call: str
    errors: str
    says: str | None
    logs: str | None
    why: str
    or_not: bool = False


ANY = "ENOSPC|EIO"
STOPS = "nobody knows what is on the disk, or the worker cannot begin"
PAUSES = "there is no room for now: what was written is taken back, and tried again"
UNTOLD = "but where it is only the limit to be remembered, which goes without"
FULL = "ledger: {ledger}: no room left on the device"
SEE = "see whether this user may read and write it and its folder"
LATER = "nothing is lost by waiting: the folder is looked at, or the file moved, again"

FATES = (
    Fate(r"write\(<out/results.jsonl>", "ENOSPC", None, "storage.filled", PAUSES),
    Fate(r"write\(<out/results.jsonl>", "EIO", "sink: cannot write {results}: {error}", None, STOPS),
    Fate(r"f(data)?sync\(<out/results.jsonl>", "ENOSPC", None, "storage.filled", PAUSES),
    Fate(r"f(data)?sync\(<out/results.jsonl>", "EIO", "sink: cannot write {results}: {error}", None, STOPS),
    Fate(r"fsync\(<out>", ANY, "sink: cannot make {results}: {error}", None, STOPS),
    Fate(r"openat\(.*<*out/results.jsonl", ANY, "sink: cannot open {results}: {error}", None, STOPS),
    Fate(r'openat\(.*"out", .*O_NONBLOCK', ANY, "sink: cannot read {results}: {error}", None, STOPS),
    Fate(r'openat\(.*"out", ', ANY, "sink: cannot make {results}: {error}", None, STOPS),
    Fate(r"pwrite64\(<state/ledger.db-wal>.* starting", "ENOSPC", FULL, None, f"{STOPS}; {UNTOLD}", or_not=True),
    Fate(r"pwrite64\(<state/ledger.db-wal>", "ENOSPC", None, None, f"{PAUSES}; {UNTOLD}"),
    Fate(r"pwrite64\(<state/ledger.db-wal>", "EIO", "ledger: {ledger}: SQLITE_IOERR_WRITE", None, STOPS),
    Fate(r"fdatasync\(<state/ledger.db-wal>", ANY, "ledger: {ledger}: SQLITE_IOERR_FSYNC", None, STOPS),
    Fate(r"pwrite64\(<state/ledger.db-shm>", ANY, "ledger: {ledger}: SQLITE_IOERR_SHMSIZE", None, STOPS),
    Fate(r"fdatasync\(<state>", ANY, None, None, "SQLite's, which ignores it: the worker syncs that folder itself"),
    Fate(r'openat\(.*"state", (?!.*O_DIRECTORY)', ANY, None, None, "SQLite's, to sync the folder: as above"),
    Fate(r"fsync\(<state>", ANY, "ledger: cannot (make {ledger}|sync {spool}/state): {error}", None, STOPS),
    Fate(r'openat\(.*"state", ', ANY, "ledger: cannot (make {ledger}|sync {spool}/state): {error}", None, STOPS),
    Fate(r'openat\(.*"state/ledger.db", O_RDWR', ANY, f"ledger: {{ledger}}: SQLITE_READONLY; {SEE}", None, STOPS),
    Fate(r'openat\(.*"state/ledger.db", ', ANY, f"ledger: {{ledger}}: SQLITE_CANTOPEN; {SEE}", None, STOPS),
    Fate(r'openat\(.*"state/ledger.db-.* first', ANY, f"ledger: {{ledger}}: SQLITE_CANTOPEN; {SEE}", None, STOPS),
    Fate(r'openat\(.*"state/ledger.db-', ANY, None, None, "by one that only reads: SQLite opens it for reading then"),
    Fate(r"fsync\(<(in|work|archive|quarantine)", ANY, "input: cannot sync {folder}: {error}", None, STOPS),
    Fate(r'openat\(\S+ "(in|work|archive|quarantine)",', "ENOSPC", "input: no room in {spool} to make .*", None, STOPS),
    Fate(r'openat\(\S+ "(in|work|archive|quarantine)",', "EIO", "input: the disk of {spool} fails: EIO", None, STOPS),
    Fate(r'openat\(<work>, "[^".]+", ', "ENOSPC", "input: no room in {spool} to make .*", None, STOPS),
    Fate(r'openat\(<work>, "[^".]+", ', "EIO", "input: the disk of {spool} fails: EIO", None, STOPS),
    Fate(r'openat\(<(in|work)>, "\."', ANY, None, "input.unavailable", LATER),
    Fate(r'openat\(<in>, "', ANY, None, "input.unready|batch.settled", "a file that cannot be opened is tried again"),
    Fate(r"openat\(<archive>", "ENOSPC", None, "storage.filled", PAUSES),
    Fate(r"openat\(<(archive|quarantine)>", ANY, None, "input.unavailable", LATER),
    Fate(r"renameat2?\(<work/\S+>, .*<archive", "ENOSPC", None, "storage.filled", PAUSES),
    Fate(r"renameat2?\(<", ANY, None, "input.unavailable", LATER),
    Fate(r"unlinkat\(<work>", ANY, None, None, "an empty folder that stays does no harm"),
)
OVER = Fate("", ANY, None, None, "after the books were balanced: what is not folded stays in the log, which is on disk")


def fates_of(trace: Path, site: Site, run: Run) -> list[tuple[Fate, str]]:
    """Tell for each failed call what must have come of it, and what exactly the worker must have said, if anything."""
    started_at, over_at = (_logged_at(run, event) for event in ("worker.started", "books.balanced"))
    spool = f"{site.root}/spool"
    met: Counter[str] = Counter()
    found = []
    for at, text in _calls(trace.read_text(errors="replace")):
        call = re.sub(r"\b(\d+|AT_FDCWD)<", "<", text.replace(f"{spool}/", "").replace(spool, "spool"))
        call = call.replace(f"{site.root}", "site")
        key = call.partition(" = ")[0]
        met[key] += 1
        if (failed := _FAILED.fullmatch(call)) is not None:
            when = (" starting" if at < started_at else "") + (" first" if met[key] == 1 else "")
            fate = OVER if at >= over_at else _fate_of(failed["call"] + when, failed["error"])
            found.append((fate, _said(fate, failed, site)))
    return found


def _logged_at(run: Run, event: str) -> float:
    times = [str(line["ts"]) for line in log_lines(run.stdout) if line["event"] == event]
    return datetime.fromisoformat(times[0]).timestamp() if times else float("inf")


def _calls(trace: str) -> Iterator[tuple[float, str]]:
    """Go through the calls, each in one piece; one that another thread has come between is written down in two."""
    begun: dict[str, str] = {}
    for call in map(_CALL.fullmatch, trace.splitlines()):
        if call is None:
            continue
        text = call["text"]
        if text.endswith(" <unfinished ...>"):
            begun[call["pid"]] = text.removesuffix(" <unfinished ...>")
            continue
        if (resumed := _RESUMED.fullmatch(text)) is not None:
            text = begun.pop(call["pid"], "") + resumed["rest"]
        yield float(call["at"]), text


def _fate_of(call: str, error: str) -> Fate:
    for fate in FATES:
        if re.match(fate.call, call) and re.fullmatch(fate.errors, error):
            return fate
    raise AssertionError(f"nobody has said what {call} that fails with {error} must lead to")


def _said(fate: Fate, failed: re.Match[str], site: Site) -> str:
    if fate.says is None:
        return ""
    folder = re.search(r"<([^>]*)>", failed["call"])
    return fate.says.format(
        results=re.escape(str(site.results)),
        ledger=re.escape(str(site.ledger)),
        spool=re.escape(f"{site.root}/spool"),
        folder=re.escape(f"{site.root}/spool/{folder[1] if folder else ''}"),
        error=re.escape(explained(OSError(getattr(errno, failed["error"]), ""))),
    )
