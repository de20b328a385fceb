"""`run`: the worker itself."""

from functools import partial
from typing import Annotated

import anyio
import structlog
import typer

from worker.app import work
from worker.cli.endings import ending_of
from worker.cli.options import Config, add_command, settings_from
from worker.errors import Unfinished, WorkerError
from worker.tally import Tally
from worker.telemetry.logs import configure_logs
from worker.upkeep import Interrupted

log = structlog.get_logger()

EPILOG = """Examples:

  precheck-worker run --config config/local.toml

  PRECHECK_INPUT__URL=dir:/data/in precheck-worker run --config production.toml

  precheck-worker run --once --config config/local.toml

  precheck-worker run --create --config config/redis.toml"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "run", run, EPILOG)


def run(
    config: Config = None,
    once: Annotated[
        bool, typer.Option("--once", help="End when no ready batch is left and all that was taken is settled.")
    ] = False,
    create: Annotated[
        bool, typer.Option("--create", help="Make the queues, streams, groups and tables that are missing.")
    ] = False,
) -> int:
    """Take batches from the input, check every claim, leave one result for each.

    Logs go to stdout, one JSON object a line. SIGTERM, SIGINT or a closed terminal (SIGHUP) drains: nothing more is
    taken, calls under way end, their results are stored; a second SIGTERM or SIGINT ends at once and loses nothing.
    """
    settings = settings_from(config)
    tally = Tally()
    configure_logs(settings.telemetry, tally=tally)
    try:
        anyio.run(partial(work, settings, once=once, create=create, tally=tally), backend_options={"use_uvloop": True})
    except (WorkerError, BaseExceptionGroup) as error:
        _tell(error)
        raise
    return 0


def _tell(error: BaseException) -> None:
    """Log why the worker ends: whoever watches its log may never see what it says on stderr."""
    ending = ending_of(error)
    if ending is None or isinstance(ending[0], (Interrupted, Unfinished)):
        return  # of these `worker.draining` and `worker.timed_out` tell; a failure without a name ends as a crash
    found, code = ending
    log.error("worker.failed", detail=str(found), exit_code=code)
