r"""File names: which are passed over, how they are shown to people, how a new one is made that is not taken yet.

Names are those the operating system gives, ``str`` with undecodable bytes as surrogates (PEP 383). They go only
where a name relative to an open folder is asked for, so ``../x`` or ``/etc/passwd`` cannot come about.
"""

import os
import re
from typing import NamedTuple

NAME_BYTES = 255
REASON_TAIL = ".reason.json"
_HEAD = re.compile(r"([0-9a-f]+)(?:\.(\d+)\.(\d+)(\.r)?)?")
_PASSED_OVER = (".tmp", ".part")


def passed_over(name: str) -> bool:
    """Tell whether the name says that its file is not meant for us (yet)."""
    return name.startswith(".") or name.endswith(_PASSED_OVER)


def displayed(name: str) -> str:
    r"""Show a name on one line of any terminal: undecodable bytes as ``\xNN``, control characters escaped."""
    if name.isprintable():
        return name
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def numbered(name: str, number: int, *, room: int = NAME_BYTES) -> str:
    """Make the `number`-th name after `name`: itself for 1, then ``NAME.2``, ``NAME.3`` …, within `room` bytes."""
    suffix = "" if number == 1 else f".{number}"
    if 4 * len(name) + len(suffix) <= room:  # no character takes more than four bytes
        return name + suffix
    return os.fsdecode(os.fsencode(name)[: room - len(suffix)]) + suffix


def entry_for(inode: int, name: str) -> str:
    """Name a file's entry in a work folder: unique there, and the original name can be read from it."""
    return f"{inode:x}-{name}"


class Counts(NamedTuple):
    """What an entry's name tells: its inode, how often it was begun again in a row, the answers it had then.

    `at_rest`: its worker has ended in order since, so nobody died of it. None of it is there for one never begun again.
    """

    inode: str
    begun: int = 0
    answered: int = 0
    at_rest: bool = False


def head_for(counts: Counts) -> str:
    """Begin an entry's name anew."""
    return f"{counts.inode}.{counts.begun}.{counts.answered}{'.r' if counts.at_rest else ''}"


def original_of(entry: str) -> str:
    """Read the original name back from an entry; "" if this is nothing of ours."""
    head, _, name = entry.partition("-")
    return name if _HEAD.fullmatch(head) else ""


def counts_of(entry: str) -> Counts:
    """Read what the beginning of an entry's name tells."""
    found = _HEAD.match(entry)
    if found is None:
        raise ValueError("not an entry of a work folder")
    return Counts(found[1], int(found[2] or 0), int(found[3] or 0), found[4] is not None)


def is_at_rest(entry: str) -> bool:
    """Tell whether the batch of this entry, if it is one, was left by a worker that ended in order."""
    found = _HEAD.match(entry)
    return found is not None and found[4] is not None
