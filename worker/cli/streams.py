"""The standard streams as commands need them: open, and able to show any name."""

import io
import os
import sys


def prepare_streams() -> None:
    """Open the streams that the caller has closed, and let none fail over a character that it cannot encode.

    A descriptor left closed would be the next one that is opened, a file of results say, and what a library writes to
    the stream would go there.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest free one, which is `fd`
    sys.stdin = sys.stdin or _opened(0)
    sys.stdout = sys.stdout or _opened(1)
    sys.stderr = sys.stderr or _opened(2)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _opened(fd: int) -> io.TextIOWrapper:
    return os.fdopen(fd, "w" if fd else "r", encoding="utf-8", closefd=False)
