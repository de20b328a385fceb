"""What may stand in a log line: the allow-list of `worker.telemetry.keys`, applied to every value.

Pure functions, total by intent: whatever somebody logs, something harmless comes out.
"""

import errno
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from traceback import walk_tb
from types import FrameType, TracebackType
from typing import Any

from worker.errors import WorkerError
from worker.telemetry.events import NAMES
from worker.telemetry.keys import KEYS, Shape

WITHHELD = "[withheld]"
UNNAMED = "event.unnamed"

_MOST_CHARACTERS = 500
_MOST_ITEMS = 20
_MOST_FRAMES = 12
_BEYOND_DOUBLES = 1 << 53  # not every reader of JSON has integers beyond
_WORD = re.compile(r"[A-Za-z0-9_.:/+\-]{0,100}\Z").match
_EVENT = re.compile(r"[a-z]+(_[a-z]+)*\.[a-z]+(_[a-z]+)*\Z").match
_WORDS = frozenset(key for key, shape in KEYS.items() if shape == "word")
_HOUSE = f"{Path(__file__).parents[2]}/"


def scrub(fields: Mapping[str, Any], line: dict[str, Any]) -> list[str]:
    """Put into `line` what may be shown of `fields`, and name the keys that were dropped or withheld."""
    refused: list[str] = []
    for key, value in fields.items():
        # The common cases first: this runs for every key of every claim's line.
        kind = type(value)
        if (kind is str and key in _WORDS and _WORD(value)) or (
            kind is int and key in KEYS and -_BEYOND_DOUBLES < value < _BEYOND_DOUBLES
        ):
            line[key] = value
        elif value is None:
            continue
        elif key not in KEYS:
            refused.append(key)
        else:
            line[key] = shown = _shaped(KEYS[key], value)
            if shown == WITHHELD:
                refused.append(key)
    return refused


def event_name(event: object) -> str:
    """Let a name pass that has the form of one; anything else could be a sentence about a claim."""
    return str(event) if isinstance(event, str) and (event in NAMES or _EVENT(event)) else UNNAMED


def exception_fields(error: BaseException) -> dict[str, Any]:
    """Describe an exception without its message and without locals, which quote tokens and bodies."""
    fields: dict[str, Any] = {"error": type(error).__name__, "frames": _frames(error.__traceback__)}
    if code := _code_of(error):
        fields["error_code"] = code
    if causes := [_named(cause) for cause in _causes(error)]:
        fields["causes"] = causes[:_MOST_ITEMS]
    return fields


def frame_names(frames: Iterable[tuple[FrameType, int]]) -> list[str]:
    """Name the last frames as ``file:line``, the innermost at the end, without anything that is in them."""
    names = [f"{_short(frame.f_code.co_filename)}:{line}" for frame, line in frames]
    return names[-_MOST_FRAMES:]


def _shaped(shape: Shape, value: Any) -> Any:
    match shape, value:
        case "word" | "words", str() if _WORD(str(value)):
            return str(value)
        case "name" | "text", str():
            return _printable(str(value))
        case "words", list() | tuple() | set() | frozenset():
            return [_shaped("word", item) for item in list(value)[:_MOST_ITEMS]]
        case "counts", dict():
            return {str(key): number for key, number in value.items() if _WORD(str(key)) and isinstance(number, int)}
        case _, bool() | float():
            return value
        case _:
            return WITHHELD


def _printable(text: str) -> str:
    cut = text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"
    # Escape sequences would rewrite the terminal, lone surrogates cannot be encoded.
    return cut if cut.isprintable() else cut.encode("unicode_escape").decode("ascii")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk what led to the error: the members of a group, its cause, or what it was raised in handling."""
    seen = {id(error)}
    waiting = [error]
    while waiting and len(seen) <= _MOST_ITEMS:
        current = waiting.pop()
        members = current.exceptions if isinstance(current, BaseExceptionGroup) else ()
        context = None if current.__suppress_context__ else current.__context__
        for other in (*members, current.__cause__ or context):
            if other is not None and id(other) not in seen:
                seen.add(id(other))
                waiting.append(other)
                yield other


def _named(error: BaseException) -> str:
    code = _code_of(error)
    name = f"{type(error).__name__}:{code}" if code else type(error).__name__
    frames = _frames(error.__traceback__)
    return f"{name}:{frames[-1]}" if frames else name


def _code_of(error: BaseException) -> str | None:
    """Name our own code, or the errno; both come from closed sets."""
    if isinstance(error, WorkerError):
        code = getattr(error, "code", None)
        return code if isinstance(code, str) and _WORD(code) else None
    if isinstance(error, OSError) and error.errno is not None:
        return errno.errorcode.get(error.errno)
    return None


def _frames(trace: TracebackType | None) -> list[str]:
    return frame_names(walk_tb(trace))


def _short(path: str) -> str:
    """Name the file from its package on, without this machine's folders."""
    inside = path.removeprefix(_HOUSE) if path.startswith(_HOUSE) else path.rpartition("/site-packages/")[2]
    return inside if not inside.startswith("/") else Path(inside).name
