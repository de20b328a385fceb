"""What the service's own status codes mean: a table, with an operator's changes on top.

These are business codes: a body "503" is not HTTP 503. A code listed singly beats a range, numbers are
compared without their leading zeros, other codes (``GTW_12``) without regard to case, and what is not in the
table is unknown: a person must look. Source: contract.md §4.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache

import msgspec


class CodeClass(StrEnum):
    """What a code says about the claim."""

    DECIDE = "decide"  # the checks ran; 999 and 277CA have the verdict
    RETRY = "retry"  # not now
    REJECTED = "rejected"  # never, as it stands
    REVIEW = "review"  # nobody foresaw it


class Meaning(msgspec.Struct, frozen=True, gc=False):
    """A code's class, and a sentence for a billing clerk."""

    code_class: CodeClass
    text: str
    known: bool = True


_UNAVAILABLE = "A system that the service needs was not available"
_INVALID_DATA = "The claim has invalid or missing data"
_NO_MEMBER = "The member was not found at the payer"
_NO_PLATFORM = "The service does not support the platform or plan of this member"

_TABLE = (
    (CodeClass.DECIDE, "000 200", "The checks were completed"),
    (CodeClass.RETRY, "202 303 306 401-403 406-407 503 606 612-619 907 927", _UNAVAILABLE),
    (CodeClass.REJECTED, "101-133 506-509 605-608 611 902", _INVALID_DATA),
    (CodeClass.REJECTED, "109 301-305 404-405 408 413 504 510", _NO_MEMBER),
    (CodeClass.REJECTED, "107 114 117 505", _NO_PLATFORM),
    (CodeClass.REJECTED, "501 511", "Several members match what the claim says of the patient"),
    (CodeClass.REJECTED, "512", "The transaction id of the coordination of benefits was not found"),
    (CodeClass.REJECTED, "520", "The service cannot check claims for this member's plan"),
    (CodeClass.REJECTED, "521", "The payer id does not belong to the member's plan"),
    (CodeClass.REJECTED, "701", "The provider's tax id in the request is not the one in the claim"),
    (CodeClass.REJECTED, "702", "The request held more than one claim"),
    (CodeClass.REJECTED, "706", "The service could not read the claim as X12"),
    (CodeClass.REJECTED, "926", "The service could not convert the claim for its own systems"),
)
_BY_CLASS = {
    CodeClass.DECIDE: "The checks were completed",
    CodeClass.RETRY: _UNAVAILABLE,
    CodeClass.REJECTED: "The service refused the claim",
    CodeClass.REVIEW: "The service answered with a code that a person must look at",
}
_UNKNOWN = Meaning(CodeClass.REVIEW, "The service answered with a code that is not in the table", known=False)
_ABSENT = Meaning(CodeClass.DECIDE, "The service gave no code of its own")

_MAX_DIGITS = 9
_RANGE = re.compile(r"([0-9]{1,9})\s*[-\u2013]\s*([0-9]{1,9})")
_CODE = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.:-]{0,63}")

Span = tuple[int, int]


class CodeTable:
    """Looks codes up; immutable. Overrides beat the table, and among themselves a single code beats a range."""

    __slots__ = ("_ranges", "_singles")

    def __init__(self, overrides: Mapping[str, str] | None = None) -> None:
        """Take the table of contract.md §4 with `overrides`: code or range ``a-b`` → name of a class.

        :raises ValueError: if an override is wrong; `code_problems` says how.
        """
        if problems := code_problems(overrides or {}):
            raise ValueError("; ".join(problems))
        self._singles: dict[str, Meaning] = dict(_STANDARD)
        self._ranges: list[tuple[Span, CodeClass]] = []
        for key, name in (overrides or {}).items():
            if span := _span(key):
                self._ranges.append((span, CodeClass(name)))
        for code in [code for code in self._singles if self._in_range(code)]:
            self._singles[code] = Meaning(self._in_range(code) or CodeClass.REVIEW, self._singles[code].text)
        for key, name in (overrides or {}).items():
            if not _span(key):
                code_class = CodeClass(name)
                standard = _STANDARD.get(_normal(key))
                self._singles[_normal(key)] = Meaning(code_class, standard.text if standard else _BY_CLASS[code_class])

    def meaning(self, code: str) -> Meaning:
        """Say what a code means; an absent one ("") leaves the decision to 999 and 277CA."""
        if not code:
            return _ABSENT
        normal = _normal(code)
        found = self._singles.get(normal)
        if found is not None:
            return found
        code_class = self._in_range(normal)
        return _UNKNOWN if code_class is None else Meaning(code_class, _BY_CLASS[code_class])

    def _in_range(self, normal: str) -> CodeClass | None:
        if self._ranges and normal.isascii() and normal.isdigit() and len(normal) <= _MAX_DIGITS:
            value = int(normal)
            return next((code_class for (low, high), code_class in self._ranges if low <= value <= high), None)
        return None


def code_problems(overrides: Mapping[str, str]) -> list[str]:
    """Say what is wrong with the setting ``api.codes``, a sentence each; an empty list if nothing is."""
    problems = [problem for key, name in overrides.items() for problem in _entry_problems(key, name)]
    if problems:
        return problems
    spans = [(span, key) for key in overrides if (span := _span(key))]
    for place, (span, key) in enumerate(spans):
        for other, other_key in spans[place + 1 :]:
            if span[0] <= other[1] and other[0] <= span[1] and overrides[key] != overrides[other_key]:
                problems.append(f"api.codes: {key!r} and {other_key!r} overlap and differ")
    seen: dict[str, str] = {}
    for key in overrides:
        if not _span(key):
            first = seen.setdefault(_normal(key), key)
            if overrides[first] != overrides[key]:
                problems.append(f"api.codes: {first!r} and {key!r} are the same code and differ")
    return problems


def _entry_problems(key: str, name: str) -> list[str]:
    problems: list[str] = []
    span = _span(key)
    if span is None and not _CODE.fullmatch(key.strip()):
        problems.append(f"api.codes: {key!r} is neither a code nor a range such as '301-305'")
    elif span and span[0] > span[1]:
        problems.append(f"api.codes: the range {key!r} ends before it begins")
    if name not in set(CodeClass):
        problems.append(f"api.codes: {key!r} must be one of {', '.join(CodeClass)}, not {name!r}")
    return problems


def _span(key: str) -> Span | None:
    found = _RANGE.fullmatch(key.strip())
    return (int(found[1]), int(found[2])) if found else None


@lru_cache(maxsize=256)
def _normal(code: str) -> str:
    """Write a code as it is looked up: numbers without leading zeros, letters in upper case."""
    code = code.strip()
    return code.lstrip("0") or "0" if code.isascii() and code.isdigit() else code.upper()


def _standard() -> dict[str, Meaning]:
    """Spread the table out, ranges first, so that a code listed singly overwrites the range it is in."""
    entries = [(key, Meaning(code_class, text)) for code_class, keys, text in _TABLE for key in keys.split()]
    spread: dict[str, Meaning] = {}
    for key, meaning in entries:
        if span := _span(key):
            spread |= {str(code): meaning for code in range(span[0], span[1] + 1)}
    return spread | {_normal(key): meaning for key, meaning in entries if not _span(key)}


_STANDARD = _standard()
