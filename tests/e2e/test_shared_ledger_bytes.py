"""What a settled claim costs in a ledger that a fleet shares; nothing of a patient stays past its retention."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Site, wait_until
from tests.oracle import assert_silent_about, read_results
from tests.postgres import SharedLedger
from worker.simulator.folder import write_folder
from worker.simulator.generator import GeneratorSpec

CLAIMS = 1000
MOST_BYTES = 3500


@pytest.fixture
def shared(site: Site) -> Iterator[SharedLedger]:
    ledger = SharedLedger()
    site.environ |= {"PRECHECK_STATE__URL": ledger.url, "PRECHECK_STATE__WORKER_NAME": "one"}
    yield ledger
    ledger.remove()


def tables(shared: SharedLedger) -> list[str]:
    return [row[0] for row in shared.ask("SELECT tablename FROM pg_tables WHERE schemaname = '{}'")]


def bytes_in(shared: SharedLedger) -> int:
    """Add up what the tables take on the disk, with indexes and what lies beside them."""
    sizes = [shared.ask(f"SELECT pg_total_relation_size('{{}}.{table}')")[0][0] for table in tables(shared)]
    return sum(sizes)


def content(shared: SharedLedger) -> bytes:
    """Dump every row; what is binary stands there in hex."""
    rows = [shared.ask("SELECT t::text FROM {}." + table + " AS t") for table in tables(shared)]  # noqa: S608 - ours
    return "\n".join(row[0] for of_table in rows for row in of_table).encode()


def patients(paths: list[Path]) -> set[str]:
    """Name patients and subscribers by last name, first name and member id, and their claims by control number."""
    segments = [one.strip().split("*") for path in paths for one in path.read_text().split("~")]
    people = [one for one in segments if one[:2] in (["NM1", "IL"], ["NM1", "QC"])]
    named = {part for one in people for part in (one[3:5] + one[9:10]) if len(part) > 3}
    return named | {one[1] for one in segments if one[0] == "CLM"}


@pytest.mark.parametrize(("files", "each"), [(CLAIMS, 1), (1, CLAIMS)], ids=["a file each", "one file"])
def test_a_settled_claim_costs_at_most_3_5_kb(site: Site, shared: SharedLedger, files: int, each: int) -> None:
    write_folder(site.inbox, files=files, claims_per_file=each, spec=GeneratorSpec(claims=1, kind="mixed"))

    done = site.run("run", "--once", "--create")

    records = site.results.read_bytes().splitlines()
    assert done.returncode == 0, done.stderr.decode()
    assert len(records) == CLAIMS
    assert bytes_in(shared) <= MOST_BYTES * CLAIMS


def test_nothing_of_a_patient_is_in_the_ledger_past_its_retention(site: Site, shared: SharedLedger) -> None:
    spec = GeneratorSpec(claims=1, planted={"ERRX-": 0.2})
    paths = write_folder(site.inbox, files=5, claims_per_file=10, spec=spec)
    known = patients(list(paths))

    done = site.run("run", "--once", "--create", PRECHECK_RETRY__MAX_ATTEMPTS="2")
    before = content(shared)
    later = site.start("run", PRECHECK_STATE__RETENTION_DAYS="0")
    wait_until(lambda: later.has_logged("ledger.purged"))
    later.stop(signal.SIGTERM)
    status = site.run("status", "--reconcile")

    results = read_results(site.results)
    assert done.returncode == 0, done.stderr.decode()
    assert "undelivered" in {result["disposition"] for result in results}
    found = {one for one in known if one.encode() in before or one.encode().hex().encode() in before}
    assert len(found) > 50
    assert_silent_about(sorted(known), content(shared))
    assert b"50 claims in = 50 results + 0 pending" in status.stdout
