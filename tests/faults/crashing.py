"""What tests of crashes share: inputs whose claims are known, death at a named step, and the books afterwards."""

import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from tests.e2e.harness import Run, Site
from tests.oracle import assert_ledger_at_rest, assert_one_result_each, assert_silent_about, read_results
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec

BROKEN = (sys.executable, str(Path(__file__).with_name("broken_worker.py")))
SECRET = "simulator-secret"


class Given(msgspec.Struct, frozen=True):
    """What was put into a folder: so many files, these claims by their numbers, these names of patients."""

    files: int
    claims: Counter[str]
    patients: frozenset[str]

    def __add__(self, other: "Given") -> "Given":
        return Given(self.files + other.files, self.claims + other.claims, self.patients | other.patients)


def put(
    folder: Path, *, files: int, claims: int = 1, first: int = 1, prefix: str = "batch", magic: str = "OK-"
) -> Given:
    """Write `files` batches of `claims` claims each; with the default `magic` all are accepted at once."""
    spec = GeneratorSpec(claims=1, first_ordinal=first, control_number=first, planted={magic: 1.0} if magic else {})
    paths = write_folder(folder.with_name("outgoing"), files=files, claims_per_file=claims, spec=spec, prefix=prefix)
    segments = [line.split("*") for path in paths for line in path.read_text().splitlines()]
    for path in paths:
        path.rename(folder / path.name)
    numbers = Counter(fields[1] for fields in segments if fields[0] == "CLM")
    return Given(files, numbers, frozenset(fields[3] for fields in segments if fields[:2] == ["NM1", "IL"]))


def put_usual(folder: Path) -> Given:
    """Put in files of one claim, more than are taken at once, and one that is split piece by piece."""
    return put(folder, files=70) + put(folder, files=1, claims=300, first=1000, prefix="large")


def die(site: Site, at: str) -> Run:
    """Start the worker, which must die at this pass of this step (``point:n``)."""
    died = site.start("run", CRASH=at).wait()
    assert died.returncode == -signal.SIGKILL, f"{at} was not reached: {died.stderr.decode()}"
    return died


def recover(site: Site, given: Given, *died: Run) -> list[dict[str, Any]]:
    """Start the worker again, let it end, hold everything against what was given; return the results."""
    done = site.run_once()
    assert done.returncode == 0, done.stderr.decode()
    reasons = [msgspec.json.decode(path.read_bytes()) for path in site.quarantine.glob("*.reason.json")]
    assert "poison" not in [reason["code"] for reason in reasons], "a batch was taken for one that kills its worker"
    return hold_against(site, given, *died, done)


def hold_against(site: Site, given: Given, *runs: Run) -> list[dict[str, Any]]:
    """Apply the oracle once all is done: in = out, none twice, all at rest, nothing said; return the results."""
    results = read_results(site.results)
    assert_one_result_each(results, given.claims.total())
    assert Counter(result["patient_control_number"] for result in results) == given.claims
    assert_ledger_at_rest(site.ledger)
    assert list(site.inbox.iterdir()) == []
    assert [path.name for path in (site.root / "spool/work").rglob("*.837")] == []
    assert len([path for path in site.archive.rglob("*.837*") if path.is_file()]) == given.files
    assert_silent_about(
        [SECRET, *given.claims, *given.patients],
        b"\n".join(run.stdout for run in runs),
        b"\n".join(run.stderr for run in runs),
    )
    return results


def claims_in_flight(site: Site) -> set[str]:
    """Ask a dead worker's ledger which first attempts were noted whose results are not there."""
    known = rows(site, "SELECT number, batch_id, dispatched_through FROM batches")
    answered = set(rows(site, "SELECT batch_number, ordinal FROM results"))
    return {
        f"{batch_id}:{ordinal}"
        for number, batch_id, through in known
        for ordinal in range(1, through + 1)
        if (number, ordinal) not in answered
    }


def rows(site: Site, query: str) -> list[tuple[Any, ...]]:
    """Read a ledger that nobody has open."""
    db = sqlite3.connect(f"{site.ledger.as_uri()}?mode=ro", uri=True)
    try:
        return db.execute(query).fetchall()
    finally:
        db.close()


def refusal(command: tuple[str, ...]) -> str:
    """Say why a tool cannot be used on this machine; empty if it can."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=10, check=False)
    except FileNotFoundError:
        return f"{command[0]} is missing"
    return done.stderr.decode().strip() or f"it ends with {done.returncode}" if done.returncode else ""
