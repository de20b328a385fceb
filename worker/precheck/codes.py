"""What the service's own status codes mean: a table, with an operator's changes on top.

These are business codes: a body "503" is not HTTP 503. A code listed singly beats a range, and what is not in the
table is unknown: a person must look. `worker.settings.codes` says how codes are written. Source: contract.md §4.
"""

from collections.abc import Mapping

import msgspec

from worker.settings.codes import MAX_DIGITS, CodeClass, Span, code_problems, normal_code, span_of


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


class CodeTable:
    """Looks codes up; immutable. Overrides beat the table, and among themselves a single code beats a range."""

    __slots__ = ("_ranges", "_singles")

    def __init__(self, overrides: Mapping[str, str] | None = None) -> None:
        """Take the table of contract.md §4 with `overrides`: code or range ``a-b`` → name of a class.

        :raises ValueError: if an override is wrong; `code_problems` says how.
        """
        if problems := code_problems(overrides or {}):
            raise ValueError("; ".join(map(str, problems)))
        self._singles: dict[str, Meaning] = dict(_STANDARD)
        self._ranges: list[tuple[Span, CodeClass]] = []
        for key, name in (overrides or {}).items():
            if span := span_of(key):
                self._ranges.append((span, CodeClass(name)))
        for code in [code for code in self._singles if self._in_range(code)]:
            self._singles[code] = Meaning(self._in_range(code) or CodeClass.REVIEW, self._singles[code].text)
        for key, name in (overrides or {}).items():
            if not span_of(key):
                code, code_class = normal_code(key), CodeClass(name)
                standard = _STANDARD.get(code)
                self._singles[code] = Meaning(code_class, standard.text if standard else _BY_CLASS[code_class])

    def meaning(self, code: str) -> Meaning:
        """Say what a code means; an absent one ("") leaves the decision to 999 and 277CA."""
        if not code:
            return _ABSENT
        normal = normal_code(code)
        found = self._singles.get(normal)
        if found is not None:
            return found
        code_class = self._in_range(normal)
        return _UNKNOWN if code_class is None else Meaning(code_class, _BY_CLASS[code_class])

    def _in_range(self, normal: str) -> CodeClass | None:
        if self._ranges and normal.isascii() and normal.isdigit() and len(normal) <= MAX_DIGITS:
            value = int(normal)
            return next((code_class for (low, high), code_class in self._ranges if low <= value <= high), None)
        return None


def _standard() -> dict[str, Meaning]:
    """Spread the table out, ranges first, so that a code listed singly overwrites the range it is in."""
    entries = [(key, Meaning(code_class, text)) for code_class, keys, text in _TABLE for key in keys.split()]
    spread: dict[str, Meaning] = {}
    for key, meaning in entries:
        if span := span_of(key):
            spread |= {str(code): meaning for code in range(span[0], span[1] + 1)}
    return spread | {normal_code(key): meaning for key, meaning in entries if not span_of(key)}


_STANDARD = _standard()
