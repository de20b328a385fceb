"""Reads the acknowledgements that nearly every claim gets, in one pass; says nothing of any other.

::

    999     ISA GS ST AK1 AK2 IK5*A AK9*A SE GE IEA
    277CA   ISA GS ST … HL 20, 21, 19 … HL PT … TRN*2*claim STC… SE GE IEA

One interchange around one transaction set, every segment terminated and none padded; one claim below all levels, a
status at most for each of these and one or two for the claim, no service line, every status with a code, an action and
an amount and nothing more, no rejected total. One pattern a document sees all of that at once. What is not of this
shape is None here, and `worker.x12.claim_acknowledgement` and `worker.x12.ta1_999` read it, at many times the price.
Tests hold both readings against each other.
"""

import re
from collections.abc import Callable
from functools import lru_cache

import msgspec

from worker.x12.acknowledgements import LONGEST_ISA, Marks, has_break, read_marks
from worker.x12.claim_acknowledgement import DEPTHS, REJECTED_QUANTITIES, Composite, read_code


class UsualStatus(msgspec.Struct, frozen=True, gc=False):
    """One STC and the level it stands on: 20, 21 or 19, or "" for the claim."""

    level: str
    code: Composite
    action: str
    amount: str

    def __repr__(self) -> str:
        """Show the action only."""
        return f"<UsualStatus {self.action}>"


class UsualAcknowledgement(msgspec.Struct, frozen=True, gc=False):
    """A usual 277CA: the claim's number, its and its levels' statuses in order, the payer's number for it or ""."""

    claim_number: str
    statuses: list[UsualStatus]
    payer_claim_number: str

    def __repr__(self) -> str:
        """Leave the numbers out."""
        return "<UsualAcknowledgement>"


def is_usual_999(text: str) -> bool:
    """Tell whether this is a complete 999 that accepts the one set it speaks of, without findings."""
    marks = _marks_of(text)
    return marks is not None and _usual_999(marks.element, marks.segment)(text) is not None


def read_usual_277ca(text: str) -> UsualAcknowledgement | None:
    """Read a usual 277CA; None for any other."""
    marks = _marks_of(text)
    found = None if marks is None else _usual_277ca(marks.element, marks.segment)(text)
    if marks is None or found is None:
        return None
    said = found.groups("")
    statuses = []
    for level, place in _STATUSES:
        code, action, amount = said[place : place + 3]
        if code:
            statuses.append(UsualStatus(level, *read_code(code, action, marks.component), amount.strip()))
    number = said[_NUMBER].strip()
    return UsualAcknowledgement(number, statuses, said[-1].strip()) if number else None


# Where the pattern has the statuses: at most one a level, then, after the claim's number, one or two of its own.
_NUMBER = 3 * len(DEPTHS)
_STATUSES = (*((level, 3 * depth) for level, depth in DEPTHS.items()), ("", _NUMBER + 1), ("", _NUMBER + 4))


def _marks_of(text: str) -> Marks | None:
    """Read the delimiters of an interchange whose segments have nothing around them."""
    marks = read_marks(text[:LONGEST_ISA]) if text.startswith("ISA") else None
    return None if marks is None or marks.segment + " " in text or has_break(text) else marks


@lru_cache(maxsize=64)
def _usual_999(element: str, segment: str) -> Callable[[str], re.Match[str] | None]:
    e, s = re.escape(element), re.escape(segment)
    rest = f"{e}[^{s}]*+{s}"
    begun = "".join(tag + rest for tag in ("ISA", "GS", f"ST{e}999", "AK1", "AK2"))
    ended = "".join(tag + rest for tag in ("SE", "GE", "IEA"))
    return re.compile(f"{begun}IK5{e}A{s}AK9{e}A(?:{e}[^{e}{s}]*+){{1,3}}{s}{ended}").fullmatch


@lru_cache(maxsize=64)
def _usual_277ca(element: str, segment: str) -> Callable[[str], re.Match[str] | None]:
    """Group code, action and amount of each of `_STATUSES`, amid them the claim's number, and last the payer's."""
    e, s = re.escape(element), re.escape(segment)
    any_element, rest = f"[^{e}{s}]*+", f"[^{s}]*+{s}"
    rejected = "|".join(REJECTED_QUANTITIES)
    elsewhere = f"STC|HL{e}|SVC|ISA|IEA|TA1|ST{e}|SE{e}|QTY{e} *(?:{rejected})"
    named = f"[A-Z0-9]{{1,3}}+(?=[{e}{s}]){rest}"  # the other reading takes ``REF:`` and ``REF0`` for a REF
    beside = f"(?:(?!{elsewhere}){named})*+"
    of_claim = f"(?:(?!{elsewhere}|TRN|REF{e} *1K){named})*+"
    status = f"STC{e}([^{e}{s}]++){e}{any_element}{e}({any_element}){e}({any_element})(?:{e}{any_element}){{0,5}}{s}"
    level = f"HL{e}{any_element}{e}{any_element}{e}"
    levels = "".join(f"(?:{level}{kind}(?=[{e}{s}]){rest}{beside}(?:{status}{beside})?+)?+" for kind in DEPTHS)
    number, payers = (f"{tag}{e}({any_element}){rest}" for tag in (f"TRN{e}2", f"REF{e}1K"))
    claim = f"{of_claim}{number}{of_claim}{status}(?:{of_claim}{status})?+{of_claim}(?:{payers}{of_claim})?+"
    begun = "".join(f"{tag}{e}{rest}" for tag in ("ISA", "GS", f"ST{e}277"))
    ended = "".join(f"{tag}{e}{rest}" for tag in ("SE", "GE", "IEA"))
    patient = f"{level}(?! *(?:{'|'.join(DEPTHS)}) *[{e}{s}]){rest}"
    return re.compile(begun + beside + levels + patient + claim + ended).fullmatch
