"""Writes log lines, one system call each, and never raises: a broken pipe or a full disk costs lines, not claims.

A pipe whose reader has stopped reading is waited for, as with every program that logs to its standard output.
"""

import os
from typing import Any, BinaryIO, TextIO

from worker.tally import Tally

Stream = TextIO | BinaryIO


class LineWriter:
    """What structlog calls a logger: each method takes one finished line."""

    def __init__(self, stream: Stream, tally: Tally) -> None:
        self._stream = stream
        self._tally = tally
        self._torn = False
        try:
            stream.flush()
            self._descriptor: int | None = stream.fileno()
        except (AttributeError, OSError, ValueError):
            self._descriptor = None  # not a file: a test's buffer, or nothing at all

    def write(self, line: bytes) -> None:
        """Write the line, which ends with its newline; if that fails, count it."""
        try:
            if self._descriptor is None:
                self._write_stream(line)
            elif self._torn:
                self._write_rest(self._descriptor, b"\n" + line)  # half a line must not take this one in
            elif (written := os.write(self._descriptor, line)) < len(line):
                self._torn = True
                self._write_rest(self._descriptor, line[written:])
        except (OSError, ValueError, AttributeError):
            self._tally.log_lines_lost += 1

    debug = info = warning = error = critical = msg = write

    def _write_rest(self, descriptor: int, rest: bytes) -> None:
        """Write all of it; until that is done, the last line stays torn."""
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        self._torn = False

    def _write_stream(self, line: bytes) -> None:
        stream: Any = self._stream
        binary = getattr(stream, "buffer", None)
        if binary is not None:
            binary.write(line)
        else:
            _write_either(stream, line)
        stream.flush()


def _write_either(stream: Any, line: bytes) -> None:
    try:
        stream.write(line)
    except TypeError:
        stream.write(line.decode())
