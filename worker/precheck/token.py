"""The one token that all calls share: fetched by one task, ahead of its end, and never twice at a time.

::

    get ──token there──────────────────────────────▶ Token
     └──none──▶ wanted ──▶ the fetching task ──ok──▶ Token, next generation
                               └──failed──▶ remembered: until it may be tried again, every `get` fails at once

The fetching task (`TokenProvider.run`) is the only one that asks, so callers that wait can be cancelled without harm
to the others. It asks again at about 80 % of a token's life; while that fails, the old token serves on to its end. A
401 names the generation that was used, so that any number of them makes one fetch. If even the token fetched for a 401
is refused, and was never accepted, another would not help: then nothing is asked for a while, or until the secret
has changed.

Time is the event loop's, monotonic, and a token's life counts from the moment of asking; but for a second each one is
used, however short its life and however long it took to come.
Sources: RFC 6749 §5.1 and §5.2, contract.md §2.
"""

import math
import random
from typing import Protocol

import anyio
import msgspec
import structlog

from worker.errors import CredentialsRefused, TokenUnavailable, WorkerError

log = structlog.get_logger()

MIN_LIFETIME_S = 1.0
MAX_LIFETIME_S = 86_400.0
REFRESH_AT = (0.75, 0.85)  # shares of the life
HOLD_S = 60.0  # after a refusal, which asking again does not mend
FIRST_BACKOFF_S = 1.0
MAX_BACKOFF_S = 30.0


class Grant(msgspec.Struct, frozen=True, gc=False):
    """What the token endpoint gave: a value that can stand in a header, and for how many seconds."""

    value: str
    lifetime_s: float

    def __repr__(self) -> str:
        """Leave the token out."""
        return f"<Grant for {self.lifetime_s:.0f} s>"


class TokenEndpoint(Protocol):
    """Gives tokens. Only the provider's one task calls it."""

    async def fetch(self) -> Grant:
        """Ask once, within a bounded time.

        :raises worker.errors.CredentialsRefused: if asking again without a change of settings is no use.
        :raises worker.errors.TokenUnavailable: for any other failure; `retry_after_s` 0 leaves the pace to the caller.
        """
        ...

    def rotated(self) -> bool:
        """Tell at once whether the secret has changed since the last `fetch`: then a refusal says nothing."""
        ...


class Token(msgspec.Struct, frozen=True, gc=False):
    """A token in use. `header` is the line that carries it; `origin` the only place it may be sent to."""

    generation: int
    origin: str
    value: str
    header: bytes

    def __repr__(self) -> str:
        """Leave the token out."""
        return f"<Token {self.generation} for {self.origin}>"


class _Failure(msgspec.Struct, frozen=True, gc=False):
    """Why there is no new token, remembered until a moment of the event loop's time. `refusal` is a refusal's text."""

    until: float
    code: str
    refusal: str | None

    def error(self, now: float) -> WorkerError:
        """Make an exception of it, a new one for each caller: one instance would gather all their tracebacks."""
        if self.refusal is not None:
            return CredentialsRefused(self.code, self.refusal)
        return TokenUnavailable(self.code, retry_after_s=self.until - now)


class TokenProvider:
    """Keeps the current token. `run` must be running for `get` to return; `origin` is whom the tokens are for."""

    def __init__(self, endpoint: TokenEndpoint, origin: str) -> None:
        self.origin = origin
        self._endpoint = endpoint
        self._generation = 0
        self._token: Token | None = None
        self._ends_at = 0.0
        self._refresh_at = 0.0
        self._awaited = False
        self._forced = False  # the current token was fetched because its predecessor was refused
        self._accepted = False  # the API took the current token at least once
        self._failure: _Failure | None = None
        self._failures_in_a_row = 0
        self._wake = anyio.Event()
        self._changed = anyio.Event()

    @property
    def tokens_fetched(self) -> int:
        """Count the tokens fetched so far."""
        return self._generation

    async def get(self) -> Token:
        """Give the current token, waiting for one if there is none.

        :raises TokenUnavailable: if there is none for now.
        :raises CredentialsRefused: if we are refused one, or it is refused by the API.
        """
        while True:
            now = anyio.current_time()
            if self._token is not None and now < self._ends_at:
                return self._token
            if self._failure is not None and now < self._failure.until:
                if self._failure.refusal is None or not self._endpoint.rotated():
                    raise self._failure.error(now)
                self._failure = None
            self._awaited = True
            self._wake.set()
            await self._changed.wait()

    def accepted(self, generation: int) -> None:
        """Note that the API took this token."""
        if generation == self._generation:
            self._accepted = True

    def refused(self, generation: int) -> None:
        """Note that the API answered 401 to this token; the first call for a generation ends it."""
        if self._token is None or generation != self._generation:
            return
        self._token = None
        if self._forced and not self._accepted:
            detail = f"{self.origin} refuses a token just made for it; check the entitlement and api.precheck_path"
            self._remember("unauthorized", HOLD_S, detail)
        self._forced = True

    async def run(self) -> None:
        """Fetch whenever a token is needed, until cancelled. Exactly one task runs this."""
        while True:
            while (due := self._due()) > anyio.current_time():
                self._wake = anyio.Event()
                with anyio.CancelScope(deadline=due):
                    await self._wake.wait()
            await self._fetch()

    def _due(self) -> float:
        """Say when to fetch next: before the token ends, or when one is awaited, and not while a failure holds."""
        if self._token is None and not self._awaited:
            return math.inf
        due = self._refresh_at if self._token is not None else 0.0
        return due if self._failure is None else max(due, self._failure.until)

    async def _fetch(self) -> None:
        asked_at = anyio.current_time()
        try:
            grant = await self._endpoint.fetch()
        except CredentialsRefused as refusal:
            self._remember(refusal.code, HOLD_S, str(refusal).removeprefix(f"{refusal.code}: "))
        except TokenUnavailable as failure:
            self._remember(failure.code, max(failure.retry_after_s, self._backoff_s()))
        else:
            self._install(grant, asked_at)
        self._awaited = False
        self._changed.set()
        self._changed = anyio.Event()

    def _install(self, grant: Grant, asked_at: float) -> None:
        lifetime_s = min(max(grant.lifetime_s, MIN_LIFETIME_S), MAX_LIFETIME_S)
        self._generation += 1
        self._forced = self._forced and self._token is None
        header = f"Authorization: Bearer {grant.value}\r\n".encode()
        self._token = Token(self._generation, self.origin, grant.value, header)
        # One that took longer to come than it lives would never be given to anybody: it is tried for a moment.
        granted_at = max(asked_at, anyio.current_time() + MIN_LIFETIME_S - lifetime_s)
        self._ends_at = granted_at + lifetime_s
        self._refresh_at = max(granted_at + lifetime_s * _draw(*REFRESH_AT), anyio.current_time() + MIN_LIFETIME_S / 2)
        self._accepted = False
        self._failure = None
        self._failures_in_a_row = 0
        log.info(
            "token.refreshed",
            generation=self._generation,
            expires_in_s=lifetime_s,
            latency_ms=round((anyio.current_time() - asked_at) * 1000),
        )

    def _remember(self, code: str, hold_s: float, refusal: str | None = None) -> None:
        self._failures_in_a_row += 1
        self._failure = _Failure(anyio.current_time() + hold_s, code, refusal)
        if refusal is None:
            log.warning("token.refresh_failed", code=code, delay_s=round(hold_s, 3))
        else:
            log.error("token.refused", code=code, delay_s=round(hold_s, 3))

    def _backoff_s(self) -> float:
        longest = min(FIRST_BACKOFF_S * 2.0 ** min(self._failures_in_a_row, 16), MAX_BACKOFF_S)
        return longest * _draw(0.5, 1.0)


def _draw(low: float, high: float) -> float:
    return random.uniform(low, high)  # noqa: S311 - jitter, no secret
