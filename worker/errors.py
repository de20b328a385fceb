"""Every way in which work can fail, as one closed tree.

::

    WorkerError
     ├── SettingsError          a setting is missing, unknown or wrong                  exit 2
     ├── StateError             the ledger or a sink cannot be used                      exit 3
     │    ├── StateHeld         … because another process has it
     │    └── StorageFull       … for now: no room; pause, keep what was received, try again
     │         └── SinkUnavailable   … for now: it cannot be reached (a broker or a database is down)
     ├── CredentialsRefused     the token endpoint or the API refuses who we are         exit 4
     ├── Unfinished             a bounded run ended before its work was                   exit 1
     ├── SourceUnavailable      the input cannot be reached for now; pause and try again
     ├── FleetUnavailable       the fleet's shared limits cannot be asked for now; the share holds
     ├── TokenUnavailable       no token for now; nothing was sent
     └── AttemptFailed          one POST ended without an answer
          ├── NotSent           … and no byte of the claim can have been processed
          └── Ambiguous         … and nobody can know whether it was processed

An exception means *no answer*; a refusal by the API is a value (``worker.result.Verdict``). Foreign exceptions
are translated where they enter, ``from None``: their texts quote tokens and bodies. A message here is
``what: detail``, lower case, without claim data.
"""

import os
import socket
import ssl
from collections.abc import Iterator


class WorkerError(Exception):
    """Anything this worker raises on purpose."""


class SettingsError(WorkerError):
    """One or more settings are wrong; `problems` names every one of them, values of secrets left out."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class StateError(WorkerError):
    """The ledger or a sink cannot be used: stop, touch nothing, let an operator look."""


class StateHeld(StateError):
    """Another process has the ledger."""


class StorageFull(StateError):
    """No room to make something durable right now (ENOSPC, EDQUOT, EFBIG): wait and try the same again."""


class SinkUnavailable(StorageFull):
    """The place that results go to cannot be reached for now: wait and try the same again."""


class CredentialsRefused(WorkerError):
    """The token endpoint or the API refuses our credentials or our entitlement; claims stay pending.

    `correlation_id` is that of the call that was refused, for a service ticket; None if it was the token's.
    """

    correlation_id: str | None = None

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code


class Unfinished(WorkerError):
    """A run that was to end in a given time ended with claims pending; nothing of them is lost."""


class SourceUnavailable(WorkerError):
    """The input cannot be reached (a folder unmounted, a broker down): pause, tell, try again."""


class FleetUnavailable(WorkerError):
    """The place of the fleet's shared limits cannot be reached: go by this worker's share, ask again."""


class TokenUnavailable(WorkerError):
    """No token could be had for now; nothing was sent and no attempt is charged.

    `retry_after_s`: seconds until asking again makes sense.
    """

    def __init__(self, code: str, *, retry_after_s: float) -> None:
        super().__init__(f"token unavailable: {code}")
        self.code = code
        self.retry_after_s = retry_after_s


class AttemptFailed(WorkerError):
    """One attempt ended without a usable answer; `code` says how (``connect_refused``, ``attempt_timeout`` …).

    `charged` is False for a lost race for an idle connection: it costs the claim no attempt. `correlation_id` is the
    one that the attempt was sent with, the only trace of it that the vendor can search for.
    """

    correlation_id: str | None = None

    def __init__(self, code: str, *, charged: bool = True) -> None:
        super().__init__(code)
        self.code = code
        self.charged = charged


class NotSent(AttemptFailed):
    """The claim never left: no connection, no name, no TLS, or a pooled connection found dead in time."""


class Ambiguous(AttemptFailed):
    """The claim may have been processed: time-out, reset, an answer that cannot be read to its end.

    Uncharged where an idle connection was closed by the server just as it was taken: almost surely unread.
    """


_OUT_OF_REACH: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "no such host name"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ssl.SSLError, "no TLS as asked for"),
    (ConnectionRefusedError, "connection refused"),
    (ConnectionResetError, "connection reset"),
    (TimeoutError, "no answer in time"),
)


def reason_of(error: OSError) -> str:
    """Say why, in the system's words; of a taken address the event loop writes a sentence of its own."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or type(error).__name__


def out_of_reach(where: str, error: BaseException) -> str:
    """Say that a server cannot be reached, why, and what to look at; of a library's error no more than its class."""
    reason = next((text for one in _chain(error) for kind, text in _OUT_OF_REACH if isinstance(one, kind)), None)
    return (
        f"{where} cannot be reached ({reason or type(error).__name__}); see whether it runs there, or correct the URL"
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Go from a library's error down to the system's that it was raised for."""
    seen: list[BaseException] = []
    while error not in seen:
        yield error
        seen.append(error)
        error = error.__cause__ or error.__context__ or error
