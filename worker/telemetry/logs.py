"""Logs: structlog and the standard library's logging, both through one allow-list to one stream.

A line is ``ts``, ``level``, ``event`` and then keys of the allow-list (`worker.telemetry.keys`). What is not on
the allow-list is left out and counted; an exception becomes its class, our code and ``file:line``; a library's
line becomes its logger's name. Nothing here raises into the work.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from types import TracebackType
from typing import Any

import msgspec
import structlog

from worker.settings import TelemetrySettings
from worker.tally import Tally
from worker.telemetry.lines import LineWriter, Stream
from worker.telemetry.scrub import event_name, exception_fields, scrub

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

Render = Callable[[dict[str, Any]], bytes]


class UnknownKey(ValueError):
    """A log call used a key or a value that is not on the allow-list; raised in tests only."""


def configure_logs(
    settings: TelemetrySettings,
    stream: Stream | None = None,
    *,
    tally: Tally | None = None,
    strict: bool = False,
) -> None:
    """Send all logging of this process to `stream`, standard output if None; call it once, before any logging.

    Lost lines and withheld values are counted in `tally`. `strict` raises `UnknownKey` instead, for tests.
    """
    target = sys.stdout if stream is None else stream
    counts = tally or Tally()
    writer = LineWriter(target, counts)
    render = _json_renderer() if settings.log_format == "json" else _console_renderer(target)
    structlog.configure(
        processors=[_Pipeline(render, counts, strict=strict)],
        wrapper_class=_logger_class(_LEVELS[settings.log_level]),
        context_class=dict,
        logger_factory=lambda *_: writer,
        # Cached, a module's logger would keep stream and level of its first use for ever. What logs a line per claim
        # binds a logger of its own when it is made, and so saves the same 1.6 µs.
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_LibraryHandler()]
    root.setLevel(max(_LEVELS[settings.log_level], logging.WARNING))
    logging.captureWarnings(capture=True)


def log_crashes() -> None:
    """Log what would be printed by Python itself, messages and all: for the process's entry point only."""

    def crashed(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        structlog.get_logger().error("task.failed", task="process", exc_info=(kind, error, trace))

    sys.excepthook = crashed
    sys.unraisablehook = lambda found: crashed(found.exc_type, found.exc_value, found.exc_traceback)
    threading.excepthook = lambda found: crashed(found.exc_type, found.exc_value, found.exc_traceback)


class _StraightLogger(structlog.BoundLoggerBase):
    """Hands the keys of a call to the processors as they are; structlog copies them three times on the way."""

    def _proxy_to_logger(self, method_name: str, event: str | None = None, **fields: Any) -> Any:
        return self._hand_on(method_name, event, fields)

    def _hand_on(self, method_name: str, event: str | None, fields: dict[str, Any]) -> Any:
        line: Any = {**self._context, **fields} if self._context else fields
        line["event"] = event
        try:
            for process in self._processors:
                line = process(self._logger, method_name, line)
        except structlog.DropEvent:
            return None
        return getattr(self._logger, method_name)(line)


def _logger_class(level: int) -> type[structlog.typing.FilteringBoundLogger]:
    straight = {name: _method(name) for name, number in _LEVELS.items() if number >= level}
    return type("Logger", (_StraightLogger, structlog.make_filtering_bound_logger(level)), straight)


def _method(name: str) -> Callable[..., Any]:
    def log(self: _StraightLogger, event: str | None = None, *_: object, **fields: Any) -> Any:
        return self._hand_on(name, event, fields)

    log.__name__ = name
    return log


class _Pipeline:
    """The one processor: from a call's event and keys to the finished line."""

    def __init__(self, render: Render, tally: Tally, *, strict: bool) -> None:
        self._render = render
        self._tally = tally
        self._strict = strict
        self._clock = _Clock()

    def __call__(self, _logger: object, level: str, fields: MutableMapping[str, Any]) -> bytes:
        """Make the line; whatever is in `fields`, this returns."""
        event = fields.pop("event", "")
        name = event_name(event)
        line: dict[str, Any] = {"ts": self._clock.now(), "level": level, "event": name}
        error = _error_of(fields.pop("exc_info")) if "exc_info" in fields else None
        refused = scrub(fields, line)
        if name != event:
            refused.append("event")
        if error is not None:
            line.update(exception_fields(error))
        if refused:
            self._refuse(refused)
        return self._render(line)

    def _refuse(self, refused: list[str]) -> None:
        if self._strict:
            raise UnknownKey(f"not on the allow-list of logs: {', '.join(refused)}")
        self._tally.log_values_withheld += len(refused)


class _Clock:
    """Tells the time as ISO 8601 in UTC; the text of a second is made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{int((now - second) * 1000):03d}Z"


class _LibraryHandler(logging.Handler):
    """Takes what libraries log. Their texts quote tokens, headers and bodies: only the logger's name is passed on."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        write = log.error if record.levelno >= logging.ERROR else log.warning
        write("library.logged", library=record.name, exc_info=record.exc_info)


def _error_of(exc_info: object) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple) and len(exc_info) == 3:
        return exc_info[1] if isinstance(exc_info[1], BaseException) else None
    return sys.exception() if exc_info else None


def _json_renderer() -> Render:
    encode = msgspec.json.Encoder().encode
    return lambda line: encode(line) + b"\n"


def _console_renderer(stream: Stream) -> Render:
    renderer = structlog.dev.ConsoleRenderer(
        colors=bool(getattr(stream, "isatty", lambda: False)()),
        timestamp_key="ts",
        exception_formatter=structlog.dev.plain_traceback,
    )
    return lambda line: f"{renderer(None, '', line)}\n".encode()
