"""What goes back over HTTP, decided before anything is written."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

_ENCODER = msgspec.json.Encoder()


class Reply(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One HTTP answer. `cut` says how it fails to arrive: not at all, or half of its body."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}
    delay_s: float = 0.0
    cut: Literal["", "reset", "truncated"] = ""


def json_reply(status: int, value: Any, *, headers: Mapping[str, str] | None = None, delay_s: float = 0.0) -> Reply:
    """Make a reply with a body of JSON."""
    return Reply(status=status, body=_ENCODER.encode(value), headers=headers or {}, delay_s=delay_s)


def message_reply(status: int, message: str, *, headers: Mapping[str, str] | None = None) -> Reply:
    """Make a reply of the shape that 401 and 500 have (contract.md §4)."""
    return json_reply(status, {"message": message, "statusCode": status}, headers=headers)
