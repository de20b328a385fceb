"""What `check` says of files and folders, without changing anything."""

import os
from pathlib import Path

import msgspec

from worker.errors import SettingsError
from worker.paths import in_words, kind_at, unwritable
from worker.sources.spool import look_at_spool


class Finding(msgspec.Struct, frozen=True):
    """One line: what was looked at, whether it is well, and what to do if not."""

    what: str
    ok: bool
    detail: str
    code: int = 0  # the exit code that a failure asks for


def look_at_input(folder: Path) -> Finding:
    """Look at an input folder as a worker will that opens it."""
    try:
        look_at_spool(folder.absolute())
    except SettingsError as error:
        return Finding("input", ok=False, detail=error.problems[0].removeprefix("input.url: "), code=2)
    return Finding("input", ok=True, detail=f"{folder}")


def look_at_file(what: str, path: Path) -> Finding:
    """Look at a file that is written to, or at the folder that it would be made in."""
    try:
        kind = kind_at(path)
    except OSError as error:
        return Finding(what, ok=False, detail=in_words(error, path), code=3)
    if kind == "nothing":
        return look_at_folder(what, path.parent)
    if kind != "file":
        return Finding(what, ok=False, detail=f"{path} is no regular file; name another one", code=2)
    if not os.access(path, os.R_OK | os.W_OK):
        return Finding(what, ok=False, detail=unwritable(path), code=3)
    return Finding(what, ok=True, detail=f"{path}")


def look_at_folder(what: str, folder: Path) -> Finding:
    """Look at a folder without changing anything: is it there, or could it be made, and may we write?"""
    nearest = folder
    try:
        while (kind := kind_at(nearest)) == "nothing" and nearest != nearest.parent:
            nearest = nearest.parent
    except OSError as error:
        return Finding(what, ok=False, detail=in_words(error, nearest), code=3)
    if kind != "folder" or not os.access(nearest, os.W_OK | os.X_OK):
        return Finding(what, ok=False, detail=unwritable(nearest), code=3)
    return Finding(what, ok=True, detail=f"{folder}" if nearest == folder else f"{folder} (will be made)")
