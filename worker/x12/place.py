"""Where in a batch the splitter stands: the envelopes that are open, the levels, and what they say of a claim.

Follows the reader's blocks by the same rules as the survey does, so that both number the transaction sets and
count the claims alike.
"""

from worker.x12.assembly import Envelope
from worker.x12.facts import ProviderFacts, SetFacts, elements_of, read_claim, read_set
from worker.x12.findings import error
from worker.x12.levels import Levels, strangers
from worker.x12.patterns import GE, GS, HL, IEA, ISA, SE, ST
from worker.x12.reader import Reader
from worker.x12.values import ClaimFacts, Finding, Survey


class Place:
    """The open envelopes and levels. `levels` is that of the current set, `sets` that set's place in the batch."""

    levels: Levels

    def __init__(self, reader: Reader, survey: Survey) -> None:
        self.in_set = self.is_837 = False
        self._header_too_large = False
        self._header_refusal = ""
        self.sets = 0
        self._reader = reader
        self._refused_sets = survey.refused_sets
        self._isa = self._gs = self._st = b""
        self._set_facts = SetFacts()
        self._envelope: Envelope | None = None

    def follow(self, name: bytes, block: bytes, *, too_large: bool = False) -> None:
        """Go past a block that is no claim."""
        if name is HL:
            if self.in_set:
                self.levels.enter(block, too_large=too_large)
        elif name is ST:
            self._enter_set(block, too_large=too_large)
        elif name is SE:
            self.in_set = self.is_837 = False
        elif name is GS:
            self._gs = block
            self.in_set = self.is_837 = False
        elif name is GE or name is IEA:
            self._gs = b""
            self.in_set = self.is_837 = False
        elif name is ISA:
            self._isa = block

    def _enter_set(self, block: bytes, *, too_large: bool) -> None:
        patterns = self._reader.patterns
        self.sets += 1
        self.in_set = True
        self.is_837 = elements_of(block, patterns.delimiters, 2)[1].strip() == b"837"
        self._header_too_large = too_large
        self._header_refusal = strangers(block, ST, patterns)
        self.levels = Levels(patterns)
        self._set_facts = read_set(self._isa, self._gs, block, patterns)
        self._st, self._envelope = block, None

    @property
    def terminator(self) -> bytes:
        """The segment terminator of the current interchange."""
        return self._reader.delimiters.segment

    def refusal(self, *, too_large: bool = False) -> Finding | None:
        """Say why a claim that stands here may not be sent."""
        of_set = self.refusal_of_set()
        if of_set is not None:
            return of_set
        code = "claim_too_large" if too_large else self._header_refusal or self.levels.refusal
        return error(code) if code else None

    def refusal_of_set(self) -> Finding | None:
        """Say why nothing of the current set may be sent, as the survey found it."""
        if not self.in_set:
            return error("missing_st")
        if self._header_too_large:
            return error("claim_too_large")
        return self._refused_sets.get(self.sets)

    @property
    def envelope(self) -> Envelope:
        """The envelopes of the current set, ready to be put around a part of it."""
        if self._envelope is None:
            self._envelope = Envelope(self._isa, self._gs, self._st, self._reader.patterns)
        return self._envelope

    def facts(self, block: bytes) -> ClaimFacts:
        """Read the facts of a claim that stands here."""
        delimiters = self._reader.delimiters
        if not self.in_set:
            return read_claim(block, delimiters, SetFacts(), ProviderFacts(), "")
        return read_claim(block, delimiters, self._set_facts, self.levels.provider, self.levels.payer)

    def facts_of_set(self) -> ClaimFacts:
        """Tell what is known of a set without claims."""
        return ClaimFacts(*self._set_facts)
