"""Messages as SQS holds them.

A body is text in which XML's characters alone may stand, and never empty; anything else (a batch with 0x1E for a
separator, Latin-1) goes as base64, which the attribute ``precheck-encoding`` says. Headers are attributes, ten at
most, ours first. Body, names, types and values together count against the queue's MaximumMessageSize.
"""

import base64
import binascii
import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from worker.brokers.messages import CODE, NAME, REFERENCE, TEXT, Message, digest_of, message_from

ID = "precheck-id"
ENCODING = "precheck-encoding"
BASE64, EMPTY = "base64", "empty"
MOST_ATTRIBUTES = 10
AT_ONCE = 10

Entry = dict[str, Any]

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_HEADER = re.compile(r"[A-Za-z0-9_.-]{1,256}\Z")
_FIRST = (CODE, TEXT, NAME, REFERENCE)
_STRING = "String"


def entry_of(message: Message, *, fifo: bool, group: str = "", by_id: bool = False) -> Entry:
    """Lay a message out as SendMessage and SendMessageBatch want it.

    A FIFO queue knows one that was sent twice by its producer's id and its content, for a producer may use one id for
    everything; `by_id`, by its id alone.
    """
    text, encoding = _told(message.body)
    own = {ID: message.message_id, ENCODING: encoding}
    entry: Entry = {"MessageBody": text, "MessageAttributes": _attributes({**own, **message.all_headers()})}
    if fifo:
        digest = digest_of(Message(b"", message_id=message.message_id) if by_id else message)
        entry["MessageDeduplicationId"] = digest
        entry["MessageGroupId"] = group or digest
    return entry


def message_of(received: Mapping[str, Any]) -> Message:
    """Read a message as it came; attributes that are no texts are left out."""
    attributes: Mapping[str, Any] = received.get("MessageAttributes") or {}
    headers = {name: str(value["StringValue"]) for name, value in attributes.items() if "StringValue" in value}
    message_id, encoding = headers.pop(ID, ""), headers.pop(ENCODING, "")
    body = str(received.get("Body", "")).encode()
    if encoding == EMPTY:
        body = b""
    elif encoding == BASE64:
        # What cannot be decoded is not ours: it is no X12 then, and ends with the dead letters as it is.
        with contextlib.suppress(binascii.Error):
            body = base64.b64decode(body, validate=True)
    return message_from(body, headers, message_id=message_id)


def size_of(entry: Entry) -> int:
    """Count the bytes of an entry as SQS does."""
    attributes = sum(
        len(name) + len(value["DataType"]) + len(value["StringValue"].encode())
        for name, value in entry["MessageAttributes"].items()
    )
    return len(entry["MessageBody"].encode()) + attributes


def portions(entries: Sequence[Entry], most_bytes: int) -> Iterator[list[Entry]]:
    """Cut entries into what one request takes: ten, and together no more than one message may be large."""
    portion: list[Entry] = []
    size = 0
    for entry in entries:
        more = size_of(entry)
        if portion and (len(portion) == AT_ONCE or size + more > most_bytes):
            yield portion
            portion, size = [], 0
        portion.append(entry)
        size += more
    if portion:
        yield portion


def without_reason(letter: Entry) -> Entry:
    """Take off the reason of a letter that is too large with it: as it came, it fitted."""
    kept = {name: value for name, value in letter["MessageAttributes"].items() if name not in (CODE, TEXT)}
    return {**letter, "MessageAttributes": kept}


def _told(body: bytes) -> tuple[str, str]:
    """Turn a body into the text that stands for it, and how it does: by itself, or by an encoding."""
    if not body:
        return "-", EMPTY
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text = "\0"
    if _FORBIDDEN.search(text):
        return base64.b64encode(body).decode("ascii"), BASE64
    return text, ""


def _attributes(headers: Mapping[str, str]) -> dict[str, dict[str, str]]:
    order = sorted(headers, key=lambda name: name not in (ID, ENCODING, *_FIRST))
    named = [name for name in order if headers[name] and _HEADER.match(name)]
    return {name: _attribute(headers[name]) for name in named[:MOST_ATTRIBUTES]}


def _attribute(value: str) -> dict[str, str]:
    return {"DataType": _STRING, "StringValue": _FORBIDDEN.sub("?", value)}
