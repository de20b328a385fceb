"""`bench`: the performance figures on this machine, as ratios to a baseline in the same run."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from worker.bench.figures import Figure, compared
from worker.bench.growing import measure_growth
from worker.bench.latency import measure_latency
from worker.bench.peers import measure_peers, require_peers
from worker.bench.runs import measure
from worker.cli.console import rows_table, stderr
from worker.cli.limitertable import show_limiter
from worker.cli.options import add_command
from worker.cli.target import STDOUT, beside, write_json
from worker.errors import SettingsError

EPILOG = """Examples:

  precheck-worker bench --quick

  precheck-worker bench --rounds 5 --json figures.json

  precheck-worker bench --rounds 5 --compare figures.json

  precheck-worker bench --growth --latency

  precheck-worker bench --limiter --json table.json"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "bench", bench, EPILOG)


def bench(
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="A tenth of the work (with --limiter: one seed), for a first impression in a minute."
        ),
    ] = False,
    rounds: Annotated[
        int, typer.Option(min=1, help="Rounds per figure; the table shows medians. With --limiter: seeds, and means.")
    ] = 3,
    json: Annotated[
        Path | None, typer.Option("--json", help="Write the figures to this file as well, or to stdout (-).")
    ] = None,
    growth: Annotated[
        bool, typer.Option("--growth", help="Only: cost, start and recovery with a million claims in the ledger.")
    ] = False,
    latency: Annotated[
        bool, typer.Option("--latency", help="Only: what is added to each claim at 100 a second, and idle use.")
    ] = False,
    limiter: Annotated[
        bool,
        typer.Option("--limiter", help="Only: the adaptive limiter against fixed bounds, on simulated services."),
    ] = False,
    peers: Annotated[
        bool, typer.Option("--peers", help="Only: the same job by scripts and by a task queue (extra peers).")
    ] = False,
    redis: Annotated[
        str, typer.Option(help="With --peers: the Redis for the task queue.")
    ] = "redis://127.0.0.1:6379/0",
    compare: Annotated[
        Path | None, typer.Option("--compare", help="Show the change against figures that --json wrote before.")
    ] = None,
) -> int:
    """Measure splitting, throughput and waiting on this machine, each against a baseline in the same run.

    Nothing leaves this machine: a stub in a second process plays the API.
    """
    if json is not None and json != STDOUT:
        _look_at_target(json)
    if limiter:
        if compare is not None or growth or latency or peers:
            others = "--compare, --growth, --latency and --peers"
            raise SettingsError([f"--limiter: goes without {others}; it measures no machine"])
        return show_limiter(seeds=1 if quick else rounds, json=json)
    earlier = [] if compare is None else _read(compare)
    console = stderr()

    def tell(text: str) -> None:
        console.print(text)

    if peers:
        require_peers()
    figures: list[Figure] = []
    if growth:
        figures += measure_growth(quick=quick, rounds=rounds, tell=tell)
    if latency:
        figures += measure_latency(seconds=10 if quick else 30, tell=tell)
    if peers:
        figures += measure_peers(files=500 if quick else 5_000, rounds=rounds, redis=redis, tell=tell)
    if not (growth or latency or peers):
        figures = measure(quick=quick, rounds=rounds, tell=tell)
    columns = ["figure", "ratio", "target", "measured", "baseline"]
    rows = [_row(figure) for figure in figures]
    if compare is not None:
        change = compared(figures, earlier)
        columns.insert(2, "change")
        for figure, row in zip(figures, rows, strict=True):
            row.insert(2, f"x{change[figure.name]:.2f}" if figure.name in change else "-")
    beside(json).print(rows_table("", columns, rows, right=("ratio", "change", "target")))
    if json is not None:
        write_json(json, figures)
    return 0


def _read(path: Path) -> list[Figure]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Figure])
    except (OSError, msgspec.MsgspecError) as error:
        raise SettingsError(
            [f"--compare: {path} holds no figures of `bench --json` ({type(error).__name__})"]
        ) from None


def _look_at_target(path: Path) -> None:
    """See that the figures can be written, before minutes are spent on them.

    :raises SettingsError: if they cannot.
    """
    try:
        path.open("ab").close()
    except OSError as error:
        raise SettingsError([f"--json: cannot write {path}: {error.strerror}"]) from None


def _row(figure: Figure) -> list[str]:
    ratio = "-" if figure.ratio is None else f"{figure.ratio:.2f}"
    target = "-" if figure.target is None else f">= {figure.target:.2f}"
    return [figure.name, ratio, target, figure.measured, figure.baseline]
