"""Reads the 277CA: what the levels of the hierarchy say of our claims.

::

    HL 20  information source
     └─ HL 21  receiver     TRN*2   STC…   QTY*90 accepted, QTY*AA rejected
         └─ HL 19  provider TRN*1   STC…   QTY*QA accepted, QTY*QC rejected
             └─ HL PT  patient
                 └─ TRN*2 = CLM01  (loop 2200D, once or more)
                      STC…   REF*1K payer's number   REF*D9 clearinghouse's
                      └─ SVC  STC…   (a service line)

A status is STC01 = category:status:entity, STC03 ``WQ`` accept or ``U`` reject, STC04 an amount, STC10 and
STC11 further composites, STC12 free text. Levels are taken in the order of the file, as they are written;
any level below a provider counts as a patient's.

X12 005010X214. Nothing here raises, whatever the bytes.
"""

import msgspec

from worker.x12.acknowledgements import at, number, read_sets

_SILENT = frozenset({"NM1", "DTP", "AMT", "BHT"})
_ABOVE_CLAIMS = ("20", "21", "19")
UNREADABLE = -1
_ACCEPTED_QUANTITIES = frozenset({"90", "QA"})
_REJECTED_QUANTITIES = frozenset({"AA", "QC"})


class Composite(msgspec.Struct, frozen=True, gc=False):
    """STC01, STC10 or STC11: claim status category, claim status code, entity; "" where absent."""

    category: str
    status: str
    entity: str


class Status(msgspec.Struct, frozen=True, gc=False):
    """One STC; "" where absent. `further` holds STC10 and STC11, which decide nothing."""

    code: Composite
    action: str
    amount: str
    text: str
    further: tuple[Composite, ...] = ()

    def __repr__(self) -> str:
        """Leave free text out: reprs end in logs."""
        return f"<Status {self.action}>"


class Level(msgspec.Struct, frozen=True, gc=False):
    """HL 20, 21 or 19. Totals are None where no QTY gives them, and `UNREADABLE` where it gives no number.

    `claims` counts the claims below it.
    """

    kind: str
    statuses: tuple[Status, ...]
    accepted: int | None
    rejected: int | None
    claims: int


class AcknowledgedClaim(msgspec.Struct, frozen=True, gc=False):
    """One loop 2200D. `claim_number` is TRN02, "" if absent; `above` are the places of its levels in `levels`."""

    claim_number: str
    statuses: tuple[Status, ...]
    line_statuses: tuple[Status, ...]
    payer_claim_number: str
    clearinghouse_number: str
    above: tuple[int, ...]

    def __repr__(self) -> str:
        """Leave the numbers out: reprs end in logs."""
        return "<AcknowledgedClaim>"


class ClaimAcknowledgement(msgspec.Struct, frozen=True, gc=False):
    """All that an answer's 277CA says. `complete`: it holds one and no trailer is missing."""

    complete: bool
    levels: tuple[Level, ...]
    claims: tuple[AcknowledgedClaim, ...]


def read_277ca(data: bytes) -> ClaimAcknowledgement:
    """Read every 277 of an answer; without levels and claims if there is none."""
    answer = read_sets(data)
    tree = _Tree()
    found = False
    for each in answer.sets:
        if each.kind == "277":
            found = True
            tree.read(each.segments, each.element, each.component)
    return ClaimAcknowledgement(
        answer.complete and found,
        tuple([level.frozen() for level in tree.levels]),
        tuple([claim.frozen() for claim in tree.claims]),
    )


class _OpenLevel(msgspec.Struct):
    kind: str
    statuses: list[Status] = []
    accepted: int | None = None
    rejected: int | None = None
    claims: int = 0

    def count(self, qualifier: str, quantity: int | None) -> None:
        """Add a QTY; a total that is no number stays unreadable."""
        if qualifier in _ACCEPTED_QUANTITIES:
            self.accepted = _total(self.accepted, quantity)
        elif qualifier in _REJECTED_QUANTITIES:
            self.rejected = _total(self.rejected, quantity)

    def frozen(self) -> Level:
        return Level(self.kind, tuple(self.statuses), self.accepted, self.rejected, self.claims)


class _OpenClaim(msgspec.Struct):
    number: str
    above: tuple[int, ...]
    statuses: list[Status] = []
    line_statuses: list[Status] = []
    references: dict[str, str] = {}

    def frozen(self) -> AcknowledgedClaim:
        return AcknowledgedClaim(
            self.number,
            tuple(self.statuses),
            tuple(self.line_statuses),
            self.references.get("1K", ""),
            self.references.get("D9", ""),
            self.above,
        )


class _Tree:
    """Follows the segments of a 277 through its levels: only HL starts a level, only TRN*2 a claim."""

    def __init__(self) -> None:
        self.levels: list[_OpenLevel] = []
        self.claims: list[_OpenClaim] = []
        self._path: dict[str, int] = {}

    def read(self, segments: list[str], element: str, component: str) -> None:
        """Read one transaction set."""
        self._path = {}
        level: _OpenLevel | None = None
        claim: _OpenClaim | None = None
        in_line = False
        hl = "HL" + element
        for segment in segments:
            tag = segment[:3]
            if tag in _SILENT:
                continue
            if tag == "STC":
                status = _read_status(segment.split(element), component)
                if level is not None:
                    level.statuses.append(status)
                    continue
                claim = claim or self._open_claim("")
                (claim.line_statuses if in_line else claim.statuses).append(status)
            elif tag == hl:
                level, claim, in_line = self._open_level(at(segment.split(element), 3)), None, False
            elif level is not None:
                if tag == "QTY":
                    elements = segment.split(element)
                    level.count(at(elements, 1), number(at(elements, 2)))
            elif tag == "TRN":
                elements = segment.split(element)
                if at(elements, 1) == "2":
                    claim, in_line = self._open_claim(at(elements, 2)), False
            elif tag == "SVC":
                in_line = True
            elif tag == "REF" and claim is not None and not in_line:
                elements = segment.split(element)
                claim.references.setdefault(at(elements, 1), at(elements, 2))

    def _open_level(self, kind: str) -> _OpenLevel | None:
        """Open a level above the claims; None for a patient's."""
        if kind not in _ABOVE_CLAIMS:
            return None
        for below in _ABOVE_CLAIMS[_ABOVE_CLAIMS.index(kind) :]:
            self._path.pop(below, None)
        self._path[kind] = len(self.levels)
        self.levels.append(_OpenLevel(kind))
        return self.levels[-1]

    def _open_claim(self, claim_number: str) -> _OpenClaim:
        above = tuple(self._path.values())
        for place in above:
            self.levels[place].claims += 1
        self.claims.append(_OpenClaim(claim_number, above))
        return self.claims[-1]


def _total(so_far: int | None, quantity: int | None) -> int:
    return UNREADABLE if quantity is None or so_far == UNREADABLE else (so_far or 0) + quantity


def _read_status(elements: list[str], component: str) -> Status:
    further = tuple([_read_composite(each, component) for each in elements[10:12] if each])
    code = _read_composite(at(elements, 1), component)
    return Status(code, at(elements, 3).upper(), at(elements, 4), at(elements, 12), further)


def _read_composite(text: str, component: str) -> Composite:
    parts = text.split(component, 3)
    return Composite(
        parts[0].strip().upper(), parts[1].strip() if len(parts) > 1 else "", parts[2].strip() if len(parts) > 2 else ""
    )
