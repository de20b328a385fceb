"""Reads the acknowledgements that nearly every claim gets, in one pass; says nothing of any other.

::

    999     ISA GS ST AK1 AK2 IK5*A AK9*A SE GE IEA
    277CA   ISA GS ST … HL 20, 21, 19 … HL PT … TRN*2*claim STC… SE GE IEA

One interchange around one transaction set, every segment terminated and none padded; one claim below all levels, no
service line, every status with a code, an action and an amount and nothing more, no rejected total. What is not of
this shape is None here, and `worker.x12.claim_acknowledgement` and `worker.x12.ta1_999` read it, at four times the
price. Tests hold both readings against each other.
"""

import re
from collections.abc import Callable
from functools import lru_cache

import msgspec

from worker.x12.acknowledgements import at, has_break, read_marks
from worker.x12.claim_acknowledgement import DEPTHS, REJECTED_QUANTITIES, Composite, read_code

_LONGEST_ISA = 212
_TRAILER = 4  # SE, GE, IEA and the nothing after the last terminator
_SHORTEST_STATUS, _PLAIN_STATUS = 5, 11  # elements of an STC: with an amount, and before STC10


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
    marks = read_marks(text[:_LONGEST_ISA]) if text.startswith("ISA") else None
    if marks is None or marks.segment + " " in text or has_break(text):
        return False
    return _usual_999(marks.element, marks.segment)(text) is not None


@lru_cache(maxsize=64)
def _usual_999(element: str, segment: str) -> Callable[[str], object]:
    """Make the test for a 999 with these delimiters: the 999 is short, and one pattern sees all of it at once."""
    e, s = re.escape(element), re.escape(segment)
    begun = ["ISA", "GS", f"ST{e}999", "AK1", "AK2"]
    ended = ["SE", "GE", "IEA"]
    rest = f"{e}[^{s}]*{s}"
    accepted = f"IK5{e}A{s}AK9{e}A(?:{e}[^{e}{s}]*){{1,3}}{s}"
    return re.compile("".join([*(tag + rest for tag in begun), accepted, *(tag + rest for tag in ended)])).fullmatch


def read_usual_277ca(text: str) -> UsualAcknowledgement | None:
    """Read a usual 277CA; None for any other."""
    pieces, element, component = _pieces(text)
    statuses: list[UsualStatus] = []
    claim_number = ""
    payer_claim_number: str | None = None
    level: str | None = None  # "" once the patient's HL has come
    depth = -1
    for piece in pieces[3:-_TRAILER]:
        tag = piece[:3]
        if tag == "STC":
            elements = piece.split(element)
            if (
                level is None
                or not _SHORTEST_STATUS <= len(elements) < _PLAIN_STATUS
                or (not level and not claim_number)
            ):
                return None
            code, action = read_code(elements[1], elements[3], component)
            statuses.append(UsualStatus(level, code, action, elements[4].strip()))
        elif tag == "QTY":
            elements = piece.split(element, 3)
            if len(elements) < 3 or (elements[1].strip() in REJECTED_QUANTITIES and elements[2] != "0"):
                return None
        elif tag == "REF":
            elements = piece.split(element, 3)
            if payer_claim_number is None and claim_number and at(elements, 1) == "1K":
                payer_claim_number = at(elements, 2)  # the first one counts, be it empty
        elif tag == "TRN":
            elements = piece.split(element, 3)
            if level == "" and at(elements, 1) == "2":
                if claim_number or len(elements) < 3:
                    return None
                claim_number = elements[2].strip()
        elif piece.startswith("HL" + element):
            elements = piece.split(element, 4)
            kind = elements[3].strip() if len(elements) > 3 else ""
            below = DEPTHS.get(kind)
            if level == "" or (below is not None and below <= depth):
                return None
            level, depth = (kind, below) if below is not None else ("", depth)
        elif tag in _UNUSUAL or (tag[:2] in _CONTROLS and tag[2:] == element):
            return None
    return UsualAcknowledgement(claim_number, statuses, payer_claim_number or "") if claim_number else None


_UNUSUAL = frozenset({"SVC", "ISA", "IEA", "TA1"})
_CONTROLS = frozenset({"ST", "SE"})
_NONE: tuple[list[str], str, str] = ([], "", "")


def _pieces(text: str) -> tuple[list[str], str, str]:
    """Split one interchange around one 277, with its delimiters; nothing for what is not just that."""
    marks = read_marks(text[:_LONGEST_ISA]) if text.startswith("ISA") else None
    if marks is None or marks.segment + " " in text or has_break(text):
        return _NONE
    element = marks.element
    pieces = text.split(marks.segment)
    whole = (
        len(pieces) > 2 + _TRAILER
        and not pieces[-1]
        and pieces[1].startswith("GS" + element)
        and pieces[2].startswith(f"ST{element}277{element}")
        and pieces[-4].startswith("SE" + element)
        and pieces[-3].startswith("GE" + element)
        and pieces[-2].startswith("IEA" + element)
    )
    return (pieces, element, marks.component) if whole else _NONE
