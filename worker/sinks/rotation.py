"""Beginning a new results file: when, under which name the full one stays, and the steps in between.

::

    results.jsonl                           the one being written
    results-20261124T235959.123Z.jsonl      one that was set aside; the name says when its last result was written
    .results.jsonl.next                     the new one before it has its name: empty, only while a step is taken

The full file gets its second name by a hard link, which overwrites nothing; then the new one takes the first name
in one rename. So a file stands under the first name at every moment, and a crash leaves either the old one with two
names (`half_done`; the next start takes the last step) or the new one.
"""

import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qsl

import msgspec

from worker import disk
from worker.crashpoint import crashpoint
from worker.errors import SettingsError
from worker.sinks import files

LEAST_BYTES = 1_000
STAMP = "%Y%m%dT%H%M%S.%f"
_STAMPED = re.compile(r"-(\d{8}T\d{6}\.\d{3})Z", re.ASCII)
_SIZE = re.compile(r"([1-9]\d{0,14})(kB|MB|GB|)\Z", re.ASCII)
_UNITS = {"": 1, "kB": 1_000, "MB": 1_000_000, "GB": 1_000_000_000}
_MADE_ANEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC


class Rotation(msgspec.Struct, frozen=True):
    """When to begin a new file: once it holds so many bytes (0: however many), or with the first result of a day."""

    at_bytes: int = 0
    daily: bool = False

    def due(self, size: int, written_at: float, now: float) -> bool:
        """Tell whether a file of `size` bytes, last written at `written_at`, is to be set aside before the next write.

        Times are seconds since the epoch, days those of UTC.
        """
        # Not "earlier than": a clock that was wrong for a while must not put rotation off for years.
        aged = self.daily and _utc(written_at).date() != _utc(now).date()
        return size > 0 and (aged or 0 < self.at_bytes <= size)


NO_ROTATION = Rotation()


def parse_rotation(query: str) -> Rotation:
    """Read what follows the question mark in the sink's url: nothing, ``rotate=100MB`` or ``rotate=daily``.

    :raises worker.errors.SettingsError: if it is neither, or a size of less than `LEAST_BYTES`.
    """
    if not query:
        return NO_ROTATION
    match parse_qsl(query, keep_blank_values=True):
        case [("rotate", "daily")]:
            return Rotation(daily=True)
        case [("rotate", text)] if size := _SIZE.match(text):
            if (at_bytes := int(size[1]) * _UNITS[size[2]]) < LEAST_BYTES:
                meant = "less than one result takes; without a unit they are bytes, as in rotate=100MB"
                raise SettingsError(
                    [f"output.urls: jsonl: with rotate={text} is a file of {at_bytes:,} bytes, {meant}"]
                )
            return Rotation(at_bytes=at_bytes)
        case _:
            raise SettingsError(
                ["output.urls: what follows the ? of jsonl: must be rotate=100MB (kB, GB) or rotate=daily"]
            )


def set_aside_files(path: Path) -> Sequence[Path]:
    """Name the files that were set aside from `path` and are still there, the oldest first.

    :raises OSError: if the folder cannot be read.
    """
    return sorted(beside for beside in path.parent.iterdir() if _stamp(beside, path) is not None)


def half_done(path: Path, fd: int) -> bool:
    """Tell whether the file open as `fd` under `path` has the name of one set aside already.

    :raises OSError: if that cannot be told.
    """
    here = os.fstat(fd)
    return here.st_nlink > 1 and any(_is(beside, here) for beside in set_aside_files(path))


def set_aside(path: Path, fd: int, written_at: float) -> int:
    """Give the file open as `fd` under `path` a name of its own; returns the new one under `path`, open and locked.

    `written_at` is when something was last written to it; everything in it is whole and on disk.
    Call it again with the same after an error that can be waited for; what was done is not done twice.

    :raises OSError: if that fails. The new file may have its name already.
    :raises worker.errors.StateError: if the new file cannot be locked.
    """
    draft = path.with_name(f".{path.name}.next")
    draft.unlink(missing_ok=True)
    fresh = os.open(draft, _MADE_ANEW, 0o600)
    try:
        files.hold(fresh, path)
        crashpoint("rotation_drafted")
        if not half_done(path, fd):
            path.with_name(_name_for(path, written_at)).hardlink_to(path)
        disk.sync_folder(path.parent)
        crashpoint("rotation_linked")
        draft.rename(path)
        crashpoint("rotation_renamed")
        disk.sync_folder(path.parent)
        crashpoint("rotation_synced")
    except BaseException:
        os.close(fresh)
        raise
    return fresh


def _name_for(path: Path, written_at: float) -> str:
    """Make a name that sorts after all there are: whatever the clock did, names keep the order of the files."""
    stamp = _utc(written_at).strftime(STAMP)[:-3]
    newest = max((_stamp(beside, path) or "" for beside in set_aside_files(path)), default="")
    if stamp <= newest:
        following = datetime.strptime(newest, STAMP).replace(tzinfo=UTC) + timedelta(milliseconds=1)
        stamp = following.strftime(STAMP)[:-3]
    return f"{path.stem}-{stamp}Z{path.suffix}"


def _stamp(beside: Path, path: Path) -> str | None:
    """Read from its name when a file that was set aside from `path` was last written; None if it is none."""
    if not (beside.name.startswith(path.stem) and beside.name.endswith(path.suffix)):
        return None
    found = _STAMPED.fullmatch(beside.name, len(path.stem), len(beside.name) - len(path.suffix))
    return None if found is None else found[1]


def _is(path: Path, here: os.stat_result) -> bool:
    try:
        there = path.lstat()
    except FileNotFoundError:  # files that were set aside may be taken away at any time
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
