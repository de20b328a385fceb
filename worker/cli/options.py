"""What commands share: how they are added and end, their options, and from those to settings."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, ParamSpec

import msgspec
import typer

from worker.settings import Settings, load
from worker.signals import interrupt_when_told

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="TOML file with the settings; PRECHECK_ variables win over it."),
]

P = ParamSpec("P")


def add_command(app: typer.Typer, name: str, run: Callable[P, int], epilog: str) -> None:
    """Add a command whose function returns its exit code."""

    @wraps(run)
    def ending(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            interrupt_when_told()
            code = run(*args, **kwargs)
        except KeyboardInterrupt:
            code = 130
        raise typer.Exit(code)

    app.command(name, epilog=_unfolded(epilog))(ending)


def _unfolded(examples: str) -> str:
    """Have every example stand on one line, however long: a folded one is two commands to a shell it is pasted into."""
    return "\n\n".join(f"\b\n{paragraph}" for paragraph in examples.split("\n\n"))


def settings_from(config: Path | None, *, online: bool = True) -> Settings:
    """Load the settings of a command: file, then environment.

    :raises worker.errors.SettingsError: with every problem at once.
    """
    return load(config, os.environ, online=online)


def desk_settings_from(config: Path | None, *, online: bool = True) -> Settings:
    """Load the settings of a command that a person starts, often beside a worker: it leaves probes to that one.

    :raises worker.errors.SettingsError: with every problem at once.
    """
    settings = settings_from(config, online=online)
    return msgspec.structs.replace(settings, telemetry=msgspec.structs.replace(settings.telemetry, http=""))
