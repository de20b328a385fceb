"""`status`: batches and counts, read from the ledger beside a running worker."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import anyio
import msgspec
import typer

from worker.cli.console import command, disposition_table, plural, rows_table, stdout
from worker.cli.options import Config, add_command, settings_from
from worker.cli.summary import told
from worker.drafting import in_utc
from worker.ledger import Balance, FleetReads, is_held, ledger_file, read_state
from worker.limits import LIMIT_NOW, LimitNow, read_limit
from worker.pausing import Pause
from worker.ports import BatchSummary
from worker.reconciliation import Books, Listing, balances
from worker.settings import Settings
from worker.sources.counting import FolderCounts, count_files
from worker.upkeep import pause_of

EPILOG = """Examples:

  precheck-worker status --config config/local.toml

  precheck-worker status --open --json

  precheck-worker status --reconcile"""

COLUMNS = ("batch", "file", "received", "state", "claims", "answered", "in retry", "parked")
TIMES = ("received_at", "since", "noted_at")
BALANCE_COLUMNS = ("batch", "file", "state", "claims in", "results", "pending", "parked", "books")


class State(msgspec.Struct, frozen=True):
    """What `status` tells: the totals of all batches by disposition, the newest batches, a pause, the limit, the files.

    `input` is null where the input is no folder, `running` where this user cannot know whether a worker is at work on
    the ledger; `workers` names those that are, on a shared one.
    """

    totals: dict[str, int]
    batches: list[BatchSummary]
    paused: Pause | None = None
    limit: LimitNow | None = None
    input: FolderCounts | None = None
    running: bool | None = None
    workers: Sequence[str] | None = None


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "status", status, EPILOG)


def status(
    config: Config = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only batches that are still being worked on.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many batches to show, newest first.")] = 20,
    reconcile: Annotated[
        bool, typer.Option("--reconcile", help="Balance the books of every batch: claims in = results + pending.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
) -> int:
    """Show batches and counts. The worker may be running; nothing is locked or changed.

    The exit code is 3 if --reconcile finds books that do not balance; those batches are always shown.
    """
    settings = settings_from(config, online=False)
    if reconcile:
        return _tell_balances(*anyio.run(_balance, settings, only_open, limit), as_json=as_json)
    state = anyio.run(_read, settings, only_open, limit)
    if as_json:
        _tell_as_json(state)
        return 0
    console = stdout()
    if state.paused is not None:
        told = f"paused since {_time(state.paused.since)}: {state.paused.reason or 'no reason given'}"
        console.print(f"{told}; go on with: {command('resume', config)}\n")
    console.print(rows_table("", COLUMNS, map(_row, state.batches), right=("claims", "answered", "in retry", "parked")))
    console.print(disposition_table(state.totals, title="\nAll batches"))
    if state.input is not None:
        console.print(f"\n{_folder_line(state.input)}")
    if (now := state.limit) is not None:
        reason = now.reason.replace("_", " ")
        console.print(f"\ncalls allowed in flight: {now.limit:,} ({reason}), noted {_time(now.noted_at)}")
        if now.gate not in ("", "operator"):
            told = "the worker's log says what to do (gate.shut), and when it goes on (gate.opened)"
            console.print(f"submission was paused then: {now.gate}; {told}")
    if state.running is not None:
        console.print(f"\n{_running_line(state.running, state.workers)}")
    return 0


async def _read(settings: Settings, only_open: bool, limit: int) -> State:
    async with read_state(settings.state) as ledger:
        paused = await pause_of(settings.state.url, ledger)()
        summaries = list(await ledger.summaries(open_only=only_open, limit=limit))
        now = read_limit(await ledger.noted(LIMIT_NOW))
        workers = await ledger.living() if isinstance(ledger, FleetReads) else None
        running = is_held(ledger_file(settings.state)) if workers is None else bool(workers)
        files = _files(settings.input.url)
        return State(await ledger.totals(), summaries, paused, now, files, running, workers)


def _files(url: str) -> FolderCounts | None:
    scheme, _, folder = url.partition(":")
    return count_files(Path(folder)) if scheme == "dir" else None


def _folder_line(files: FolderCounts) -> str:
    way_out = ", the reason beside each: correct and deliver again" if files.quarantined else ""
    waiting, aside = _counted(files.waiting, "not taken yet"), _counted(files.quarantined, "set aside")
    return f"{files.folder}: {waiting}; {files.quarantine}: {aside}{way_out}"


def _running_line(running: bool, workers: Sequence[str] | None) -> str:
    if not running:
        return "no worker is running on this ledger"
    return f"running on this ledger: {', '.join(workers)}" if workers else "a worker is running on this ledger"


def _counted(files: int | None, what: str) -> str:
    return "this user may not look there" if files is None else f"{plural(files, 'file')} {what}"


class Reconciliation(msgspec.Struct, frozen=True):
    """What `status --reconcile` tells: sums over all batches, and the batches that do not balance or are newest."""

    batches: int
    claims: int
    results: int
    pending: int
    parked: int
    unbalanced: int
    shown: list[Balance]


async def _balance(settings: Settings, only_open: bool, limit: int) -> tuple[Books, list[Balance]]:
    books = Books()
    listing = Listing(limit)
    async with read_state(settings.state) as ledger:
        async for one in balances(ledger):
            if only_open and one.done:
                continue
            books.add(one)
            listing.add(one)
    return books, listing.shown()


def _tell_balances(books: Books, shown: list[Balance], *, as_json: bool) -> int:
    if as_json:
        results = books.results.total()
        sums = (books.batches, books.claims, results, books.pending, books.parked, books.unbalanced)
        _tell_as_json(Reconciliation(*sums, shown))
    else:
        console = stdout()
        right = ("claims in", "pending", "parked")
        console.print(rows_table("", BALANCE_COLUMNS, map(_balance_row, shown), right=right))
        equation = f"{books.claims:,} claims in = {books.results.total():,} results + {books.pending:,} pending"
        verdict = f"{plural(books.unbalanced, 'batch')} of {books.batches:,} do not balance"
        console.print(f"\n{equation} ({books.parked:,} of the results parked)")
        console.print(verdict if books.unbalanced else f"the books of all {books.batches:,} balance")
    return 3 if books.unbalanced else 0


def _tell_as_json(state: State | Reconciliation) -> None:
    typer.echo(msgspec.json.encode(_timed(msgspec.to_builtins(state))).decode())


def _timed(value: Any) -> Any:
    """Write times as the result record has them; kept they are seconds since the epoch."""
    if isinstance(value, dict):
        return {key: in_utc(one) if key in TIMES and one is not None else _timed(one) for key, one in value.items()}
    return [_timed(one) for one in value] if isinstance(value, list) else value


def _balance_row(one: Balance) -> tuple[str, ...]:
    return (
        one.batch.batch_id,
        one.batch.name,
        "done" if one.done else "open",
        "?" if one.claims is None else f"{one.claims:,}",
        told(one.results),
        f"{one.pending:,}",
        f"{one.parked:,}",
        one.problem or "balanced",
    )


def _row(summary: BatchSummary) -> tuple[str, ...]:
    return (
        summary.batch.batch_id,
        summary.batch.name,
        _time(summary.batch.received_at),
        summary.state,
        "?" if summary.total is None else f"{summary.total:,}",
        f"{sum(summary.counts.values()):,}",
        f"{summary.in_retry:,}",
        f"{summary.parked:,}",
    )


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
