"""What goes back over HTTP, decided before anything is written."""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

_ENCODER = msgspec.json.Encoder()


class Reply(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One HTTP answer.

    `cut` says how it fails to arrive: not at all, half of its body, half of it without a length, without an end or a
    byte now and then. `unasked` is what follows it on its connection: the same answer once more, or a late 408.
    """

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = {}
    delay_s: float = 0.0
    cut: Literal["", "reset", "truncated", "unframed", "endless", "trickle"] = ""
    unasked: Literal["", "answer", "408"] = ""

    @property
    def arrives(self) -> bool:
        """Whether a client sees it end in order; without a length, the connection's end is one."""
        return self.cut in ("", "unframed")


def json_reply(status: int, value: Any, *, headers: Mapping[str, str] | None = None, delay_s: float = 0.0) -> Reply:
    """Make a reply with a body of JSON."""
    return Reply(status=status, body=_ENCODER.encode(value), headers=headers or {}, delay_s=delay_s)


def message_reply(status: int, message: str, *, headers: Mapping[str, str] | None = None) -> Reply:
    """Make a reply of the shape that 401 and 500 have (contract.md §4)."""
    return json_reply(status, {"message": message, "statusCode": status}, headers=headers)
