"""`pause` and `resume`: an operator stops all submission and lets it go on, whether a worker runs or not."""

import time
from typing import Annotated

import anyio
import typer

from worker import pausing
from worker.cli.console import command, stdout
from worker.cli.options import Config, add_command, settings_from
from worker.ledger import is_shared, note_for_fleet

PAUSE_EPILOG = """Examples:

  precheck-worker pause --reason "vendor maintenance until 22:00" --config production.toml"""

RESUME_EPILOG = """Examples:

  precheck-worker resume --config production.toml"""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add_command(app, "pause", pause, PAUSE_EPILOG)
    add_command(app, "resume", resume, RESUME_EPILOG)


def pause(
    config: Config = None,
    reason: Annotated[str, typer.Option(help="Why, for `status` and the log; one line without claim data.")] = "",
) -> int:
    """Begin no further call, until `resume`. Holds for a worker that runs and for one that starts later.

    A running worker notices within a second or two: calls under way end, their results are stored, nothing more is
    taken from the input, and it is not ready. Workers that share a ledger are paused together.
    """
    state = settings_from(config, online=False).state
    if is_shared(state):
        anyio.run(note_for_fleet, state, pausing.NOTE, pausing.written(reason, time.time()))
        place = "a note in the ledger, all who share it"
    else:
        file = pausing.pause_file(state.url)
        pausing.pause(file, reason, time.time())
        place = str(file)
    stdout().print(f"paused by {place}; go on with: {command('resume', config)}")
    return 0


def resume(config: Config = None) -> int:
    """End the pause of `pause`. Other reasons for a shut gate, like an outage, stay what they are."""
    state = settings_from(config, online=False).state
    if is_shared(state):
        was_paused = anyio.run(note_for_fleet, state, pausing.NOTE, None)
    else:
        was_paused = pausing.resume(pausing.pause_file(state.url))
    stdout().print("resumed" if was_paused else "was not paused")
    return 0
