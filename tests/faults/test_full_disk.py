"""The disks of a working worker: full, broken, read-only, in use by another; and the worker that goes on."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.disks import remount, small_disk
from tests.e2e.harness import WORKER, Run, Simulator, Site, log_lines, wait_until
from tests.faults.crashing import hold_against, put, recover, refusal, rows
from tests.oracle import read_results, whole_lines
from worker.upkeep import ECHO_S

STRACE = ("strace", "-f", "-qq", "-o", "/dev/null")


@contextmanager
def disk_for(site: Site, folder: str, size: str) -> Iterator[Path]:
    """Put a small disk of its own under this folder of the site."""
    place = site.root / "spool" / folder
    place.mkdir(parents=True)
    with small_disk(place, f"size={size}") as disk:
        yield disk


def failing(site: Site, files: tuple[str, ...], inject: str) -> Run:
    """Start a `--once` run in which calls on these files of the spool fail or are slow."""
    if refused := refusal((*STRACE, "true")):
        pytest.skip(f"no strace here: {refused}")
    watched = [part for file in files for part in ("-P", str(site.root / "spool" / file))]
    return Run(site, ("run", "--once"), {}, program=(*STRACE, *watched, "-e", f"inject={inject}", *WORKER))


def storage_events(run: Run) -> list[str]:
    return [line["event"] for line in log_lines(run.stdout) if line["event"].startswith("storage.")]


@pytest.mark.fault(27)
def test_a_full_disk_under_the_results_pauses_the_flow_and_is_over_when_there_is_room(
    site: Site, simulator: Simulator
) -> None:
    given = put(site.inbox, files=1, claims=150)
    asked = simulator.get("stats")["prechecks"]

    with disk_for(site, "out", "64k") as disk:
        paused = site.start("run")
        wait_until(lambda: paused.has_logged("storage.filled"))
        whole = whole_lines(site.results)
        assert not paused.has_logged("batch.settled")
        remount(disk, "size=16m")
        wait_until(lambda: paused.has_logged("batch.settled"))
        paused.stop(signal.SIGTERM)

        results = hold_against(site, given, paused)
    assert paused.returncode == 0
    assert 0 < len(whole) < 150
    assert {result["attempts"] for result in results} == {1}
    assert simulator.get("stats")["prechecks"] - asked == 150
    assert storage_events(paused)[0] == "storage.filled"
    assert storage_events(paused)[-1] == "storage.freed"


@pytest.mark.fault(28)
def test_a_full_disk_under_the_ledger_lets_no_claim_go_that_is_not_noted(site: Site, simulator: Simulator) -> None:
    given = put(site.inbox, files=1, claims=600)
    asked = simulator.get("stats")["prechecks"]

    with disk_for(site, "state", "1m") as disk:
        paused = site.start("run")
        wait_until(lambda: paused.has_logged("storage.filled"))
        sent = simulator.get("stats")["prechecks"] - asked
        (noted,) = rows(site, "SELECT sum(dispatched_through) FROM batches")[0]
        remount(disk, "size=64m")
        wait_until(lambda: paused.has_logged("batch.settled"))
        paused.stop(signal.SIGTERM)

        results = hold_against(site, given, paused)
    assert paused.returncode == 0
    assert sent <= noted < 600
    assert {result["attempts"] for result in results} == {1}


@pytest.mark.fault(27)
@pytest.mark.fault(16)
def test_a_worker_that_is_stopped_while_the_disk_is_full_loses_nothing(site: Site) -> None:
    given = put(site.inbox, files=1, claims=150)

    with disk_for(site, "out", "64k") as disk:
        paused = site.start("run")
        wait_until(lambda: paused.has_logged("storage.filled"))
        paused.process.send_signal(signal.SIGTERM)
        wait_until(lambda: paused.has_logged("worker.draining"))
        time.sleep(2 * ECHO_S)
        paused.stop(signal.SIGTERM)
        remount(disk, "size=16m")

        recover(site, given, paused)
    assert paused.returncode == 128 + signal.SIGTERM


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    ("folder", "file", "command"),
    [
        ("state", "ledger.db", ("run", "--once")),
        ("state", "ledger.db", ("submit", "spool/in")),
        ("state", "ledger.db.paused", ("pause",)),
        ("out", "results.jsonl", ("run", "--once")),
    ],
)
def test_a_place_that_is_mounted_read_only_is_named_with_the_way_out(
    site: Site, folder: str, file: str, command: tuple[str, ...]
) -> None:
    put(site.inbox, files=1)
    place = site.root / "spool" / folder
    place.mkdir()

    with small_disk(place, "size=64k,ro"):
        refused = site.run(*command)

    told = refused.stderr.decode()
    assert refused.returncode == 3
    assert str(place / file) in told
    assert "is mounted read-only: mount it to be written, or name another place" in told


@pytest.mark.fault(30)
@pytest.mark.fault(37)
@pytest.mark.parametrize("error", ["EROFS", "EDQUOT", "EFBIG"])
def test_results_wait_for_a_disk_that_takes_none_for_a_while(site: Site, error: str) -> None:
    given = put(site.inbox, files=10)

    done = failing(site, ("out/results.jsonl",), f"write:error={error}:when=1").wait()

    assert done.returncode == 0
    events = storage_events(done)  # a pair of them for each thread that had its first write
    assert (events[0], events[-1], set(events)) == (
        "storage.filled",
        "storage.freed",
        {"storage.filled", "storage.freed"},
    )
    hold_against(site, given, done)


@pytest.mark.fault(36)
@pytest.mark.parametrize(("folder", "told"), [("out", b"sink: "), ("state", b"ledger: ")])
def test_a_read_only_disk_is_refused_before_anything_is_sent(
    site: Site, simulator: Simulator, folder: str, told: bytes
) -> None:
    given = put(site.inbox, files=3)
    asked = simulator.get("stats")["prechecks"]

    with disk_for(site, folder, "16m") as disk:
        remount(disk, "ro")
        refused = site.run_once()
        assert len(list(site.inbox.iterdir())) == 3
        remount(disk, "rw")
        assert simulator.get("stats")["prechecks"] == asked
        recover(site, given, refused)

    assert refused.returncode == 3
    assert told in refused.stderr


@pytest.mark.fault(28)
@pytest.mark.fault(51)
@pytest.mark.parametrize("number", range(1, 4))
def test_without_room_for_what_an_heir_must_know_the_worker_does_not_begin(
    site: Site, simulator: Simulator, number: int
) -> None:
    given = put(site.inbox, files=3)
    asked = simulator.get("stats")["prechecks"]
    headers = 8 + number  # SQLite's index of the log is made in eight writes before

    refused = failing(
        site, ("state/ledger.db-wal", "state/ledger.db-shm"), f"pwrite64:error=ENOSPC:when={headers}"
    ).wait()
    sent = simulator.get("stats")["prechecks"] - asked
    recover(site, given, refused)

    assert (refused.returncode, sent) == (3, 0)
    assert refused.stderr.decode() == f"precheck-worker: ledger: {site.ledger}: no room left on the device\n"


@pytest.mark.fault(32)
@pytest.mark.fault(33)
@pytest.mark.parametrize(
    ("file", "inject"),
    [
        ("out/results.jsonl", "write:error=EIO:when=2"),
        ("out/results.jsonl", "fsync:error=EIO:when=3"),
        ("state/ledger.db-wal", "fdatasync,fsync:error=EIO:when=4"),
    ],
)
def test_a_broken_disk_stops_the_worker_and_nothing_is_tried_again_on_it(site: Site, file: str, inject: str) -> None:
    given = put(site.inbox, files=40)
    site.environ["PRECHECK_FLOW__RATE_PER_S"] = "40"  # so that there are several writes

    stopped = failing(site, (file,), inject).wait()
    recover(site, given, stopped)

    assert stopped.returncode == 3
    told = f"sink: cannot write {site.results}: EIO" if "jsonl" in file else f"ledger: {site.ledger}: SQLITE_IOERR"
    assert stopped.stderr.decode().startswith(f"precheck-worker: {told}")


@pytest.mark.fault(34)
@pytest.mark.parametrize("inject", ["write:error=EINTR:when=1+2", "write:error=EAGAIN:when=1+2"])
def test_interrupted_calls_are_nothing_special(site: Site, inject: str) -> None:
    given = put(site.inbox, files=10)

    done = failing(site, ("out/results.jsonl",), inject).wait()

    assert done.returncode == 0
    hold_against(site, given, done)


@pytest.mark.fault(41)
@pytest.mark.parametrize("shared", ["ledger", "sink"])
def test_a_second_worker_on_the_same_ledger_or_results_is_refused_at_once(
    site: Site, tmp_path: Path, simulator: Simulator, shared: str
) -> None:
    given = put(site.inbox, files=3)
    second = Site(tmp_path / "second", simulator.origin)
    url = {"ledger": f"sqlite:{site.ledger}", "sink": f'["jsonl:{site.results}"]'}[shared]
    second.environ["PRECHECK_STATE__URL" if shared == "ledger" else "PRECHECK_OUTPUT__URLS"] = url

    first = site.start("run")
    wait_until(lambda: first.has_logged("batch.settled"))
    refused = second.run_once()
    first.stop(signal.SIGTERM)

    assert refused.returncode == 3
    assert b"held by another process" in refused.stderr
    recover(site, given, first, refused)


@pytest.mark.fault(40)
def test_a_results_file_removed_under_the_worker_stops_it_before_it_writes_into_nothing(site: Site) -> None:
    put(site.inbox, files=3)

    stopped = site.start("run")
    wait_until(lambda: stopped.has_logged("batch.settled"))
    kept = site.results.rename(site.results.with_name("taken.jsonl"))
    put(site.inbox, files=3, first=100, prefix="later")
    stopped.wait()

    assert stopped.returncode == 3
    assert b"was moved or deleted while it was open" in stopped.stderr
    done = site.run_once()
    assert done.returncode == 0
    assert len({result["result_id"] for path in (site.results, kept) for result in read_results(path)}) == 6
    assert len(read_results(site.results)) + len(read_results(kept)) == 6
