"""The token endpoint over HTTP: OAuth2 client credentials in, one token out.

================================= ================================================================
answer                            means
================================= ================================================================
200 with a usable token           `Grant`
400, 401, 403, 415                CredentialsRefused: asking again changes nothing
any other status, no answer,      TokenUnavailable: again later, after Retry-After if that is given
a token that cannot be used
================================= ================================================================

Of an error's body only the code is taken, and only if it is one of the known ones; the rest may quote the secret.
Redirects are not followed: the secret is in the body of the request. Sources: RFC 6749 §4.4 and §5, contract.md §2.
"""

import json
import math
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import anyio
import anyio.to_thread
import msgspec

from worker.errors import Ambiguous, CredentialsRefused, NotSent, SettingsError, TokenUnavailable
from worker.precheck.endpoints import Endpoints
from worker.precheck.exchange import Exchanger, Reply, header_lines
from worker.precheck.retry_after import parse_retry_after
from worker.precheck.token import Grant
from worker.settings import AuthSettings, read_secret

MAX_REPLY_BYTES = 64 << 10
MAX_TOKEN_CHARS = 16 << 10
TIMEOUT_S = 30.0
DEFAULT_LIFETIME_S = 300.0

_FINAL_STATUSES = frozenset({400, 401, 403, 415})
_MANY_SECONDS = 10**12  # an int may be too large for a float
_TOKEN = re.compile(r"[!-~]+\Z")  # RFC 6749 §A.12, less the blank, which cannot stand in our header
_SECONDS = re.compile(r"-?[0-9]{1,15}(\.[0-9]+)?\Z")
# What the two documented shapes of an error say, in the words of RFC 6749 §5.2.
_ERROR_CODES = {
    "".join(code.split("_")): code
    for code in (
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "invalid_scope",
        "unauthorized_client",
        "unsupported_grant_type",
        "access_denied",
    )
}


_Signature = tuple[int, int, int, int]


class HttpTokenEndpoint:
    """Asks the configured endpoint for tokens, with a secret that is read again each time."""

    def __init__(
        self, session: aiohttp.ClientSession, endpoints: Endpoints, auth: AuthSettings, connect_timeout_s: float
    ) -> None:
        self._url = endpoints.token
        self._auth = auth
        self._exchanger = Exchanger(
            session,
            proxy=endpoints.proxy,
            timeout=aiohttp.ClientTimeout(total=TIMEOUT_S, connect=min(connect_timeout_s, TIMEOUT_S)),
            max_response_bytes=MAX_REPLY_BYTES,
        )
        self._used: _Signature | None = None

    def rotated(self) -> bool:
        """Tell whether the secret's file has changed since it was last read."""
        # One stat and no thread: it is asked only while credentials are refused, a few times a minute.
        return bool(self._auth.client_secret_file) and _signature(self._auth.client_secret_file) != self._used

    async def fetch(self) -> Grant:
        """Ask once; twice if the secret was changed just while the old one was refused.

        :raises CredentialsRefused: if who we are, or how we ask, is refused.
        :raises TokenUnavailable: if there is no usable token for now.
        """
        secret = await self._read_secret()
        try:
            return await self._ask(secret)
        except CredentialsRefused:
            rotated = await self._read_secret()
            if rotated == secret:
                raise
        return await self._ask(rotated)

    async def _read_secret(self) -> str:
        if not self._auth.client_secret_file:
            return str(self._auth.client_secret)
        self._used = _signature(self._auth.client_secret_file)
        try:
            return str(await anyio.to_thread.run_sync(read_secret, self._auth.client_secret_file))
        except SettingsError:
            # At the start this ends the worker; later it may be a rotation half done, seen a moment too early.
            raise TokenUnavailable("client_secret_unreadable", retry_after_s=0.0) from None

    async def _ask(self, secret: str) -> Grant:
        content_type, body = self._encode(secret)
        headers = header_lines(
            {"Accept": "application/json", "Accept-Encoding": "identity", "Content-Type": content_type}
        )
        try:
            reply = await self._exchanger.exchange("POST", self._url, headers, body)
        except (NotSent, Ambiguous) as failure:
            raise TokenUnavailable(f"token_{failure.code}", retry_after_s=0.0) from None
        if reply.status == 200:
            return read_grant(reply.body)
        raise self._refusal(reply)

    def _encode(self, secret: str) -> tuple[str, bytes]:
        fields = {
            "grant_type": "client_credentials",
            "client_id": str(self._auth.client_id),
            "client_secret": secret,
        }
        if self._auth.scope:
            fields["scope"] = self._auth.scope
        if self._auth.token_encoding == "json":  # noqa: S105 - an encoding, no secret
            return "application/json", msgspec.json.encode(fields)
        return "application/x-www-form-urlencoded", urlencode(fields).encode()

    def _refusal(self, reply: Reply) -> CredentialsRefused | TokenUnavailable:
        if reply.status not in _FINAL_STATUSES:
            wait_s = parse_retry_after(reply.headers.get("Retry-After"), time.time())
            return TokenUnavailable(f"token_http_{reply.status}", retry_after_s=wait_s or 0.0)
        code = read_error_code(reply.body)
        place = f"{self._url.origin()} (HTTP {reply.status})"
        if code == "invalid_client" or (code is None and reply.status == 401):
            hint = "check that sandbox or production credentials match the environment"
            return CredentialsRefused("invalid_client", f"client id or secret refused by {place}; {hint}")
        if reply.status == 415:
            return CredentialsRefused("token_request_refused", f"refused by {place}; check auth.token_encoding")
        hint = "check auth.scope, auth.token_path and what the client is entitled to"
        return CredentialsRefused(code or "token_request_refused", f"token request refused by {place}; {hint}")


def _signature(path: str) -> _Signature | None:
    """Tell one state of a file from another, whatever links lead to it; None if there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def read_grant(body: bytes) -> Grant:
    """Take the token and its life out of an answer.

    :raises TokenUnavailable: if there is none that could stand in a header.
    """
    answer = _read_object(body)
    token, kind = answer.get("access_token"), answer.get("token_type", "bearer")
    if not isinstance(kind, str) or kind.lower() not in ("bearer", "bearertoken"):
        raise TokenUnavailable("token_not_bearer", retry_after_s=0.0)
    if not isinstance(token, str) or len(token) > MAX_TOKEN_CHARS or not _TOKEN.match(token):
        raise TokenUnavailable("token_unusable", retry_after_s=0.0)
    return Grant(token, read_lifetime_s(answer.get("expires_in")))


def read_lifetime_s(expires_in: object) -> float:
    """Read `expires_in`, a number or digits in a string; missing or unreadable counts as 300 s. Not clamped."""
    if isinstance(expires_in, str) and _SECONDS.match(expires_in):
        return float(expires_in)
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float) or not -math.inf < expires_in < math.inf:
        return DEFAULT_LIFETIME_S
    return float(min(max(expires_in, -_MANY_SECONDS), _MANY_SECONDS))


def read_error_code(body: bytes) -> str | None:
    """Find one of the known error codes in an answer of either shape, or None; nothing else of it gets out."""
    try:
        answer = _read_object(body)
    except TokenUnavailable:
        return None
    for name in ("failureReason", "error"):
        word = answer.get(name)
        if isinstance(word, str) and (code := _ERROR_CODES.get(word.lower().replace("_", ""))):
            return code
    return None


def _read_object(body: bytes) -> dict[str, Any]:
    try:
        # Not msgspec: it refuses an answer for the NaN of an `expires_in` that is not worth that much.
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise TokenUnavailable("token_bad_json", retry_after_s=0.0) from None
    if not isinstance(answer, dict):
        raise TokenUnavailable("token_bad_json", retry_after_s=0.0)
    return answer
