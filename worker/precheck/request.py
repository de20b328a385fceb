"""One claim as an HTTP request: its headers and its body.

GraphQL over JSON (the default), or the flat form of the technical reference guide. All that is the same for every claim
is made once; a claim adds its interchange, its payer and its billing provider's tax id. Source: contract.md §3.
"""

import os

import msgspec

from worker.claim import Claim
from worker.precheck.exchange import header_lines
from worker.settings import Settings
from worker.x12 import text

_encode = msgspec.json.Encoder().encode

_VARIANTS = "89ab"  # RFC 9562 §4.1: the two upper bits of the 17th digit are 10
_MAX_TAX_ID_DIGITS = 20
_IDS_AT_ONCE = 256


class Request(msgspec.Struct, frozen=True, gc=False):
    """What is sent for one attempt, all but the token. `headers` are lines as they stand in a request."""

    headers: bytes
    body: bytes
    correlation_id: str

    def __repr__(self) -> str:
        """Show nothing of the claim."""
        return f"<Request {self.correlation_id}>"


class RequestBuilder:
    """Makes requests of claims, as the settings want them."""

    def __init__(self, settings: Settings) -> None:
        api = settings.api
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", **api.headers}
        headers["Content-Type"] = "application/json"
        if settings.environment == "sandbox":
            headers["environment"] = "sandbox"
        self._headers = header_lines(headers)
        self._flat = api.request_format == "flat"
        if self._flat:
            self._opening = b'{"x12RequestData":'
        else:
            self._opening = b'{"query":' + msgspec.json.encode(api.query) + b',"variables":{"input":{"x12RequestData":'

    def build(self, claim: Claim) -> Request | None:
        """Make the request for one attempt, or None if the claim lacks a tax id that can stand in a header."""
        tax_id = claim.facts.provider_tax_id
        if not (tax_id.isascii() and tax_id.isdigit() and len(tax_id) <= _MAX_TAX_ID_DIGITS):
            return None
        correlation_id = new_correlation_id()
        # Both are safe in a header: one is made of digits, the other was made here.
        own = f"providerTaxId: {tax_id}\r\nx-optum-consumer-correlation-id: {correlation_id}\r\n"
        return Request(self._headers + own.encode(), self._build_body(claim), correlation_id)

    def _build_body(self, claim: Claim) -> bytes:
        interchange = _encode(text(claim.interchange))
        if self._flat:
            return b"".join((self._opening, interchange, b"}"))
        payer_id = _encode(claim.facts.payer_id)
        return b"".join((self._opening, interchange, b',"payerId":', payer_id, b"}}}"))


def new_correlation_id() -> str:
    """Draw a random UUID, version 4, as text."""
    try:
        return _ids.pop()
    except IndexError:
        first, *others = _draw_ids()
        _ids.extend(others)
        return first


def _draw_ids() -> list[str]:
    """Draw many at once: one call to the kernel, and a quarter of the time of as many `str(uuid.uuid4())`."""
    digits = os.urandom(16 * _IDS_AT_ONCE).hex()
    return [_write_id(digits[start : start + 32]) for start in range(0, len(digits), 32)]


def _write_id(digits: str) -> str:
    variant = _VARIANTS[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


_ids: list[str] = []
# A child process that went on with its parent's ids would give them out a second time.
os.register_at_fork(after_in_child=_ids.clear)
