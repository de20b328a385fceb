"""The command line: argv to settings to exit code; one thin module per command.

======== =====================================================================================
0        fine
1        done, but not every claim was accepted (`submit`, `retry`), or the books do not balance (`demo`),
         or flow.once_timeout_s was reached
2        the configuration or the command line is wrong
3        the state or a sink cannot be used, an answer cannot be written, or a run's books do not balance
4        the credentials are refused
130, 143 ended at once by a second SIGINT or SIGTERM, or by one while it started
141      whoever read the answer had enough of it (`head`): what the shell says of its own tools then
======== =====================================================================================
"""

import errno
import signal
import sys

import typer

from worker import __version__
from worker.cli import (
    bench,
    check,
    demo,
    enqueue,
    inspect,
    pause,
    report,
    results,
    retry,
    run,
    simulate,
    status,
    submit,
)
from worker.cli.console import complain
from worker.cli.endings import ending_of
from worker.cli.logfile import log_errors
from worker.cli.streams import prepare_streams
from worker.errors import StateError, WorkerError
from worker.telemetry.logs import log_crashes
from worker.upkeep import Interrupted

__all__ = ["main"]

app = typer.Typer(
    name="precheck-worker",
    help="Sends X12 837 claims through a Claim Pre-Check API, one call a claim, and leaves one true result for each.",
    epilog="First steps: precheck-worker demo. Every command has examples in its --help.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # rich tracebacks print local variables, and those hold claims
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


_UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"precheck-worker {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    pass


for command in (demo, run, submit, enqueue, retry, inspect, check, status, pause, results, report, simulate, bench):
    command.register(app)


def main() -> None:
    """Run the command line and leave with its exit code."""
    prepare_streams()
    # Commands that answer a question log nothing but errors; those that work say where their log goes.
    log_errors()
    log_crashes()
    try:
        code = run_command_line(sys.argv[1:])
    except BaseException:
        log_crashes()  # typer puts a hook of its own in its place, which prints what errors say, of claims as well
        raise
    sys.exit(code)


def run_command_line(arguments: list[str]) -> int:
    """Run one command; every failure that has a name ends in a message and its exit code."""
    try:
        app(arguments)
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # typer leaves with 1 then, which here means something
            return 128 + signal.SIGPIPE
        return end.code if isinstance(end.code, int) else 2
    except (WorkerError, Interrupted, BaseExceptionGroup) as error:
        return _exit_code(error)
    except OSError as error:
        # Nobody else writes without a name, or without saying himself what went wrong.
        if error.errno not in _UNWRITTEN or error.filename is not None:
            raise
        complain(StateError(f"the answer cannot be written: {error.strerror}"))
        return 3
    return 0


def _exit_code(error: BaseException) -> int:
    """Say what ended the run; anything unknown is raised again."""
    ending = ending_of(error)
    if ending is None:
        raise error
    found, code = ending
    if not isinstance(found, Interrupted):
        complain(found)
    return code
