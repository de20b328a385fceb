"""Every step at which a test may have the worker die is told of in one table, and some test has it die there."""

import re
from collections import Counter
from pathlib import Path

import worker.crashpoint

ROOT = Path(__file__).parents[2]
_, ROWS, _ = re.split(r"=+ =+\n", f"{worker.crashpoint.__doc__}\n")
TABLE = [row.split()[0] for row in ROWS.splitlines()]


def passed() -> Counter[str]:
    """Count the places in the worker's code that pass each step."""
    code = (path.read_text() for path in (ROOT / "worker").rglob("*.py"))
    return Counter(name for text in code for name in re.findall(r'crashpoint\(\s*"(\w+)"', text))


def test_the_table_names_the_steps_that_the_code_passes_each_once() -> None:
    assert Counter(TABLE) == Counter(passed().keys())


def test_at_every_step_some_test_has_the_worker_die() -> None:
    told = "\n".join(path.read_text() for path in (ROOT / "tests/faults").glob("*.py"))

    assert [step for step in passed() if not re.search(rf'"{step}[":]', told)] == []
