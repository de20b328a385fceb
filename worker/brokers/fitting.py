"""A result that is larger than a broker takes still goes out, once, as a record that says what it lacks.

What the payer sent in full (999, 277CA) goes first, then the lists, then the texts; the verdict, its reason and all
ids stay. The whole record is in the ledger, where `precheck-worker results --format json` finds it by its ids.
"""

from typing import Any

import msgspec

from worker.errors import StateError
from worker.result import decode_result, encode_result

LEFT_OUT_HEADER = "precheck-left-out"

_EMPTY: dict[str, Any] = {"x12_999": None, "x12_277ca": None, "syntax_errors": (), "edits": (), "message": None}
_LAST_RESORT_CHARS = 200


def fitted(body: bytes, most_bytes: int) -> tuple[bytes, tuple[str, ...]]:
    """Make the record fit; returns it and the names of the fields that were left out or cut.

    :raises worker.errors.StateError: if no record fits: the limit is absurd.
    """
    if len(body) <= most_bytes:
        return body, ()
    result = decode_result(body)
    left_out: list[str] = []
    for name, nothing in _EMPTY.items():
        if not getattr(result, name):
            continue
        left_out.append(name)
        result = msgspec.structs.replace(result, **{name: nothing})
        body = encode_result(result)
        if len(body) <= most_bytes:
            return body, tuple(left_out)
    if result.reason is not None and len(result.reason.text) > _LAST_RESORT_CHARS:
        cut = msgspec.structs.replace(result.reason, text=result.reason.text[:_LAST_RESORT_CHARS] + "…")
        body = encode_result(msgspec.structs.replace(result, reason=cut))
        left_out.append("reason.text")
    if len(body) > most_bytes:
        raise StateError(f"sink: a result of {len(body)} bytes does not fit into a message of {most_bytes}")
    return body, tuple(left_out)
