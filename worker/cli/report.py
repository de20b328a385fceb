"""`report`: results as one HTML page with charts, for people who do not read ledgers."""

import os
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import anyio
import typer

from worker.cli.console import MEANINGS, NO_RESULTS, plural, stderr
from worker.cli.options import Config, add_command, settings_from
from worker.cli.results import Wanted, read, whole, without_phi
from worker.cli.target import STDOUT, beside
from worker.errors import SettingsError
from worker.ledger import ParkedFilter, read_state
from worker.paths import kind_at
from worker.reconciliation import Listing, balances
from worker.reporting import Figures, Report, render
from worker.result import Disposition
from worker.settings import Settings

EPILOG = """Examples:

  precheck-worker report --config production.toml

  precheck-worker report --batch claims-0117.837 --output claims-0117.html --force

  precheck-worker report --disposition rejected --disposition review --output to-correct.html"""

BATCHES = 200


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "report", report, EPILOG)


def report(
    disposition: Annotated[
        list[Disposition] | None, typer.Option(help="Only results of this disposition; may be given several times.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Only results with this reason code.")] = None,
    batch: Annotated[str | None, typer.Option(help="Only results of the batch with this id or file name.")] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file to write, readable by you alone, or - for stdout.")
    ] = Path("precheck-report.html"),
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
    show_phi: Annotated[
        bool, typer.Option("--show-phi", help="Show identifiers in full; the page is PHI then.")
    ] = False,
    config: Config = None,
) -> int:
    """Write an HTML report: dispositions, reasons, payers, latency, attempts, throughput, parked claims, batches.

    One file that stands by itself: nothing is fetched, no script runs. The worker may be running; nothing is locked or
    changed. Identifiers of patients and providers are masked, and what the payer wrote is left out, unless you add
    --show-phi.
    """
    settings = settings_from(config, online=False)
    if output != STDOUT and not force and os.path.lexists(output):
        raise _taken(output)
    wanted = Wanted(frozenset(disposition or ()), reason, batch, None)
    made = anyio.run(_made, settings, wanted, show_phi, str(config or ""))
    page = render(made).encode("utf-8", "backslashreplace")
    if output == STDOUT:
        typer.echo(page, nl=False)
    else:
        _write(output, page, force=force)
    beside(output).print(f"{'stdout' if output == STDOUT else output}: {plural(made.figures.claims, 'claim')}")
    if not made.figures.claims:
        stderr().print(NO_RESULTS)
    return 0


async def _made(settings: Settings, wanted: Wanted, show_phi: bool, config: str) -> Report:
    figures = Figures()
    shown = whole if show_phi else without_phi(settings)
    async for result in read(settings, wanted):
        figures.add(shown(result))
    parked = ParkedFilter(
        dispositions=tuple(sorted(wanted.dispositions)), reason_code=wanted.reason_code, batch=wanted.batch
    )
    listing = Listing(BATCHES)
    async with read_state(settings.state) as ledger:
        groups = await ledger.parked_groups(parked)
        async for one in balances(ledger):
            if wanted.batch in (None, one.batch.batch_id, one.batch.name):
                listing.add(one)
    return Report(
        figures=figures,
        parked=groups,
        batches=listing.shown(),
        meanings=MEANINGS,
        made_at=datetime.now(UTC).isoformat(),
        filters=_in_words(wanted),
        masked=not show_phi,
        config=config,
    )


def _in_words(wanted: Wanted) -> str:
    parts = [f"only {', '.join(sorted(wanted.dispositions))}"] if wanted.dispositions else []
    parts += [f"reason {wanted.reason_code}"] if wanted.reason_code else []
    parts += [f"batch {wanted.batch}"] if wanted.batch else []
    return ", ".join(parts)


def _write(target: Path, page: bytes, *, force: bool) -> None:
    """Let the file appear whole, for its owner alone; what is there is replaced only by force.

    :raises SettingsError: if it is there, or cannot be written.
    """
    try:
        if kind_at(target) not in ("nothing", "file"):  # a rename would put the page in the place of a pipe or device
            raise SettingsError([f"--output: cannot write {target}: it is no regular file"])
        fd, draft = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)  # 0600
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(page)
                file.flush()
                os.fsync(fd)
            if force:
                os.replace(draft, target)  # noqa: PTH105 - beside os.link
            else:
                os.link(draft, target)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(draft)  # noqa: PTH108 - beside os.link
    except FileExistsError:
        raise _taken(target) from None
    except OSError as error:
        raise SettingsError([f"--output: cannot write {target}: {error.strerror}"]) from None


def _taken(target: Path) -> SettingsError:
    return SettingsError([f"--output: {target} is already there; --force replaces it"])
