"""Where a command's log goes when its terminal belongs to an answer, or to progress and a summary."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os import O_APPEND, O_CREAT, O_NONBLOCK, O_WRONLY, fdopen
from os import open as open_file
from pathlib import Path

import msgspec

from worker.errors import SettingsError
from worker.settings import TelemetrySettings
from worker.telemetry.logs import configure_logs


def log_errors() -> None:
    """Log errors only, readable, to stderr: for commands that answer a question."""
    configure_logs(TelemetrySettings(log_level="error", log_format="console"), sys.stderr)


@contextmanager
def unlogged() -> Iterator[None]:
    """Log nothing of what is tried, where the command says itself how each part of it went; then errors as before."""
    with Path(os.devnull).open("wb") as nowhere:
        configure_logs(TelemetrySettings(), nowhere)
        try:
            yield
        finally:
            log_errors()


@contextmanager
def logging_to(path: Path | None, settings: TelemetrySettings) -> Iterator[None]:
    """Log to a private file; without one, only warnings, readable, to stderr.

    :raises worker.errors.SettingsError: if the file cannot be written.
    """
    if path is None:
        quiet = msgspec.structs.replace(settings, log_level="warning", log_format="console")
        configure_logs(quiet, sys.stderr)
        yield
        return
    if path == Path("-"):
        raise SettingsError(["--log-file: - is no file, and stdout has the summary; name one, /dev/stderr say"])
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Without O_NONBLOCK a FIFO waits for a reader.
        descriptor = open_file(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, 0o600)
        os.set_blocking(descriptor, True)
    except OSError as error:
        raise SettingsError([f"--log-file: {path} cannot be written: {error.strerror}"]) from None
    with fdopen(descriptor, "ab", buffering=0) as stream:
        configure_logs(settings, stream)
        yield
