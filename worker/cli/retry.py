"""`retry`: parked claims are sent again, as a new generation."""

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import anyio
import typer

from worker.app import work
from worker.batches import OpenBatch
from worker.cli.console import plural, rows_table, stderr, stdout
from worker.cli.logfile import logging_to
from worker.cli.options import Config, add_command, desk_settings_from
from worker.cli.progress import show_progress
from worker.cli.summary import conclude, told
from worker.errors import SettingsError
from worker.ledger import ParkedFilter, ParkedGroup, read_state
from worker.replay import has_unfinished
from worker.result import Disposition
from worker.settings import Settings
from worker.tally import Tally

EPILOG = """Examples:

  precheck-worker retry --dry-run --config production.toml

  precheck-worker retry --disposition undelivered --since 12h --config production.toml

  precheck-worker retry --reason http_503 --batch claims-0117.837"""

_AGE = re.compile(r"(\d+)([mhd])")
_SECONDS = {"m": 60, "h": 3_600, "d": 86_400}


# Where a repeat submits: what cannot have been taken in, by the claims' last attempts.
SAFE_DISPOSITIONS = (Disposition.UNDELIVERED, Disposition.REJECTED)


def moment(text: str) -> float:
    """Read a time, or an age such as 90m, 12h, 3d, as seconds since the epoch; without a zone it is UTC.

    :raises typer.BadParameter: if it is neither.
    """
    if age := _AGE.fullmatch(text):
        return time.time() - int(age[1]) * _SECONDS[age[2]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a time (2026-01-31T18:00Z) nor an age (90m, 12h, 3d)") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "retry", retry, EPILOG)


def retry(
    disposition: Annotated[
        list[Disposition] | None,
        typer.Option(help="Only claims parked with this disposition; may be given several times."),
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Only claims parked with this reason code.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only claims of the batch with this id or file name.")] = None,
    since: Annotated[
        float | None, typer.Option(parser=moment, metavar="TIME", help="Only claims parked at or after this time.")
    ] = None,
    until: Annotated[
        float | None, typer.Option(parser=moment, metavar="TIME", help="Only claims parked before this time.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be sent again; send nothing.")] = False,
    config: Config = None,
    log_file: Annotated[
        Path | None, typer.Option("--log-file", help="Write the log here; without it only warnings go to stderr.")
    ] = None,
) -> int:
    """Send parked claims again: the same bytes, the same control numbers. Each gets a new result.

    The new result is of the next generation and names the one it supersedes. No input is touched. It works on the
    ledger as a worker does, so stop the worker first; in a ledger that a fleet shares another state.worker_name does.
    TIME is like 2026-01-31T18:00Z, or an age like 90m, 12h, 3d.
    Parked claims are those that ended as undelivered, undetermined or review, and those refused as requests. With
    api.safe_to_repeat = false only those that were undelivered or refused are sent, unless --disposition names others.

    The exit code is 0 if every claim sent again was accepted, or nothing was parked; else 1.
    """
    if since is not None and until is not None and since >= until:
        raise SettingsError(
            ["--since: must be before --until; an age is counted back from now, so the longer one first"]
        )
    settings = desk_settings_from(config, online=not dry_run)
    if not disposition and not settings.api.safe_to_repeat:
        disposition = list(SAFE_DISPOSITIONS)
    wanted = ParkedFilter(
        dispositions=tuple(one.value for one in disposition or ()),
        reason_code=reason,
        batch=batch,
        environment=settings.environment,
        parked_from=since,
        parked_before=until,
    )
    groups, unfinished = anyio.run(_look, settings, wanted)
    if dry_run:
        return _show(groups)
    if not groups and not unfinished:
        stderr().print("nothing is parked that matches; nothing was sent")
        return 0
    return _send(settings, wanted, groups, log_file, config)


async def _look(settings: Settings, wanted: ParkedFilter) -> tuple[Sequence[ParkedGroup], bool]:
    async with read_state(settings.state) as ledger:
        return await ledger.parked_groups(wanted), await has_unfinished(ledger)


def _show(groups: Sequence[ParkedGroup]) -> int:
    rows = [
        (one.batch.batch_id, one.batch.name, one.disposition, one.reason_code or "-", f"{one.claims:,}")
        for one in groups
    ]
    console = stdout()
    if rows:
        console.print(rows_table("", ("batch", "file", "disposition", "reason", "claims"), rows, right=("claims",)))
    console.print(f"{plural(sum(one.claims for one in groups), 'claim')} would be sent again")
    return 0


def _send(
    settings: Settings,
    wanted: ParkedFilter,
    groups: Sequence[ParkedGroup],
    log_file: Path | None,
    config: Path | None,
) -> int:
    batches: list[OpenBatch] = []
    tally = Tally()
    with logging_to(log_file, settings.telemetry):
        run = partial(
            work,
            settings,
            replay=wanted,
            once=True,
            tally=tally,
            observer=show_progress,
            on_settled=batches.append,
        )
        anyio.run(run, backend_options={"use_uvloop": True})
    if not groups:
        stderr().print("an earlier retry was brought to its end; nothing was left to be sent")
        return 0
    rows = [_row(batch) for batch in batches if batch.counts]
    stdout().print(rows_table("", ("file", "sent again", "results", "note"), rows, right=("sent again",)))
    left = sum(one.claims for one in groups) - tally.claims_completed
    counts = {name: count for name, count in tally.claims.items() if count}
    return conclude(counts, config, title="\nSent again", pending=left)


def _row(batch: OpenBatch) -> tuple[str, ...]:
    note = "other claims of it are still pending" if batch.partial else ""
    return (batch.batch.name, f"{batch.counts.total():,}", told(batch.counts), note)
