"""The table of `bench --limiter`."""

from pathlib import Path

from worker.bench.limiting import LONGEST_RECOVERY_S, Row, table
from worker.cli.console import rows_table, stderr
from worker.cli.target import beside, write_json

COLUMNS = ("service", "best fixed", "its goodput", "adaptive", "share", "(worst)", "lost", "(worst)", "recovery")


def show_limiter(*, seeds: int, json: Path | None) -> int:
    """Make the table and print it; its rows go to the file as well, if there is one."""
    console = stderr()
    print_rows(table(seeds=seeds, tell=lambda text: console.print(text)), json=json)
    return 0


def print_rows(rows: list[Row], *, json: Path | None) -> None:
    """Print the rows under their columns, and write them to a file if asked to."""
    console = beside(json)
    console.print(rows_table("", COLUMNS, [_cells(row) for row in rows], right=COLUMNS[1:]))
    console.print(
        "share: of the best fixed bound's goodput. lost: of the attempts after the first minute; * whatever the load.\n"
        "recovery: from the change to 90 % of what can be had then, at worst.",
    )
    if json is not None:
        write_json(json, rows)


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row.service,
        str(row.best_bound),
        f"{row.best_per_s:.1f}/s",
        f"{row.adaptive_per_s:.1f}/s",
        f"{row.share:.0%}",
        f"{row.least_share:.0%}",
        f"{row.lost:.1%}{' ' if row.losses_follow_load else '*'}",
        f"{row.most_lost:.1%}{' ' if row.losses_follow_load else '*'}",
        _seconds(row.recovery_s),
    )


def _seconds(recovery_s: int | None) -> str:
    if recovery_s is None:
        return "-"
    return f"{recovery_s} s" if recovery_s < LONGEST_RECOVERY_S else f">= {recovery_s} s"
