"""Writes log lines, and never raises: a broken pipe or a full disk costs lines, not claims.

What is logged at debug and info in one turn of the event loop goes out in one system call at its end; a warning or an
error goes out at once, and whatever waits before it. So a kill -9 costs at most the ordinary lines of one turn.

A pipe whose reader has stopped reading is waited for, as with every program that logs to its standard output.
"""

import asyncio
import os
from threading import Lock
from typing import Any, BinaryIO, TextIO

from worker.tally import Tally

Stream = TextIO | BinaryIO

MOST_GATHERED = 128


class LineWriter:
    """What structlog calls a logger: each method takes one finished line."""

    def __init__(self, stream: Stream, tally: Tally) -> None:
        self._stream = stream
        self._tally = tally
        self._torn = False
        self._gathered: list[bytes] = []
        self._turn: asyncio.AbstractEventLoop | None = None  # the loop at the end of whose turn they are written
        self._lock = Lock()
        try:
            stream.flush()
            self._descriptor: int | None = stream.fileno()
        except (AttributeError, OSError, ValueError):
            self._descriptor = None  # not a file: a test's buffer, or nothing at all

    def gather(self, line: bytes) -> None:
        """Write the line, which ends with its newline, with the others of this turn of the event loop."""
        try:
            loop = None if self._descriptor is None else asyncio.get_running_loop()
        except RuntimeError:
            loop = None  # in a thread of its own
        if loop is None:
            self.write(line)
            return
        with self._lock:
            self._gathered.append(line)
            if self._turn is not loop:
                self._turn = loop
                loop.call_soon(self.flush)
            if len(self._gathered) >= MOST_GATHERED:
                self._write_gathered()

    def write(self, line: bytes) -> None:
        """Write the line at once; if that fails, count it."""
        with self._lock:
            self._gathered.append(line)
            self._write_gathered()

    def flush(self) -> None:
        """Write what has been gathered."""
        with self._lock:
            self._turn = None
            self._write_gathered()

    debug = info = msg = gather
    warning = error = critical = write

    def _write_gathered(self) -> None:
        lines, self._gathered = self._gathered, []
        data = b"".join(lines)
        try:
            if self._descriptor is None:
                self._write_stream(data)
            elif self._torn:
                self._write_rest(self._descriptor, b"\n" + data)  # half a line must not take this one in
            elif data and (written := os.write(self._descriptor, data)) < len(data):
                self._torn = True
                self._write_rest(self._descriptor, data[written:])
        except (OSError, ValueError, AttributeError):
            self._tally.log_lines_lost += len(lines)

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
