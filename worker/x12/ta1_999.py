"""Reads what speaks of the syntax of what we sent: the TA1 and the 999.

=========== ============================================================================
TA1         TA104: A, E, R for the whole interchange, TA105 says why
AK1 … AK9   one functional group; AK901: A, E, P (some sets), R, M, W, X
AK2 … IK5   one transaction set; IK501: A, E, R, M, W, X
IK3, IK4    where: segment, place in the set (ST = 1), loop; element; and what is wrong
CTX         which business unit, or what in the claim made a segment required
=========== ============================================================================

X12 005010X231A1; TA1: X12.5. Nothing here raises, whatever the bytes.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import msgspec

from worker.x12.acknowledgements import AnswerSet, AnswerSets, at, number, read_sets

_Segment = list[str]

_LONGEST_USUAL = 64  # of IK5 and AK9, that what is kept stays small


class InterchangeAcknowledgement(msgspec.Struct, frozen=True, gc=False):
    """One TA1. `verdict` is TA104, `note` is TA105."""

    verdict: str
    note: str


class SyntaxNote(msgspec.Struct, frozen=True, gc=False):
    """One IK4 under its IK3, or an IK3 alone; "" where absent.

    `position` counts segments from ST = 1 in what was sent, `element` is IK401 with ``:`` between its parts,
    `code` is IK403, or IK304 if there is no IK4. `context` is the last CTX before or after it, as written.
    """

    segment: str
    position: int | None
    loop: str
    element: str
    code: str
    context: str

    def __repr__(self) -> str:
        """Show the place only: reprs end in logs."""
        return f"<SyntaxNote {self.position}>"


class SetAcknowledgement(msgspec.Struct, frozen=True, gc=False):
    """One AK2 to IK5. `verdict` is IK501, "" if IK5 is missing."""

    verdict: str
    codes: tuple[str, ...]
    notes: tuple[SyntaxNote, ...]


class GroupAcknowledgement(msgspec.Struct, frozen=True, gc=False):
    """One AK1 to AK9. `verdict` is AK901, "" if AK9 is missing."""

    verdict: str
    codes: tuple[str, ...]
    sets: tuple[SetAcknowledgement, ...]


class FunctionalAcknowledgement(msgspec.Struct, frozen=True, gc=False):
    """All that an answer's 999 says; no groups if it holds none. `complete`: no trailer is missing."""

    complete: bool
    groups: tuple[GroupAcknowledgement, ...]

    @property
    def verdicts(self) -> tuple[str, ...]:
        """The word on each set: its IK501; AK901 for the sets of a group that names none, or whose IK5 is missing."""
        found: list[str] = []
        for group in self.groups:
            found += [each.verdict or group.verdict for each in group.sets] or [group.verdict]
        return tuple(found)

    @property
    def accepted(self) -> bool:
        """Whether there is a word, and every word on a set or a group is a plain A."""
        for group in self.groups:
            if group.verdict != "A":
                return False
            for each in group.sets:
                if each.verdict != "A" and each.verdict:
                    return False
        return bool(self.groups)

    @property
    def notes(self) -> tuple[SyntaxNote, ...]:
        """All findings, in the order of the 999."""
        return tuple([note for group in self.groups for each in group.sets for note in each.notes])


def read_ta1(data: bytes | str) -> tuple[InterchangeAcknowledgement, ...]:
    """Read every TA1 of an answer; empty if there is none."""
    return interchange_acknowledgements(read_sets(data))


def read_999(data: bytes | str) -> FunctionalAcknowledgement:
    """Read every 999 of an answer; without groups if there is none."""
    return functional_acknowledgement(read_sets(data))


def interchange_acknowledgements(answer: AnswerSets) -> tuple[InterchangeAcknowledgement, ...]:
    """As `read_ta1`, from an answer that is already taken apart."""
    return tuple([InterchangeAcknowledgement(at(ta1, 4).upper(), at(ta1, 5)) for ta1 in answer.ta1s])


def functional_acknowledgement(answer: AnswerSets) -> FunctionalAcknowledgement:
    """As `read_999`, from an answer that is already taken apart."""
    groups = tuple([group for each in answer.sets if each.kind == "999" for group in _read_groups(each)])
    return FunctionalAcknowledgement(answer.complete and bool(groups), groups)


def _read_groups(answer_set: AnswerSet) -> Sequence[GroupAcknowledgement]:
    """Read each AK1 with what follows it; what stands before the first one speaks of nothing."""
    element, component = answer_set.element, answer_set.component
    if len(answer_set.segments) == 4:
        ak1, ak2, ik5, ak9 = answer_set.segments
        tags = (ak1[:4], ak2[:4], ik5[:4], ak9[:4])
        wanted = ("AK1" + element, "AK2" + element, "IK5" + element, "AK9" + element)
        if tags == wanted and len(ik5) + len(ak9) < _LONGEST_USUAL:
            return _read_usual(ik5, ak9, element, component)
    segments = [segment.split(element) for segment in answer_set.segments]
    bounds = [place for place, segment in enumerate(segments) if segment[0] == "AK1"]
    return [_read_group(segments[start + 1 : end], component) for start, end in pairwise([*bounds, len(segments)])]


@lru_cache(maxsize=64)
def _read_usual(ik5: str, ak9: str, element: str, component: str) -> tuple[GroupAcknowledgement, ...]:
    """Read a 999 on one set without findings: nothing in it names a claim, and nearly all are alike."""
    return (_read_group([["AK2"], ik5.split(element), ak9.split(element)], component),)


def _read_group(segments: list[_Segment], component: str) -> GroupAcknowledgement:
    verdict: str = ""
    codes: tuple[str, ...] = ()
    sets: list[SetAcknowledgement] = []
    of_set: list[_Segment] | None = None
    for segment in segments:
        tag = segment[0]
        if tag == "AK2":
            if of_set is not None:
                sets.append(_read_set(of_set, component))
            of_set = []
        elif tag == "AK9":
            verdict, codes = at(segment, 1).upper(), _codes(segment, 5)
        elif of_set is not None:
            of_set.append(segment)
    if of_set is not None:
        sets.append(_read_set(of_set, component))
    return GroupAcknowledgement(verdict, codes, tuple(sets))


def _read_set(segments: list[_Segment], component: str) -> SetAcknowledgement:
    verdict: str = ""
    codes: tuple[str, ...] = ()
    notes: list[SyntaxNote] = []
    of_segment: list[_Segment] = []
    for segment in segments:
        tag = segment[0]
        if of_segment and tag in ("IK3", "IK5"):
            notes += _read_notes(of_segment, component)
            of_segment = []
        if tag == "IK5":
            verdict, codes = at(segment, 1).upper(), _codes(segment, 2)
        else:
            of_segment.append(segment)
    if of_segment:
        notes += _read_notes(of_segment, component)
    return SetAcknowledgement(verdict, codes, tuple(notes))


def _read_notes(segments: list[_Segment], component: str) -> list[SyntaxNote]:
    """Read one IK3 with the CTX and IK4 that follow it."""
    if segments[0][0] != "IK3":
        return []
    ik3 = segments[0]
    place = (at(ik3, 1), number(at(ik3, 2)), at(ik3, 3))
    context = " ".join(" ".join(part for part in ctx[1:] if part) for ctx in segments if ctx[0] == "CTX")
    notes = [
        SyntaxNote(*place, at(ik4, 1).replace(component, ":"), at(ik4, 3), context)
        for ik4 in segments
        if ik4[0] == "IK4"
    ]
    return notes or [SyntaxNote(*place, "", at(ik3, 4), context)]


def _codes(segment: _Segment, first: int) -> tuple[str, ...]:
    return tuple([code for each in segment[first:] if (code := each.strip())]) if len(segment) > first else ()
