"""`submit`: given files through the worker, then a summary."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer

from worker.app import work
from worker.batches import OpenBatch
from worker.cli.console import NO_FILES, rows_table, stderr, stdout
from worker.cli.logfile import logging_to
from worker.cli.options import Config, add_command, desk_settings_from
from worker.cli.progress import show_progress
from worker.cli.summary import conclude, told
from worker.ledger import read_state
from worker.settings import Settings
from worker.sources.listed import ListedFiles

EPILOG = """Examples:

  precheck-worker submit claims.837 --config config/local.toml

  precheck-worker submit /data/outgoing --config production.toml

  precheck-worker submit claims.837 --force --config production.toml"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "submit", submit, EPILOG)


def submit(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH…", help="837 files, or folders of them; they stay where they are.")
    ],
    config: Config = None,
    force: Annotated[
        bool, typer.Option("--force", help="Send again what was checked before; each claim gets a new result.")
    ] = False,
    log_file: Annotated[
        Path | None, typer.Option("--log-file", help="Write the log here; without it only warnings go to stderr.")
    ] = None,
) -> int:
    """Check the claims of the given files and say how they fared. A file checked before is not sent again.

    With --force it is: every claim gets a result of the next generation that names the one it supersedes.

    The exit code is 0 only if every claim was accepted; 1 if some were not, or a file could not be read as X12.
    """
    settings = desk_settings_from(config)
    source = ListedFiles(paths, settings.input)
    batches: list[OpenBatch] = []
    with logging_to(log_file, settings.telemetry):
        run = partial(
            work, settings, source=source, once=True, force=force, observer=show_progress, on_settled=batches.append
        )
        anyio.run(run, backend_options={"use_uvloop": True})
        counts = anyio.run(_count, settings, batches)
    return _summarise(batches, counts, source, config, force=force)


async def _count(settings: Settings, batches: list[OpenBatch]) -> dict[int, Counter[str]]:
    """Read the batches' dispositions from the ledger: those of earlier runs count as well."""
    async with read_state(settings.state) as ledger:
        numbers = {batch.batch.number for batch in batches}
        return {number: Counter(await ledger.dispositions(number)) for number in numbers}


def _summarise(
    batches: list[OpenBatch], counts: dict[int, Counter[str]], source: ListedFiles, config: Path | None, *, force: bool
) -> int:
    rows = []
    total: Counter[str] = Counter()
    for batch in batches:
        found = counts[batch.batch.number]
        total += found
        original = batch.opened.original
        note = "checked before" if batch.opened.done else f"same as {original.name}, checked before" if original else ""
        if batch.opened.done and force:
            note = "not sent again: older than state.retention_days; submit a copy of it"
        claims = found.total() if batch.opened.done else batch.total or 0  # of a batch long done no claims are kept
        rows.append((batch.batch.name, f"{claims:,}", told(found), note))
    rows += [(name, "-", f"not processed: {code}", text) for name, code, text in source.refused]
    unfinished = [*source.released, *source.not_taken()]
    if not rows and not unfinished:
        stderr().print(NO_FILES)
        return 1
    rows += [(name, "-", "not finished", "submit it again") for name in unfinished]
    stdout().print(rows_table("", ("file", "claims", "results", "note"), rows, right=("claims",)))
    code = conclude(total, config, title="\nAll files")
    return 1 if source.refused or unfinished else code
