"""The hierarchical levels above a claim: billing provider (HL 20), subscriber (HL 22), patient (HL 23).

A claim belongs to the levels that the order of the file puts above it (X222A1 §1.4.3.2.1): under an HL 23 it is a
dependent's, under an HL 22 the subscriber's own. Each HL02 must name that same parent, for otherwise nobody can
say whose claim it is. Only HL begins a level: NM1*85, NM1*PR and SBR come again inside a claim.
"""

from worker.x12.facts import ProviderFacts, elements_of, read_payer, read_provider
from worker.x12.patterns import ST, Patterns

_PEOPLE = {ST: [], b"20": [b"85"], b"22": [b"SBR"], b"23": [b"QC"]}


class Level:
    """One HL block: its HL01, and the refusal code for all claims below, "" if it is sound."""

    __slots__ = ("_text", "block", "number", "refusal", "segments")

    def __init__(self, block: bytes, number: bytes, refusal: str) -> None:
        self.block = block
        self.number = number
        self.refusal = refusal
        self.segments = 0
        self._text: dict[bool, bytes] = {}

    def text(self, number: bytes, parent: bytes, code: bytes, *, child: bool, patterns: Patterns) -> bytes:
        """Write the level under a new number; a subscriber with a child is not the patient himself."""
        written = self._text.get(child)
        if written is None:
            element, terminator = patterns.delimiters.element, patterns.delimiters.segment
            self.segments = self.block.count(terminator)
            rest = self.block[self.block.find(terminator) :]
            if child and code == b"22":
                rest = _without_self(rest, patterns)
            segment = element.join((b"HL", number, parent, code, b"1" if child else b"0"))
            written = self._text[child] = segment + rest
        return written


class Levels:
    """The levels that are open in the current transaction set, with the facts they give."""

    def __init__(self, patterns: Patterns) -> None:
        self.provider = ProviderFacts()
        self.payer = ""
        self._patterns = patterns
        self._provider: Level | None = None
        self._subscriber: Level | None = None
        self._patient: Level | None = None
        self._unknown = ""

    def enter(self, block: bytes, *, too_large: bool = False) -> None:
        """Begin the level of an HL block, and end those that it ends."""
        _, number, parent, code, *_ = elements_of(block, self._patterns.delimiters, 4)
        number, parent, code = number.strip(), parent.strip(), code.strip()
        refusal = "claim_too_large" if too_large else strangers(block, code, self._patterns)
        self._unknown = ""
        if code == b"22":
            self._subscriber = Level(block, number, refusal or _descent(self._provider, parent))
            self._patient = None
            self.payer = read_payer(block, self._patterns)
        elif code == b"23":
            self._patient = Level(block, number, refusal or _descent(self._subscriber, parent))
        elif code == b"20":
            self._provider = Level(block, number, refusal or ("hl_parent_mismatch" if parent else ""))
            self._subscriber = self._patient = None
            self.provider = read_provider(block, self._patterns)
            self.payer = ""
        else:
            self._unknown = refusal or "hl_level_unknown"

    @property
    def refusal(self) -> str:
        """The code for which a claim at this place is refused, "" if it stands where a claim may stand."""
        if self._unknown:
            return self._unknown
        lowest = self._patient or self._subscriber
        return lowest.refusal if lowest is not None else "claim_outside_hl"

    def above(self) -> tuple[bytes, int]:
        """Write the levels above a claim at this place, renumbered 1, 2, 3; also returns how many segments that is."""
        patterns, provider, subscriber, patient = self._patterns, self._provider, self._subscriber, self._patient
        if provider is None or subscriber is None:
            return b"", 0
        text = provider.text(b"1", b"", b"20", child=True, patterns=patterns)
        text += subscriber.text(b"2", b"1", b"22", child=patient is not None, patterns=patterns)
        if patient is None:
            return text, provider.segments + subscriber.segments
        text += patient.text(b"3", b"2", b"23", child=False, patterns=patterns)
        return text, provider.segments + subscriber.segments + patient.segments


def _without_self(rest: bytes, patterns: Patterns) -> bytes:
    """Blank SBR02 ``18`` (the patient is the subscriber), for here the patient is a dependent."""
    found = patterns.subscriber.search(rest)
    if found is None or found[2].strip() != b"18":
        return rest
    end = found.end(2)
    is_last = rest.startswith(patterns.delimiters.segment, end)
    return rest[: found.end(1) if is_last else found.start(2)] + rest[end:]


def strangers(block: bytes, code: bytes, patterns: Patterns) -> str:
    """Return the refusal of a level, or of a header (ST), with a provider or person too many: an HL there is lost."""
    found = [subscriber.upper() or patient.upper() for subscriber, patient in patterns.people.findall(block)]
    return "boundary_missing" if found and found != _PEOPLE.get(code, found) else ""


def _descent(parent: Level | None, named: bytes) -> str:
    """Check that HL02 names the level above, and hand down what is wrong there."""
    if parent is None or not named or named != parent.number:
        return "hl_parent_mismatch"
    return parent.refusal
