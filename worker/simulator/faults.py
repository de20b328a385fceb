"""What goes wrong on the way, drawn by claim and attempt; the settings can be changed while all runs."""

from typing import Any

import msgspec

from worker.simulator.config import SHARES, FaultSettings
from worker.simulator.hostile import INSTEAD, hostile_reply
from worker.simulator.reply import Reply, message_reply

_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"


def drawn_fault(settings: FaultSettings, position: float) -> str:
    """Return the fault at a position 0 ≤ x < 1, "" where there is none; its name is that of its share."""
    upto = 0.0
    for name in SHARES:
        upto += getattr(settings, name)
        if position < upto:
            return name
    return ""


def faulty_reply(settings: FaultSettings, fault: str) -> Reply:
    """Return what is answered instead; what needs an answer to spoil is not made here."""
    if fault in INSTEAD:
        return hostile_reply(fault, settings.redirect_to)
    if fault == "reset":
        return Reply(status=0, cut="reset")
    return gateway_reply(int(fault.removeprefix("http_")), settings.retry_after_s)


def gateway_reply(status: int, retry_after_s: int) -> Reply:
    """Return what service or gateway answer with this HTTP status; 504 has no documented body (contract.md §4)."""
    if status == 502:
        return Reply(status=status, body=_PAGE, content_type="text/html")
    if status == 504:
        return Reply(status=status, content_type="text/plain")
    if status == 400:
        return message_reply(status, "Bad request")
    headers = {"Retry-After": str(retry_after_s)} if status == 429 else {}
    return message_reply(status, "Internal Server Error" if status == 500 else "Not now", headers=headers)


def changed_faults(settings: FaultSettings, patch: bytes) -> FaultSettings:
    """Return the settings with those of a JSON object in place of the old ones.

    :raises msgspec.DecodeError: if it is no such object; a wrong name or value included.
    """
    changes: dict[str, Any] = msgspec.json.decode(patch, type=dict[str, Any])
    return msgspec.convert({**msgspec.to_builtins(settings), **changes}, FaultSettings)
