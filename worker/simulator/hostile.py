"""Answers that nobody asked for, in a table: what a broken gateway, a captive portal or an enemy could send.

Each is a fault by its name (`worker.simulator.config.FaultSettings`), drawn by claim and attempt like the others.

================= ============================================================================ ==================
name              what is sent                                                                 the worker must …
================= ============================================================================ ==================
redirect          307 to another host, which would get token and claim                         never follow it
login_page        200 with a page of HTML, as from a captive portal                            repeat
bad_json          200 with the first half of an answer, its length given rightly               repeat
deep_json         200 with 100,000 brackets                                                    repeat
unframed          200 without a length; the connection ends in the middle of the answer        repeat
gzip_bomb         200 packed although that was not asked for: 64 kB that unpack to 64 MB       not unpack it
endless           200 whose body does not end                                                  cut it off
trickle           200, a byte every half second                                                give up in time
wrong_claim       a good answer, but its 277CA accepts another claim                           not accept it
wrong_answer      the whole answer of another claim, with the 277CA that names that claim      not accept it
unsolicited       the claim's own answer and, unasked, the same once more                      not take the second
late_408          the claim's own answer and, some moments later on the idle connection, 408   not take it
lengthy           the claim's own answer, in its 277CA a name of two megabytes                 take few at a time
================= ============================================================================ ==================
"""

import gzip
import re
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

import msgspec

from worker.result import Disposition
from worker.simulator.reply import Reply

ELSEWHERE = "https://elsewhere.invalid/"
DEPTH = 100_000
BOMB_BYTES = 64 << 20
LENGTHY_BYTES = 2 << 20

_LOGIN_PAGE = (
    b"<!doctype html><html><head><title>Sign in</title></head><body>"
    b'<form method="post"><input name="user"><input name="password" type="password"></form></body></html>'
)

_PAYER = re.compile(rb"NM1(.)PR\1[12]\1")  # up to the name

# What the worker must have made of it if it is the last answer to a claim.
MEANINGS: Mapping[str, Disposition] = MappingProxyType(
    {
        "redirect": Disposition.REVIEW,
        "login_page": Disposition.REVIEW,
        "bad_json": Disposition.REVIEW,
        "deep_json": Disposition.REVIEW,
        "unframed": Disposition.REVIEW,
        "wrong_answer": Disposition.REVIEW,
    }
)

# These take the place of an answer; the others change how the claim's own answer, or whose, is sent.
INSTEAD = frozenset({"redirect", "login_page", "deep_json", "gzip_bomb", "endless", "trickle"})
SPOILT = frozenset({"truncated", "bad_json", "unframed", "unsolicited", "late_408", "lengthy"})
OF_ANOTHER = frozenset({"wrong_claim", "wrong_answer"})
NAMES = (
    "redirect",
    "login_page",
    "bad_json",
    "deep_json",
    "unframed",
    "gzip_bomb",
    "endless",
    "trickle",
    "wrong_claim",
    "wrong_answer",
    "unsolicited",
    "late_408",
    "lengthy",
)


def hostile_reply(name: str, redirect_to: str) -> Reply:
    """Return what is sent in place of an answer; `name` is one of `INSTEAD`."""
    match name:
        case "redirect":
            return Reply(status=307, headers={"Location": redirect_to or ELSEWHERE})
        case "login_page":
            return Reply(status=200, body=_LOGIN_PAGE, content_type="text/html")
        case "deep_json":
            return Reply(status=200, body=b"[" * DEPTH + b"]" * DEPTH)
        case "gzip_bomb":
            return Reply(status=200, body=_bomb(), headers={"Content-Encoding": "gzip"})
        case "endless":
            return Reply(status=200, body=b'{"data": ' + b" " * 65_536, cut="endless")
        case "trickle":
            return Reply(status=200, body=b'{"data": ', cut="trickle")
        case _:
            raise KeyError(name)


def spoilt(reply: Reply, name: str) -> Reply:
    """Return the claim's own answer as it is sent with this fault; `name` is one of `SPOILT`."""
    match name:
        case "truncated" | "unframed":
            return msgspec.structs.replace(reply, cut=name)
        case "bad_json":
            return msgspec.structs.replace(reply, body=reply.body[: len(reply.body) // 2])
        case "unsolicited":
            return msgspec.structs.replace(reply, unasked="answer")
        case "late_408":
            return msgspec.structs.replace(reply, unasked="408")
        case "lengthy":
            return msgspec.structs.replace(reply, body=_PAYER.sub(_named_at_length, reply.body, count=1))
        case _:
            raise KeyError(name)


def _named_at_length(beginning: re.Match[bytes]) -> bytes:
    return beginning[0] + b"X" * LENGTHY_BYTES


@cache
def _bomb() -> bytes:
    return gzip.compress(b" " * BOMB_BYTES)
