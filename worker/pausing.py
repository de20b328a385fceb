"""An operator's pause: a small file beside the ledger, whose mere presence pauses every worker on that ledger.

A file and not a row of the ledger, because the worker holds the ledger alone: pausing must work while it runs, before
it starts, and after the disk of its ledger is full. It stays across restarts until `resume` removes it. A ledger that a
fleet shares has it as a note, which pauses the fleet.
"""

import contextlib
import os
import stat
from pathlib import Path

import msgspec

from worker.disk import explained, sync_folder
from worker.errors import SettingsError, StateError

NOTE = "pause"
MOST_REASON_CHARS = 200
_MOST_BYTES = 4096


class Pause(msgspec.Struct, frozen=True):
    """A pause that holds: since when, in seconds since the epoch, and the operator's words for why, maybe none."""

    since: float
    reason: str = ""


def pause_file(state_url: str) -> Path:
    """Name the file that pauses every worker on this state.

    :raises SettingsError: if the state is none that has a place for it.
    """
    scheme, _, path = state_url.partition(":")
    if scheme != "sqlite" or not path:
        raise SettingsError([f"state.url: a pause needs a ledger in a file, sqlite:FILE, not {scheme}:"])
    return Path(path + ".paused").absolute()


def pause(file: Path, reason: str, now: float) -> None:
    """Begin a pause, or give the one that holds another reason; durable on return.

    :raises SettingsError: if the reason is none that can be shown on one line.
    :raises StateError: if the file cannot be made.
    """
    text = written(reason, now)
    draft = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as stream:
            stream.write(text.encode())
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(file)
        sync_folder(file.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise StateError(f"pause: cannot write {file}: {explained(error)}") from None


def written(reason: str, now: float) -> str:
    """Write a pause down.

    :raises SettingsError: if the reason is none that can be shown on one line.
    """
    if len(reason) > MOST_REASON_CHARS or not reason.isprintable():
        raise SettingsError([f"--reason: must be one line of at most {MOST_REASON_CHARS} characters"])
    return msgspec.json.encode(Pause(now, reason)).decode()


def read_note(note: str | None) -> Pause | None:
    """Read what `written` wrote; what cannot be read pauses all the same."""
    if note is None:
        return None
    try:
        return msgspec.json.decode(note, type=Pause)
    except msgspec.MsgspecError:
        return Pause(0.0)


def resume(file: Path) -> bool:
    """End the pause, durable on return; whether there was one.

    :raises StateError: if the file cannot be removed.
    """
    try:
        file.unlink()
        sync_folder(file.parent)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise StateError(f"resume: cannot remove {file}: {explained(error)}") from None
    return True


def read_pause(file: Path) -> Pause | None:
    """Tell which pause holds, None for none. What is there pauses, whatever is in it; blocking, but never for long.

    :raises StateError: if it cannot be read.
    """
    try:
        found = file.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StateError(f"pause: cannot look at {file}: {explained(error)}") from None
    unreadable = Pause(found.st_mtime)
    if not stat.S_ISREG(found.st_mode):
        return unreadable
    try:
        with os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as stream:
            told = msgspec.json.decode(stream.read(_MOST_BYTES), type=Pause)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError):
        return unreadable
    return told if told.reason.isprintable() else unreadable
