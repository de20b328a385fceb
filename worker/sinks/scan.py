"""Reading a results file back after a restart: which results it holds, and where its sound part ends.

A crash may leave a last line without its end; a power cut may leave blocks of zeros where lines had not reached
the disk. Neither can occur in a whole record (JSON text holds no NUL), so both are recognised and cut off. Any
other line that is not a record was put there by somebody else, and the file is not touched.
"""

import os
from pathlib import Path
from typing import BinaryIO

import msgspec

from worker.errors import StateError

# How `encode_result` begins every record of schema 1.
PREFIX = b'{"schema":1,"result_id":"'
MAX_LINE_BYTES = 64 << 20


class _Identified(msgspec.Struct):
    result_id: str


_DECODER = msgspec.json.Decoder(_Identified)


class Scan(msgspec.Struct):
    """What a file holds from some offset on: the ids of its results, and where the last whole record ends."""

    result_ids: set[str]
    sound_end: int


def scan(fd: int, start: int, path: Path) -> Scan:
    """Read the file open as `fd` from `start`, which is the start of a line, to its end; `path` is what it is called.

    :raises StateError: if a line is neither a record nor the trace of a crash.
    :raises OSError: if it cannot be read.
    """
    found = Scan(set(), start)
    with os.fdopen(os.dup(fd), "rb", buffering=1 << 20) as file:
        file.seek(start)
        _collect(file, found, path)
    return found


def _collect(file: BinaryIO, found: Scan, path: Path) -> None:
    while line := file.readline(MAX_LINE_BYTES):
        result_id = result_id_of(line) if line.endswith(b"\n") else None
        if result_id is not None:
            found.result_ids.add(result_id)
            found.sound_end += len(line)
        elif b"\0" in line or _torn(line):
            return
        else:
            raise StateError(
                f"sink: what stands at byte {found.sound_end} of {path} is no result; take it out, or name another file"
            )


def result_id_of(line: bytes) -> str | None:
    """Read the result's id from a line of the file; None if it is no whole record."""
    if line.startswith(PREFIX) and line.endswith(b"}\n") and b"\0" not in line:
        result_id, quote, _ = line[len(PREFIX) :].partition(b'"')
        if quote and result_id.isascii() and b"\\" not in result_id:
            return result_id.decode("ascii")
    try:
        return _DECODER.decode(line).result_id
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _torn(line: bytes) -> bool:
    """Tell whether this is the beginning of a record whose end is missing."""
    return not line.endswith(b"\n") and (line.startswith(PREFIX) or PREFIX.startswith(line))
