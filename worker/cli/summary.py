"""How `submit` and `retry` end: counts by disposition, what is left, and the exit code that follows."""

from collections.abc import Mapping
from pathlib import Path

from worker.cli.console import command, disposition_table, plural, stderr, stdout


def told(counts: Mapping[str, int]) -> str:
    """Write counts by disposition on one line, the most frequent first."""
    most_first = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {name}" for name, count in most_first) or "no claims"


def conclude(counts: Mapping[str, int], config: Path | None, *, title: str, pending: int = 0) -> int:
    """Show the counts and what is left; 0 if every claim was simply accepted, 1 if not, or `pending` have no result."""
    stdout().print(disposition_table(counts, title=title))
    left = sum(count for name, count in counts.items() if name != "accepted")
    if left:
        stderr().print(f"{plural(left, 'claim')} not simply accepted; the reasons: {command('results', config)}")
    if pending:
        stderr().print(f"{plural(pending, 'claim')} not finished; the same command goes on with them")
    return 0 if counts.get("accepted") and not left and not pending else 1
