r"""File names: which are passed over, how they are shown to people, how a new one is made that is not taken yet.

Names are those the operating system gives, ``str`` with undecodable bytes as surrogates (PEP 383). They go only
where a name relative to an open folder is asked for, so ``../x`` or ``/etc/passwd`` cannot come about.
"""

import os
import re

NAME_BYTES = 255
REASON_TAIL = ".reason.json"
_HEX = re.compile("[0-9a-f]+").fullmatch
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


def original_of(entry: str) -> str:
    """Read the original name back from what `entry_for` made; "" if this is nothing of ours."""
    inode, _, name = entry.partition("-")
    return name if _HEX(inode) else ""
