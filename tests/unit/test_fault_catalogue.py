"""Every entry of the catalogue of faults has a test or a reason, and the table that says so can be had."""

import subprocess
import sys
from pathlib import Path

from tests.faultcatalogue import ENTRIES, WITHOUT, covering, table, unaccounted

ROOT = Path(__file__).parents[2]


def test_every_entry_has_a_test_or_a_reason() -> None:
    assert unaccounted(covering()) == []


def test_an_entry_without_a_test_or_a_reason_is_noticed() -> None:
    found = covering()
    del found[47]

    assert unaccounted({**found, 111: ["test_x.py::test_z"]}, without={13: "a reason"}) == [
        "47 has neither a test nor a reason",
        "13 has tests and a reason for having none",
        "111 is no entry: test_x.py::test_z",
    ]


def test_the_table_has_every_entry_its_tests_and_its_reasons() -> None:
    drawn = table()

    assert [int(line[:3]) for line in drawn.splitlines() if line[:3].strip()] == list(ENTRIES)
    assert all(f"none: {reason}" in drawn for reason in WITHOUT.values())
    assert all(test in drawn for tests in covering().values() for test in tests)


def test_pytest_prints_the_table_and_runs_nothing() -> None:
    command = [sys.executable, "-m", "pytest", "--fault-table", "-p", "no:cacheprovider"]

    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert (printed.returncode, printed.stdout) == (0, table() + "\n")
