"""The n-th call of a kind fails, for n = 1, 2, …, until a run in which none was left to fail.

The system's calls on the files and folders of a small spool, counted by each thread for itself, as strace does. CI
runs one n of each; ``PRECHECK_FAILING_CALLS=1 pytest tests/faults/test_failing_calls.py -s`` all of them.
"""

import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import pytest

from tests.e2e.harness import WORKER, Run, Simulator, Site, log_lines
from tests.faults.crashing import die, hold_against, put, recover, refusal, rows
from tests.faults.fates import Fate, fates_of
from tests.spools import batch

LONG = os.environ.get("PRECHECK_FAILING_CALLS") == "1"
CALLS = {
    "write": "write",  # the results
    "pwrite": "pwrite64",  # the ledger
    "fsync": "fsync,fdatasync",
    "rename": "rename,renameat,renameat2",
    "open": "open,openat",
    "unlink": "unlink,unlinkat",
}
SAMPLE = [
    ("write", "ENOSPC", 1),
    ("write", "EIO", 1),
    ("pwrite", "ENOSPC", 15),
    ("fsync", "EIO", 2),
    ("rename", "EIO", 2),
    ("open", "ENOSPC", 5),
]
WATCHED = ("in", "work", "archive", "quarantine", "out", "out/results.jsonl", "state", "state/ledger.db")
MOST_CALLS = 200


def watched(site: Site) -> Iterator[str]:
    """Name what calls must concern to be counted, for strace takes no folder for all that is in it."""
    spool = site.root / "spool"
    for place in (*(spool / name for name in WATCHED), *days(site)):
        yield from ("-P", str(place))
    for tail in ("-wal", "-shm", "-journal"):
        yield from ("-P", f"{site.ledger}{tail}")


def failing_once(site: Site, call: str, error: str, n: int, *places: Path) -> tuple[Run, int]:
    """Run to the end while the n-th call of each thread fails, only in `places` if any; and say how many did."""
    log = site.root / "strace"
    where = [option for place in places for option in ("-P", str(place))] or watched(site)
    inject = f"inject={CALLS[call]}:error={error}:when={n}"
    trace = (
        "strace",
        "-f",
        "--seccomp-bpf",
        "-qq",
        "-y",
        "-ttt",
        "-s",
        "0",
        "-o",
        str(log),
        *where,
        "-e",
        f"trace={CALLS[call]}",
    )
    done = Run(site, ("run", "--once"), {}, program=(*trace, "-e", inject, *WORKER)).wait()
    return done, log.read_bytes().count(b"(INJECTED)")


def days(site: Site) -> list[Path]:
    """Name the archive's folders of today and tomorrow: the run may go on past midnight."""
    return [site.archive / time.strftime("%Y-%m-%d", time.gmtime(time.time() + ahead_s)) for ahead_s in (0, 86_400)]


def survive(site: Site, call: str, error: str, n: int) -> tuple[int, int]:
    """Let the n-th call fail, look at what became of it, and let another run end it; exit code and failed calls."""
    given = put(site.inbox, files=3) + put(site.inbox, files=1, claims=3, first=100, prefix="more")
    (site.inbox / "bad.837").write_bytes(batch(claims=0))

    hit, failed = failing_once(site, call, error, n)

    require_fates(hit, fates_of(site.root / "strace", site, hit))
    left = list(site.inbox.iterdir())
    if hit.returncode == 0 and not left:
        hold_against(site, given, hit)
    else:
        assert hit.returncode or events_of(hit) & {"input.unready", "input.unavailable"}
        recover(site, given, hit)
    assert {path.name for path in site.quarantine.iterdir()} == {"bad.837", "bad.837.reason.json"}
    return hit.returncode, failed


def require_fates(run: Run, fates: Sequence[tuple[Fate, str]]) -> None:
    """Hold a run against what the calls that failed in it must lead to."""
    ends = [said for fate, said in fates if fate.says is not None]
    must_end = any(fate.says is not None and not fate.or_not for fate, _ in fates)
    told, found = run.stderr.decode(), f"{run.returncode}, {run.stderr!r}: {fates}"
    if must_end or (ends and run.returncode):
        assert run.returncode == 3, found
        assert re.fullmatch(f"precheck-worker: ({'|'.join(ends)})\n", told), found
        return
    assert (run.returncode, told) == (0, ""), found
    events = events_of(run)
    assert all(events & set(fate.logs.split("|")) for fate, _ in fates if fate.logs is not None), found


def events_of(run: Run) -> set[str]:
    return {str(line["event"]) for line in log_lines(run.stdout)}


@pytest.fixture(autouse=True)
def _traced() -> None:
    if refused := refusal(("strace", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull, "true")):
        pytest.skip(f"no strace here: {refused}")


def site_for(folder: Path, simulator: Simulator, bytecode: Path) -> Site:
    site = Site(folder, simulator.origin)
    site.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    site.environ["PYTHONPYCACHEPREFIX"] = str(bytecode)
    return site


@pytest.mark.slow
@pytest.mark.fault(27)
@pytest.mark.fault(32)
@pytest.mark.fault(33)
@pytest.mark.parametrize(("call", "error", "n"), SAMPLE)
def test_a_call_that_fails_ends_in_a_clear_stop_or_in_nothing(site: Site, call: str, error: str, n: int) -> None:
    _, failed = survive(site, call, error, n)

    assert failed > 0


@pytest.mark.slow
@pytest.mark.fault(33)
@pytest.mark.parametrize("moved_into", ["archive", "quarantine"])
def test_a_folder_whose_fsync_fails_stops_the_worker_for_a_move_may_not_be_on_disk(site: Site, moved_into: str) -> None:
    given = put(site.inbox, files=3)
    if moved_into == "quarantine":
        (site.inbox / "bad.837").write_bytes(batch(claims=0))
    places = days(site) if moved_into == "archive" else [site.quarantine]

    hit, failed = failing_once(site, "fsync", "EIO", 1, *places)

    assert failed == 1
    assert hit.returncode == 3
    assert hit.stderr.decode() in [f"precheck-worker: input: cannot sync {place}: EIO\n" for place in places]
    recover(site, given, hit)


@pytest.mark.slow
@pytest.mark.fault(7)
@pytest.mark.fault(33)
@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_results_found_at_the_start_are_written_again_and_synced_before_the_ledger_relies_on_them(
    site: Site, call: str
) -> None:
    given = put(site.inbox, files=1)
    died = die(site, "sink_after_write:1")
    written = site.results.read_bytes()

    hit, failed = failing_once(site, call, "EIO", 1, site.results)

    assert failed == 1
    assert (hit.returncode, hit.stderr.endswith(b": EIO\n")) == (3, True)
    assert rows(site, "SELECT count(*) FROM sinks") == [(0,)]
    recover(site, given, died, hit)
    assert site.results.read_bytes() == written


@pytest.mark.slow
@pytest.mark.fault(33)
@pytest.mark.fault(40)
@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_results_found_in_a_file_that_somebody_renamed_are_written_again_and_synced_in_place(
    site: Site, call: str
) -> None:
    given = put(site.inbox, files=70)
    died = die(site, "sink_after_write:2")
    renamed = site.results.rename(site.results.with_name("results-kept.jsonl"))
    before, written = renamed.stat(), renamed.read_bytes()
    (noted,) = rows(site, "SELECT seq FROM sinks")[0]

    hit, failed = failing_once(site, call, "EIO", 1, renamed)

    assert failed == 1
    assert (hit.returncode, hit.stderr.decode()) == (3, f"precheck-worker: sink: cannot read {site.results}: EIO\n")
    assert rows(site, "SELECT seq FROM sinks") == [(noted,)]
    recover(site, given, died, hit)
    after = renamed.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert renamed.read_bytes() == written


@pytest.mark.slow
@pytest.mark.skipif(not LONG, reason="every call in turn takes some minutes: PRECHECK_FAILING_CALLS=1")
@pytest.mark.fault(27)
@pytest.mark.fault(32)
@pytest.mark.fault(33)
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize("call", CALLS)
def test_whichever_call_fails_every_claim_has_its_result_once(
    tmp_path: Path, simulator: Simulator, bytecode: Path, call: str, error: str
) -> None:
    ends: Counter[int] = Counter()
    for n in count(1):
        code, failed = survive(site_for(tmp_path / f"{n}", simulator, bytecode), call, error, n)
        if not failed:
            break
        ends[code] += 1
        assert n < MOST_CALLS
    print(f"\n{call} {error}: {dict(ends)}")  # noqa: T201 - the long form's figures
