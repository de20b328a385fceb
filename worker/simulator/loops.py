"""Reads the loops of one 837 transaction set and says what is wrong with them.

What is checked, and how the 999 will say it (X231A1: IK304 of the segment, IK403 of the element)::

    HL01 counts from 1                                     HL   8, element 1 code 7
    HL02 names the nearest level above: 20 ← 22 ← 23       HL   8, element 2 code 7
    HL03 is 20, 22 or 23                                   HL   8, element 3 code 7
    HL04 is 1 where a child follows, else 0                HL   8, element 4 code 7
    SBR02 is 18 exactly if the patient is the subscriber   SBR  8, element 2 code 7
    a level that bears nothing: no child, no claim         HL   3
    no billing provider, subscriber or payer               NM1  3, at the claim

Sources: 005010X222A1 and 005010X223A2, loops 2000A to 2300.
"""

import msgspec

_ABOVE = {"20": None, "22": "20", "23": "22"}
_ABSENT = [""] * 10  # elements that a sender may leave out at a segment's end
_MISSING, _WRONG_ELEMENT, _WRONG_CODE = "3", "8", "7"


class Finding(msgspec.Struct, frozen=True, gc=False):
    """One complaint: IK301, IK302 (counted from ST = 1), IK303, IK304; `element` is IK401, 0 for none, with IK403."""

    segment: str
    position: int
    loop: str
    code: str
    element: int = 0
    element_code: str = _WRONG_CODE


class Level(msgspec.Struct, gc=False):
    """One HL."""

    number: str
    kind: str
    position: int
    says_child: str
    child: bool = False
    claims: int = 0


class Party(msgspec.Struct, frozen=True, gc=False):
    """Whom an NM1 names: NM103, NM104, NM109."""

    name: str = ""
    first: str = ""
    number: str = ""


class Loops:
    """What a transaction set says, read segment by segment; facts are "" where absent.

    Facts are those of the last claim and of the levels it hangs on. `claims` counts CLM.
    """

    def __init__(self, element: str) -> None:
        self.findings: list[Finding] = []
        self.claims = self.claim_position = 0
        self.batch_reference = self.claim_number = self.charge = self.service_date = ""
        self.line_procedure = self.line_charge = ""
        self.parties: dict[str, Party] = {}  # by NM101: 41, 85, IL, PR, QC
        self.tax_ids: dict[str, str] = {}  # of the billing provider, by REF01
        self._element = element
        self._position = 1  # ST
        self._in_claim = False
        self._entity = ""  # NM101 of the loop being read
        self._relationship, self._subscriber_position = "", 0
        self._levels: list[Level] = []
        self._latest: dict[str | None, Level] = {}
        self._readers = {
            "HL": self._hl, "NM1": self._nm1, "REF": self._ref, "SBR": self._sbr, "CLM": self._clm,
            "BHT": self._bht, "DTP": self._dtp, "SV1": self._sv1, "SV2": self._sv2,
        }  # fmt: skip

    def party(self, entity: str) -> Party:
        """Return whom the NM1 of this entity code names."""
        return self.parties.get(entity, _NOBODY)

    def add(self, tag: str, segment: str) -> None:
        """Read the next segment, whose id is `tag`."""
        self._position += 1
        reader = self._readers.get(tag)
        if reader is not None:
            reader(segment.split(self._element) + _ABSENT)

    def finish(self) -> None:
        """Say what can only be said at the end."""
        if not self._levels:
            self._complain("HL", 2, "2000A", _MISSING)
            return
        for level in self._levels:
            if level.says_child != ("1" if level.child else "0"):
                self._complain("HL", level.position, "2000", _WRONG_ELEMENT, 4)
            if not level.child and not level.claims:
                self._complain("HL", level.position, "2000", _MISSING)
        if self.claims:
            self._check_claim()

    def _check_claim(self) -> None:
        for entity, loop in (("85", "2010AA"), ("IL", "2010BA"), ("PR", "2010BB")):
            if not self.party(entity).number:
                self._complain("NM1", self.claim_position, loop, _MISSING)
        of_subscriber = self._levels[-1].kind == "22"
        if self.claims == 1 and self._relationship != ("18" if of_subscriber else ""):
            self._complain("SBR", self._subscriber_position, "2000B", _WRONG_ELEMENT, 2)

    def _complain(self, segment: str, position: int, loop: str, code: str, element: int = 0) -> None:
        self.findings.append(Finding(segment, position, loop, code, element))

    def _hl(self, hl: list[str]) -> None:
        number, parent, kind = hl[1:4]
        if number != str(len(self._levels) + 1):
            self._complain("HL", self._position, "2000", _WRONG_ELEMENT, 1)
        above = self._latest.get(_ABOVE.get(kind))
        if above:
            above.child = True
        if (above.number if above else "") != parent or (kind != "20" and not above):
            self._complain("HL", self._position, "2000", _WRONG_ELEMENT, 2)
        if kind not in _ABOVE:
            self._complain("HL", self._position, "2000", _WRONG_ELEMENT, 3)
        level = Level(number, kind, self._position, says_child=hl[4])
        self._levels.append(level)
        self._latest[kind] = level
        self._in_claim = False

    def _nm1(self, nm1: list[str]) -> None:
        if not self._in_claim:
            self._entity = nm1[1]
            self.parties[nm1[1]] = Party(nm1[3], nm1[4], nm1[9])
            if self._entity == "85":
                self.tax_ids = {}

    def _ref(self, ref: list[str]) -> None:
        if self._entity == "85" and not self._in_claim:
            self.tax_ids[ref[1]] = "".join(filter(str.isdigit, ref[2]))

    def _sbr(self, sbr: list[str]) -> None:
        if not self._in_claim:
            self._relationship, self._subscriber_position = sbr[2], self._position
            self.parties.pop("QC", None)

    def _clm(self, clm: list[str]) -> None:
        self._in_claim = True
        self.claims += 1
        self.claim_position = self._position
        self.claim_number, self.charge = clm[1], clm[2]
        self.service_date = self.line_procedure = self.line_charge = ""
        if self._levels:
            self._levels[-1].claims += 1

    def _bht(self, bht: list[str]) -> None:
        self.batch_reference = bht[3]

    def _dtp(self, dtp: list[str]) -> None:
        if dtp[1] in ("434", "472") and not self.service_date:
            self.service_date = dtp[3]

    def _sv1(self, sv1: list[str]) -> None:
        if not self.line_procedure:
            self.line_procedure, self.line_charge = sv1[1], sv1[2]

    def _sv2(self, sv2: list[str]) -> None:
        if not self.line_procedure:
            self.line_procedure, self.line_charge = sv2[2], sv2[3]


_NOBODY = Party()
