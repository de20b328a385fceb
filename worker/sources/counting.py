"""Counts the files that lie in an input's folders, for people who ask beside a worker; nothing is locked or changed."""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec

from worker.sources.moves import open_folder
from worker.sources.names import REASON_TAIL, passed_over
from worker.sources.scan import walk

Counted = Callable[[os.DirEntry[str], int], bool]


class FolderCounts(msgspec.Struct, frozen=True):
    """The files that were not taken yet, and those set aside; None where that cannot be seen, as by another user."""

    folder: str
    waiting: int | None
    quarantine: str
    quarantined: int | None


def count_files(folder: Path) -> FolderCounts:
    """Count the files in the input `folder` and in its quarantine."""
    quarantine = folder.with_name("quarantine")
    return FolderCounts(str(folder), _count(folder, _meant_for_us), str(quarantine), _count(quarantine, _set_aside))


def _count(folder: Path, counted: Counted) -> int | None:
    try:
        fd = open_folder(folder, follow=True)
    except FileNotFoundError:
        return 0
    except OSError:
        return None
    try:
        with closing(walk(fd)) as entries:
            return sum(counted(entry, fd) for entry in entries)
    except OSError:
        return None
    finally:
        os.close(fd)


def _meant_for_us(entry: os.DirEntry[str], _: int) -> bool:
    return not passed_over(entry.name) and entry.is_file(follow_symlinks=False)


def _set_aside(entry: os.DirEntry[str], fd: int) -> bool:
    """Tell whether it is a batch, and no reason: what is named like a reason is a batch if it has a reason itself."""
    if not entry.name.endswith(REASON_TAIL):
        return True
    try:
        os.stat(entry.name + REASON_TAIL, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return False
    return True
