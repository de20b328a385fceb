"""Two and four workers on one folder, one of them killed at random; and a million files in a folder.

CI runs some hundred files. The long forms: ``PRECHECK_SHARED_FILES=5000 pytest tests/faults/test_shared_folder.py -s``;
``PRECHECK_NAMES=1000000 pytest tests/faults/test_shared_folder.py -k names -s``, which wants 4 GB of disk.
"""

import os
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from random import Random

import pytest

from tests.e2e.harness import Run, Simulator, Site, wait_until
from tests.faults.crashing import put
from tests.oracle import assert_ledger_at_rest, assert_one_result_each, read_results, whole_lines
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec
from worker.sources.names import original_of

FILES = int(os.environ.get("PRECHECK_SHARED_FILES", "300"))
NAMES = int(os.environ.get("PRECHECK_NAMES", "0"))
RATE_PER_S = 100.0
"""Of each worker, so that one alone does not finish before the others are up."""
MOST_BYTES = 200 << 20
WITHIN_S = 600.0


def sites_on(folder: Path, simulator: Simulator, bytecode: Path, workers: int) -> list[Site]:
    """Make workers with ledgers and sinks of their own, and the folder of the first for all."""
    sites = [Site(folder / f"worker{number}", simulator.origin) for number in range(workers)]
    for site in sites:
        site.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        site.environ |= {
            "PYTHONPYCACHEPREFIX": str(bytecode),
            "PRECHECK_INPUT__URL": f"dir:{sites[0].inbox}",
            "PRECHECK_FLOW__RATE_PER_S": str(RATE_PER_S),
        }
    return sites


def entries(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*.837*") if path.is_file()]


@pytest.mark.slow
@pytest.mark.fault(50)
@pytest.mark.fault(51)
@pytest.mark.parametrize("workers", [2, 4])
def test_of_several_workers_on_one_folder_one_is_killed_and_the_others_end_every_claim_once(
    tmp_path: Path, simulator: Simulator, bytecode: Path, workers: int
) -> None:
    sites = sites_on(tmp_path, simulator, bytecode, workers)
    spool = sites[0].root / "spool"
    dice = Random(workers)
    done_by_then = int(FILES * dice.uniform(0.1, 0.4))

    runs = [site.start("run") for site in sites]
    with none_left(runs):
        wait_until(lambda: all(run.has_logged("worker.started") for run in runs))
        given = put(sites[0].inbox, files=FILES)
        wait_until(lambda: sum(len(whole_lines(site.results)) for site in sites) >= done_by_then, within_s=WITHIN_S)
        victim = one_that_holds_files(runs, spool, dice)
        held = {original_of(name) for name in folder_of(victim, spool)}
        killed = victim.stop(signal.SIGKILL)
        wait_until(lambda: len(entries(spool / "archive")) == given.files, within_s=WITHIN_S)
        living = [run.stop(signal.SIGTERM) for run in runs if run.process.poll() is None]

    assert killed.returncode == -signal.SIGKILL
    assert [run.returncode for run in living] == [0] * (workers - 1)
    assert any(b'"event":"worker.taken_over"' in run.stdout for run in living)
    assert entries(sites[0].inbox) == entries(spool / "work") == []
    of_each = [read_results(site.results) for site in sites]
    assert sum(len(results) > 0 for results in of_each) > 1
    told = Counter(result["result_id"] for results in of_each for result in results)
    for site, results in zip(sites, of_each, strict=True):
        assert_one_result_each(results, len(results))
        assert_ledger_at_rest(site.ledger)
    assert {result["patient_control_number"] for results in of_each for result in results} == set(given.claims)
    assert len(told) == given.claims.total()
    # Ledgers of their own, and still: what the dead one had begun is gone on with, and told by one of them.
    assert [result_id for result_id, count in told.items() if count > 1] == []
    print(f"\n{workers} workers, {FILES} files: {len(held)} held at the kill, none told by two")  # noqa: T201


@contextmanager
def none_left(runs: Sequence[Run]) -> Iterator[None]:
    """Leave no worker running, whatever is found."""
    try:
        yield
    finally:
        for run in runs:
            if run.process.poll() is None:
                run.process.kill()


def one_that_holds_files(runs: Sequence[Run], spool: Path, dice: Random) -> Run:
    """Stop one of them that holds files: in a small folder the first to come may leave nothing to the last."""
    found: list[Run] = []

    def stop_one() -> bool:
        run = dice.choice(runs)
        run.process.send_signal(signal.SIGSTOP)
        if folder_of(run, spool):
            found.append(run)
        else:
            run.process.send_signal(signal.SIGCONT)
        return bool(found)

    wait_until(stop_one)
    return found[0]


def folder_of(run: Run, spool: Path) -> list[str]:
    """Name the files that a worker holds."""
    return [name for folder in (spool / "work").glob(f"*-{run.process.pid}") for name in entries(folder)]


def write_names(folder: Path) -> None:
    """Write one-claim files that differ in their claim's number only, for a generated one takes ten times as long."""
    (sample,) = write_folder(folder, files=1, spec=GeneratorSpec(claims=1, planted={"OK-": 1.0}))
    head, _, tail = sample.read_bytes().partition(b"00100000001")
    sample.unlink()
    within = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for number in range(NAMES):
        fd = os.open(f"{number}.837", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=within)
        os.write(fd, head + b"%011d" % number + tail)
        os.close(fd)
    os.close(within)


@pytest.mark.slow
@pytest.mark.skipif(not NAMES, reason="a million files take some minutes and 4 GB: PRECHECK_NAMES=1000000")
@pytest.mark.fault(60)
def test_however_many_names_there_are_the_first_claim_is_sent_within_seconds_in_flat_memory(
    tmp_path: Path, simulator: Simulator, bytecode: Path
) -> None:
    (site,) = sites_on(tmp_path, simulator, bytecode, 1)
    del site.environ["PRECHECK_FLOW__RATE_PER_S"]
    write_names(site.inbox)
    asked = simulator.get("stats")["prechecks"]

    began = time.monotonic()
    run = site.start("run")
    wait_until(lambda: simulator.get("stats")["prechecks"] > asked)
    first_s = time.monotonic() - began
    time.sleep(20.0)  # for memory to grow in, if it did
    run.stop(signal.SIGTERM)

    results = read_results(site.results)
    left = sum(1 for _ in os.scandir(site.inbox))
    shutil.rmtree(site.inbox)
    print(f"\n{NAMES:,} names: first claim after {first_s:.1f} s, peak {run.peak_bytes / 1e6:.0f} MB")  # noqa: T201
    assert run.returncode == 0
    assert first_s < 10.0
    assert run.peak_bytes < MOST_BYTES
    assert_one_result_each(results, len(results))
    assert left == NAMES - len(results)
    assert len(entries(site.archive)) == len(results) > 100
