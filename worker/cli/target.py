"""Where an answer that fills a file goes: to the file that was named, or to standard output, whose name is ``-``."""

from pathlib import Path

import msgspec
import typer
from rich.console import Console

from worker.cli.console import stderr, stdout

STDOUT = Path("-")


def beside(target: Path | None) -> Console:
    """Give the console for what is said beside the answer: not standard output, if the answer takes that."""
    return stderr() if target == STDOUT else stdout()


def write_json(target: Path, value: object) -> None:
    """Write it as JSON that people can read, too."""
    text = msgspec.json.format(msgspec.json.encode(value)) + b"\n"
    if target == STDOUT:
        typer.echo(text, nl=False)
    else:
        target.write_bytes(text)
