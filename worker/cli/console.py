"""What commands say to people: messages, tables, progress; plain lines where there is no terminal.

Answers to the command go to stdout, everything about the work to stderr.
"""

import os
import re
import shlex
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.errors import SettingsError
from worker.settings import Settings
from worker.settings.service import SUPPORTED_PAYERS

UNFOLDED = 1_000_000
_PAYER = re.compile(r"(?=.*[0-9])[0-9A-Z]{2,5}")  # names have no digits, and members' ids are longer
_AMOUNT = re.compile(r"[-+]?[0-9.,]+")
NO_RESULTS = "no results match, or they are older than state.retention_days; status shows the batches"
NO_FILES = "no files there; those that start with a dot or end in .tmp or .part are passed over, and so are subfolders"

# Dispositions in the order in which people want to see them, with what they mean.
MEANINGS = {
    "accepted": "accepted by the payer's check",
    "accepted_with_errors": "accepted, with edits to read",
    "rejected": "rejected: correct and send again",
    "invalid": "refused here, never sent",
    "undetermined": "answered without a verdict",
    "review": "answered in an unforeseen way: look",
    "undelivered": "no usable answer: parked, can be sent again",
}


class _PlainConsole(Console):
    """Shows what a terminal would obey, or reorder, as an escape: claims and answers may hold any character."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Render text, table cells included, line by line."""
        return super().render_str("\n".join(map(_escaped, text.split("\n"))), **options)


def _escaped(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in line)


def stdout() -> Console:
    """Give the console for a command's answer."""
    return _console(sys.stdout)


def stderr() -> Console:
    """Give the console for everything about the work."""
    return _console(sys.stderr)


def _console(stream: TextIO) -> Console:
    # Texts are shown as they are: a file may be called [bold].837 or :cat:.837, which rich would take for its own.
    # Nothing is folded where no terminal asks for it: such output is read by grep.
    width = None if stream.isatty() else UNFOLDED
    return _PlainConsole(file=stream, width=width, markup=False, emoji=False, highlight=False)


def complain(error: BaseException) -> None:
    """Say what is wrong, one line a problem, without a traceback."""
    console = stderr()
    if isinstance(error, SettingsError):
        console.print(f"precheck-worker: {plural(len(error.problems), 'problem')} in the settings or the command line")
        for problem in error.problems:
            console.print(f"  - {problem}")
    else:
        console.print(f"precheck-worker: {error}")


def plural(count: int, noun: str) -> str:
    """Write a count with its noun."""
    plural_noun = noun.removesuffix("h") + "hes" if noun.endswith("h") else noun + "s"
    return f"{count:,} {noun if count == 1 else plural_noun}"


def command(name: str, config: Path | None) -> str:
    """Write the command that goes by the same settings file, to be pasted."""
    return f"precheck-worker {name}" + (f" --config {shlex.quote(str(config))}" if config else "")


def disposition_table(counts: Mapping[str, int], *, title: str) -> Table:
    """Lay out counts by disposition with a total."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    table.add_column("disposition")
    table.add_column("claims", justify="right")
    table.add_column("meaning")
    for name, meaning in MEANINGS.items():
        if counts.get(name):
            table.add_row(name, f"{counts[name]:,}", meaning)
    table.add_section()
    table.add_row("total", f"{sum(counts.values()):,}", "")
    return table


def rows_table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Sequence[str] = ()
) -> Table:
    """Lay out rows of text under their columns."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def masked(value: str, *, show: bool) -> str:
    """Hide all but the last two characters of an identifier."""
    if show or not value:
        return value or "-"
    return "•" * max(len(value) - 2, 3) + value[-2:] if len(value) > 4 else "•" * len(value)


def amount(value: str, *, show: bool) -> str:
    """Show an amount, but hide what stands in its place in a file whose elements are shifted."""
    return value if _AMOUNT.fullmatch(value) else masked(value, show=show)


def known_payers(settings: Settings) -> frozenset[str]:
    """Name the payers whose ids are shown whatever they look like."""
    return frozenset((*settings.claims.payers, *SUPPORTED_PAYERS))


def payer(value: str, known: Collection[str], *, show: bool) -> str:
    """Show a payer's id that is `known` or looks like one, but hide what may be a member's id or name in its place."""
    return value if show or value in known or _PAYER.fullmatch(value) else masked(value, show=show)


def is_terminal() -> bool:
    """Tell whether progress may redraw itself."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
