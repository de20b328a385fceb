"""Reads the body of an HTTP answer: the envelope around six members, or the errors in its place.

::

    {"data": {"claimPreCheck": {"transactionId": …, "statusCode": …, …}}}      GraphQL over JSON
    {"transactionId": …, "statusCode": …, …}                                   flat
    {"data": null, "errors": [{"message", "extensions": {"classification"}}]}  GraphQL errors, at any status
    {"errors": [{"code", "description"}]}   {"message", "statusCode"}          siblings

Every member is optional, "" is absent, statusCode may be a number. The JSON is read strictly, because
a half-understood answer is none: anything wrong with it is ``bad_json``. Sources: contract.md §4, RFC 8259.
"""

import json
import re
from functools import lru_cache

import msgspec

BAD_JSON = "bad_json"
NOT_JSON = "not_json"
UNKNOWN_SHAPE = "protocol_error"
UNREADABLE_CODE = "unreadable"

_JSON_TYPES = frozenset({"", "application/json", "text/json", "application/graphql-response+json"})
_DECODER = msgspec.json.Decoder()
# The names whose repetition would make an answer say two things.
_NAMES = ("transactionId", "x12ResponseData", "responseType", "x12Response277CA", "message", "statusCode")
_MAX_TOKEN_CHARS = 128
_MAX_MESSAGE_CHARS = 4096
_MAX_ERRORS = 32
_CODE = re.compile(r"[0-9A-Za-z_.:-]{1,64}")
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")


class Payload(msgspec.Struct, frozen=True, gc=False):
    """The six members; "" where absent. None of the texts holds what cannot be encoded later."""

    transaction_id: str = ""
    response_type: str = ""
    status_code: str = ""
    message: str = ""
    x12_response: str = ""
    x12_277ca: str = ""

    def __repr__(self) -> str:
        """Show nothing: reprs end in logs."""
        return "<Payload>"

    @property
    def speaks(self) -> bool:
        """Whether there is anything in it from which a verdict could follow."""
        return bool(self.status_code or self.response_type or self.x12_277ca or self.x12_response)


class ServiceError(msgspec.Struct, frozen=True, gc=False):
    """One entry of an ``errors`` array. `words` are its classification and codes: upper case, letters and digits."""

    words: tuple[str, ...]
    code: str
    message: str

    def __repr__(self) -> str:
        """Show nothing: reprs end in logs."""
        return "<ServiceError>"


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """What a body holds. `fault` says why that is no answer, "" if it is one.

    A fault is ``bad_json``, ``not_json``, or ``protocol_error``: good JSON in which no member says anything.
    """

    payload: Payload = Payload()
    errors: tuple[ServiceError, ...] = ()
    fault: str = ""


class _NotThatShape(Exception):
    """A member is of a type that it must not be, or is there twice."""


def read_answer(body: bytes, content_type: str | None, root_field: str) -> Envelope:
    """Read a body; never raises, whatever the bytes.

    `content_type` is the header as it came, None if absent; `root_field` names the GraphQL field.
    """
    if not is_json(content_type):
        return Envelope(fault=NOT_JSON)
    try:
        return _read_envelope(_DECODER.decode(body), body, root_field)
    # RecursionError is no ValueError: deep nesting ends in it.
    except (ValueError, msgspec.MsgspecError, RecursionError, _NotThatShape):
        return Envelope(fault=BAD_JSON)


@lru_cache(maxsize=64)
def is_json(content_type: str | None) -> bool:
    """Tell whether a body of this type may be read as JSON; an absent type may."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    return media_type in _JSON_TYPES or (media_type.startswith("application/") and media_type.endswith("+json"))


def printable(text: str) -> str:
    """Make an id or code safe for logs and headers: printable ASCII of bounded length."""
    return (text if text.isascii() and text.isprintable() else _UNPRINTABLE.sub("?", text)).strip()[:_MAX_TOKEN_CHARS]


def _read_envelope(content: object, body: bytes, root_field: str) -> Envelope:
    if not isinstance(content, dict):
        raise _NotThatShape
    data = content.get("data")
    if data is not None and not isinstance(data, dict):
        raise _NotThatShape
    members = data.get(root_field) if data else None
    if members is not None and not isinstance(members, dict):
        raise _NotThatShape
    _refuse_repeated_keys(body, (content, data or {}, members or {}), root_field)
    payload = _read_payload(content if members is None else members)
    errors = _read_errors(content.get("errors"))
    answers = payload.speaks or payload.transaction_id or errors
    return Envelope(payload, errors, "" if answers else UNKNOWN_SHAPE)


def _read_payload(members: dict[str, object]) -> Payload:
    code = members.get("statusCode")
    if isinstance(code, int) and not isinstance(code, bool):
        code = str(code)
    return Payload(
        printable(_text(members.get("transactionId"))),
        printable(_text(members.get("responseType"))),
        _code(_text(code).strip()[:_MAX_TOKEN_CHARS]),
        _text(members.get("message")).strip()[:_MAX_MESSAGE_CHARS],
        _text(members.get("x12ResponseData")),
        _text(members.get("x12Response277CA")),
    )


def _read_errors(errors: object) -> tuple[ServiceError, ...]:
    """Read what an ``errors`` member says; one that is no array counts as one error: it is no success either."""
    if not errors:
        return ()
    entries = errors if isinstance(errors, list) else [errors]
    return tuple(_read_error(entry) for entry in entries[:_MAX_ERRORS])


def _read_error(entry: object) -> ServiceError:
    if not isinstance(entry, dict):
        return ServiceError((), "", entry[:_MAX_MESSAGE_CHARS] if isinstance(entry, str) else "")
    extensions = entry.get("extensions")
    extended = extensions if isinstance(extensions, dict) else {}
    said = (
        *(extended.get(name) for name in ("classification", "code", "errorType", "statusCode", "status")),
        *(entry.get(name) for name in ("errorType", "code", "statusCode")),
    )
    words = (re.sub(r"[^A-Z0-9]", "", str(word).upper()) for word in said if isinstance(word, str | int))
    code = entry.get("code", extended.get("code"))
    message = entry.get("message") or entry.get("description")
    return ServiceError(
        tuple(word for word in words if word),
        printable(str(code)) if isinstance(code, str | int) else "",
        message.replace("\x00", "\ufffd")[:_MAX_MESSAGE_CHARS] if isinstance(message, str) else "",
    )


@lru_cache(maxsize=256)
def _code(text: str) -> str:
    """Return a status code; it ends in logs, so a sentence in its place is not kept."""
    return text if not text or _CODE.fullmatch(text) else UNREADABLE_CODE


def _text(value: object) -> str:
    """Return a text member; "" for null and for blanks. NUL is legal JSON, and no database takes it."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _NotThatShape
    if "\x00" in value:
        value = value.replace("\x00", "\ufffd")
    return value if value and not value.isspace() else ""


def _refuse_repeated_keys(body: bytes, objects: tuple[dict[str, object], ...], root_field: str) -> None:
    """Raise if one object gives the same member twice; the fast reader keeps the last one silently.

    `objects` are those that were read. Every key and every text stands in two quotes: if the body has no more
    quotes than these need, nothing was dropped. Otherwise the body is read again, slowly.
    """
    strings = 0
    for each in objects:
        strings += len(each)
        for value in each.values():
            strings += type(value) is str
    if body.count(b'"') == 2 * strings:
        return
    watched = {*_NAMES, "data", "errors", root_field}

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        names = [name for name, _ in pairs if name in watched]
        if len(names) != len(set(names)):
            raise _NotThatShape
        return dict(pairs)

    json.loads(body, object_pairs_hook=once)
