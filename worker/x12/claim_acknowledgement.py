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

from functools import lru_cache

import msgspec

from worker.x12.acknowledgements import AnswerSets, at, number, read_sets

_SILENT = frozenset({"NM1", "DTP", "AMT", "BHT"})
DEPTHS = {"20": 0, "21": 1, "19": 2}  # any other level is a patient's
UNREADABLE = -1
_ACCEPTED_QUANTITIES = frozenset({"90", "QA"})
REJECTED_QUANTITIES = frozenset({"AA", "QC"})
_LONGEST_CODE = 20  # of the STC01 that are kept for the next answer


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
    text: str = ""
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


def read_277ca(data: bytes | str) -> ClaimAcknowledgement:
    """Read every 277 of an answer; without levels and claims if there is none."""
    return claim_acknowledgement(read_sets(data))


def claim_acknowledgement(answer: AnswerSets) -> ClaimAcknowledgement:
    """As `read_277ca`, from an answer that is already taken apart."""
    tree = _Tree()
    found = False
    for each in answer.sets:
        if each.kind == "277":
            found = True
            tree.read(each.segments, each.element, each.component)
    return ClaimAcknowledgement(
        answer.complete and found,
        tuple(map(_OpenLevel.frozen, tree.levels)),
        tuple(map(_OpenClaim.frozen, tree.claims)),
    )


class _OpenLevel(msgspec.Struct, gc=False):
    kind: str
    depth: int
    place: int
    statuses: list[Status] = []
    accepted: int | None = None
    rejected: int | None = None
    claims: int = 0

    def count(self, qty: list[str]) -> None:
        """Add a QTY; a total that is no number stays unreadable."""
        qualifier, quantity = at(qty, 1), number(at(qty, 2))
        if qualifier in _ACCEPTED_QUANTITIES:
            self.accepted = _total(self.accepted, quantity)
        elif qualifier in REJECTED_QUANTITIES:
            self.rejected = _total(self.rejected, quantity)

    def frozen(self) -> Level:
        return Level(self.kind, tuple(self.statuses), self.accepted, self.rejected, self.claims)


class _OpenClaim(msgspec.Struct, gc=False):
    number: str
    above: tuple[int, ...]
    statuses: list[Status] = []
    line_statuses: list[Status] = []
    references: dict[str, str] = {}

    def frozen(self) -> AcknowledgedClaim:
        number_of = self.references.get
        statuses, line_statuses = tuple(self.statuses), tuple(self.line_statuses)
        return AcknowledgedClaim(
            self.number, statuses, line_statuses, number_of("1K", ""), number_of("D9", ""), self.above
        )


class _Tree:
    """Follows the segments of a 277 through its levels: only HL starts a level, only TRN*2 a claim."""

    __slots__ = ("_path", "claims", "levels")

    def __init__(self) -> None:
        self.levels: list[_OpenLevel] = []
        self.claims: list[_OpenClaim] = []
        self._path: list[_OpenLevel] = []

    def read(self, segments: list[str], element: str, component: str) -> None:
        """Read one transaction set."""
        self._path = []
        level: _OpenLevel | None = None
        claim: _OpenClaim | None = None
        in_line = False
        hl = "HL" + element
        for segment in segments:
            tag = segment[:3]
            if tag in _SILENT:
                continue
            if tag == hl:
                level, claim, in_line = self._open_level(at(segment.split(element, 4), 3)), None, False
            elif level is not None:
                if tag == "STC":
                    level.statuses.append(_read_status(segment.split(element), component))
                elif tag == "QTY":
                    level.count(segment.split(element, 3))
            elif tag == "STC":
                claim = claim or self._open_claim("")
                status = _read_status(segment.split(element), component)
                (claim.line_statuses if in_line else claim.statuses).append(status)
            elif tag == "TRN":
                elements = segment.split(element, 3)
                if at(elements, 1) == "2":
                    claim, in_line = self._open_claim(at(elements, 2)), False
            elif tag == "SVC":
                in_line = True
            elif tag == "REF" and claim is not None and not in_line:
                elements = segment.split(element, 3)
                claim.references.setdefault(at(elements, 1), at(elements, 2))

    def _open_level(self, kind: str) -> _OpenLevel | None:
        """Open a level above the claims, which ends those that are not above it; None for a patient's."""
        depth = DEPTHS.get(kind)
        if depth is None:
            return None
        path = self._path
        while path and path[-1].depth >= depth:
            path.pop()
        level = _OpenLevel(kind, depth, len(self.levels))
        path.append(level)
        self.levels.append(level)
        return level

    def _open_claim(self, claim_number: str) -> _OpenClaim:
        for level in self._path:
            level.claims += 1
        claim = _OpenClaim(claim_number, tuple([level.place for level in self._path]))
        self.claims.append(claim)
        return claim


def _total(so_far: int | None, quantity: int | None) -> int:
    return UNREADABLE if quantity is None or so_far == UNREADABLE else (so_far or 0) + quantity


def _read_status(elements: list[str], component: str) -> Status:
    if len(elements) < 5:
        elements = [*elements, "", "", "", ""]
    amount = elements[4]
    composite, action = read_code(elements[1], elements[3], component)
    if len(elements) < 11:
        return Status(composite, action, amount.strip())
    further = tuple([_read_composite(each, component) for each in elements[10:12] if each])
    return Status(composite, action, amount.strip(), at(elements, 12), further)


def read_code(code: str, action: str, component: str) -> tuple[Composite, str]:
    """Read STC01 and STC03. A few dozen codes are all that most payers say; what is longer than those is not kept."""
    read = _kept_code if len(code) + len(action) < _LONGEST_CODE else _kept_code.__wrapped__
    return read(code, action, component)


@lru_cache(maxsize=1024)
def _kept_code(code: str, action: str, component: str) -> tuple[Composite, str]:
    return _read_composite(code.strip(), component), action.strip().upper()


def _read_composite(text: str, component: str) -> Composite:
    parts = text.split(component, 3)
    return Composite(
        parts[0].strip().upper(), parts[1].strip() if len(parts) > 1 else "", parts[2].strip() if len(parts) > 2 else ""
    )
