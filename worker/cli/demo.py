"""`demo`: simulator, generated claims and worker together; ends by holding the results against the answers."""

import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Annotated

import anyio
import msgspec
import typer
from rich.console import Console

from worker.app import work
from worker.cli.console import disposition_table, plural, stderr, stdout
from worker.cli.demo_batches import write_batches
from worker.cli.demo_books import Books, balance, read_results
from worker.cli.logfile import logging_to
from worker.cli.options import add_command
from worker.cli.progress import show_progress
from worker.errors import SettingsError, StateError
from worker.result import Disposition, Result
from worker.settings import Settings, load
from worker.simulator.answers import Entry
from worker.sources.names import REASON_TAIL
from worker.tally import Tally

EPILOG = """Examples:

  precheck-worker demo

  precheck-worker demo --claims 20000"""

FOLDER = Path("precheck-demo")
MARKER = ".made-by-precheck-worker-demo"
FOLDERS = {"archive": "done", "quarantine": "not processed, with the reason beside each", "in": "left: not complete"}
SHOWN = (Disposition.REJECTED, Disposition.REVIEW, Disposition.UNDELIVERED, Disposition.INVALID)


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "demo", demo, EPILOG)


def demo(
    claims: Annotated[int, typer.Option(min=100, help="How many claims to generate, about.")] = 2000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same claims, verdicts and faults.")] = 1,
) -> int:
    """See it work, without any configuration: a simulated API, generated claims, faults, results.

    Everything is written under ./precheck-demo/. The exit code is 0 if the books balance: as many results as claims,
    none twice, and the verdicts that the simulator gave.
    """
    console = stderr()
    _make_folder(FOLDER)
    written = write_batches(FOLDER / "spool/in", claims=claims, seed=seed)
    console.print(
        f"{plural(written.claims, 'claim')} in {plural(written.files, 'file')} written to {FOLDER}/spool/in",
    )
    began = monotonic()
    with _simulator(seed) as origin:
        console.print(f"simulator with faults at {origin}; the worker's log is {FOLDER}/worker.log")
        settings = _settings(origin)
        tally = Tally()
        with logging_to(FOLDER / "worker.log", settings.telemetry):
            run = partial(work, settings, once=True, tally=tally, observer=show_progress)
            anyio.run(run, backend_options={"use_uvloop": True})
        if tally.stopped_by:
            # Ctrl-C in a terminal ended the simulator as well: there is nothing to hold the results against.
            done = f"{sum(tally.claims.values()):,} of {plural(written.claims, 'claim')} were checked"
            console.print(f"stopped by {tally.stopped_by}: {done}; what they got is in {FOLDER}")
            return 1
        answers = _fetch_answers(origin)
    results = read_results(FOLDER / "spool/out/results.jsonl")
    books = balance(results, answers, claims_in=written.claims)
    _summarise(results, books, tally, monotonic() - began)
    return 1 if books.problems else 0


def _settings(origin: str) -> Settings:
    spool = FOLDER / "spool"
    return load(
        None,
        {},
        {
            "environment": "simulator",
            "api.base_url": origin,
            "input.url": f"dir:{spool / 'in'}",
            "output.urls": [f"jsonl:{spool / 'out/results.jsonl'}", f"edi:{spool / 'out/edi'}"],
            "state.url": f"sqlite:{spool / 'state/ledger.db'}",
            # Seconds instead of minutes, so that what stays unanswered ends while one looks on.
            "retry.base_s": 0.1,
            "retry.max_s": 1.0,
            "telemetry.http": "",
        },
    )


def _make_folder(folder: Path) -> None:
    """Make the demo's folder anew; only one that an earlier demo made is removed."""
    try:
        if folder.exists():
            if not (folder / MARKER).is_file():
                raise SettingsError([f"demo: {folder} exists and is not from an earlier demo; move it away"])
            shutil.rmtree(folder)
        folder.mkdir(mode=0o700)
        (folder / MARKER).touch(mode=0o600)
    except OSError as error:
        raise SettingsError([f"demo: {folder} cannot be made: {error.strerror}"]) from None


@contextmanager
def _simulator(seed: int) -> Iterator[str]:
    """Run the simulator in a process of its own, as `simulate` does; gives its address."""
    command = [sys.executable, "-m", "worker", "simulate", "--profile", "demo", "--port", "0", "--seed", str(seed)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603 - ourselves
        try:
            first = process.stdout.readline() if process.stdout else ""
            if not first.startswith("simulator: "):
                raise StateError("demo: the simulator did not start; try precheck-worker simulate")
            yield first.removeprefix("simulator: ").strip()
        finally:
            process.terminate()


def _fetch_answers(origin: str) -> list[Entry]:
    with urllib.request.urlopen(f"{origin}/_simulator/answers", timeout=60) as lines:  # noqa: S310 - our own loopback
        return [msgspec.json.decode(line, type=Entry) for line in lines]


def _summarise(results: list[Result], books: Books, tally: Tally, elapsed_s: float) -> None:
    console = stdout()
    console.print(disposition_table(books.counts, title="Results"))
    _show_examples(console, results)
    _show_files(console)
    posts = sum(tally.attempts.values())
    rate = books.results / elapsed_s if elapsed_s else 0.0
    spool = FOLDER / "spool"
    console.print(
        f"\n{books.results:,} results from {posts:,} calls ({tally.retries:,} repeats) in {elapsed_s:.1f} s, "
        f"{rate:,.0f}/s; results: {spool}/out/results.jsonl, acknowledgements: {spool}/out/edi/",
    )
    if books.problems:
        console.print("The books do not balance:")
        for problem in books.problems[:20]:
            console.print(f"  {problem}")
    else:
        console.print(
            f"The books balance: every claim has one result, none twice, and {books.held:,} verdicts are "
            "those that the simulator gave.",
        )


def _show_examples(console: Console, results: list[Result]) -> None:
    console.print("\nSome of them, as a billing clerk would read them")
    for disposition in SHOWN:
        of_it = (one for one in results if one.disposition is disposition and one.reason)
        # Not the first of them: that is another one each time.
        if example := min(of_it, key=lambda one: one.patient_control_number or "", default=None):
            reason = example.reason.text if example.reason else ""
            console.print(f"  {example.patient_control_number}: {disposition.value}: {reason}")


def _show_files(console: Console) -> None:
    console.print("\nFiles")
    for name, meaning in FOLDERS.items():
        folder = FOLDER / "spool" / name
        found = (path for path in folder.rglob("*.*") if path.is_file() and not path.name.endswith(REASON_TAIL))
        console.print(f"  {folder}: {sum(1 for _ in found):,} ({meaning})")
