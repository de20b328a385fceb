"""Reads a submitted 837 as strictly as a payer would; the simulator's own reading, shared with nobody.

Two kinds of complaint come of it:

================ ==================================================================== =====================
`Malformed`      not an interchange, not closed, counts or control numbers wrong      body code 706
`findings`       loops in disorder (`worker.simulator.loops`)                         999 with IK3 and IK4
================ ==================================================================== =====================

Sources: X12.5 and X12.6 for the envelopes; 005010X222A1 and 005010X223A2 for which guides are taken.
"""

import msgspec

from worker.simulator.loops import Finding, Loops
from worker.x12 import Delimiters, read_delimiters

_GUIDES = ("005010X222", "005010X223")


class Malformed(Exception):
    """The text is no well-formed 837 interchange; the message says what is wrong, without its content."""


class Submitted(msgspec.Struct, frozen=True, gc=False):
    """What the simulator needs to know of a submitted interchange; "" where it is absent.

    `loops` are those of the last transaction set, `claims` counts CLM in all of them.
    """

    delimiters: Delimiters
    sender: str
    receiver: str
    usage: str
    control_number: str
    dated: tuple[str, str]  # ISA09, ISA10
    group_sender: str
    group_receiver: str
    group_control_number: str
    guide: str
    set_control_number: str
    claims: int
    loops: Loops

    @property
    def findings(self) -> list[Finding]:
        """What is wrong inside the transaction set; empty if nothing is."""
        return self.loops.findings


def read_interchange(text: str) -> Submitted:
    """Read an 837 interchange.

    :raises Malformed: if its envelopes do not hold.
    """
    delimiters = read_delimiters(text[:106].encode("ascii", "replace"))
    if delimiters is None:
        raise Malformed("no well-formed ISA")
    segments = [segment.strip("\r\n ") for segment in text[106:].split(delimiters.segment.decode())]
    if segments.pop():
        raise Malformed("text after the last segment terminator")
    return _Reading(text[:105], segments, delimiters).whole()


class _Reading:
    """One pass over the segments after ISA; every step moves `_at` behind what it has read."""

    def __init__(self, isa: str, segments: list[str], delimiters: Delimiters) -> None:
        self._element = delimiters.element.decode()
        self._isa = isa.split(self._element)
        self._segments = segments
        self._delimiters = delimiters
        self._at = 0
        self._claims = 0

    def whole(self) -> Submitted:
        """Read to IEA, which must be the last segment."""
        if self._tag() == "TA1":
            self._at += 1
        groups = 0
        while self._tag() == "GS":
            groups += 1
            gs = self._take("GS", 9)
            st, loops = self._group(gs)
        iea = self._take("IEA", 3)
        if groups == 0 or iea[1] != str(groups) or iea[2] != self._isa[13] or self._at != len(self._segments):
            raise Malformed("IEA does not close the interchange")
        return Submitted(
            self._delimiters,
            sender=self._isa[6].strip(),
            receiver=self._isa[8].strip(),
            usage=self._isa[15],
            control_number=self._isa[13],
            dated=(self._isa[9], self._isa[10]),
            group_sender=gs[2],
            group_receiver=gs[3],
            group_control_number=gs[6],
            guide=gs[8],
            set_control_number=st[2],
            claims=self._claims,
            loops=loops,
        )

    def _group(self, gs: list[str]) -> tuple[list[str], Loops]:
        if gs[1] != "HC" or not gs[8].startswith(_GUIDES):
            raise Malformed("not a functional group of professional or institutional claims")
        sets = 0
        while self._tag() == "ST":
            sets += 1
            st, loops = self._set()
        ge = self._take("GE", 3)
        if sets == 0 or ge[1] != str(sets) or ge[2] != gs[6]:
            raise Malformed("GE does not close the group")
        return st, loops

    def _set(self) -> tuple[list[str], Loops]:
        first = self._at
        st = self._take("ST", 3)
        loops = Loops(self._element)
        while (tag := self._tag()) != "SE":
            if tag in ("", "ST", "GE", "IEA"):
                raise Malformed("a transaction set is not closed")
            loops.add(tag, self._segments[self._at])
            self._at += 1
        se = self._take("SE", 3)
        if st[1] != "837" or se[1] != str(self._at - first) or se[2] != st[2]:
            raise Malformed("SE does not close the transaction set")
        loops.finish()
        self._claims += loops.claims
        return st, loops

    def _tag(self) -> str:
        """Return the id of the next segment, "" where there is none."""
        return self._segments[self._at].partition(self._element)[0] if self._at < len(self._segments) else ""

    def _take(self, tag: str, elements: int) -> list[str]:
        """Read the next segment, which must have this id and at least so many elements, the id included."""
        if self._tag() != tag:
            raise Malformed(f"{tag} expected")
        found = self._segments[self._at].split(self._element)
        if len(found) < elements:
            raise Malformed(f"{tag} is too short")
        self._at += 1
        return found
