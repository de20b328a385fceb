"""Going through a folder's names a few at a time, round and round, whatever their number."""

import os
from collections.abc import Generator
from contextlib import closing
from itertools import islice

from worker.sources.moves import open_folder
from worker.sources.names import displayed, passed_over

Entries = Generator[os.DirEntry[str], None, None]


def walk(folder_fd: int) -> Entries:
    """Go through an open folder's entries, holding a few at a time; close it if it is not used up."""
    fd = open_folder(".", within=folder_fd)  # of its own: two walks over one descriptor would share one position
    try:
        with os.scandir(fd) as entries:
            yield from entries
    finally:
        os.close(fd)


def names_in(folder_fd: int) -> list[str]:
    """List an open folder's names, where they are few."""
    return [entry.name for entry in walk(folder_fd)]


def files_in(folder_fd: int, most: int) -> list[str]:
    """Show the names of the files in an open folder that are meant for us, in order, but not more than `most`."""
    with closing(walk(folder_fd)) as entries:
        ours = (entry for entry in entries if not passed_over(entry.name) and entry.is_file(follow_symlinks=False))
        return sorted(displayed(entry.name) for entry in islice(ours, most))


class Scan:
    """One pass after another over one folder. A pass goes on where it was left, so no name is starved.

    `passed` counts the passes begun.
    """

    def __init__(self, folder_fd: int) -> None:
        self._folder = folder_fd
        self._pass: Entries | None = None
        self.passed = 0

    @property
    def under_way(self) -> bool:
        """Tell whether a pass was begun and not ended."""
        return self._pass is not None

    def entries(self) -> Entries:
        """Go on with the pass, or begin the next; call `end` where the iteration ends by itself."""
        if self._pass is None:
            self.passed += 1
            self._pass = walk(self._folder)
        return self._pass

    def end(self) -> None:
        """End the pass, wherever it is; the next entry is the first of another."""
        if self._pass is not None:
            self._pass.close()
            self._pass = None
