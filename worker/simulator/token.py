"""The token endpoints: OAuth2 client credentials, the default one taking a form only, the older V2 JSON.

Sources: contract.md §2; RFC 6749 §4.4 and §5.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import msgspec

from worker.simulator.config import SimulatorConfig
from worker.simulator.reply import Reply, json_reply

_FORM = "application/x-www-form-urlencoded"


class Tokens:
    """The tokens that are good at the moment; `clock` is monotonic."""

    def __init__(self, config: SimulatorConfig, clock: Callable[[], float] = time.monotonic) -> None:
        self._config = config
        self._clock = clock
        self._ends: dict[str, float] = {}
        self.lifetime_s = config.token_lifetime_s

    def answer_form(self, content_type: str, body: bytes) -> Reply:
        """Answer the default endpoint, which takes nothing but a form."""
        if content_type != _FORM:
            return _sentinel_error(415, "UnsupportedMediaType", "Content-Type must be a form")
        form = {name: values[-1] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        if form.get("grant_type") != "client_credentials":
            return _sentinel_error(400, "UnsupportedGrantType", "grant_type must be client_credentials")
        if not self._known(form):
            return client_refused()
        return self._issued({"not-before-policy": 0, "scope": "default"})

    def answer_json(self, content_type: str, body: bytes) -> Reply:
        """Answer the V2 endpoint, which takes JSON."""
        try:
            fields = msgspec.json.decode(body, type=dict[str, Any]) if content_type == "application/json" else None
        except (msgspec.DecodeError, UnicodeDecodeError):
            fields = None
        if fields is None or fields.get("grant_type") != "client_credentials":
            return json_reply(400, {"error": "invalid_request", "error_description": "JSON body expected"})
        if not self._known(fields):
            return json_reply(401, {"error": "invalid_client", "error_description": "Invalid client credentials"})
        return self._issued({})

    def good(self, authorization: str | None) -> bool:
        """Tell whether a header ``Authorization: Bearer …`` carries a token that is good now."""
        scheme, _, token = (authorization or "").partition(" ")
        return scheme.lower() == "bearer" and self._ends.get(token, 0.0) > self._clock()

    def revoke_all(self) -> int:
        """End all tokens at once; return how many there were."""
        count = len(self._ends)
        self._ends.clear()
        return count

    def _known(self, fields: dict[str, Any]) -> bool:
        given = f"{fields.get('client_id')}\n{fields.get('client_secret')}"
        return given == f"{self._config.client_id}\n{self._config.client_secret}"

    def _issued(self, extra: dict[str, Any]) -> Reply:
        now = self._clock()
        self._ends = {} if self._config.new_token_ends_old else {t: end for t, end in self._ends.items() if end > now}
        token = f"sim-{secrets.token_urlsafe(24)}"
        self._ends[token] = now + self.lifetime_s
        lifetime_s = int(self.lifetime_s)
        return json_reply(200, {"access_token": token, "token_type": "bearer", "expires_in": lifetime_s, **extra})


def _sentinel_error(status: int, reason: str, detail: str) -> Reply:
    return json_reply(status, {"status": str(status), "failureReason": reason, "Errors": [detail]})


def client_refused() -> Reply:
    """Return what the default endpoint answers to a client that it does not know."""
    return _sentinel_error(401, "InvalidClient", "Client authentication failed")


def token_failure() -> Reply:
    """Return what the default endpoint answers when it fails itself."""
    return _sentinel_error(500, "InternalError", "Internal server error")
