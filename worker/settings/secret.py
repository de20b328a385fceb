"""Secrets: kept out of every repr and message, read from files without surprises.

A secret is a `str` wherever it is used on purpose; only its repr is masked, and msgspec's encoders refuse it,
so that dumping settings fails instead of leaking (``str(secret)`` gives the plain text back).
"""

import os
import re
import stat
from collections.abc import Mapping, Sequence

from worker.errors import SettingsError

MASK = "***"
_MOST_SECRET_BYTES = 1 << 16
_MOST_SHOWN = 80
_USER_INFO = re.compile(r"\A([a-z][a-z0-9+.-]*:(?://)?)?.*@", re.IGNORECASE | re.DOTALL)
_SECRET_PARAMETER = re.compile(r"([?&][^=&]*(?:pass|pwd|secret|token|key|sig)[^=&]*=)[^&]*", re.IGNORECASE)


class Secret(str):
    """A text whose repr does not show it."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Show that there is something, or that there is nothing."""
        return f"'{MASK}'" if self else "''"


def masked(value: object) -> str:
    """Show a setting's value in a message: credentials in URLs are left out, long ones are cut."""
    shown = _masked(value)
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}…"


def masked_url(url: str) -> str:
    """Leave out what a URL holds before its last ``@`` and in parameters that sound secret."""
    return _SECRET_PARAMETER.sub(rf"\1{MASK}", _USER_INFO.sub(rf"\g<1>{MASK}@", url))


def _masked(value: object) -> str:
    if isinstance(value, Secret):
        return repr(value)
    if isinstance(value, str):
        return repr(masked_url(value))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key!r}: {_masked(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return "[" + ", ".join(map(_masked, value)) + "]"
    return repr(value)


def read_secret(path: str, *, setting: str = "auth.client_secret_file") -> Secret:
    """Read a secret from its file, one newline at its end removed; blocking, but never for long.

    Called at the start and again for every token, so that a rotated secret is found. `setting` is what names the file.

    :raises SettingsError: if it cannot be read or is no one-line text; never with a word of its content.
    """
    try:
        content = _read_regular_file(path)
    except OSError as error:
        raise _refused(setting, path, error.strerror or type(error).__name__) from None
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise _refused(setting, path, "it is not UTF-8 text") from None
    if text.startswith("\ufeff"):
        raise _refused(setting, path, "it starts with a byte order mark; save it as UTF-8 without one")
    secret = without_newline(text)
    if not secret:
        raise _refused(setting, path, "it is empty")
    if not secret.isprintable():
        raise _refused(
            setting, path, "it holds line breaks or control characters; it must be the secret alone, on one line"
        )
    return Secret(secret)


def without_newline(text: str) -> str:
    """Remove the one newline that editors and `echo` leave at the end."""
    return text.removesuffix("\n").removesuffix("\r")


def _read_regular_file(path: str) -> bytes:
    """Read it all. Opened without blocking: a FIFO would hold the worker for ever."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is not a regular file")
        if status.st_size > _MOST_SECRET_BYTES:
            raise OSError(0, "it is too large for a secret")
        return stream.read(_MOST_SECRET_BYTES)


def _refused(setting: str, path: str, reason: str) -> SettingsError:
    return SettingsError([f"{setting}: cannot use {path!r}: {reason}"])
