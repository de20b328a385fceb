"""`run`: the worker itself."""

from functools import partial
from typing import Annotated

import anyio
import typer

from worker.app import work
from worker.cli.options import Config, add_command, settings_from
from worker.tally import Tally
from worker.telemetry.logs import configure_logs

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

    Logs go to stdout, one JSON object a line. SIGTERM or SIGINT drains: nothing more is taken, calls under way end,
    their results are stored; a second signal ends at once and loses nothing.
    """
    settings = settings_from(config)
    tally = Tally()
    configure_logs(settings.telemetry, tally=tally)
    anyio.run(partial(work, settings, once=once, create=create, tally=tally), backend_options={"use_uvloop": True})
    return 0
